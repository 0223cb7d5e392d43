"""Which photos in the inbox are still, and why the other files are not taken.

The scan is the truth: it reads the whole folder at the start, on a timer and whenever the watcher
wakes it. It knows no difference between a file that was there before, arrived while nobody looked,
or was moved in.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.sidecar import is_side_file, side_files_of
from pipeline.errors import Failure, InboxError, Reason
from pipeline.inbox.settling import being_written, lacks_end
from pipeline.inbox.tree import IGNORED, MAX_DEPTH, Folder, Refused, downloading
from pipeline.system.file_version import Stamp, unreadable_failure

__all__ = ["IGNORED", "MAX_DEPTH", "Found", "Inbox", "Refused", "Scan"]

ASK_AGAIN_SECONDS = 0.5  # how soon to look again at a file that somebody holds open

PATIENCE = 3  # settling times that a picture without its end is waited for
EMPTY_PATIENCE = 10  # the same for an empty file, which may stand for one that is still to come
DOWNLOAD_LOOK_SECONDS = 2.0  # between two looks at a download


@dataclass(frozen=True, slots=True)
class Found:
    """A picture by its name, still: it may be read now."""

    content: str  # relative to the inbox, "/" between folders
    path: Path
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Scan:
    """One reading of the whole inbox."""

    still: tuple[Found, ...]
    unsettled: Mapping[str, str]  # content -> why it is not taken yet
    refused: tuple[Refused, ...]
    sides: Mapping[str, Found]  # side files, by their path relative to the inbox
    next_look: float | None  # monotonic seconds when something unsettled may be still
    changed: bool  # whether still or refused differ from the scan before
    whole: bool = True  # whether all of the inbox could be read

    @property
    def names(self) -> set[str]:
        """Everything that lies in the inbox, whatever becomes of it."""
        refused = (file.content for file in self.refused)
        return {*refused, *(file.content for file in self.still), *self.unsettled, *self.sides}


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
        self._folder = Folder(root, ignore)
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
            InboxError: The inbox is gone, cannot be read, or another disk is mounted over it.
                This is never taken for an empty inbox.
        """
        self._check_root()
        looks: dict[str, _Look] = {}
        still: list[Found] = []
        refused: list[Refused] = []
        waiting: dict[str, _Wait] = {}
        sides: dict[str, Found] = {}
        for sight in self._folder.walk():
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
            # A photo waits until its side file has settled, too.
            for file in found:
                side = next((s for s in side_files_of(file.content) if s in waiting), None)
                if side is not None:
                    waiting[file.content] = _Wait("its side file still changes", waiting[side].due)
            found = [file for file in found if file.content not in waiting]
        still = tuple(found)
        now = (still, refused, tuple(sides.values()))
        changed, self._last = now != self._last, now
        why = {content: wait.why for content, wait in waiting.items()}
        due = min((wait.due for wait in waiting.values()), default=None)
        return Scan(still, why, refused, sides, due, changed, self._folder.whole)

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
        failure = None if is_side_file(content) else self._folder.by_name(path.name)
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
        download = downloading(path, wall)
        if download:
            return _Wait(f"its download goes on ({download})", now + DOWNLOAD_LOOK_SECONDS)
        if stamp.size == 0 and not is_side_file(content):
            patience = EMPTY_PATIENCE * self._settle
            if now < look.since + patience and wall - newest < patience:
                return _Wait("nothing is in it yet", look.since + patience)
            look.verdict = Refused(content, path, EMPTY, "failed", str(stamp))
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
            return Refused(content, path, unreadable_failure(error), "failed", str(stamp))
        look.verdict = Found(content, path, stamp)
        return look.verdict

    def _check_root(self) -> None:
        where = str(self.root)
        try:
            device = self.root.stat().st_dev
        except OSError as error:
            what = f"the inbox cannot be read: {os.strerror(error.errno or 0).lower()}"
            hint = "create the folder, or mount its disk again; nothing is taken for deleted"
            raise InboxError(what, where=where, hint=hint) from error
        if self._device not in (None, device):
            hint = "mount the right one again, or start anew if this is meant"
            raise InboxError("another disk lies under the inbox now", where=where, hint=hint)
        self._device = device


EMPTY = Failure(Reason.TRUNCATED, "the file is empty: nothing was written into it, or not yet")
_SIDE_FILE = Failure(Reason.IGNORED, "is a side file: options for photos, not a photo")
_HARD_LINK = Failure(Reason.HARDLINKED, "has a second name (hard link): copy it instead")
