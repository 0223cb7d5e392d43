"""Checks PNG files before Pillow decodes them: checksums, metadata, stated colours.

Pillow checks no sum of the pixels, refuses the whole picture for a wrong sum or a large text beside
it, and does not know cICP. (W3C, Portable Network Graphics, third edition.)
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.imaging.decode_errors import damaged, unsupported
from pipeline.imaging.survey.stated_colors import NOTHING, Stated, by_chromaticities, by_code_points

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 1 << 20
GREY, RGB = 0, 2  # colour types
# The picture itself. tRNS is ancillary by name, and yet it states which pixels are visible.
PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT"))
TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
COLOURS = frozenset((b"cICP", b"sRGB", b"cHRM", b"gAMA"))
NUMBERS = COLOURS | {b"IHDR", b"tRNS"}
XMP = b"XML:com.adobe.xmp\0"
NAMES = {b"iCCP": "colour profile", b"eXIf": "EXIF", b"iTXt": "XMP"}  # named in notes if left out


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    start: int  # of the whole chunk in the file
    data: int  # bytes
    intact: bool


@dataclass(slots=True)
class Png:
    """A PNG that Pillow can read, and what was found in it."""

    file: BinaryIO
    colours: Stated = NOTHING
    first: bool = False  # whether ``colours`` count before a profile
    notes: list[str] = field(default_factory=list)
    transparent: int | None = None  # the grey that is, of 8 bits, where Pillow gets it wrong


def survey(file: BinaryIO, max_exif: int, max_icc: int) -> Png:
    """The PNG without the metadata that is damaged or beyond its limit.

    Raises:
        InputError: A checksum of its pixels is wrong, or Pillow would not decode it right.
    """
    found = Png(file)
    kept: list[_Chunk] = []
    numbers: dict[bytes, bytes] = {}
    left_out = False
    room = max_exif  # for texts of which nothing is used
    for chunk in _chunks(file):
        if not chunk.intact and chunk.kind in PIXELS:
            raise damaged(f"the checksum of its pixels is wrong ({chunk.kind.decode()})")
        name, size = _measured(file, chunk, max(max_exif, max_icc))
        limit = max_icc if chunk.kind == b"iCCP" else max_exif if name else room
        if name is not None and name == "":
            room -= min(size, room)
        if (chunk.intact or chunk.kind == b"IEND") and (name is None or size <= limit):
            kept.append(chunk)
            if chunk.kind in NUMBERS:
                numbers[chunk.kind] = _content(file, chunk)
            continue
        left_out = True
        if name or chunk.kind in COLOURS:
            why = "beyond its limit" if chunk.intact else "damaged"
            found.notes.append(f"its {name or chunk.kind.decode()} is {why}: ignored")
    file.seek(0)
    if left_out:
        found.file = _without_the_rest(file, kept)
    found.first = _read_colors(found, numbers)
    found.transparent = _transparent(numbers)
    return found


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    """All chunks up to the end, or up to where the file is cut off: that is for Pillow to say."""
    place = len(SIGNATURE)
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        check, left = zlib.crc32(kind), size
        while left and (block := file.read(min(BLOCK, left))):
            check = zlib.crc32(block, check)
            left -= len(block)
        end = file.read(4)
        if left or len(end) < 4:
            return
        yield _Chunk(kind, place, size, struct.unpack(">I", end)[0] == check)
        place += 12 + size
        if kind == b"IEND":
            return


def _content(file: BinaryIO, chunk: _Chunk) -> bytes:
    file.seek(chunk.start + 8)
    return file.read(min(chunk.data, 64))


def _measured(file: BinaryIO, chunk: _Chunk, most: int) -> tuple[str | None, int]:
    """What kind of metadata a chunk is ("": a text that is not used), and its size unpacked.

    None for a chunk that is no metadata. Unpacks no more than ``most`` bytes.
    """
    if chunk.kind not in TEXTS and chunk.kind not in NAMES:
        return None, 0
    file.seek(chunk.start + 8)
    raw = file.read(min(chunk.data, most + 4096))
    name = NAMES.get(chunk.kind, "")
    if chunk.kind == b"iTXt" and not raw.startswith(XMP):
        name = ""
    if raw.startswith(b"Raw profile type exif\0"):  # ImageMagick's
        name = "EXIF"
    return name, chunk.data + _unpacked(chunk.kind, raw, most)


def _unpacked(kind: bytes, raw: bytes, most: int) -> int:
    """How many more bytes a compressed chunk unpacks to; one more than ``most`` at the most."""
    _, _, rest = raw.partition(b"\0")
    if kind == b"iTXt":
        if not rest.startswith(b"\1"):  # it is not compressed
            return 0
        rest = rest[2:].split(b"\0", 2)[-1]
    elif kind in (b"zTXt", b"iCCP"):
        rest = rest[1:]
    else:
        return 0
    try:
        return len(zlib.decompressobj().decompress(rest, most + 1))
    except zlib.error:
        return 0  # Pillow leaves out what is no such thing


def _without_the_rest(file: BinaryIO, kept: list[_Chunk]) -> BinaryIO:
    copy = io.BytesIO()
    copy.write(SIGNATURE)
    for chunk in kept:
        file.seek(chunk.start)
        left = 12 + chunk.data
        while left and (block := file.read(min(BLOCK, left))):
            copy.write(block)
            left -= len(block)
    copy.seek(0)
    return copy


def _read_colors(found: Png, numbers: dict[bytes, bytes]) -> bool:
    """Understand the numbers; returns whether they count before a profile, as cICP does."""
    if len(numbers.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full = numbers[b"cICP"]
        if (matrix, full) == (0, 1):
            found.colours = by_code_points(primaries, transfer)
            if not found.colours.note:
                return True
            found.notes.append(f"{found.colours.note}: not used")
        else:
            found.notes.append("its cICP is of YCbCr or of narrow range: not used")
    if b"sRGB" in numbers:
        found.colours = NOTHING
        return False
    gamma, space = numbers.get(b"gAMA", b""), None
    if len(numbers.get(b"cHRM", b"")) == 32:
        white, *rest = zip(*[iter(_fractions(numbers[b"cHRM"]))] * 2, strict=True)
        space = [*rest, white]
    stored = _fractions(gamma)[0] if len(gamma) == 4 else 0.0
    found.colours = by_chromaticities(space, 1 / stored if stored else 0.0)
    if found.colours.note:
        found.notes.append(f"{found.colours.note}: not used")
    return False


def _transparent(numbers: dict[bytes, bytes]) -> int | None:
    """The one grey declared transparent; Pillow takes 2 or 4 bits of it for 8."""
    head, key = numbers.get(b"IHDR", b""), numbers.get(b"tRNS", b"")
    if len(head) != 13 or not key:
        return None
    depth, kind = head[8], head[9]
    if depth == 16 and kind in (GREY, RGB):
        raise unsupported("a 16-bit PNG in which one colour is declared transparent")
    if kind == GREY and depth in (2, 4) and len(key) == 2:
        return int(struct.unpack(">H", key)[0] * 255 / (2**depth - 1))
    return None


def _fractions(raw: bytes) -> list[float]:
    return [number / 100_000 for number in struct.unpack(f">{len(raw) // 4}I", raw)]
