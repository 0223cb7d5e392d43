"""What happens when the disk is full, or another part of the machine is at fault: work pauses.

An error of the place is no photo's fault, so nothing fails. `Service.tick` ends where the error was
raised and gives it to `Pauses.start`. What was not recorded by then is kept: staged pictures in the
outbox, events and findings in memory. Before each job `Pauses.check_space` looks ahead. A pause is
over as soon as there is space again, or after a time; for a machine at fault it grows each time.
`status`, the dashboard and the instance's card show `Pause.why`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.model import Config
from pipeline.errors import (
    BusyError,
    DiskFullError,
    InboxError,
    OutputError,
    PipelineError,
    PlaceError,
    Reason,
)
from pipeline.jobs.retry_policy import repair_wait_seconds
from pipeline.system.safe_files import disk_errors

HYSTERESIS = 1.25  # that much more than is needed must be free, or a nearly full disk flickers
AGAIN_SECONDS = 15.0  # a quota frees nothing that could be seen: it is simply tried again
LOOK_SECONDS = 1.0
RUN_TRIES = 3  # of a machine at fault, before a service that is not patient gives up
STEADY_SECONDS = 300.0  # without a fault of the machine: the next one is the first again
_SHARE = 20  # the reserve is never more than this part of a disk


@dataclass(frozen=True, slots=True)
class Pause:
    """A reason to wait.

    ``need`` is how many bytes must be free (0: no matter); ``again`` the monotonic second at which
    to try in any case.
    """

    cause: Literal["disk", "inbox", "outbox", "database", "machine"]
    why: str
    again: float
    folder: Path | None = None
    need: int = 0


PAUSING = (BusyError, DiskFullError, OutputError, PlaceError)  # what `Pauses.start` understands


class Pauses:
    """The pause in force, and when there is one.

    Args:
        config: Names the folders, and how many bytes are to stay free.
        patient: Wait for an outbox or a machine for as long as it takes, instead of giving up.
    """

    def __init__(self, config: Config, patient: bool) -> None:
        self._outbox, self._state, self.patient = config.outbox, config.state, patient
        self.free_bytes = config.limits.free_bytes
        self.present: Pause | None = None
        self._faults, self._last_fault = 0, float("-inf")  # of the machine, in a row

    def start(self, error: PipelineError, now: float) -> None:
        """Pause for an error of the place.

        Args:
            error: One of PAUSING.
            now: Monotonic seconds.

        Raises:
            PipelineError: The same, where waiting is no use.
        """
        if isinstance(error, BusyError):
            self.present = unusable("database", str(error), now)
        elif isinstance(error, PlaceError):
            self._start_for_machine(error, now)
        elif isinstance(error, DiskFullError):
            self.present = full(self._state, self.free_bytes, now)
        elif isinstance(error, OutputError):
            with disk_errors(self._outbox):
                pause = after(error, self._outbox, self.free_bytes, now)
            if pause is None or (pause.cause == "outbox" and not self.patient):
                raise error
            self.present = pause
        else:
            raise error

    def start_for_inbox(self, error: InboxError, now: float) -> None:
        """The inbox is out of reach, or is not the one it was."""
        if not self.patient:
            raise error
        self.present = unusable("inbox", str(error), now)

    def check_space(self) -> bool:
        """Whether there is space for another job; pauses where there is too little."""
        with disk_errors(self._outbox):
            self.present = self.present or too_full([self._outbox, self._state], self.free_bytes)
        return self.present is None

    def end(self, now: float) -> bool:
        """End the pause if it is over; whether it was."""
        if self.present is None or not is_over(self.present, now):
            return False
        self.present = None
        return True

    def job_done(self) -> None:
        """The machine works: its next fault is the first again."""
        self._faults = 0

    def _start_for_machine(self, error: PlaceError, now: float) -> None:
        if self.present:
            return  # another job met the same fault
        if now > self._last_fault + STEADY_SECONDS:
            self._faults = 0
        self._faults, self._last_fault = self._faults + 1, now
        if not self.patient and self._faults >= RUN_TRIES:
            raise error
        self.present = broken(error, self._faults, now)


Space = Callable[[Path], tuple[int, int]]  # free and all bytes of a disk


def space(folder: Path) -> tuple[int, int]:
    """Free and all bytes of the disk that a folder lies on.

    Raises:
        OSError: The folder is not there.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def reserve(total: int, free_bytes: int) -> int:
    """The free bytes below which work pauses, on a disk of this size."""
    return min(free_bytes, total // _SHARE)


def too_full(folders: list[Path], free_bytes: int, look: Space = space) -> Pause | None:
    """The pause that a disk with too little space is worth; None where there is enough."""
    for folder in folders:
        free, total = look(folder)
        need = reserve(total, free_bytes)
        if free < need:
            return _disk(folder, int(need * HYSTERESIS), free, float("inf"))
    return None


def unusable(cause: Literal["inbox", "outbox", "database"], why: str, now: float) -> Pause:
    """The pause while a folder, or the disk or share under it, or the database is out of reach."""
    return Pause(cause, why, now + LOOK_SECONDS)


def broken(error: PlaceError, times: int, now: float) -> Pause:
    """The pause while the machine is at fault; seldomer tried again the more often in vain."""
    return Pause("machine", str(error), now + repair_wait_seconds(times))


def full(folder: Path, free_bytes: int, now: float, look: Space = space) -> Pause:
    """The pause after a disk has refused to take something."""
    free, total = look(folder)
    need = int(max(reserve(total, free_bytes), free + 1) * HYSTERESIS)
    return _disk(folder, need, free, now + AGAIN_SECONDS)


def after(error: OutputError, outbox: Path, free_bytes: int, now: float) -> Pause | None:
    """The pause after a write to the outbox has failed; None where waiting is no use."""
    if error.code is Reason.DISK_FULL:
        return full(outbox, free_bytes, now)
    return unusable("outbox", str(error), now) if error.code is Reason.IO_ERROR else None


def is_over(pause: Pause, now: float, look: Space = space) -> bool:
    """Whether there is space again, or time to try."""
    if now >= pause.again or pause.folder is None:
        return now >= pause.again
    try:
        return look(pause.folder)[0] >= pause.need
    except OSError:
        return False


def _disk(folder: Path, need: int, free: int, again: float) -> Pause:
    why = f"the disk of {folder} is full: {free / 1e6:.1f} MB free, goes on at {need / 1e6:.1f} MB"
    return Pause("disk", why, again, folder, need)
