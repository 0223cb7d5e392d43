"""A wake-up for the scanner; the only door to watchdog.

Events are a hint and no more: they may be lost, doubled or late, and nothing depends on them but
how soon a scan looks. A failure to watch is not an error either; the timer does the work then.
"""

import logging
import os
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.mounts import mount_of

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

RETRY_SECONDS = 30.0  # between attempts to watch where watching failed
# A file of our own, made and removed at the start: its event must come, or none can be relied on.
CANARY = ".pipeline-canary-"
CANARY_SECONDS = 2.0

# What reading a file causes, our own reading too: it must not wake us.
_QUIET = frozenset({"opened", "closed_no_write"})
_NATIVE = {"linux": "inotify", "darwin": "fsevents", "win32": "windows"}


class Watcher:
    """Sets an event whenever something may have changed below a folder.

    Args:
        root: The folder.
        wake: The event to set; several sources may share one.
        kind: Its file system, as `pipeline.mounts` names them; "" to ask the system.
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

    @property
    def mode(self) -> str:
        """How changes are noticed: by the system's name, or ``polling: why``."""
        if self._observer is None:
            return f"polling: {self._trouble}"
        return _NATIVE.get(sys.platform, "watchdog")

    def tend(self, now: float) -> None:
        """Start watching, or start again where a watching thread has died. Never raises.

        Args:
            now: Monotonic seconds; after a failure the next attempt waits RETRY_SECONDS.
        """
        if self._observer is not None and not _alive(self._observer):
            self.stop()
            self._trouble = "the watcher died"
            self.wake.set()  # something may have been missed
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
        """Wait until something happened, at most ``timeout`` seconds; True if something did."""
        woken = self.wake.wait(timeout)
        self.wake.clear()
        return woken

    def stop(self) -> None:
        """Stop watching; a second time does nothing."""
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

    def _silent_mount(self) -> str:
        """Why changes on this disk are not reported; "" where they are."""
        mount = mount_of(self._root)
        if self._kind or mount is None or mount.reports_changes:
            return ""
        return f"{mount.kind} at {mount.point} does not report every change"

    def _send_canary(self, now: float) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self._root, prefix=CANARY):
                self._canary_until = now + CANARY_SECONDS
        except OSError:
            pass  # an inbox that we may only read: nothing is known, the timer is there anyway

    def _judge_canary(self, now: float) -> None:
        if self._bell.canary.is_set():
            self._canary_until = None
        elif self._canary_until is not None and now >= self._canary_until:
            self.stop()
            self._trouble = "a file made here as a test was not reported"
            # Not tried again: what a mount does not report today it will not tomorrow.
            self._retry_at = float("inf")

    def _start(self, now: float) -> None:
        # Imported here: watchdog opens inotify and starts a thread as soon as it is imported.
        from watchdog.observers import Observer
        from watchdog.observers.polling import PollingObserver

        # Its warnings of lost events, and of folders watched twice with a list of all that are
        # watched, would land in the display; the next scan finds what was lost.
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
        self.wake.set()  # what came before the watch began


class _Bell:
    """All that watchdog asks of a handler."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self.canary = threading.Event()

    def dispatch(self, event: Any) -> None:
        if CANARY in os.fsdecode(event.src_path):
            self.canary.set()
        elif event.event_type not in _QUIET:
            self._wake.set()


def _alive(observer: "BaseObserver") -> bool:
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
