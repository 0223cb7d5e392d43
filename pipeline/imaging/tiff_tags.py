"""Reads and writes directories of tagged values, the structure of TIFF files and EXIF.

Values stay the bytes that they are, in the file's own byte order: nothing is interpreted but what
leads from one directory to the next. Whatever untrusted bytes claim, no more is read than the
bounds below, so a megabyte of EXIF cannot become gigabytes of tags. (TIFF 6.0, EXIF 2.32.)
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import InputError

Order = Literal["<", ">"]
Value = tuple[int, int, bytes]  # type, count, the values themselves
Entries = dict[int, Value]

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
EXIF, GPS = 0x8769, 0x8825  # tags of a main directory that lead to another one
MAX_ENTRIES = 256
MAX_VALUE = 16_384  # bytes of one value
MAX_TOTAL = 48_000  # bytes of all; a JPEG takes 65,533 with what is around them


@dataclass(frozen=True, slots=True)
class Directories:
    """The main directory of a file, and those it leads to, by the tag that does."""

    order: Order = "<"
    main: Entries = field(default_factory=dict)
    under: Mapping[int, Entries] = field(default_factory=dict)


# --- values ---------------------------------------------------------------------------------


def text(value: str) -> Value:
    """An ASCII value; what is not ASCII becomes a question mark."""
    raw = value.replace("\0", " ").encode("ascii", "replace") + b"\0"
    return ASCII, len(raw), raw


def numbers(kind: int, *values: int, order: Order = "<") -> Value:
    """A value of one or more whole numbers: ``BYTE``, ``SHORT`` or ``LONG``."""
    letter = {BYTE: "B", SHORT: "H", LONG: "I"}[kind]
    return kind, len(values), struct.pack(f"{order}{len(values)}{letter}", *values)


def opaque(kind: int, raw: bytes) -> Value:
    """``BYTE`` or ``UNDEFINED`` bytes."""
    return kind, len(raw), raw


# --- reading --------------------------------------------------------------------------------


def read(data: bytes) -> Directories:
    """The directories that ``data`` (EXIF, with its mark or without, or a TIFF) begins with.

    What is out of bounds, too large or of an unknown type is left out.

    Raises:
        InputError: This is no such structure at all.
    """
    data = data.removeprefix(b"Exif\0\0")
    heads: dict[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">"}
    order = heads.get(data[:4])
    if order is None or len(data) < 8:
        raise InputError("these are not TIFF tags")
    main = _entries(data, struct.unpack_from(order + "I", data, 4)[0], order)
    under = {}
    for tag in (EXIF, GPS):
        kind, count, raw = main.pop(tag, (0, 0, b""))
        if (kind, count) in ((LONG, 1), (13, 1)):
            under[tag] = _entries(data, struct.unpack(order + "I", raw)[0], order)
    return Directories(order, main, under)


def _entries(data: bytes, offset: int, order: Order) -> Entries:
    if offset + 2 > len(data):
        return {}
    (count,) = struct.unpack_from(order + "H", data, offset)
    found: Entries = {}
    total = 0
    for number in range(min(count, MAX_ENTRIES)):
        place = offset + 2 + 12 * number
        if place + 12 > len(data):
            break
        tag, kind, length = struct.unpack_from(order + "HHI", data, place)
        size = SIZES.get(kind, 0) * length
        if size > 4:
            (place,) = struct.unpack_from(order + "I", data, place + 8)
        else:
            place += 8
        total += size
        if 0 < size <= MAX_VALUE and total <= MAX_TOTAL and place + size <= len(data):
            found.setdefault(tag, (kind, length, data[place : place + size]))
    return found


# --- writing --------------------------------------------------------------------------------


def write(directories: Directories) -> bytes:
    """The bytes of an EXIF block, without its mark."""
    return header(directories.order, 8) + block(directories, 8)


def header(order: Order, offset: int) -> bytes:
    """The first 8 bytes; ``offset`` is where the main directory will stand."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offset)


def block(directories: Directories, offset: int) -> bytes:
    """All directories as they stand at ``offset`` (even) of a file."""
    order, main = directories.order, dict(directories.main)
    under = {tag: entries for tag, entries in directories.under.items() if entries}
    main |= {tag: numbers(LONG, 0, order=order) for tag in under}  # so that the size is right
    place = offset + len(_directory(main, offset, order))
    parts = []
    for tag, entries in under.items():
        main[tag] = numbers(LONG, place, order=order)
        parts.append(_directory(entries, place, order))
        place += len(parts[-1])
    return _directory(main, offset, order) + b"".join(parts)


def _directory(entries: Entries, offset: int, order: Order) -> bytes:
    table = struct.pack(order + "H", len(entries))
    place = offset + 2 + 12 * len(entries) + 4
    body = b""
    for tag, (kind, count, raw) in sorted(entries.items()):
        table += struct.pack(order + "HHI", tag, kind, count)
        if len(raw) <= 4:
            table += raw.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", place + len(body))
            body += raw + bytes(len(raw) % 2)  # values begin at even places
    return table + bytes(4) + body  # no further directory
