"""Wakes the scanner on file-system events; the only module that imports watchdog.

Events are hints: they may be lost, repeated or late, and only decide how soon the next scan comes.
Where watching fails, which is not an error, the scanner's timer alone finds new files.
"""

import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, AnyStr

from pipeline.inbox.tree import MAX_DEPTH
from pipeline.system.mounts import find_mount

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

RETRY_SECONDS = 30.0  # between attempts to watch where watching failed
# A test file, made and removed at the start: if its event does not arrive, others may not either.
CANARY = ".pipeline-canary-"
CANARY_SECONDS = 2.0

# Events of reading a file, which the program does itself: they must not wake the scanner.
_QUIET = frozenset({"opened", "closed_no_write"})
_NATIVE = {"linux": "inotify", "darwin": "fsevents", "win32": "windows"}


class Watcher:
    """Sets ``wake`` whenever something may have changed below a folder.

    Args:
        root: The folder.
        wake: The event to set; several sources may share one.
        kind: Its file system, as `pipeline.system.mounts` names them; "" to ask the system.
    """

    def __init__(self, root: Path, wake: threading.Event | None = None, kind: str = "") -> None:
        self.wake = wake or threading.Event()
        self._kind = kind
        self._bell = _Bell(self.wake)
        self._canary_until: float | None = None
        self._root = root
        self._observer: BaseObserver | None = None
        self._trouble = "not started"
        self._retry_at = float("-inf")
        self._watched: tuple[int, int] | None = None  # which folder it was when watching began

    @property
    def mode(self) -> str:
        """How changes are noticed: the name of the system's interface, or ``polling: why``."""
        if self._observer is None:
            return f"polling: {self._trouble}"
        return _NATIVE.get(sys.platform, "watchdog")

    def start_if_needed(self, now: float) -> None:
        """Start watching, or start again after a watching thread has died. Never raises.

        Args:
            now: Monotonic seconds; after a failure the next attempt waits RETRY_SECONDS.
        """
        if self._observer is not None and not _alive(self._observer):
            self.stop()
            self._trouble = "the watcher died"
            self.wake.set()  # something may have been missed
        self._check_root()
        if self._canary_until is not None:
            self._judge_canary(now)
        if self._observer is None and now >= self._retry_at:
            self._retry_at = now + RETRY_SECONDS
            silent = self._silent_mount()
            if silent:
                self._trouble = silent
            else:
                self._start(now)

    def woken(self, timeout: float) -> bool:
        """Wait for a change, at most ``timeout`` seconds; True if there was one."""
        woken = self.wake.wait(timeout)
        self.wake.clear()
        return woken

    def stop(self) -> None:
        """Stop watching; calling it again does nothing."""
        observer, self._observer = self._observer, None
        self._canary_until = None
        self._trouble = "stopped"
        if observer is not None:
            observer.stop()
            observer.join()

    @property
    def polling(self) -> bool:
        """Whether only the timer finds new files."""
        return self._observer is None

    def _check_root(self) -> None:
        """Start again if another folder is at the path: the old watch follows a renamed folder."""
        there = _identity(self._root)
        if there == self._watched:
            return
        if self._observer is not None:
            self.stop()
            self._trouble = (
                "the folder is not there" if there is None else "another folder is there"
            )
            self.wake.set()  # for the files already in the new folder
        self._watched = there
        self._retry_at = float("-inf") if there is not None else self._retry_at

    def _silent_mount(self) -> str:
        """Why the system does not report changes on this disk; "" where it does."""
        mount = find_mount(self._root)
        if self._kind or mount is None or mount.reports_changes:
            return ""
        return f"{mount.kind} at {mount.point} does not report every change"

    def _send_canary(self, now: float) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self._root, prefix=CANARY):
                self._canary_until = now + CANARY_SECONDS
        except OSError:
            pass  # a read-only inbox: whether events arrive stays unknown, and the timer helps

    def _judge_canary(self, now: float) -> None:
        if self._bell.canary.is_set():
            self._canary_until = None
        elif self._canary_until is not None and now >= self._canary_until:
            self.stop()
            self._trouble = "a test file that was created here was not reported"
            # Not tried again: a mount that does not report changes now never will.
            self._retry_at = float("inf")

    def _start(self, now: float) -> None:
        # Imported here: watchdog opens inotify and starts a thread as soon as it is imported.
        from watchdog.observers import Observer
        from watchdog.observers.polling import PollingObserver

        _bound_walks()
        # Its warnings (lost events, folders watched twice) would disturb the dashboard. The next
        # scan finds what was lost.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
        observer = Observer()
        if isinstance(observer, PollingObserver):
            self._trouble = "this system has no file events"
            return
        try:
            observer.schedule(self._bell, os.fspath(self._root), recursive=True)  # type: ignore[arg-type]
            observer.start()
        except (OSError, RuntimeError) as error:
            self._trouble = str(error) or type(error).__name__
            observer.unschedule_all()
            return
        self._observer = observer
        self._send_canary(now)
        self.wake.set()  # for files that arrived before watching began


class _Bell:
    """The event handler given to watchdog: it sets the event ``wake``."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self.canary = threading.Event()

    def dispatch(self, event: Any) -> None:
        if CANARY in os.fsdecode(event.src_path):
            self.canary.set()
        elif event.event_type not in _QUIET:
            self._wake.set()


class _BoundedOs(ModuleType):
    """The module ``os`` for watchdog: its ``walk`` ends at MAX_DEPTH, as the scan does."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @staticmethod
    def walk(
        top: AnyStr, **_options: object
    ) -> Iterator[tuple[AnyStr, list[AnyStr], list[AnyStr]]]:
        """Like ``os.walk``, following no links. Never raises."""
        waiting = [(top, 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(folder) as found:
                    entries = list(found)
            except OSError:
                continue
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            below = folders if depth < MAX_DEPTH else []
            yield folder, below, [e.name for e in entries if e.name not in set(folders)]
            waiting += [(os.path.join(folder, name), depth + 1) for name in below]  # noqa: PTH118


def _bound_walks() -> None:
    """Keep a tree of a thousand nested folders from ending the events of the whole inbox.

    watchdog walks each folder that it watches. Before Python 3.12 ``os.walk`` is recursive, and its
    RecursionError ends the one thread that reads all events.
    """
    if sys.platform == "linux":
        from watchdog import events
        from watchdog.observers import inotify, inotify_c

        for module in (events, inotify, inotify_c):  # which of them walk, depends on the version
            if getattr(module, "os", None) is os:
                module.os = _BoundedOs("os")  # type: ignore[attr-defined]


def _identity(root: Path) -> tuple[int, int] | None:
    """Device and inode of the folder at a path; None where there is none."""
    try:
        found = root.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _alive(observer: "BaseObserver") -> bool:
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
