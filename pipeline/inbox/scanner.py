"""Which files of the inbox have settled, and why the others are not taken yet, or not at all.

A scan reads the whole folder: at the start, on a timer, and whenever the watcher wakes it. It
relies on no event, so it does not matter whether a file was there before, arrived while the program
was not running, or was moved in. All rules for taking a photo are listed in
`pipeline.inbox.intake`; those of steps 2 and 3 are applied here.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.file_kinds import IGNORED
from pipeline.config.regions.mask_files import MaskName, mask_name
from pipeline.config.sidecar import is_side_file, side_files_of
from pipeline.errors import Failure, InboxError, Reason
from pipeline.inbox.downloads import Downloads
from pipeline.inbox.settling import being_written, lacks_end
from pipeline.inbox.tree import MAX_DEPTH, InboxTree, Refused, is_below
from pipeline.system.file_version import Stamp, unreadable_failure

__all__ = ["IGNORED", "MAX_DEPTH", "Found", "Inbox", "Refused", "Scan"]

ASK_AGAIN_SECONDS = 0.5  # how soon to look again at a file that a program has open for writing

PATIENCE = 3  # how many settling times to wait for the missing end of a picture
EMPTY_PATIENCE = 10  # the same for an empty file: its content may still come
DOWNLOAD_LOOK_SECONDS = 2.0  # between two looks at a download


@dataclass(frozen=True, slots=True)
class Found:
    """A settled file with the name of a picture, a side file or a mask: it may be read now."""

    content: str  # relative to the inbox, "/" between folders
    path: Path
    stamp: Stamp
    photo: "Found | None" = None  # of a mask that is to be examined: its photo


@dataclass(frozen=True, slots=True)
class Scan:
    """One reading of the whole inbox."""

    settled: tuple[Found, ...]
    unsettled: Mapping[str, str]  # content -> why it is not taken yet
    refused: tuple[Refused, ...]
    sides: Mapping[str, Found]  # side files, by their path relative to the inbox
    next_look: float | None  # monotonic seconds when an unsettled file may have settled
    changed: bool  # whether settled, refused or hidden files differ from those of the scan before
    hidden: tuple[str, ...] = ()  # what could not be read: nothing is known of it and all below it
    left: tuple[str, ...] = ()  # photos that a crash left under a private name
    masks: Mapping[str, Found] = field(default_factory=dict)  # mask files, as `sides`
    # Side files and masks that cannot be read, and why: no photo is painted without its own.
    unusable: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The names of all files in the inbox, taken or not."""
        refused = (file.content for file in self.refused)
        settled = (file.content for file in self.settled)
        return {*refused, *settled, *self.unsettled, *self.sides, *self.masks}

    def present(self, known: Iterable[str]) -> set[str]:
        """The names of all files in the inbox, and those of known ones that may be in it."""
        names = self.names
        if self.hidden:
            names.update(content for content in known if is_below(content, self.hidden))
        return names


@dataclass(frozen=True, slots=True)
class _Wait:
    """Why a file is not taken yet, and when to look again (monotonic seconds)."""

    why: str
    due: float


@dataclass(slots=True)
class _Observation:
    """A version of a file, when it was first seen, and what was decided about it."""

    stamp: Stamp
    since: float
    verdict: Found | Refused | None = None


class Inbox:
    """The folder into which photos are dropped.

    Args:
        root: The folder.
        settle_seconds: A file has settled once it has not changed for this long.
        ignore: Patterns of names to leave alone, besides IGNORED.
        depth: How deep folders are entered; 0: only files in the folder itself count.
    """

    def __init__(
        self,
        root: Path,
        settle_seconds: float,
        ignore: Sequence[str] = (),
        depth: int = MAX_DEPTH,
    ) -> None:
        self.root = root
        self._tree = InboxTree(root, ignore, depth)
        self._downloads = Downloads()
        self._settle = settle_seconds
        self._device: int | None = None
        self._observations: dict[str, _Observation] = {}
        self._last: tuple[object, ...] | None = None

    def scan(self, now: float, wall: float) -> Scan:
        """Read the whole inbox, without waiting for anything.

        A file has settled once its size, times and inode have not changed for the settling time,
        as seen by several scans. A file whose times are older than that by the wall clock has
        settled at its first scan; a file with times in the future needs a second one.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.

        Raises:
            InboxError: The inbox is gone, cannot be read, or another disk is mounted over it:
                never treated as an empty inbox.
        """
        self._check_root()
        observations: dict[str, _Observation] = {}
        still: list[Found] = []
        refused: list[Refused] = []
        waiting: dict[str, _Wait] = {}
        sides: dict[str, Found] = {}
        masks: dict[str, Found] = {}
        for entry in self._tree.walk():
            if isinstance(entry, Refused):
                refused.append(entry)
                continue
            content, path, status = entry
            seen = observations[content] = self._observe(content, status, now)
            verdict = seen.verdict or self._judge(content, path, status, seen, now, wall)
            if isinstance(verdict, Found) and is_side_file(content):
                sides[content] = verdict
                refused.append(Refused(content, verdict.path, _SIDE_FILE, "skipped"))
            elif isinstance(verdict, Found) and (mask := mask_name(content)):
                masks[content] = verdict
                refused.append(_refuse_mask(content, verdict.path, mask))
            elif isinstance(verdict, Found):
                still.append(verdict)
            elif isinstance(verdict, Refused):
                refused.append(verdict)
            else:
                waiting[content] = verdict
        self._observations = observations
        return self._assemble_scan(still, tuple(refused), waiting, sides, masks)

    def _assemble_scan(
        self,
        found: list[Found],
        refused: tuple[Refused, ...],
        waiting: dict[str, _Wait],
        sides: Mapping[str, Found],
        masks: Mapping[str, Found],
    ) -> Scan:
        # A photo waits until its side files and masks have settled, too.
        if any(map(is_side_file, waiting)):
            for file in found:
                side = next((s for s in side_files_of(file.content) if s in waiting), None)
                if side is not None:
                    waiting[file.content] = _Wait(
                        "its side file is still changing", waiting[side].due
                    )
        unsettled = {mask.photo: name for name in waiting if (mask := mask_name(name))}
        for file in found if unsettled else ():
            if (name := unsettled.get(file.content)) and file.content not in waiting:
                waiting[file.content] = _Wait("its mask is still changing", waiting[name].due)
        if waiting:
            found = [file for file in found if file.content not in waiting]
        still = tuple(found)
        hidden, left = tuple(self._tree.hidden), tuple(self._tree.left)
        unusable = {name: "cannot be read now" for name in hidden if _is_beside(name)}
        unusable |= {file.content: file.failure.message for file in refused if _is_missed(file)}
        now = (still, refused, tuple(sides.values()), tuple(masks.values()), hidden)
        changed, self._last = now != self._last, now
        why = {content: wait.why for content, wait in waiting.items()}
        due = min((wait.due for wait in waiting.values()), default=None)
        return Scan(still, why, refused, sides, due, changed, hidden, left, masks, unusable)

    def _observe(self, content: str, status: os.stat_result, now: float) -> _Observation:
        """The observation of this version of a file: the earlier one, or a new one."""
        before = self._observations.get(content)
        # Field by field, the likeliest to differ first: a scan may compare ten thousand files.
        if (
            before is not None
            and before.stamp.mtime_ns == status.st_mtime_ns
            and before.stamp.size == status.st_size
            and before.stamp.ctime_ns == status.st_ctime_ns
            and before.stamp.inode == status.st_ino
        ):
            return before
        return _Observation(Stamp.of(status), now)

    def _judge(
        self,
        content: str,
        name: str,
        status: os.stat_result,
        seen: _Observation,
        now: float,
        wall: float,
    ) -> Found | Refused | _Wait:
        """Decide about a version of a file, once it has settled."""
        path, mask = Path(name), mask_name(content)
        failure = None if is_side_file(content) else self._tree.check_name(path.name)
        if mask is not None and mask.problem and failure is None:
            failure = _refuse_mask(content, path, mask).failure
        if failure is not None:
            seen.verdict = Refused(content, path, failure, "skipped")
            return seen.verdict
        stamp, due = seen.stamp, seen.since + self._settle
        newest = max(stamp.mtime_ns, stamp.ctime_ns) / 1e9
        if now < due and wall - newest < self._settle:
            return _Wait("still changing", due)
        if status.st_nlink > 1 and mask is None:  # a mask is only read, and its content verified
            # Through its other name someone may change the file while we read it, and
            # `after: delete` would leave that name behind.
            seen.verdict = Refused(content, path, _HARD_LINK, "skipped", str(stamp))
            return seen.verdict
        download = self._downloads.find(path, now, wall)
        if download:
            return _Wait(f"its download is still running ({download})", now + DOWNLOAD_LOOK_SECONDS)
        if stamp.size == 0 and not is_side_file(content):
            patience = EMPTY_PATIENCE * self._settle
            if now < seen.since + patience and wall - newest < patience:
                return _Wait("nothing is in it yet", seen.since + patience)
            empty = Refused(content, path, EMPTY, "failed", str(stamp))
            # An empty mask is reported for its photo, which must not be painted without it.
            seen.verdict = Found(content, path, stamp) if mask else empty
            return seen.verdict
        try:
            if being_written(path):
                return _Wait("open for writing in another program", now + ASK_AGAIN_SECONDS)
            patience = PATIENCE * self._settle
            impatient = now >= seen.since + patience or wall - newest >= patience
            if not impatient and lacks_end(path):
                return _Wait("its end is still missing", seen.since + patience)
        except (FileNotFoundError, NotADirectoryError):
            return _Wait("it disappeared during the scan", now)
        except OSError as error:
            # Not remembered: a network share may come back without any change to the file.
            return Refused(content, path, unreadable_failure(error), "failed", str(stamp))
        seen.verdict = Found(content, path, stamp)
        return seen.verdict

    def _check_root(self) -> None:
        where = str(self.root)
        try:
            device = self.root.stat().st_dev
        except OSError as error:
            what = f"the inbox cannot be read: {os.strerror(error.errno or 0).lower()}"
            hint = "create the folder, or mount its disk again; no photo counts as deleted"
            raise InboxError(what, where=where, hint=hint) from error
        if self._device not in (None, device):
            hint = "mount the right disk again, or restart the program to use this one"
            raise InboxError("another disk is mounted at the inbox now", where=where, hint=hint)
        self._device = device


def _is_beside(content: str) -> bool:
    """Whether it is a side file or a mask by its name."""
    mask = mask_name(content)
    return is_side_file(content) or (mask is not None and not mask.problem)


def _is_missed(file: Refused) -> bool:
    """Whether a refused file would be read as a side file or a mask, were it a regular one."""
    if file.failure.code is Reason.IGNORED:
        return is_side_file(file.content) and file.failure is not _SIDE_FILE
    return _is_beside(file.content)


EMPTY = Failure(Reason.TRUNCATED, "the file is empty, or nothing has been written to it yet")
_SIDE_FILE = Failure(Reason.IGNORED, "is a side file with options, not a photo")
_HARD_LINK = Failure(Reason.HARDLINKED, "has a second name (hard link); copy the file instead")


def _refuse_mask(content: str, path: Path, mask: MaskName) -> Refused:
    """A mask is accounted for as a file that is no photo."""
    return Refused(content, path, Failure(Reason.IGNORED, f"is {mask.words}"), "skipped")
