"""Builds ICC profiles from definitions of colour spaces: the two that we write, and any RGB.

Version 4 matrix profiles (ICC.1:2010) with the parametric curve of sRGB, half a kB and the same
bytes every time; littleCMS would write the day into its own.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # a decoder process starts sooner without the models
    from pipeline.config.output import Profile

Matrix = npt.NDArray[np.float64]

# Chromaticities x, y of red, green and blue: IEC 61966-2-1, and SMPTE EG 432-1 with white D65.
PRIMARIES: dict["Profile", tuple[tuple[float, float], ...]] = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "display-p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
NAMES: dict["Profile", str] = {"srgb": "sRGB IEC61966-2.1", "display-p3": "Display P3"}
D65 = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
D50 = np.array([0.9642, 1.0, 0.8249])  # of the profile connection space
# Bradford cone responses (ICC.1:2010, annex E).
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# IEC 61966-2-1: linear = ((value + 0.055) / 1.055) ** 2.4 from 0.04045 on, value / 12.92 below.
CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def to_d50(profile: "Profile") -> Matrix:
    """(3, 3): linear RGB of a profile -> XYZ relative to D50."""
    return rgb_to_d50(PRIMARIES[profile], D65)


def rgb_to_d50(primaries: Sequence[tuple[float, float]], white: Matrix) -> Matrix:
    """(3, 3): linear RGB with primaries (x, y) and a white (XYZ, Y = 1) -> XYZ relative to D50."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]).T
    to_white = columns * np.linalg.solve(columns, white)
    adapted: Matrix = _adaptation(white) @ to_white
    return adapted


@cache
def icc_bytes(profile: "Profile") -> bytes:
    """The ICC profile of one of our colour spaces."""
    return matrix_profile(NAMES[profile], to_d50(profile), D65)


def matrix_profile(name: str, colorants: Matrix, white: Matrix, gamma: float = 0.0) -> bytes:
    """An ICC profile of RGB with linear ``colorants`` (`rgb_to_d50`), adapted from ``white``.

    Without ``gamma`` its curve is that of sRGB.
    """
    tags = [
        (b"desc", _text(name)),
        (b"cprt", _text("No copyright, use freely")),
        (b"wtpt", _xyz(D50)),
        (b"chad", b"sf32\0\0\0\0" + _fixed(*_adaptation(white).flat)),
        *((name, _xyz(c)) for name, c in zip(_COLORANTS, colorants.T, strict=True)),
    ]
    power, srgb = b"para\0\0\0\0\0\0\0\0", b"para\0\0\0\0\0\x03\0\0"
    curve = power + _fixed(gamma) if gamma else srgb + _fixed(*CURVE)
    start = 132 + 12 * (len(tags) + len(_CURVES))
    table, body = b"", b""
    for tag, content in tags:
        table += tag + struct.pack(">2I", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    for tag in _CURVES:  # all three share one
        table += tag + struct.pack(">2I", start + len(body), len(curve))
    body += curve
    count = struct.pack(">I", len(tags) + len(_CURVES))
    return _header(start + len(body)) + count + table + body


def _adaptation(white: Matrix) -> Matrix:
    """(3, 3): XYZ relative to ``white`` -> relative to D50 (Bradford)."""
    cones = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    adaptation: Matrix = np.linalg.inv(BRADFORD) @ cones @ BRADFORD
    return adaptation


_COLORANTS = (b"rXYZ", b"gXYZ", b"bXYZ")
_CURVES = (b"rTRC", b"gTRC", b"bTRC")


def _header(size: int) -> bytes:
    """128 bytes; version 4.3, a display's profile, RGB to XYZ, dated to a fixed day."""
    day = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">I4xI", size, 0x04300000) + b"mntrRGB XYZ " + day + b"acsp" + bytes(28)
    return (head + _fixed(*D50)).ljust(128, b"\0")


def _text(text: str) -> bytes:
    raw = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII4sII", 1, 12, b"enUS", len(raw), 28) + raw


def _xyz(values: Matrix) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _fixed(*values: float) -> bytes:
    """s15Fixed16 numbers."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
