"""Writes the gallery: the contents of ``runs.jsonl`` as a page that needs no server.

    outbox/index.html              the page: markup, style and program; written once per version
    outbox/.gallery/head.js        how many chunks there are, and how far into runs.jsonl they reach
    outbox/.gallery/chunk-0001.js  100 lines each, in the order of the run log
    outbox/.gallery/pictures/      small copies of photos and results (see thumbnails.py)

A page opened from ``file://`` may load scripts but not fetch, so the data are scripts. For a new
result only the last chunk and the head are written, each under a temporary name that is then
renamed: the cost is bounded however much is there already, and no reader sees half a file. The
page itself folds the chunks: the newest line of a pair counts, so a line written twice, as after a
crash between chunk and head, does no harm.

Nothing here is the only copy of anything: a gallery that is missing or damaged is written again
from the run log. Only the small copies cannot be made again without decoding untrusted photos,
which this process never does; the page then shows the results themselves.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import OutputError
from pipeline.gallery.entries import REDACTOR, make_entry
from pipeline.gallery.page import MARK, page
from pipeline.outbox.names import GALLERY, PAGE, RUN_LOG
from pipeline.outbox.thumbnails import NAME, large_name, small_name
from pipeline.system.safe_files import disk_errors, opened, read_bounded, write_whole

FOLDER = GALLERY
PICTURES = "pictures"
MOST_OF_A_LINE = 4 << 20  # bytes of the run log
MOST_AT_ONCE = 64 << 20  # of it: a damaged log of any size is gone through without a stop
MOST_OF_A_CHUNK = 64 << 20
CHUNK = 100  # lines in one data file: some 300 kB, written in two milliseconds
TIDY_SECONDS, TIDY_AGAIN_SECONDS = 3600.0, 86400.0

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """How far the gallery has got."""

    chunks: int = 0
    told: int = 0  # bytes of the run log that have been written; the name stands in head.js
    form: int = 1  # of the data; 0: they may name folders of the machine


class Gallery:
    """The page of an outbox. Building one touches no file.

    Raises:
        OutputError: From every method, when the disk does not take it, or a file that is not ours
            stands in the way. Nothing of it concerns the pictures; the next call tries again.
    """

    def __init__(self, outbox: Path) -> None:
        self.outbox = outbox
        self.folder = outbox / FOLDER
        self.pictures = self.folder / PICTURES
        self._head: Head | None = None
        self._last: list[str] = []  # JSON texts of the last chunk
        self._wrote_some = False

    def take_copies(self, staged: Path, replaced: Iterable[str] = ()) -> None:
        """Move the small copies that a worker left in ``staged`` to the gallery; may be repeated.

        Args:
            staged: The folder.
            replaced: SHA-256 of the pictures that the new ones took the place of: their copies go.
        """
        with disk_errors(self.pictures), suppress(FileNotFoundError):
            copies = [path for path in staged.iterdir() if NAME.fullmatch(path.name)]
            self._create_folders()
            for path in copies:
                path.replace(self.pictures / path.name)
            for sha256 in replaced:
                for name in (small_name(sha256), large_name(sha256)):
                    (self.pictures / name).unlink(missing_ok=True)

    def remove_unused_copies(self, kept: Iterable[str] = ()) -> int:
        """Remove copies that no picture on the page refers to any more; returns how many.

        Those of pictures with the SHA-256 in ``kept``, which may be back one day, stay.

        Reads all entries, so it is for the end of a run that wrote some, and works once a day at
        most. Copies made within an hour before the last entry was written stay.
        """
        if self._head is None or not self._wrote_some:
            return 0
        with disk_errors(self.pictures), suppress(FileNotFoundError, ValueError, LookupError):
            mark, told_at = self.folder / "tidied", (self.folder / "head.js").stat().st_mtime
            if mark.exists() and told_at - mark.stat().st_mtime < TIDY_AGAIN_SECONDS:
                return 0
            write_whole(mark, b"")
            until = told_at - TIDY_SECONDS
            named = {
                name for entry in self._shown_entries(self._head.chunks) for name in _copies(entry)
            }
            named |= {name(sha256) for sha256 in kept for name in (small_name, large_name)}
            copies = [path for path in self.pictures.iterdir() if NAME.fullmatch(path.name)]
            old = [p for p in copies if p.name not in named and p.stat().st_mtime < until]
            for path in old:
                path.unlink(missing_ok=True)
            return len(old)
        return 0

    def _shown_entries(self, chunks: int) -> Iterator[Shown]:
        """The entries on the page: the newest of each pair, or of each photo that had its name."""
        newest: dict[Sequence[Any], Shown] = {}
        places: dict[Sequence[Any], Sequence[Any]] = {}
        for number in range(1, chunks + 1):
            for entry in arguments_in(self._chunk(number))[1]:
                if entry["status"] == "done":
                    photo, place = _photo_and_place(entry)
                    before = places.get(photo, place)
                    if newest.get(before, entry).get("sha") == entry.get("sha"):
                        newest.pop(before, None)
                    newest[place], places[photo] = entry, place
        yield from newest.values()

    def update(self) -> int:
        """Show what the run log says since the last time; returns how many lines were written.

        Costs one stat of the log when there is nothing new.
        """
        with disk_errors(self.folder):
            size = _size(self.outbox / RUN_LOG)
            if self._head is not None and size == self._head.told:
                return 0
            self._create_folders()
            if self._head is None or not (self.folder / "head.js").exists():
                self._head = self._opened()
            if size < self._head.told:
                # The log was moved away and started again: existing entries stay, all of it is new.
                self._head = Head(self._head.chunks)
            return self._append_entries(self._head)

    def rebuild(self) -> None:
        """Discard all entries, and write them again from the run log."""
        with disk_errors(self.folder):
            self._create_folders()
            for path in self.folder.glob("*.js"):
                path.unlink()
            self._head = None
        self.update()

    # --- chunks -------------------------------------------------------------------------

    def _append_entries(self, head: Head) -> int:
        count, chunks, told = 0, head.chunks, head.told
        for line, end in _lines(self.outbox / RUN_LOG, head.told):
            told = end
            shown = line and make_entry(line, self.pictures)
            if not shown:
                continue
            if chunks == 0 or len(self._last) >= CHUNK:
                self._write_chunk(chunks)
                chunks, self._last = chunks + 1, []
            self._last.append(_as_text(shown))
            count += 1
        if count:
            self._wrote_some = True
            self._write_chunk(chunks)
        self._write_head(Head(chunks, told))
        return count

    def _write_chunk(self, number: int) -> None:
        if number:
            self._write_lines(number, self._last)

    def _write_lines(self, number: int, lines: Iterable[str]) -> None:
        text = f"gallery.chunk({number},[\n" + ",\n".join(lines) + "\n])\n"
        self._write(self._chunk(number), text.encode("ascii"))

    def _upgrade(self, chunks: int) -> None:
        """Bring data that an older version wrote into the present form, each file in one step."""
        for number in range(1, chunks + 1):
            entries = arguments_in(self._chunk(number))[1]
            self._write_lines(number, [_as_text(REDACTOR.redact_line(entry)) for entry in entries])

    def _write_head(self, head: Head) -> None:
        if head != self._head or not (self.folder / "head.js").exists():
            text = f"gallery.head({json.dumps(asdict(head))})\n"
            self._write(self.folder / "head.js", text.encode("ascii"))
        self._head = head

    def _opened(self) -> Head:
        """What stands on the disk; an empty gallery when any of it is missing or damaged."""
        self._write_page()
        self._last = []
        try:
            head = Head(**{"form": 0} | arguments_in(self.folder / "head.js")[0])
            if head.form == 0:
                self._upgrade(head.chunks)
                head = Head(head.chunks, head.told)
                self._write_head(head)
            if head.chunks:
                last = arguments_in(self._chunk(head.chunks))[1]
                self._last = [_as_text(shown) for shown in last]
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
        """The page, unless this very version stands there already."""
        path = self.outbox / PAGE
        text = page()
        standing = _start(path, len(text) + 1)
        if standing == text:
            return
        if standing is not None and not standing.startswith(MARK):
            raise OutputError(
                "a file that this program did not write has this name",
                where=str(path),
                hint="rename it: the gallery's page gets this name",
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


def _lines(log: Path, start: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Lines of the run log from byte ``start`` on, each with the byte behind it.

    None stands for what is no object: a line torn by a crash, somebody's own note, a part of what
    is too long to be a line. What is left after ``MOST_AT_ONCE`` bytes has its turn the next time.
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


def arguments_in(path: Path) -> list[Any]:
    """Arguments of the one call that a data file of ours holds."""
    text = read_bounded(path, MOST_OF_A_CHUNK).decode("ascii")
    return list(json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]"))


def chunk_name(number: int) -> str:
    """The data file with that number, counted from 1."""
    return f"chunk-{number:04}.js"


def _photo_and_place(entry: Shown) -> tuple[Sequence[Any], Sequence[Any]]:
    """What an entry is about, and where its picture stands; entries.js does the same."""
    pair = entry["content"], entry["style"]
    return (*pair, entry.get("sha")), (*pair, entry["pictures"][0]["url"].rpartition(".")[0])


def _as_text(shown: Shown) -> str:
    return json.dumps(shown, separators=(",", ":"))


def _copies(entry: Shown) -> Iterator[str]:
    """Names of the small copies that an entry shows."""
    for picture in entry["pictures"]:
        yield from filter(None, (picture.get("small"), picture.get("view")))
    yield from filter(None, (entry.get("photo"), entry.get("before")))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _start(path: Path, count: int) -> bytes | None:
    """The first bytes of a file; None where nothing stands."""
    try:
        with opened(path) as file:
            return file.read(count)
    except FileNotFoundError:
        return None
