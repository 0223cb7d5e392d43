"""Fault pauses: no job starts while a disk is full or another part of the machine is at fault.

Such an error is no photo's fault, so nothing fails. `Service.tick` ends where the error was raised
and passes it to `FaultPauses.start`. Whatever was not recorded by then is kept: staged pictures in
the outbox, events and findings in memory. Before each job `FaultPauses.check_space` measures the
free space. A pause ends when there is space again, or after a time, which grows with each fault of
the machine. `status`, the dashboard and the instance's record show `FaultPause.why`.

Pauses for a reason that someone chose (`pause`, hours, bulk runs) are in
`pipeline.daemon.planned_pauses`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.model import Config
from pipeline.daemon.instance import OutboxLock
from pipeline.errors import (
    BusyError,
    DiskFullError,
    InboxError,
    LockedError,
    OutputError,
    PipelineError,
    PlaceError,
    Reason,
)
from pipeline.jobs.retry_policy import repair_wait_seconds
from pipeline.system.safe_files import disk_errors

# Work goes on when this much more than the reserve is free: without it, a nearly full disk would
# pause and resume all the time.
HYSTERESIS = 1.25
# After a full disk or quota, try again after this time even without visible free space: space that
# a quota frees is not seen in the figures of the disk.
AGAIN_SECONDS = 15.0
LOOK_SECONDS = 1.0  # between two tries to reach a folder or the database
RUN_TRIES = 3  # after this many faults of the machine in a row, `run` gives up
STEADY_SECONDS = 300.0  # after this time without a fault of the machine, the count starts again
_SHARE = 20  # the reserve is at most one part in this many of a disk


@dataclass(frozen=True, slots=True)
class FaultPause:
    """No job starts, because of a fault.

    ``need`` is how many bytes must be free on the disk of ``folder``; ``again`` is the monotonic
    second at which to try again in any case.
    """

    cause: Literal["disk", "inbox", "outbox", "database", "machine"]
    why: str
    again: float
    folder: Path | None = None
    need: int = 0


# The errors that `FaultPauses.start` turns into pauses.
PAUSING_ERRORS = (BusyError, DiskFullError, LockedError, OutputError, PlaceError)


class FaultPauses:
    """Starts and ends the fault pause.

    Args:
        config: Names the folders, and how many bytes are to stay free.
        patient: Wait for an inbox, an outbox or a machine as long as it takes: `watch`. Otherwise
            give up: `run`.
        lock: The lock on the outbox; None: no other studio works there.
    """

    def __init__(self, config: Config, patient: bool, lock: OutboxLock | None = None) -> None:
        self._outbox, self._state, self.patient = config.outbox, config.state, patient
        self._lock = lock
        self.free_bytes = config.limits.free_bytes
        self.current: FaultPause | None = None
        self.trial = False  # after a full disk: one job at a time, until one has finished
        self._faults, self._last_fault = 0, float("-inf")  # of the machine, in a row

    def start(self, error: PipelineError, now: float) -> None:
        """Pause because of an error.

        Args:
            error: One of PAUSING_ERRORS.
            now: Monotonic seconds.

        Raises:
            PipelineError: The same error, where waiting does not help.
        """
        if isinstance(error, BusyError):
            self.current = pause_until_reachable("database", str(error), now)
        elif isinstance(error, PlaceError):
            self._start_for_machine(error, now)
        elif isinstance(error, LockedError) and self.patient:
            self.current = pause_until_reachable("outbox", str(error), now)
        elif isinstance(error, DiskFullError):
            self.current = pause_for_full_disk(self._state, self.free_bytes, now)
        elif isinstance(error, OutputError):
            with disk_errors(self._outbox):
                pause = pause_for_outbox(error, self._outbox, self.free_bytes, now)
            if pause is None or (pause.cause == "outbox" and not self.patient):
                raise error
            self.current = pause
        else:
            raise error

    def start_for_inbox(self, error: InboxError, now: float) -> None:
        """Pause until the inbox can be read again, or is the same as before again."""
        if not self.patient:
            raise error
        self.current = pause_until_reachable("inbox", str(error), now)

    def check_outbox(self) -> None:
        """Check that no other studio works in the folder that has the name of the outbox now.

        Before anything is written there or removed from it: the work of the other one would be
        lost.

        Raises:
            LockedError: Another studio has locked it.
        """
        if self._lock is not None:
            self._lock.follow()

    def check_space(self) -> bool:
        """Whether there is space for another job; starts a pause where there is too little."""
        with disk_errors(self._outbox):
            folders = [self._outbox, self._state]
            self.current = self.current or find_full_disk(folders, self.free_bytes)
        return self.current is None

    def end_if_over(self, now: float) -> bool:
        """End the pause if it is over; returns whether it was."""
        if self.current is None or not is_over(self.current, now):
            return False
        self.trial = self.trial or self.current.cause == "disk"
        self.current = None
        return True

    @property
    def trial_reason(self) -> str:
        """Why only one job runs, for people; "" where as many may run as configured."""
        return "the disk was full: one job is tried before the others" if self.trial else ""

    def reset_faults(self) -> None:
        """Forget the faults of machine and disk: a job has finished."""
        self._faults, self.trial = 0, False

    def _start_for_machine(self, error: PlaceError, now: float) -> None:
        if self.current:
            return  # another job met the same fault
        if now > self._last_fault + STEADY_SECONDS:
            self._faults = 0
        self._faults, self._last_fault = self._faults + 1, now
        if not self.patient and self._faults >= RUN_TRIES:
            raise error
        self.current = pause_for_machine(error, self._faults, now)


MeasureSpace = Callable[[Path], tuple[int, int]]  # free and all bytes of a disk


def measure_space(folder: Path) -> tuple[int, int]:
    """Free and all bytes of the disk that a folder is on.

    Raises:
        OSError: The folder is not there.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def reserved_bytes(total: int, free_bytes: int) -> int:
    """Work pauses below this many free bytes, on a disk of ``total`` bytes."""
    return min(free_bytes, total // _SHARE)


def find_full_disk(
    folders: list[Path], free_bytes: int, measure: MeasureSpace = measure_space
) -> FaultPause | None:
    """The pause for the first disk with too little space; None where all have enough."""
    for folder in folders:
        free, total = measure(folder)
        need = reserved_bytes(total, free_bytes)
        if free < need:
            return _pause_for_disk(folder, int(need * HYSTERESIS), free, float("inf"))
    return None


def pause_for_full_disk(
    folder: Path, free_bytes: int, now: float, measure: MeasureSpace = measure_space
) -> FaultPause:
    """The pause after a write has failed because the disk is full.

    Its figures may not show it: no inodes are left, or a quota or a file size limit is reached.
    """
    free, total = measure(folder)
    reserved, again = reserved_bytes(total, free_bytes), now + AGAIN_SECONDS
    need = int(max(reserved, free + 1) * HYSTERESIS)
    if free < max(reserved, total // _SHARE):
        return _pause_for_disk(folder, need, free, again)
    why = (
        f"the disk of {folder} accepts no more data, although {free / 1e6:.1f} MB are free: no"
        f" inodes, a quota, a size limit, or a larger file; tried again every {AGAIN_SECONDS:.0f} s"
    )
    return FaultPause("disk", why, again, folder, need)


def pause_for_outbox(
    error: OutputError, outbox: Path, free_bytes: int, now: float
) -> FaultPause | None:
    """The pause after a write to the outbox has failed; None where waiting does not help."""
    if error.code is Reason.DISK_FULL:
        return pause_for_full_disk(_folder_of(error, outbox), free_bytes, now)
    if error.code is Reason.IO_ERROR:
        return pause_until_reachable("outbox", str(error), now)
    return None


def pause_until_reachable(
    cause: Literal["inbox", "outbox", "database"], why: str, now: float
) -> FaultPause:
    """The pause while a folder, its disk or share, or the database cannot be reached."""
    return FaultPause(cause, why, now + LOOK_SECONDS)


def pause_for_machine(error: PlaceError, times: int, now: float) -> FaultPause:
    """The pause while the machine is at fault; it is longer after each failed try."""
    return FaultPause("machine", str(error), now + repair_wait_seconds(times))


def is_over(pause: FaultPause, now: float, measure: MeasureSpace = measure_space) -> bool:
    """Whether there is enough space again, or it is time to try again."""
    if now >= pause.again or pause.folder is None:
        return now >= pause.again
    try:
        return measure(pause.folder)[0] >= pause.need
    except OSError:
        return False


def _folder_of(error: OutputError, outbox: Path) -> Path:
    """The folder of the outbox that could not be written to: it may lie on a disk of its own."""
    place = Path(error.where)
    above = [place, *place.parents] if place.is_relative_to(outbox) else []
    return next((folder for folder in above if folder.is_dir()), outbox)


def _pause_for_disk(folder: Path, need: int, free: int, again: float) -> FaultPause:
    why = (
        f"the disk of {folder} is full: {free / 1e6:.1f} MB free, continues at {need / 1e6:.1f} MB"
    )
    return FaultPause("disk", why, again, folder, need)
