"""Checks TIFF files before Pillow decodes them: which page is the photo, and what it holds.

TIFF has more ways to store a picture than any decoder knows, and of some of them Pillow makes wrong
pixels without an error. What it decodes right is listed here, as the tests found it, and all else
is refused by name. (TIFF 6.0, and BigTIFF as libtiff writes it.)
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pipeline.imaging.decode_errors import unsupported
from pipeline.imaging.survey.stated_colors import NOTHING, Stated, by_chromaticities

SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION = 254, 255, 256, 257, 258, 259
PHOTOMETRIC, FILL_ORDER, SAMPLES, PLANAR = 262, 266, 277, 284
WHITE, PRIMARIES, SUB_DIRECTORIES, EXTRA, FORMAT = 318, 319, 330, 338, 339
SUBSAMPLING, PROFILE = 530, 34675
REDUCED, MASK = 1, 4  # bits of NewSubfileType
WANTED = frozenset({
    SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER,
    SAMPLES, PLANAR, WHITE, PRIMARIES, SUB_DIRECTORIES, EXTRA, FORMAT, SUBSAMPLING, PROFILE,
})  # fmt: skip
MOST_ENTRIES, MOST_VALUES = 4096, 16
TYPES = {1: "B", 3: "H", 4: "I", 5: "II", 7: "B", 13: "I", 16: "Q"}

INK, LIGHT, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
KINDS = {INK: "grey", LIGHT: "grey", RGB: "RGB", PALETTE: "palette", CMYK: "CMYK", YCBCR: "YCbCr",
         LAB: "Lab", 4: "mask", 9: "ICC Lab", 10: "ITU Lab", 32803: "raw sensor data", 34892: "raw",
         32844: "LogL", 32845: "LogLuv"}  # fmt: skip
COLOURS = {INK: 1, LIGHT: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}  # samples of each
WHOLE, SIGNED, FLOAT = 1, 2, 3
FORMATS = {WHOLE: "whole numbers", SIGNED: "signed numbers", FLOAT: "floats"}
DECODED = {  # photometric -> sample format and bits
    INK: {(WHOLE, 1), (WHOLE, 2), (WHOLE, 4), (WHOLE, 8), (WHOLE, 16)},
    LIGHT: {(WHOLE, 1), (WHOLE, 2), (WHOLE, 4), (WHOLE, 8), (WHOLE, 16), (WHOLE, 32),
            (SIGNED, 8), (SIGNED, 16), (SIGNED, 32), (FLOAT, 32)},
    RGB: {(WHOLE, 8), (WHOLE, 16)},
    PALETTE: {(WHOLE, 1), (WHOLE, 2), (WHOLE, 4), (WHOLE, 8)},
    CMYK: {(WHOLE, 8), (WHOLE, 16)},
    YCBCR: {(WHOLE, 8)},
    LAB: {(WHOLE, 8)},
}  # fmt: skip
NONE, OLD_JPEG = 1, 6
COMPRESSIONS = {NONE: "none", 2: "CCITT", 3: "CCITT G3", 4: "CCITT G4", 5: "LZW", 7: "JPEG",
                OLD_JPEG: "old JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate",
                34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}  # fmt: skip

Order = Literal["<", ">"]
Tags = Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Tiff:
    """The page to be decoded, and how its numbers are meant."""

    page: int = 0
    photometric: int = LIGHT
    format: int = WHOLE
    bits: int = 8
    colours: Stated = NOTHING
    described: str = ""


def survey(file: BinaryIO, most_pages: int) -> Tiff:
    """The first page that is a whole picture, and neither a small copy of one nor a mask.

    Where a program has marked all of them as small copies, it is the largest.

    Raises:
        InputError: There is none, or Pillow would not decode it right.
    """
    pages = list(_pages(file, most_pages))
    file.seek(0)
    if not pages:
        return Tiff()  # cut off: Pillow reports it
    if file.read(4) == b"MM\0+":
        raise unsupported("a BigTIFF in big-endian order")  # Pillow takes it for a small TIFF
    page = _photo(pages)
    tags = pages[page]
    _check(tags, _order(file))
    return Tiff(
        page, _one(tags, PHOTOMETRIC, INK), _one(tags, FORMAT, WHOLE), _one(tags, BITS, 1),
        NOTHING if PROFILE in tags else _colours(tags), _described(tags),
    )  # fmt: skip


def _photo(pages: Sequence[Tags]) -> int:
    """The number of the page that is the photo."""
    whole = [number for number, tags in enumerate(pages) if not _is_part(tags)]
    if whole:
        return whole[0]
    pictures = [n for n, tags in enumerate(pages) if not _one(tags, SUBFILE, 0) & MASK]
    if not pictures or any(SUB_DIRECTORIES in tags for tags in pages):
        raise unsupported(
            "a TIFF with only thumbnails or masks; the picture itself is elsewhere in it"
        )
    areas = {n: _one(pages[n], WIDTH, 0) * _one(pages[n], HEIGHT, 0) for n in pictures}
    return max(pictures, key=lambda number: areas[number])


# ---- Directories ---------------------------------------------------------------------------


def _order(file: BinaryIO) -> Order:
    file.seek(0)
    order: Order = ">" if file.read(2) == b"MM" else "<"
    file.seek(0)
    return order


def _pages(file: BinaryIO, most: int) -> Iterator[Tags]:
    """The directories of the main chain, until one is a whole picture."""
    order = _order(file)
    head = file.read(16)
    big = head[2:4] in (b"+\0", b"\0+")
    at, seen = struct.unpack_from(order + "Q", head, 8)[0] if big else 0, set[int]()
    if not big:
        (at,) = struct.unpack_from(order + "I", head, 4)
    while at and at not in seen and len(seen) < most:
        seen.add(at)
        try:
            tags, at = _directory(file, at, order, big)
        except (struct.error, OverflowError, ValueError):
            return
        yield tags
        if not _is_part(tags):
            return


def _directory(file: BinaryIO, at: int, order: Order, big: bool) -> tuple[Tags, int]:
    number, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    file.seek(at)
    (count,) = struct.unpack(order + number, file.read(struct.calcsize(order + number)))
    if count > MOST_ENTRIES:
        return {}, 0
    table = file.read(count * entry)
    (following,) = struct.unpack(order + offset, file.read(struct.calcsize(order + offset)))
    tags = {}
    for place in range(0, count * entry, entry):
        tag, kind, length = struct.unpack_from(order + "HH" + offset, table, place)
        if tag in WANTED and kind in TYPES:
            value = table[place + entry - struct.calcsize(order + offset) : place + entry]
            tags[tag] = _values(file, value, kind, min(length, MOST_VALUES), order, length, offset)
    return tags, following


def _values(
    file: BinaryIO, value: bytes, kind: int, count: int, order: Order, length: int, offset: str
) -> tuple[int, ...]:
    letters = TYPES[kind]
    if struct.calcsize(order + letters) * length > len(value):
        file.seek(struct.unpack(order + offset, value)[0])
        value = file.read(struct.calcsize(order + letters) * count)
    return struct.unpack_from(order + letters * count, value)


def _one(tags: Tags, tag: int, default: int) -> int:
    return (tags.get(tag) or (default,))[0]


def _is_part(tags: Tags) -> bool:
    """Whether this is a small copy of another picture, or a mask."""
    return bool(_one(tags, SUBFILE, 0) & (REDUCED | MASK)) or _one(tags, OLD_SUBFILE, 1) == 2


# ---- What Pillow decodes right -------------------------------------------------------------


def _check(tags: Tags, order: Order) -> None:
    compression = _one(tags, COMPRESSION, NONE)
    if compression not in COMPRESSIONS:
        raise unsupported(f"a TIFF with an unsupported compression ({compression})")
    if compression == OLD_JPEG:
        return  # it states little of itself; libtiff knows it all
    photometric = _one(tags, PHOTOMETRIC, INK)
    bits, formats = set(tags.get(BITS, (1,))), set(tags.get(FORMAT, (WHOLE,)))
    samples = _one(tags, SAMPLES, 1)
    if photometric not in DECODED or samples < COLOURS[photometric]:
        raise unsupported(f"a kind of TIFF that is not supported: {_described(tags)}")
    sample = (max(formats), max(bits))
    right = len(bits) == len(formats) == 1 and sample in DECODED[photometric]
    planes = _one(tags, PLANAR, 1) == 2 and samples > 1
    if planes and photometric not in (RGB, CMYK, YCBCR):
        right = False  # it loses the alpha of greys
    extra = tags.get(EXTRA, ())
    if planes and compression == NONE:
        # Pillow takes each plane for bytes, and knows no planes of these.
        right = right and max(bits) == 8 and photometric in (RGB, CMYK) and extra in ((), (2,))
    if max(bits) in (16, 32) and sample != (WHOLE, 16) and order == ">":
        right = right and compression == NONE  # else it turns the bytes around twice
    if max(bits) > 8 and _one(tags, FILL_ORDER, 1) == 2:
        right = False
    if photometric == YCBCR and compression == NONE:
        right = right and tags.get(SUBSAMPLING, (2, 2)) == (1, 1)
    if not right:
        raise unsupported(f"a kind of TIFF that is not supported: {_described(tags)}")


def _described(tags: Tags) -> str:
    photometric, samples = _one(tags, PHOTOMETRIC, INK), _one(tags, SAMPLES, 1)
    kind = KINDS.get(photometric, f"photometric {photometric}")
    bits = "/".join(map(str, sorted(set(tags.get(BITS, (1,))))))
    formats = " and ".join(
        FORMATS.get(one, f"sample format {one}") for one in sorted(set(tags.get(FORMAT, (WHOLE,))))
    )
    planes = ", a plane for each" if _one(tags, PLANAR, 1) == 2 and samples > 1 else ""
    compression = COMPRESSIONS.get(_one(tags, COMPRESSION, NONE), "")
    packed = f", {compression}" if compression not in ("", "none") else ""
    return f"{kind} of {samples} samples of {bits} bits, {formats}{planes}{packed}"


def _colours(tags: Tags) -> Stated:
    """The chromaticities that scanners write where they have no profile."""
    white, space = tags.get(WHITE, ()), tags.get(PRIMARIES, ())
    if len(space) != 12:
        return NOTHING
    numbers = [a / b if b else 0.0 for a, b in zip(space[::2], space[1::2], strict=True)]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if len(white) == 4 and white[1] and white[3]:
        pairs.append((white[0] / white[1], white[2] / white[3]))
    else:
        pairs.append((0.3127, 0.3290))
    return by_chromaticities(pairs, 0.0)
