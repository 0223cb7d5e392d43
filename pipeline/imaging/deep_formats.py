"""PNG and TIFF writers: 16 bits a channel, with profile, EXIF and XMP.

Pillow has no RGB of 16 bits, and the libraries that do write no metadata beside it. PNG: W3C
Portable Network Graphics (third edition). TIFF: revision 6.0 with Adobe's deflate compression.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import OutputError
from pipeline.imaging import tiff_tags as ifd

Samples = npt.NDArray[Any]  # (H, W, 3 or 4) uint8 or uint16

LEVEL = 6  # of zlib
STRIP_BYTES = 1 << 18  # of a TIFF, before compression
LAST = 0xFFFFFFFF  # where a TIFF ends at the latest

# TIFF tags
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS = 0x100, 0x101, 0x102, 0x103, 0x106, 0x111
SAMPLES, ROWS, COUNTS, X_RESOLUTION, Y_RESOLUTION = 0x115, 0x116, 0x117, 0x11A, 0x11B
UNIT, PREDICTOR, EXTRA, XMP, ICC = 0x128, 0x13D, 0x152, 0x2BC, 0x8773
DEFLATE, RGB, INCH, DIFFERENCES, UNASSOCIATED = 8, 2, 2, 2, 2


# ---- PNG -----------------------------------------------------------------------------------


def write_png(
    file: IO[bytes],
    pixels: Samples,
    *,
    icc: bytes | None,
    exif: bytes = b"",
    xmp: bytes = b"",
    texts: Mapping[str, str],
) -> None:
    """Write a PNG; without a profile it states sRGB."""
    height, width, channels = pixels.shape
    kind = {3: 2, 4: 6}[channels]
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">2I5B", width, height, pixels.itemsize * 8, kind, 0, 0, 0))
    if icc is None:
        _chunk(file, b"sRGB", b"\0")
    else:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif:
        _chunk(file, b"eXIf", exif)
    for key, text in texts.items():
        _chunk(file, b"tEXt", f"{key}\0{text}".encode("latin-1", "replace"))
    if xmp:
        _chunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    for part in _compressed_rows(pixels):
        _chunk(file, b"IDAT", part)
    _chunk(file, b"IEND", b"")


def _chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _compressed_rows(pixels: Samples) -> list[bytes]:
    """Every row with the filter "Paeth" (4), which serves pictures best when it serves alone."""
    step = pixels.shape[2] * pixels.itemsize
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.ascontiguousarray(big).view(np.uint8).reshape(len(pixels), -1)
    deflate = zlib.compressobj(LEVEL)
    parts = []
    above = np.zeros(step + rows.shape[1], np.int16)  # with the pixel to its left, which is 0
    for row in rows:
        here = np.concatenate((above[:step] * 0, row))
        parts.append(deflate.compress(b"\4" + _paeth(here, above, step).tobytes()))
        above = here
    return [part for part in (*parts, deflate.flush()) if part]


def _paeth(here: npt.NDArray[np.int16], above: npt.NDArray[np.int16], step: int) -> Samples:
    """The row less, at each byte, that neighbour which is nearest to left + up - corner."""
    row, left, up, corner = here[step:], here[:-step], above[step:], above[:-step]
    from_left, from_up = np.abs(up - corner), np.abs(left - corner)
    from_corner = np.abs(left + up - 2 * corner)
    first = (from_left <= from_up) & (from_left <= from_corner)
    guess = np.where(first, left, np.where(from_up <= from_corner, up, corner))
    return (row - guess).astype(np.uint8)


# ---- TIFF ----------------------------------------------------------------------------------


def write_tiff(
    file: IO[bytes], pixels: Samples, directories: ifd.Directories, *, icc: bytes, xmp: bytes = b""
) -> None:
    """Write a TIFF; ``directories`` are its EXIF, in whose byte order all of it is written.

    Raises:
        OutputError: It would be larger than a TIFF can be, 4 GB.
    """
    order = directories.order
    height, width, channels = pixels.shape
    rows = max(1, STRIP_BYTES // (width * channels * pixels.itemsize))
    strips = [_strip(pixels[top : top + rows], order) for top in range(0, height, rows)]
    sizes = [len(strip) for strip in strips]
    starts = [8 + sum(sizes[:number]) for number in range(len(sizes))]
    end = 8 + sum(sizes)
    end += end % 2
    if end > LAST - (1 << 20):
        what = "the picture is larger than 4 GB, the limit of TIFF"
        raise OutputError(what, hint="choose a smaller size, or format: png")

    def short(*values: int) -> ifd.Value:
        return ifd.numbers(ifd.SHORT, *values, order=order)

    def long(*values: int) -> ifd.Value:
        return ifd.numbers(ifd.LONG, *values, order=order)

    resolution = (ifd.RATIONAL, 1, struct.pack(order + "2I", 72, 1))
    main = directories.main | {
        WIDTH: long(width),
        HEIGHT: long(height),
        BITS: short(*[pixels.itemsize * 8] * channels),
        COMPRESSION: short(DEFLATE),
        PHOTOMETRIC: short(RGB),
        OFFSETS: long(*starts),
        SAMPLES: short(channels),
        ROWS: long(rows),
        COUNTS: long(*sizes),
        X_RESOLUTION: resolution,
        Y_RESOLUTION: resolution,
        UNIT: short(INCH),
        PREDICTOR: short(DIFFERENCES),
        ICC: ifd.opaque(ifd.UNDEFINED, icc),
    }
    if channels == 4:
        main[EXTRA] = short(UNASSOCIATED)
    if xmp:
        main[XMP] = ifd.opaque(ifd.BYTE, xmp)
    file.write(ifd.header(order, end))
    for strip in strips:
        file.write(strip)
    file.write(bytes(end - 8 - sum(sizes)))
    file.write(ifd.block(ifd.Directories(order, main, directories.under), end))


def _strip(pixels: Samples, order: ifd.Order) -> bytes:
    """Rows as differences from the pixel to the left, compressed."""
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]  # modulo what a sample holds, as readers undo it
    return zlib.compress(differences.astype(pixels.dtype.newbyteorder(order)).tobytes(), LEVEL)
