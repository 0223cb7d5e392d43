"""`pause` and `resume`: work held back by a person, kept in the state folder until it is over."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

from pipeline.system.clock import MACHINE_ZONE, format_moment
from pipeline.system.state_file import read_facts, remove_facts, write_facts

NAME = "paused.json"


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody has paused the work: until a time (seconds since 1970) or until `resume`.

    ``at_once``: running jobs are put off where they are; otherwise they are finished.
    """

    until: float | None = None
    at_once: bool = False

    def words(self, wall: float, zone: tzinfo = MACHINE_ZONE) -> str:
        """As `status` and the dashboard say it."""
        if self.until is None:
            return "paused by you (`resume` goes on)"
        until, now = (datetime.fromtimestamp(at, zone) for at in (self.until, wall))
        return f"paused by you until {format_moment(until, now)}"


def hold(state: Path, found: Hold) -> None:
    """Pause whoever works on this state folder, now or later.

    Raises:
        StateError: The folder cannot be written to.
    """
    write_facts(state / NAME, {"until": found.until, "at_once": found.at_once})


def resume(state: Path) -> bool:
    """End the pause; False where there was none.

    Raises:
        StateError: The folder cannot be written to.
    """
    return remove_facts(state / NAME)


def held(state: Path, wall: float) -> Hold | None:
    """The pause in force at a time of day. A file that cannot be read pauses: somebody meant it."""
    facts = read_facts(state / NAME)
    if facts is None:
        return None
    until = facts.get("until")
    found = Hold(until if isinstance(until, int | float) else None, facts.get("at_once") is True)
    return None if found.until is not None and found.until <= wall else found
