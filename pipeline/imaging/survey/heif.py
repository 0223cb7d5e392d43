"""Reads the boxes of a HEIC or AVIF file that state the colours of its main picture.

Pillow and libheif turn YCbCr into RGB by the `nclx` property, but leave RGB in its own primaries.
(ISO/IEC 14496-12 and 23008-12.)
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.imaging.survey.stated_colors import NOTHING, Stated, by_code_points

MOST_META = 16 << 20
MOST_BOXES = 65_536

Box = tuple[bytes, bytes]  # type, content


def colours(file: BinaryIO) -> Stated:
    """What the main picture's `nclx` comes to; nothing where there is a profile, or no `nclx`."""
    try:
        found = {raw[:4]: raw for kind, raw in properties(file) if kind == b"colr"}
    except (struct.error, IndexError, ValueError):
        found = {}
    file.seek(0)
    nclx = found.get(b"nclx", b"")
    if len(nclx) < 8 or b"prof" in found or b"rICC" in found:
        return NOTHING
    return by_code_points(*struct.unpack_from(">2H", nclx, 4))


def properties(file: BinaryIO) -> list[Box]:
    """The properties of the main picture, in the order in which they count."""
    meta = list(_boxes(_meta(file)[4:]))
    primary = _number(_first(meta, b"pitm"))
    inner = list(_boxes(_first(meta, b"iprp")))
    known = list(_boxes(_first(inner, b"ipco")))
    links = (raw for kind, raw in inner if kind == b"ipma")
    numbers = [number for raw in links for item, number in _links(raw) if item == primary]
    return [known[number - 1] for number in numbers if 0 < number <= len(known)]


def _meta(file: BinaryIO) -> bytes:
    place = 0
    for _ in range(64):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            break
        size, kind = struct.unpack_from(">I4s", head)
        start = 8
        if size == 1:
            (size,), start = struct.unpack_from(">Q", head, 8), 16
        if kind == b"meta" and start <= size <= MOST_META:
            file.seek(place + start)
            return file.read(size - start)
        if size < start:
            break
        place += size
    return b""


def _boxes(raw: bytes) -> Iterator[Box]:
    place = 0
    while place + 8 <= len(raw):
        size, kind = struct.unpack_from(">I4s", raw, place)
        if size < 8:
            return
        yield kind, raw[place + 8 : place + size]
        place += size


def _first(boxes: list[Box], wanted: bytes) -> bytes:
    return next((raw for kind, raw in boxes if kind == wanted), b"")


def _number(pitm: bytes) -> int:
    return int(struct.unpack_from(">I" if pitm[:1] == b"\1" else ">H", pitm, 4)[0])


def _links(raw: bytes) -> Iterator[tuple[int, int]]:
    """Items and the numbers of their properties."""
    item, wide = (">I", 4) if raw[0] else (">H", 2), raw[3] & 1
    (count,), place = struct.unpack_from(">I", raw, 4), 8
    for _ in range(min(count, MOST_BOXES)):
        (number,) = struct.unpack_from(item[0], raw, place)
        place += item[1]
        linked, place = raw[place], place + 1
        for _ in range(linked):
            if wide:
                yield number, struct.unpack_from(">H", raw, place)[0] & 0x7FFF
            else:
                yield number, raw[place] & 0x7F
            place += 1 + wide
