"""Writes the gallery: the contents of ``runs.jsonl`` as a page that needs no server.

    outbox/index.html              the page: markup, style and scripts; written once per version
    outbox/.gallery/head.js        how many chunks there are, and how far into runs.jsonl they reach
    outbox/.gallery/chunk-0001.js  100 lines each, in the order of the run log
    outbox/.gallery/pictures/      small copies of photos, paintings and results (thumbnails.py),
                                   and maps of what a picture learned where (learned_map.py)

A page opened from ``file://`` may load scripts but not fetch data, so the data files are scripts. A
new result rewrites only the last chunk and the head, each under a temporary name that is then
renamed: the cost does not grow with the gallery, and no reader sees half a file. The page merges
the chunks: the newest line of a pair counts, so a line that a crash between chunk and head caused
to be written twice does no harm.

Nothing here is the only copy: a missing or damaged gallery is rebuilt from the run log. Only the
small copies and maps cannot be rebuilt, because this process never decodes untrusted photos; the
page then shows the results themselves.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.errors import OutputError
from pipeline.gallery.entries import REDACTOR, make_entry
from pipeline.gallery.page import MARK, build_page
from pipeline.outbox.learned_map import MOST_BYTES, LearnedMap
from pipeline.outbox.names import GALLERY, PAGE, RUN_LOG
from pipeline.outbox.thumbnails import (
    MAP_NAME,
    NAME,
    STAGED_MAP_NAME,
    large_name,
    map_name,
    small_name,
)
from pipeline.system.safe_files import disk_errors, opened, read_bounded, write_whole

FOLDER = GALLERY
PICTURES = "pictures"
MOST_OF_A_LINE = 4 << 20  # bytes of the run log
MOST_AT_ONCE = 64 << 20  # bytes read per update, so a damaged log of any size blocks nothing
MOST_OF_A_CHUNK = 64 << 20
CHUNK = 100  # lines in one data file: about 300 kB, written in 2 ms
TIDY_SECONDS, TIDY_AGAIN_SECONDS = 3600.0, 86400.0

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """How many chunks there are, and how much of the run log they cover."""

    chunks: int = 0
    covered: int = 0  # bytes of the run log that the gallery covers; `told` in head.js
    form: int = 1  # version of the data; 0: it may name folders of the machine

    @classmethod
    def parse(cls, facts: dict[str, Any]) -> Self:
        """The head as head.js states it; the first versions of the data name no form.

        Raises:
            TypeError: It has other keys.
        """
        found = {"form": 0} | facts
        return cls(covered=found.pop("told", 0), **found)

    def as_json(self) -> str:
        """The same for head.js, with the names that the page and existing outboxes have."""
        return json.dumps({"chunks": self.chunks, "told": self.covered, "form": self.form})


class Gallery:
    """The gallery of an outbox. Creating the object touches no file.

    Raises:
        OutputError: From every method, when a file cannot be written or another program's file has
            its name. The pictures are not affected; the next call tries again.
    """

    def __init__(self, outbox: Path) -> None:
        self.outbox = outbox
        self.folder = outbox / FOLDER
        self.pictures = self.folder / PICTURES
        self._head: Head | None = None
        self._last: list[str] = []  # JSON texts of the last chunk
        self._has_written = False

    def take_copies(self, staged: Path, replaced: Iterable[str] = ()) -> None:
        """Move the small copies and the map that a worker staged to the gallery; may be repeated.

        Args:
            staged: The folder that holds them.
            replaced: SHA-256 of the pictures that were replaced: their copies are removed.
        """
        with disk_errors(self.pictures), suppress(FileNotFoundError):
            present = list(staged.iterdir())
            self._create_folders()
            for path in present:
                if NAME.fullmatch(path.name):
                    path.replace(self.pictures / path.name)
                elif STAGED_MAP_NAME.fullmatch(path.name):
                    self._take_map(path)
        self.remove_copies(replaced)

    def remove_copies(self, removed: Iterable[str]) -> None:
        """Remove the copies of pictures (SHA-256) that are in the outbox no more."""
        with disk_errors(self.pictures):
            for name in (name for sha256 in removed for name in _names_of(sha256)):
                (self.pictures / name).unlink(missing_ok=True)

    def _take_map(self, staged: Path) -> None:
        """Write the script of a staged map: of its checked numbers, so that no other text can run.

        What is no map is left out; the picture does not need it.
        """
        with suppress(ValueError):
            found = LearnedMap.parse(read_bounded(staged, MOST_BYTES))
            name = staged.name.removesuffix("on")  # .json -> .js
            text = f'gallery.map("{name}",{found.as_json()})\n'
            self._write(self.pictures / name, text.encode("ascii"))

    def remove_unused_copies(self, kept: Iterable[str] = ()) -> int:
        """Remove copies that no picture on the page refers to any more; return how many.

        Copies of pictures with a SHA-256 in ``kept`` stay: these pictures may be restored.

        Reads all entries, so it works only at the end of a run that wrote some, and at most once a
        day. Copies made within an hour before the last entry was written stay.
        """
        if self._head is None or not self._has_written:
            return 0
        with disk_errors(self.pictures), suppress(FileNotFoundError, ValueError, LookupError):
            mark, updated_at = self.folder / "tidied", (self.folder / "head.js").stat().st_mtime
            if mark.exists() and abs(updated_at - mark.stat().st_mtime) < TIDY_AGAIN_SECONDS:
                return 0  # a mark with a time to come is of a clock that was wrong
            write_whole(mark, b"")
            until = updated_at - TIDY_SECONDS
            named = {
                name
                for entry in self._current_entries(self._head.chunks)
                for name in _copies(entry)
            }
            named |= {name for sha256 in kept for name in _names_of(sha256)}
            named |= {name for each in named for name in self._paintings_of(each)}
            copies = [path for path in self.pictures.iterdir() if _is_copy(path.name)]
            old = [p for p in copies if p.name not in named and p.stat().st_mtime < until]
            for path in old:
                path.unlink(missing_ok=True)
            return len(old)
        return 0

    def _paintings_of(self, name: str) -> list[str]:
        """The copies of paintings that a map refers to; none where the file is no map."""
        if not MAP_NAME.fullmatch(name):
            return []
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            found = read_arguments(self.pictures / name)[1]
            return [str(each["picture"]) for each in found["paintings"]]
        return []

    def _current_entries(self, chunks: int) -> Iterator[Entry]:
        """The entries on the page: the newest of each pair, or of each photo that had its name."""
        newest: dict[Sequence[Any], Entry] = {}
        places: dict[Sequence[Any], Sequence[Any]] = {}
        for number in range(1, chunks + 1):
            for entry in read_arguments(self._chunk(number))[1]:
                if entry.get("pruned"):
                    for place in _places(entry):
                        newest.pop(place, None)
                elif entry["status"] == "done":
                    photo, place = _photo_and_place(entry)
                    before = places.get(photo, place)
                    if newest.get(before, entry).get("sha") == entry.get("sha"):
                        newest.pop(before, None)
                    newest[place], places[photo] = entry, place
        yield from newest.values()

    def update(self) -> int:
        """Add the new lines of the run log to the gallery; return how many entries were written.

        Costs one stat of the log when there is nothing new.
        """
        with disk_errors(self.folder):
            size = _size(self.outbox / RUN_LOG)
            if self._head is not None and size == self._head.covered:
                return 0
            self._create_folders()
            if self._head is None or not (self.folder / "head.js").exists():
                self._head = self._load()
            if size < self._head.covered:
                # The log was moved away and started again: keep entries, read all of it.
                self._head = Head(self._head.chunks)
            return self._append_entries(self._head)

    def rebuild(self) -> None:
        """Discard all entries and write them again from the run log."""
        with disk_errors(self.folder):
            self._create_folders()
            for path in self.folder.glob("*.js"):
                path.unlink()
            self._head = None
        self.update()

    # --- chunks -------------------------------------------------------------------------

    def _append_entries(self, head: Head) -> int:
        count, chunks, covered = 0, head.chunks, head.covered
        for line, end in _read_lines(self.outbox / RUN_LOG, head.covered):
            covered = end
            entry = line and make_entry(line, self.pictures)
            if not entry:
                continue
            if chunks == 0 or len(self._last) >= CHUNK:
                self._write_chunk(chunks)
                chunks, self._last = chunks + 1, []
            self._last.append(_to_json(entry))
            count += 1
        if count:
            self._has_written = True
            self._write_chunk(chunks)
        self._write_head(Head(chunks, covered))
        return count

    def _write_chunk(self, number: int) -> None:
        if number:
            self._write_lines(number, self._last)

    def _write_lines(self, number: int, lines: Iterable[str]) -> None:
        text = f"gallery.chunk({number},[\n" + ",\n".join(lines) + "\n])\n"
        self._write(self._chunk(number), text.encode("ascii"))

    def _upgrade(self, chunks: int) -> None:
        """Convert the data of an older version, each file in one step."""
        for number in range(1, chunks + 1):
            entries = read_arguments(self._chunk(number))[1]
            self._write_lines(number, [_to_json(REDACTOR.redact_line(entry)) for entry in entries])

    def _write_head(self, head: Head) -> None:
        if head != self._head or not (self.folder / "head.js").exists():
            text = f"gallery.head({head.as_json()})\n"
            self._write(self.folder / "head.js", text.encode("ascii"))
        self._head = head

    def _load(self) -> Head:
        """Read the gallery from the disk; an empty one when any part is missing or damaged."""
        self._write_page()
        self._last = []
        try:
            head = Head.parse(read_arguments(self.folder / "head.js")[0])
            if head.form == 0:
                self._upgrade(head.chunks)
                head = Head(head.chunks, head.covered)
                self._write_head(head)
            if head.chunks:
                last = read_arguments(self._chunk(head.chunks))[1]
                self._last = [_to_json(entry) for entry in last]
            if all(_size(self._chunk(number)) for number in range(1, head.chunks)):
                return head
        except (OSError, ValueError, TypeError, IndexError, RecursionError):
            pass
        self._last = []
        return Head()

    def _chunk(self, number: int) -> Path:
        return self.folder / chunk_name(number)

    # --- files --------------------------------------------------------------------------

    def _write_page(self) -> None:
        """Write the page, unless exactly this version exists already."""
        path = self.outbox / PAGE
        text = build_page()
        existing = _read_start(path, len(text) + 1)
        if existing == text:
            return
        if existing is not None and not existing.startswith(MARK):
            raise OutputError(
                "a file that this program did not write has this name",
                where=str(path),
                hint="rename it, because the gallery needs this name",
            )
        self._write(path, text)

    def _write(self, path: Path, content: bytes) -> None:
        write_whole(path, content, spare=self.folder / (path.name + ".new"))

    def _create_folders(self) -> None:
        for folder in (self.folder, self.pictures):
            with suppress(FileExistsError):
                folder.mkdir()
            if folder.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))


# --- reading --------------------------------------------------------------------------------


def _read_lines(log: Path, start: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Lines of the run log from byte ``start`` on, each with the offset of its end.

    None stands for anything that is no JSON object: a line cut by a crash, a note that someone
    added, part of an overlong line. After ``MOST_AT_ONCE`` bytes, the rest waits for the next call.
    """
    try:
        file = opened(log)
    except FileNotFoundError:
        return
    until = start + MOST_AT_ONCE
    with file:
        file.seek(start)
        while start < until and (raw := file.readline(MOST_OF_A_LINE)):
            if not raw.endswith(b"\n") and len(raw) < MOST_OF_A_LINE:
                return  # still being written
            start += len(raw)
            line = None
            with suppress(ValueError, RecursionError):
                line = json.loads(raw) if raw.startswith(b"{") else None
            yield line if isinstance(line, dict) else None, start


def read_arguments(path: Path) -> list[Any]:
    """Arguments of the one function call that a data file holds."""
    text = read_bounded(path, MOST_OF_A_CHUNK).decode("ascii")
    return list(json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]"))


def chunk_name(number: int) -> str:
    """The data file with that number, counted from 1."""
    return f"chunk-{number:04}.js"


def _photo_and_place(entry: Entry) -> tuple[Sequence[Any], Sequence[Any]]:
    """Keys of an entry's photo and of its picture's place, computed as entries.js does."""
    return (entry["content"], entry["style"], entry.get("sha")), _places(entry)[0]


def _places(entry: Entry) -> list[Sequence[Any]]:
    """Keys of the places of all its pictures."""
    pair = entry["content"], entry["style"]
    return [(*pair, picture["url"].rpartition(".")[0]) for picture in entry["pictures"]]


def _to_json(entry: Entry) -> str:
    return json.dumps(entry, separators=(",", ":"))


def _copies(entry: Entry) -> Iterator[str]:
    """Names of the small copies and of the map that an entry refers to."""
    for picture in entry["pictures"]:
        yield from filter(None, (picture.get("small"), picture.get("view")))
    yield from filter(None, (entry.get("photo"), entry.get("before"), entry.get("map")))


def _names_of(sha256: str) -> tuple[str, ...]:
    """What the gallery has of a result."""
    return small_name(sha256), large_name(sha256), map_name(sha256)


def _is_copy(name: str) -> bool:
    return bool(NAME.fullmatch(name) or MAP_NAME.fullmatch(name))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read_start(path: Path, count: int) -> bytes | None:
    """The first bytes of a file; None when there is none."""
    try:
        with opened(path) as file:
            return file.read(count)
    except FileNotFoundError:
        return None
