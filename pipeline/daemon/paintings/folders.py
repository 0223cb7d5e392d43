"""Notices paintings that come to a folder of paintings or leave it, once they have settled."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.config.paintings.folder import State, look_at_folder
from pipeline.errors import InboxError
from pipeline.inbox.scanner import Inbox
from pipeline.monitoring.journal import note
from pipeline.system.file_version import Stamp
from pipeline.system.text import shorten_list

Folders = Mapping[Path, State | None]


class PaintingFolders:
    """The folders that the styles in force come from.

    It says when to load the config again, which then lists the folders itself.

    Attributes:
        unsettled: New pictures that are still being copied, which do not count yet.
        findings: What lies in the folders and is ignored, in words, since they were last taken.
    """

    def __init__(self, config: Config) -> None:
        self.findings = [folder.ignored for folder in config.folders if folder.ignored]
        self._ignored = self._reported = set(self.findings)
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Compare with these styles from now on."""
        watch = config.watch
        self._settle, self._pace = watch.settle_seconds, min(watch.poll_seconds, watch.scan_seconds)
        self._in_force: Folders = {folder.path: folder.state for folder in config.folders}
        self._used = {file for folder in config.folders for file in folder.paintings.values()}
        self._scanners = {path: Inbox(path, self._settle, depth=0) for path in self._in_force}
        self.unsettled: frozenset[Path] = frozenset()
        self._stamps: Mapping[Path, Stamp | None] = {}
        self._found: Folders = self._in_force
        self._since = self._next_look = float("-inf")

    def have_changed(self, now: float, wall: float) -> bool:
        """Whether the folders give other styles or options than those in force.

        The same change must be found for the settling time: a program that saves a painting may
        take its name away for a moment.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
        """
        stamps = {path: Stamp.at(path) for path in self._in_force}
        if stamps == self._stamps and now < self._next_look:
            return False
        self._stamps, self._next_look = stamps, now + self._pace
        new = [file for path in self._in_force for file in self._find_unsettled(path, now, wall)]
        self.unsettled = frozenset(new) - self._used
        seen = {path: look_at_folder(path, self.unsettled) for path in self._in_force}
        self._add_findings({ignored for _, ignored in seen.values() if ignored})
        found = {path: state for path, (state, _) in seen.items()}
        if found != self._found:
            self._found, self._since = found, now
        if found == self._in_force:
            return False
        settled_at = self._since + self._settle
        self._next_look = min(self._next_look, max(settled_at, now))
        return now >= settled_at

    def _add_findings(self, ignored: set[str]) -> None:
        """Add what was ignored in two looks: a program may write under another name first."""
        new = ignored & self._ignored - self._reported
        self.findings += sorted(new)
        self._ignored, self._reported = ignored, self._reported | new

    def _find_unsettled(self, path: Path, now: float, wall: float) -> list[Path]:
        try:
            scan = self._scanners[path].scan(now, wall)
        except InboxError:  # loading the config says what is wrong
            self._scanners[path] = Inbox(path, self._settle, depth=0)
            return []
        self._next_look = min(self._next_look, scan.next_look or float("inf"))
        return [path / name for name in scan.unsettled]


def report_change(before: Manifest, after: Manifest) -> str:
    """Write into the journal which styles came and went; returns the same in words."""
    came = [name for name in after.styles if name not in before.styles]
    gone = [name for name in before.styles if name not in after.styles]
    changes = {"new": came, "gone": gone}
    if came or gone:
        note("styles", came=came, gone=gone)
    named = [f"{word}: {shorten_list(found)}" for word, found in changes.items() if found]
    return f" (styles {'; '.join(named)})" if named else ""
