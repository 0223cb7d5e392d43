"""The outbox as a page to look at: what ``runs.jsonl`` says, for a browser without a server.

    outbox/index.html              the page: markup, style and program; written once per version
    outbox/.gallery/head.js        how many chunks there are, and how far into runs.jsonl they tell
    outbox/.gallery/chunk-0001.js  100 lines each, in the order of the run log
    outbox/.gallery/pictures/      small copies of photos and results (see thumbnails.py)

A page opened from ``file://`` may load scripts but not fetch, so the data are scripts. For a new
result only the last chunk and the head are written, each under a temporary name that is then
renamed: the cost is bounded however much is there already, and no reader sees half a file. The
page itself folds the chunks: the newest line of a pair counts, so a line told twice, as after a
crash between chunk and head, does no harm.

Nothing here is the only copy of anything: a gallery that is missing or damaged is told anew from
the run log. Only the small copies cannot be made again without decoding strangers' photos, which
this process never does; the page then shows the results themselves.
"""

import errno
import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.disk import disk_errors
from pipeline.errors import OutputError
from pipeline.exhibits import exhibit
from pipeline.outbox import RUN_LOG
from pipeline.thumbnails import NAME

FOLDER = ".gallery"
PICTURES = "pictures"
CHUNK = 100  # lines in one data file: some 300 kB, written in two milliseconds
PAGE = Path(__file__).parent / "page"
SCRIPTS = ("entries.js", "wall.js", "zoom.js", "viewer.js", "page.js")

_MARK = b"<!doctype html>\n<!-- pipeline gallery "
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Head:
    """How far the gallery has got."""

    chunks: int = 0
    told: int = 0  # bytes of the run log


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

    def keep(self, staged: Path) -> None:
        """Take the small copies that a worker left in ``staged``; may be repeated."""
        with disk_errors(self.pictures), suppress(FileNotFoundError):
            copies = [path for path in staged.iterdir() if NAME.fullmatch(path.name)]
            self._own_folders()
            for path in copies:
                path.replace(self.pictures / path.name)

    def update(self) -> int:
        """Show what the run log says since the last time; returns how many lines were told.

        Costs one look at the log's size when there is nothing new.
        """
        with disk_errors(self.folder):
            size = _size(self.outbox / RUN_LOG)
            if self._head is not None and size == self._head.told:
                return 0
            self._own_folders()
            if self._head is None or not (self.folder / "head.js").exists():
                self._head = self._opened()
            if size < self._head.told:
                # The log was put away and begun anew: what was told stays, all of it is news.
                self._head = Head(self._head.chunks)
            return self._tell(self._head)

    def rebuild(self) -> None:
        """Forget all that was told, and tell it again from the run log."""
        with disk_errors(self.folder):
            self._own_folders()
            for path in self.folder.glob("*.js"):
                path.unlink()
            self._head = None
        self.update()

    # --- chunks -------------------------------------------------------------------------

    def _tell(self, head: Head) -> int:
        count, chunks, told = 0, head.chunks, head.told
        for line, end in _lines(self.outbox / RUN_LOG, head.told):
            told = end
            shown = line and exhibit(line, self.outbox, self.pictures)
            if not shown:
                continue
            if chunks == 0 or len(self._last) >= CHUNK:
                self._write_chunk(chunks)
                chunks, self._last = chunks + 1, []
            self._last.append(json.dumps(shown, separators=(",", ":")))
            count += 1
        if count:
            self._write_chunk(chunks)
        self._write_head(Head(chunks, told))
        return count

    def _write_chunk(self, number: int) -> None:
        if number:
            text = f"gallery.chunk({number},[\n" + ",\n".join(self._last) + "\n])\n"
            self._write(self._chunk(number), text.encode("ascii"))

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
            head = Head(**_call(self.folder / "head.js")[0])
            if head.chunks:
                last = _call(self._chunk(head.chunks))[1]
                self._last = [json.dumps(shown, separators=(",", ":")) for shown in last]
            if all(_size(self._chunk(number)) for number in range(1, head.chunks)):
                return head
        except (OSError, ValueError, TypeError, IndexError, RecursionError):
            pass
        self._last = []
        return Head()

    def _chunk(self, number: int) -> Path:
        return self.folder / f"chunk-{number:04}.js"

    # --- files --------------------------------------------------------------------------

    def _write_page(self) -> None:
        """The page, unless this very version stands there already."""
        path = self.outbox / "index.html"
        text = page()
        standing = _start(path, len(text) + 1)
        if standing == text:
            return
        if standing is not None and not standing.startswith(_MARK):
            raise OutputError(
                "a file that is not ours has this name",
                where=str(path),
                mend="rename it: the gallery comes there",
            )
        self._write(path, text)

    def _write(self, path: Path, content: bytes) -> None:
        spare = self.folder / (path.name + ".new")
        try:
            with os.fdopen(os.open(spare, _WRITE, 0o644), "wb") as file:
                file.write(content)
            spare.replace(path)
        except OSError:
            spare.unlink(missing_ok=True)
            raise

    def _own_folders(self) -> None:
        for folder in (self.folder, self.pictures):
            with suppress(FileExistsError):
                folder.mkdir()
            if folder.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))


# --- the page -------------------------------------------------------------------------------


@cache
def page() -> bytes:
    """The whole page: style and program put into the markup, and nothing else allowed to run."""
    style = (PAGE / "gallery.css").read_text("utf-8")
    body = "".join((PAGE / name).read_text("utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{body}}})();\n'
    # Scripts and pictures come from beside the page and from nowhere else; no text of a file name
    # or of the log can become a program.
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}' 'self' file:"
    )
    text = (PAGE / "gallery.html").read_text("utf-8")
    for name, value in (("POLICY", policy), ("STYLE", style), ("SCRIPT", script)):
        text = text.replace(f"@{name}@", value)
    content = text.encode()
    return _MARK + hashlib.sha256(content).hexdigest()[:12].encode() + b" -->\n" + content


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


# --- reading --------------------------------------------------------------------------------


def _lines(log: Path, start: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Lines of the run log from byte ``start`` on, each with the byte behind it.

    None stands for what is no object: a line torn by a crash, or somebody's own note.
    """
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        for raw in file:
            if not raw.endswith(b"\n"):
                return  # still being written
            start += len(raw)
            line = None
            with suppress(ValueError, RecursionError):
                line = json.loads(raw)
            yield line if isinstance(line, dict) else None, start


def _call(path: Path) -> list[Any]:
    """Arguments of the one call that a data file of ours holds."""
    text = path.read_text("ascii")
    return list(json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _start(path: Path, count: int) -> bytes | None:
    """The first bytes of a file; None where nothing stands."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        return None
