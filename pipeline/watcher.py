"""A wake-up for the scanner; the only door to watchdog.

Events are a hint and no more: they may be lost, doubled or late, and nothing depends on them but
how soon a scan looks. A failure to watch is not an error either; the timer does the work then.
"""

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

RETRY_SECONDS = 30.0  # between attempts to watch where watching failed

# What reading a file causes, our own reading too: it must not wake us.
_QUIET = frozenset({"opened", "closed_no_write"})
_NATIVE = {"linux": "inotify", "darwin": "fsevents", "win32": "windows"}


class Watcher:
    """Sets an event whenever something may have changed below a folder.

    Args:
        root: The folder.
        wake: The event to set; several sources may share one.
    """

    def __init__(self, root: Path, wake: threading.Event | None = None) -> None:
        self.wake = wake or threading.Event()
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
        if self._observer is None and now >= self._retry_at:
            self._retry_at = now + RETRY_SECONDS
            self._start()

    def woken(self, timeout: float) -> bool:
        """Wait until something happened, at most ``timeout`` seconds; True if something did."""
        woken = self.wake.wait(timeout)
        self.wake.clear()
        return woken

    def stop(self) -> None:
        """Stop watching; a second time does nothing."""
        observer, self._observer = self._observer, None
        self._trouble = "stopped"
        if observer is not None:
            observer.stop()
            observer.join()

    def _start(self) -> None:
        # Imported here: watchdog opens inotify and starts a thread as soon as it is imported.
        from watchdog.observers import Observer
        from watchdog.observers.polling import PollingObserver

        # Its warnings of lost events would land in the display; the next scan finds what was lost.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        observer = Observer()
        if isinstance(observer, PollingObserver):
            self._trouble = "this system has no file events"
            return
        try:
            observer.schedule(_Bell(self.wake), os.fspath(self._root), recursive=True)  # type: ignore[arg-type]
            observer.start()
        except (OSError, RuntimeError) as error:
            self._trouble = str(error) or type(error).__name__
            observer.unschedule_all()
            return
        self._observer = observer
        self.wake.set()  # what came before the watch began


class _Bell:
    """All that watchdog asks of a handler."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake

    def dispatch(self, event: Any) -> None:
        if event.event_type not in _QUIET:
            self._wake.set()


def _alive(observer: "BaseObserver") -> bool:
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
