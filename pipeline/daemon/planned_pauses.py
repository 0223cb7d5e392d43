"""Planned pauses: no job starts because of the `pause` command, the hours of work or bulk runs.

Every answer is computed afresh from the given time, so a restart, a sleep or a changed
clock cannot leave a wrong state behind. Two facts are kept in the state folder: the pause that a
user asked for, and up to which time bulk runs were considered. Pauses for faults (a full disk, a
missing folder) are in `pipeline.daemon.fault_pauses`.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Literal

from pipeline.config.schedule import AtEnd, Schedule, Stretch, find_stretch, next_run
from pipeline.errors import DiskFullError, StateError
from pipeline.system.clock import MACHINE_ZONE, format_moment
from pipeline.system.file_version import Stamp
from pipeline.system.state_file import read_facts, read_number, remove_facts, write_facts

USER_PAUSE = "paused.json"
BULK_RUNS = "bulk-runs.json"
# If the clock was set back by more than this, the times kept of bulk runs are wrong: forgotten.
BACK_SECONDS = 86400.0
WRITE_AGAIN_SECONDS = 15.0  # between two tries to write down which bulk runs have started
ALWAYS = Schedule()


# --- the `pause` command --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UserPause:
    """A user's `pause`: until a time (seconds since 1970), or until `resume`.

    ``at_once``: running jobs are interrupted and continued later; otherwise they are finished.
    """

    until: float | None = None
    at_once: bool = False

    def describe(self, wall: float, zone: tzinfo = MACHINE_ZONE) -> str:
        """The text for `status` and the dashboard."""
        if self.until is None:
            return "paused by you (`resume` continues)"
        until, now = (datetime.fromtimestamp(at, zone) for at in (self.until, wall))
        return f"paused by you until {format_moment(until, now)}"


def save_user_pause(state: Path, pause: UserPause) -> None:
    """Pause the instance that works on this state folder, now or later.

    Raises:
        StateError: The folder cannot be written to.
    """
    write_facts(state / USER_PAUSE, {"until": pause.until, "at_once": pause.at_once})


def remove_user_pause(state: Path) -> bool:
    """End the user's pause; False where there was none.

    Raises:
        StateError: The folder cannot be written to.
    """
    return remove_facts(state / USER_PAUSE)


def read_user_pause(state: Path, wall: float) -> UserPause | None:
    """The user's pause in force at a time. A file that cannot be understood pauses too."""
    facts = read_facts(state / USER_PAUSE)
    if facts is None:
        return None
    pause = UserPause(read_number(facts, "until"), facts.get("at_once") is True)
    return None if pause.until is not None and pause.until <= wall else pause


# --- all planned pauses ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedPause:
    """No job starts now; ``at_end`` says what happens to running jobs."""

    why: str
    at_end: AtEnd
    cause: Literal["person", "schedule"] = "schedule"


def next_opening(schedule: Schedule | None, wall: float) -> float | None:
    """When the hours of work next begin, in seconds since 1970; None within them, or without any.

    Considers hours only, neither the user's pause nor bulk runs.
    """
    if schedule is None:
        return None
    found = find_stretch(schedule, datetime.fromtimestamp(wall, schedule.zone))
    return None if found.open or found.until == float("inf") else found.until


class PlannedPauses:
    """Finds the planned pause in force, if there is one.

    Args:
        state: The state folder.
        schedule: Hours, and times of bulk runs; None: always.
        bulk: This process is itself a bulk run (`run`), and waits for none.
        until: No job starts after this time, in seconds since 1970.
        anyway: Ignore the hours of work.
    """

    def __init__(
        self,
        state: Path,
        schedule: Schedule | None = None,
        *,
        bulk: bool = False,
        until: float | None = None,
        anyway: bool = False,
    ) -> None:
        self._state, self._bulk, self._until, self._anyway = state, bulk, until, anyway
        self._bulk_runs = BulkRuns(state / BULK_RUNS)
        self._user_pause: UserPause | None = None
        self._stamp: Stamp | None = None  # of the file with the user's pause
        self.use_schedule(schedule)

    def use_schedule(self, schedule: Schedule | None) -> None:
        """Apply another schedule from now on."""
        self.schedule = schedule or ALWAYS
        self._stretch: Stretch | None = None
        self._bulk_runs.schedule = self.schedule

    @property
    def in_bulk_run(self) -> bool:
        """Whether a scheduled bulk run is in progress; it ends when nothing is left to do."""
        return not self._bulk and bool(self.schedule.runs) and self._bulk_runs.on

    @property
    def trouble(self) -> str:
        """Why bulk runs cannot be recorded; "" where they can."""
        return "" if self._bulk or not self.schedule.runs else self._bulk_runs.trouble

    def find(self, wall: float) -> PlannedPause | None:
        """The pause in force at a time; None where jobs may start. Starts bulk runs that are due.

        Raises:
            DiskFullError: A bulk run starts, and that cannot be recorded.
        """
        # First, because a bulk run also starts if its time comes during another pause.
        between = self._find_between_bulk_runs(wall)
        return (
            self._find_user_pause(wall)
            or self._find_after_until(wall)
            or self._find_outside_hours(wall)
            or between
        )

    def end_bulk_run(self, wall: float) -> None:
        """End the bulk run: nothing is left to do.

        Raises:
            DiskFullError: That cannot be recorded.
        """
        if self.in_bulk_run:
            self._bulk_runs.end(wall)

    def _find_user_pause(self, wall: float) -> PlannedPause | None:
        stamp = Stamp.at(self._state / USER_PAUSE)
        if stamp != self._stamp:
            self._stamp = stamp
            self._user_pause = read_user_pause(self._state, wall)
        pause = self._user_pause
        if pause is None:
            return None
        if pause.until is not None and pause.until <= wall:
            self._user_pause = None
            with suppress(StateError):  # it is over, even if its file stays
                remove_user_pause(self._state)
            return None
        at_end: AtEnd = "checkpoint" if pause.at_once else "finish"
        return PlannedPause(pause.describe(wall, self.schedule.zone), at_end, "person")

    def _find_after_until(self, wall: float) -> PlannedPause | None:
        if self._until is None or wall < self._until:
            return None
        why = f"the time given with --until has passed ({self._format_time(self._until, wall)})"
        return PlannedPause(why, self.schedule.at_end)

    def _find_outside_hours(self, wall: float) -> PlannedPause | None:
        if self._anyway:
            return None
        if self._stretch is None or not self._stretch.contains(wall):
            self._stretch = find_stretch(self.schedule, self._local_time(wall))
        if self._stretch.open:
            return None
        again = self._stretch.until
        when = f", continues at {self._format_time(again, wall)}" if again < float("inf") else ""
        return PlannedPause(f"outside the hours of work{when}", self.schedule.at_end)

    def _find_between_bulk_runs(self, wall: float) -> PlannedPause | None:
        if self._bulk or not self.schedule.runs:
            return None
        following = self._bulk_runs.start_if_due(wall)
        if following is None:
            return None
        why = f"waits for the bulk run at {self._format_time(following, wall)}"
        return PlannedPause(why, "finish")

    def _local_time(self, wall: float) -> datetime:
        return datetime.fromtimestamp(wall, self.schedule.zone)

    def _format_time(self, moment: float, wall: float) -> str:
        return format_moment(self._local_time(moment), self._local_time(wall))


# --- bulk runs ------------------------------------------------------------------------------


class BulkRuns:
    """Which bulk runs have started: kept in a file, so that none is repeated or missed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.schedule = ALWAYS
        facts = read_facts(path) or {}
        self.on = facts.get("on") is True
        # Up to this time cron times were considered. None: never; those in the past do not count.
        self._considered = read_number(facts, "considered")
        self.trouble = ""  # why the file does not hold what has happened; "" while it does
        self._again = 0.0  # when to try to write it again
        self._next: tuple[float, Schedule, float] | None = None  # cached: for what, and when

    def start_if_due(self, wall: float) -> float | None:
        """Start a run whose time has come; returns the time of the next one if none is on."""
        if self.trouble and not self._again - WRITE_AGAIN_SECONDS <= wall < self._again:
            self._write(self._considered or wall, self.on, wall)
        if self._considered is None or self._considered > wall + BACK_SECONDS:
            self._write(wall, self.on, wall)
        following = self._following()
        if not self.on and following <= wall:
            self._write(wall, True, wall)  # one run, however many times were missed
        return None if self.on else following

    def end(self, wall: float) -> None:
        """End the run that is on; times that passed meanwhile start no other one."""
        self._write(max(wall, self._considered or wall), False, wall)

    def _following(self) -> float:
        assert self._considered is not None  # noqa: S101  # set by start_if_due()
        since, schedule = self._considered, self.schedule
        if self._next is None or self._next[:2] != (since, schedule):
            found = next_run(schedule, datetime.fromtimestamp(since, schedule.zone))
            self._next = (since, schedule, found.timestamp() if found else float("inf"))
        return self._next[2]

    def _write(self, considered: float, on: bool, wall: float) -> None:
        """Write what has happened. Where that is impossible, work goes on, and it is tried again.

        A restart before that considers the same times again, which only starts a run once more.

        Raises:
            DiskFullError: The disk is full: nothing starts now.
        """
        try:
            write_facts(self._path, {"considered": considered, "on": on})
            self.trouble = ""
        except DiskFullError:
            raise
        except StateError as error:
            self.trouble, self._again = f"bulk runs: {error}", wall + WRITE_AGAIN_SECONDS
        self._considered, self.on = considered, on
