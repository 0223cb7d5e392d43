"""Which photos in the inbox are still, and why the other files are not taken.

The scan is the truth: it reads the whole folder at the start, on a timer and whenever the watcher
wakes it. It knows no difference between a file that was there before, arrived while nobody looked,
or was moved in. Names are data: any bytes but "/" and NUL, kept by surrogateescape.
"""

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import Reason, StateError
from pipeline.jobs import Failure
from pipeline.sidecar import governing, is_side_file
from pipeline.stamp import Stamp, being_written, lacks_end, unreadable

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
)

# Files and folders that are not meant for us, whatever they hold; matched without regard to case.
IGNORED = (
    ".*",  # hidden, and so also ._* (macOS), .~lock.* , .syncthing.*.tmp, .stversions, .nfs*
    "~*",  # ~$* of Office, ~syncthing~*
    "*~",  # editors' backups
    "*.part",
    "*.partial",
    "*.crdownload",  # downloads that are not complete
    "*.download",
    "*.filepart",
    "*.tmp",
    "*.yaml",  # side files with options for a photo
    "*.yml",
    "@eaDir",  # Synology's thumbnails
    "#recycle",
    "#snapshot",
    "Thumbs.db",
    "desktop.ini",
)
MAX_DEPTH = 64  # of folders in folders, where a file system shows a folder inside itself
ASK_AGAIN_SECONDS = 0.5  # how soon to look again at a file that somebody holds open

PATIENCE = 3  # settling times that a picture without its end is waited for


@dataclass(frozen=True, slots=True)
class Found:
    """A picture by its name, still: it may be read now."""

    content: str  # relative to the inbox, "/" between folders
    path: Path
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Refused:
    """A file or folder that is not taken.

    ``version`` is the file's stamp where another version of the file might be taken, and "" where
    the reason lies in the name or the kind: the two together say what to report only once.
    """

    content: str
    path: Path
    failure: Failure
    status: Literal["failed", "skipped"]
    version: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """One reading of the whole inbox."""

    still: tuple[Found, ...]
    unsettled: Mapping[str, str]  # content -> why it is not taken yet
    refused: tuple[Refused, ...]
    sides: Mapping[str, Found]  # side files, by their path relative to the inbox
    next_look: float | None  # monotonic seconds when something unsettled may be still
    changed: bool  # whether still or refused differ from the scan before


@dataclass(frozen=True, slots=True)
class _Wait:
    """Not yet, and when to look again."""

    why: str
    due: float


@dataclass(slots=True)
class _Look:
    """A version of a file, since when it has been seen, and what was decided about it."""

    stamp: Stamp
    since: float
    verdict: Found | Refused | None = None


class Inbox:
    """The folder into which photos are dropped.

    Args:
        root: The folder.
        settle_seconds: A file is still once it has not changed for this long.
        ignore: Patterns of names to leave alone, besides IGNORED.
    """

    def __init__(self, root: Path, settle_seconds: float, ignore: Sequence[str] = ()) -> None:
        self.root = root
        patterns = (fnmatch.translate(pattern.lower()) for pattern in (*IGNORED, *ignore))
        self._ignored = re.compile("|".join(patterns))
        self._settle = settle_seconds
        self._device: int | None = None
        self._looks: dict[str, _Look] = {}
        self._last: tuple[object, ...] | None = None

    def scan(self, now: float, wall: float) -> Scan:
        """Read the inbox through, without waiting for anything.

        A file is still if size, times and inode have not changed for the settling time between
        scans. One whose times lie further back than that by the wall clock is so at first sight;
        a file from the future waits to be looked at twice.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.

        Raises:
            StateError: The inbox is gone, cannot be read, or another disk is mounted over it.
                This is never taken for an empty inbox.
        """
        self._check_root()
        looks: dict[str, _Look] = {}
        still: list[Found] = []
        refused: list[Refused] = []
        waiting: dict[str, _Wait] = {}
        sides: dict[str, Found] = {}
        for sight in self._walk():
            if isinstance(sight, Refused):
                refused.append(sight)
                continue
            content, path, status = sight
            look = looks[content] = self._look(content, status, now)
            verdict = look.verdict or self._judge(content, path, status, look, now, wall)
            if isinstance(verdict, Found) and is_side_file(content):
                sides[content] = verdict
                refused.append(Refused(content, verdict.path, _SIDE_FILE, "skipped"))
            elif isinstance(verdict, Found):
                still.append(verdict)
            elif isinstance(verdict, Refused):
                refused.append(verdict)
            else:
                waiting[content] = verdict
        self._looks = looks
        return self._sum_up(still, tuple(refused), waiting, sides)

    def _sum_up(
        self,
        found: list[Found],
        refused: tuple[Refused, ...],
        waiting: dict[str, _Wait],
        sides: Mapping[str, Found],
    ) -> Scan:
        if any(map(is_side_file, waiting)):
            # Who is told how a photo is wanted must have finished telling.
            for file in found:
                side = next((s for s in governing(file.content) if s in waiting), None)
                if side is not None:
                    waiting[file.content] = _Wait("its side file still changes", waiting[side].due)
            found = [file for file in found if file.content not in waiting]
        still = tuple(found)
        now = (still, refused, tuple(sides.values()))
        changed, self._last = now != self._last, now
        why = {content: wait.why for content, wait in waiting.items()}
        due = min((wait.due for wait in waiting.values()), default=None)
        return Scan(still, why, refused, sides, due, changed)

    def _look(self, content: str, status: os.stat_result, now: float) -> _Look:
        """What is remembered of this version of a file, or that it is seen for the first time."""
        before = self._looks.get(content)
        # Compared field by field, the likeliest to differ first: ten thousand times a scan.
        if (
            before is not None
            and before.stamp.mtime_ns == status.st_mtime_ns
            and before.stamp.size == status.st_size
            and before.stamp.ctime_ns == status.st_ctime_ns
            and before.stamp.inode == status.st_ino
        ):
            return before
        return _Look(Stamp.of(status), now)

    def _judge(
        self, content: str, name: str, status: os.stat_result, look: _Look, now: float, wall: float
    ) -> Found | Refused | _Wait:
        """Decide about a version of a file, once it is still."""
        path = Path(name)
        failure = None if is_side_file(content) else self._by_name(path.name)
        if failure is not None:
            look.verdict = Refused(content, path, failure, "skipped")
            return look.verdict
        stamp, due = look.stamp, look.since + self._settle
        newest = max(stamp.mtime_ns, stamp.ctime_ns) / 1e9
        if now < due and wall - newest < self._settle:
            return _Wait("still changing", due)
        if status.st_nlink > 1:
            # Whoever holds the other name may change what we read, or have us delete what is his.
            look.verdict = Refused(content, path, _HARD_LINK, "skipped", str(stamp))
            return look.verdict
        if stamp.size == 0 and not is_side_file(content):
            empty = Failure(Reason.TRUNCATED, "the file is empty")
            look.verdict = Refused(content, path, empty, "failed", str(stamp))
            return look.verdict
        try:
            if being_written(path):
                return _Wait("open for writing in another program", now + ASK_AGAIN_SECONDS)
            patience = PATIENCE * self._settle
            impatient = now >= look.since + patience or wall - newest >= patience
            if not impatient and lacks_end(path):
                return _Wait("its end is still missing", look.since + patience)
        except (FileNotFoundError, NotADirectoryError):
            return _Wait("gone while it was looked at", now)
        except OSError as error:
            # Not kept: a share may come back without any change to the file.
            return Refused(content, path, unreadable(error), "failed", str(stamp))
        look.verdict = Found(content, path, stamp)
        return look.verdict

    def _check_root(self) -> None:
        where = str(self.root)
        try:
            device = self.root.stat().st_dev
        except OSError as error:
            what = f"the inbox cannot be read: {os.strerror(error.errno or 0).lower()}"
            mend = "create the folder, or mount its disk again; nothing is taken for deleted"
            raise StateError(what, where=where, mend=mend) from error
        if self._device not in (None, device):
            mend = "mount the right one again, or start anew if this is meant"
            raise StateError("another disk lies under the inbox now", where=where, mend=mend)
        self._device = device

    # --- reading the folder -------------------------------------------------------------

    def _walk(self) -> Iterator[tuple[str, str, os.stat_result] | Refused]:
        """Every regular file as (content, path, status), and what is no such thing, by name."""
        root = self.root
        folders = [("", os.fspath(root), 0)]
        while folders:
            prefix, folder, depth = folders.pop()
            try:
                entries = _entries(folder)
            except OSError as error:
                if not prefix:
                    where = str(root)
                    raise StateError("the inbox cannot be read", where=where) from error
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    yield Refused(prefix[:-1], Path(folder), unreadable(error), "failed")
                continue
            below = []
            for entry in entries:
                content = prefix + entry.name
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:  # gone since, or out of reach until the next scan
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield content, entry.path, status
                    continue
                failure = self._by_kind(entry.name, status.st_mode, depth)
                if failure is not None:
                    yield Refused(content, Path(entry.path), failure, "skipped")
                if stat.S_ISDIR(status.st_mode) and _may_enter(failure):
                    below.append((f"{content}/", entry.path, depth + 1))
            folders.extend(reversed(below))

    def _by_kind(self, name: str, mode: int, depth: int) -> Failure | None:
        """Why something that is not a regular file is refused; None for a plain folder."""
        if self._ignored.match(name.lower()):
            return Failure(Reason.IGNORED, "its name is on the list of names that are ignored")
        if not stat.S_ISDIR(mode):
            kind = next(word for test, word in _KINDS if test(mode))
            return Failure(Reason.NOT_REGULAR_FILE, f"is {kind}, not a regular file")
        if depth >= MAX_DEPTH:
            return Failure(Reason.IGNORED, f"lies more than {MAX_DEPTH} folders deep")
        if _suffix(name) in PICTURE_SUFFIXES:
            # Reported, because somebody may take it for a picture; entered, because the pictures in
            # it are pictures like any other.
            return Failure(Reason.NOT_REGULAR_FILE, "is a folder, not a regular file")
        return None

    def _by_name(self, name: str) -> Failure | None:
        """Why a regular file is refused for its name."""
        if self._ignored.match(name.lower()):
            return Failure(Reason.IGNORED, "its name is on the list of names that are ignored")
        suffix = _suffix(name)
        if suffix not in PICTURE_SUFFIXES:
            given = f"{suffix!a} is no picture" if suffix else "no suffix tells a picture"
            return Failure(Reason.UNSUPPORTED_FORMAT, f"{given}; accepted: {_ACCEPTED}")
        return None


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


_SIDE_FILE = Failure(Reason.IGNORED, "is a side file: options for photos, not a photo")
_HARD_LINK = Failure(Reason.HARDLINKED, "has a second name (hard link): copy it instead")
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda _mode: True, "a device"),
)


def _may_enter(failure: Failure | None) -> bool:
    return failure is None or failure.code is Reason.NOT_REGULAR_FILE


_ACCEPTED = " ".join(sorted(PICTURE_SUFFIXES))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path costs ten times as much
