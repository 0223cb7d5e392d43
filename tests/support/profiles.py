"""ICC profiles as files carry them."""

import struct

import numpy as np

ADOBE = np.array(  # Adobe RGB (1998) primaries on D50, columns R, G, B
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)


def profile_bytes(space: bytes, gamma: float = 2.19921875) -> bytes:
    """A version 2 ICC profile: Adobe RGB's primaries, or a grey of the given gamma."""
    curve = b"curv" + struct.pack(">4xIH2x", 1, round(gamma * 256))
    tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for name, column in zip(b"rgb", ADOBE.T, strict=True):
            tags[bytes([name]) + b"XYZ"] = xyz(*column)
            tags[bytes([name]) + b"TRC"] = curve
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    header = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"", 0x02100000, b"mntr", space, b"XYZ "
    )
    header = header.ljust(36, b"\0") + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))
