"""Turns colours that a file states in numbers instead of a profile into an ICC profile.

PNG states them in cICP, or in cHRM and gAMA; HEIC and AVIF in `nclx`; TIFF in its
PrimaryChromaticities; cameras set to Adobe RGB in EXIF. Code points are those of ITU-T H.273.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.imaging.icc_profiles import PRIMARIES, matrix_profile, rgb_to_d50

XY = tuple[float, float]

D65: XY = (0.3127, 0.3290)
C: XY = (0.310, 0.316)
DCI: XY = (0.314, 0.351)
SRGB = (*PRIMARIES["srgb"], D65)
SMPTE_170M = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65)
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
ADOBE_GAMMA = 563 / 256
# Code point of the primaries -> x, y of red, green, blue and white.
SPACES: dict[int, tuple[XY, ...]] = {
    1: SRGB,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: SMPTE_170M,
    7: SMPTE_170M,
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: (*PRIMARIES["display-p3"], DCI),
    12: (*PRIMARIES["display-p3"], D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
# Code point of the transfer -> exponent; 0 is the curve of sRGB. The curves of television (1, 6,
# 14, 15) are shown by browsers and phones as sRGB, which differs by what a dim room does.
CURVES = {1: 0.0, 4: 2.2, 5: 2.8, 6: 0.0, 8: 1.0, 13: 0.0, 14: 0.0, 15: 0.0}
UNSPECIFIED = (0, 2, 3)
HDR = {16: "PQ", 18: "HLG"}
ALIKE = 0.002  # in x and y: finer than cHRM of one camera and the next
ALIKE_GAMMA = 0.02  # 1 / 0.45455 is how many programs write sRGB


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file's numbers come to.

    Attributes:
        icc: A profile of the same colours; empty where that is sRGB, or nothing is stated.
        note: What of it is not understood: it is read as sRGB.
        hdr: The name of its HDR transfer, PQ or HLG.
    """

    icc: bytes = b""
    note: str = ""
    hdr: str = ""


NOTHING = Stated()


def by_code_points(primaries: int, transfer: int) -> Stated:
    """The colours of cICP or `nclx`."""
    if transfer in HDR:
        return Stated(hdr=HDR[transfer])
    space = SRGB if primaries in UNSPECIFIED else SPACES.get(primaries)
    gamma = 0.0 if transfer in UNSPECIFIED else CURVES.get(transfer)
    if space is None or gamma is None:
        what = f"colour primaries {primaries} with transfer {transfer} (ITU-T H.273)"
        return Stated(note=f"{what}, which are not known here")
    return _stated(space, gamma)


def by_chromaticities(space: Sequence[XY] | None, gamma: float) -> Stated:
    """The colours of red, green, blue and white in x, y, and an exponent (0: that of sRGB)."""
    if space is not None and not _possible(space):
        return Stated(note="the chromaticities it states are impossible")
    if not 0.2 < gamma < 8 and gamma:
        return Stated(note=f"the gamma it states, {gamma:.3g}, is impossible")
    return _stated(space or SRGB, 0.0 if abs(gamma - 2.2) < ALIKE_GAMMA else gamma)


def adobe_rgb() -> Stated:
    """What EXIF calls option R03."""
    return _stated(ADOBE_RGB, ADOBE_GAMMA)


def _possible(space: Sequence[XY]) -> bool:
    if any(not (0 <= x <= 1 and 0.001 < y <= 1) for x, y in space):
        return False
    (rx, ry), (gx, gy), (bx, by), _ = space
    area = (gx - rx) * (by - ry) - (bx - rx) * (gy - ry)
    return abs(area) > 0.01


def _stated(space: Sequence[XY], gamma: float) -> Stated:
    if gamma == 0 and np.abs(np.array(space) - np.array(SRGB)).max() < ALIKE:
        return NOTHING
    x, y = space[3]
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    name = "stated in the file"
    return Stated(matrix_profile(name, rgb_to_d50(space[:3], white), white, gamma))
