"""What is served of an outbox: the gallery's data and small copies, and the files that it names.

Nothing else: no folder, no run log, no other file. The media type is decided by the file's name
alone, and is never that of a page or a program.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, BinaryIO

from pipeline.config.file_kinds import kind_of
from pipeline.gallery.entries import url
from pipeline.gallery.writer import FOLDER, PICTURES, arguments_in, chunk_name
from pipeline.outbox.thumbnails import NAME
from pipeline.system.file_version import Stamp
from pipeline.system.safe_files import opened, opened_folder

SCRIPT = "text/javascript; charset=utf-8"
HEAD = f"{FOLDER}/head.js"
_DATA = re.compile(rf"{re.escape(FOLDER)}/(head|chunk-[0-9]{{4,7}})\.js")
_COPY = re.compile(rf"{re.escape(FOLDER)}/{PICTURES}/({NAME.pattern})")


@dataclass(frozen=True, slots=True)
class Opened:
    """A file to be sent; whoever gets it closes it."""

    file: BinaryIO
    size: int
    kind: str  # media type
    mark: str  # another one for another version of the file
    lasting: bool  # whether this address never shows anything else


class OutboxFiles:
    """The files of one outbox, for several threads."""

    def __init__(self, outbox: Path) -> None:
        self.outbox = outbox
        self._named: set[str] = set()
        self._read: tuple[object, int] = (None, 0)  # the head's version, and chunks read so far
        self._lock = Lock()

    def open(self, path: str) -> Opened | None:
        """The file at a path of the outbox, if it may be seen and is there."""
        data, copy = _DATA.fullmatch(path), _COPY.fullmatch(path)
        kind = SCRIPT if data else _media(path)
        if not kind or not (data or copy or self._is_named(path)):
            return None
        try:
            return self._opened(PurePosixPath(path), kind, bool(copy))
        except (OSError, ValueError):
            return None

    def _opened(self, place: PurePosixPath, kind: str, lasting: bool) -> Opened | None:
        with opened_folder(self.outbox, place.parent.parts) as folder:
            file = opened(place.name, folder=folder)
        found = os.fstat(file.fileno())
        mark = f'"{Stamp.of(found)}"'
        return Opened(file, found.st_size, kind, mark, lasting)

    def _is_named(self, path: str) -> bool:
        with suppress(UnicodeEncodeError), self._lock:
            address = url(path)
            if address not in self._named:
                self._learn()
            return address in self._named
        return False

    def _learn(self) -> None:
        """Read the entries that the gallery has added since the last time."""
        head = self.outbox / HEAD
        try:
            version = Stamp.of(head.stat())
            if version == self._read[0]:
                return
            chunks = int(arguments_in(head)[0]["chunks"])
            first = max(1, min(self._read[1], chunks))
            for number in range(first, chunks + 1):
                for entry in arguments_in(self.outbox / FOLDER / chunk_name(number))[1]:
                    self._named.update(_addresses(entry))
            self._read = (version, chunks)
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            return  # being written again: the next request reads it


def _media(path: str) -> str:
    kind = kind_of(path)
    return kind.media if kind else ""


def _addresses(entry: Any) -> list[str]:
    pictures = [*entry.get("pictures", ()), *entry.get("stills", ())]
    named = [picture["url"] for picture in pictures]
    return [*named, entry["timelapse"]] if "timelapse" in entry else named
