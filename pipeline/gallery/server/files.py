"""Opens the files of an outbox that may be served: gallery data, small copies, pictures it names.

Nothing else is served: no folder, no run log, no other file. The file name alone decides the media
type, which is never that of a page or a script, except for the gallery data.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, BinaryIO

from pipeline.config.file_kinds import kind_of
from pipeline.gallery.entries import relative_url
from pipeline.gallery.writer import FOLDER, PICTURES, chunk_name, read_arguments
from pipeline.outbox.thumbnails import MAP_NAME, NAME
from pipeline.system.file_version import Stamp
from pipeline.system.safe_files import opened, opened_folder

SCRIPT = "text/javascript; charset=utf-8"
HEAD = f"{FOLDER}/head.js"
_DATA = re.compile(rf"{re.escape(FOLDER)}/(head|chunk-[0-9]{{4,7}})\.js")
_MAP = re.compile(rf"{re.escape(FOLDER)}/{PICTURES}/{MAP_NAME.pattern}")
_COPY = re.compile(rf"{re.escape(FOLDER)}/{PICTURES}/({NAME.pattern})")


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file to be sent; the caller closes it."""

    file: BinaryIO
    size: int
    kind: str  # media type
    etag: str  # differs for each version of the file
    immutable: bool  # whether the content at this address never changes


class OutboxFiles:
    """The files of one outbox, for several threads."""

    def __init__(self, outbox: Path) -> None:
        self.outbox = outbox
        self._named: dict[str, tuple[str, str]] = {}  # address -> photo and style
        self._loaded: tuple[object, int] = (None, 0)  # version of the head, chunks read so far
        self._lock = Lock()

    def open(self, path: str) -> Opened | None:
        """Open a file of the outbox; None when it does not exist or may not be served."""
        data, copy = _DATA.fullmatch(path) or _MAP.fullmatch(path), _COPY.fullmatch(path)
        kind = SCRIPT if data else media_type(path)
        if not kind or not (data or copy or self.pair_of(path)):
            return None
        try:
            return self._open(PurePosixPath(path), kind, bool(copy))
        except (OSError, ValueError):
            return None

    def _open(self, place: PurePosixPath, kind: str, immutable: bool) -> Opened | None:
        with opened_folder(self.outbox, place.parent.parts) as folder:
            file = opened(place.name, folder=folder)
        found = os.fstat(file.fileno())
        etag = f'"{Stamp.of(found)}"'
        return Opened(file, found.st_size, kind, etag, immutable)

    def pair_of(self, path: str) -> tuple[str, str] | None:
        """Photo and style of a picture that the gallery names; both are as untrusted as its log."""
        with suppress(UnicodeEncodeError), self._lock:
            address = relative_url(path)
            if address not in self._named:
                self._load_new_entries()
            return self._named.get(address)
        return None

    def _load_new_entries(self) -> None:
        """Read the entries that the gallery has added since the last call."""
        head = self.outbox / HEAD
        try:
            version = Stamp.of(head.stat())
            if version == self._loaded[0]:
                return
            chunks = int(read_arguments(head)[0]["chunks"])
            first = max(1, min(self._loaded[1], chunks))
            for number in range(first, chunks + 1):
                for entry in read_arguments(self.outbox / FOLDER / chunk_name(number))[1]:
                    pair = str(entry["content"]), str(entry["style"])
                    self._named.update(dict.fromkeys(_urls(entry), pair))
            self._loaded = (version, chunks)
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            return  # the gallery is being rewritten: the next request reads it


def media_type(path: str) -> str:
    kind = kind_of(path)
    return kind.media if kind else ""


def _urls(entry: Any) -> list[str]:
    pictures = [*entry.get("pictures", ()), *entry.get("stills", ())]
    named = [picture["url"] for picture in pictures]
    return [*named, entry["timelapse"]] if "timelapse" in entry else named
