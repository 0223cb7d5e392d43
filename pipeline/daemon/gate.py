"""Whether jobs may be begun at this time of day, and why not: people, hours and bulk runs.

Everything is asked anew each time and depends on the given time alone, so a restart, a sleep or a
clock that was set changes nothing but the answer. Two things are kept in the state folder: a
person's pause (see `hold`), and up to which time bulk runs were looked at.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Literal

from pipeline.config.schedule import AtEnd, Schedule, Stretch, next_run, stretch
from pipeline.daemon.hold import NAME, Hold, held, resume
from pipeline.errors import StateError
from pipeline.system.clock import format_moment
from pipeline.system.file_version import Stamp
from pipeline.system.state_file import read_facts, write_facts

RUNS = "bulk-runs.json"
# A clock set back by more than this was wrong before: what it said of bulk runs is forgotten.
BACK_SECONDS = 86400.0
ALWAYS = Schedule()


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing is begun now; ``at_end`` says what becomes of the jobs that run."""

    why: str
    at_end: AtEnd
    cause: Literal["person", "schedule"] = "schedule"


def next_opening(schedule: Schedule | None, wall: float) -> float | None:
    """When the hours next begin, in seconds since 1970; None within them, and where there are none.

    Hours alone: of pauses and bulk runs it knows nothing.
    """
    if schedule is None:
        return None
    found = stretch(schedule, datetime.fromtimestamp(wall, schedule.zone))
    return None if found.open or found.until == float("inf") else found.until


class Gate:
    """Open while jobs may be begun.

    Args:
        state: The state folder.
        schedule: Hours, and times of bulk runs; None: always.
        bulk: This process is a bulk run itself (`run`), and waits for none.
        until: Closes for good at this time, in seconds since 1970.
        anyway: Whatever the hours say.
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
        self._runs = Runs(state / RUNS)
        self._held: Hold | None = None
        self._stamp: Stamp | None = None
        self.take_up(schedule)

    def take_up(self, schedule: Schedule | None) -> None:
        """Heed another schedule from now on."""
        self.schedule = schedule or ALWAYS
        self._stretch: Stretch | None = None
        self._runs.schedule = self.schedule

    @property
    def in_run(self) -> bool:
        """Whether a bulk run goes on, which ends when nothing is left to do."""
        return not self._bulk and bool(self.schedule.runs) and self._runs.on

    def look(self, wall: float) -> Closed | None:
        """Why nothing may be begun at a time of day; None where it may.

        Raises:
            StateError: A bulk run begins, and that cannot be written down.
        """
        between = self._between(wall)  # a run whose time comes while we are closed begins then
        return self._person(wall) or self._over(wall) or self._hours(wall) or between

    def done(self, wall: float) -> None:
        """Nothing is left to do: the bulk run is over.

        Raises:
            StateError: That cannot be written down.
        """
        if self.in_run:
            self._runs.end(wall)

    def _person(self, wall: float) -> Closed | None:
        stamp = Stamp.at(self._state / NAME)
        if stamp != self._stamp:
            self._stamp = stamp
            self._held = held(self._state, wall)
        if self._held is None:
            return None
        if self._held.until is not None and self._held.until <= wall:
            self._held = None
            _forget(self._state)
            return None
        at_end: AtEnd = "checkpoint" if self._held.at_once else "finish"
        return Closed(self._held.words(wall, self._zone), at_end, "person")

    def _over(self, wall: float) -> Closed | None:
        if self._until is None or wall < self._until:
            return None
        return Closed(f"the time given is over ({self._say(self._until, wall)})", self._at_end)

    def _hours(self, wall: float) -> Closed | None:
        if self._anyway:
            return None
        if self._stretch is None or not self._stretch.holds(wall):
            self._stretch = stretch(self.schedule, self._at(wall))
        if self._stretch.open:
            return None
        again = self._stretch.until
        when = f", goes on at {self._say(again, wall)}" if again < float("inf") else ""
        return Closed(f"outside the hours of work{when}", self._at_end)

    def _between(self, wall: float) -> Closed | None:
        if self._bulk or not self.schedule.runs:
            return None
        following = self._runs.look(wall)
        if following is None:
            return None
        return Closed(f"waits for the bulk run at {self._say(following, wall)}", "finish")

    @property
    def _at_end(self) -> AtEnd:
        return self.schedule.at_end

    @property
    def _zone(self) -> tzinfo:
        return self.schedule.zone

    def _at(self, wall: float) -> datetime:
        return datetime.fromtimestamp(wall, self._zone)

    def _say(self, moment: float, wall: float) -> str:
        return format_moment(self._at(moment), self._at(wall))


class Runs:
    """Which bulk runs have begun: kept in a file, so that none is doubled or forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.schedule = ALWAYS
        facts = read_facts(path) or {}
        considered, self.on = facts.get("considered"), facts.get("on") is True
        # Up to which time cron times were looked at; None: never, and what is past stays past.
        self._considered = float(considered) if isinstance(considered, int | float) else None
        self._next: tuple[float, Schedule, float] | None = None  # for which the next was computed

    def look(self, wall: float) -> float | None:
        """Begin a run whose time has come; the time of the next one while none is on."""
        if self._considered is None or self._considered > wall + BACK_SECONDS:
            self._write(wall, on=self.on)
        following = self._following()
        if not self.on and following <= wall:
            self._write(wall, on=True)  # one run, however many times were missed
        return None if self.on else following

    def end(self, wall: float) -> None:
        """Times that passed while it was on are served by it."""
        self._write(max(wall, self._considered or wall), on=False)

    def _following(self) -> float:
        assert self._considered is not None  # noqa: S101  # written by look()
        since, schedule = self._considered, self.schedule
        if self._next is None or self._next[:2] != (since, schedule):
            found = next_run(schedule, datetime.fromtimestamp(since, schedule.zone))
            self._next = (since, schedule, found.timestamp() if found else float("inf"))
        return self._next[2]

    def _write(self, considered: float, on: bool) -> None:
        write_facts(self._path, {"considered": considered, "on": on})
        self._considered, self.on = considered, on


def _forget(state: Path) -> None:
    with suppress(StateError):  # it is over all the same
        resume(state)
