"""Cron times and hours of work, as pure functions of a given moment.

Times of day are in the schedule's time zone; `clock.local_timestamp` resolves those that a clock
change skips or repeats. Moments are compared as seconds since 1970: Python compares aware times of
one zone by their clock readings, and those run backwards for an hour each autumn.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from pipeline.config.base import FromList, Options
from pipeline.system.clock import MACHINE_ZONE, local_timestamp

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
AHEAD_DAYS = 16  # how far ahead the next opening is searched: every weekday twice
_WINDOW = re.compile(r"(?:([a-z, -]+?)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_FORM = 'write "22:00-06:00" or "mon-fri 22:00-06:00"'


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of work that begin on some weekdays (0: Monday), in minutes after midnight.

    ``end`` lies after ``start``; beyond 1440 it is of the next day.
    """

    days: frozenset[int]
    start: int
    end: int


def parse_window(text: str) -> Window:
    """``[DAYS ]HH:MM-HH:MM``; DAYS are names, ranges or both: ``mon-thu,sat``.

    Raises:
        ValueError: The text is not such a window.
    """
    found = _WINDOW.fullmatch(text.strip().lower())
    if not found:
        raise ValueError(f"{text!r} is not a time window: {_FORM}")
    days, *numbers = found.groups()
    hour, minute, last_hour, last_minute = map(int, numbers)
    start, end = hour * 60 + minute, last_hour * 60 + last_minute
    if max(minute, last_minute) > 59 or start >= 1440 or end > 1440:
        raise ValueError(f"{text!r} contains an invalid time of day")
    if start == end:
        raise ValueError(
            f"{text!r} begins and ends at the same time; for a whole day write 00:00-24:00"
        )
    if end < start:
        end += 1440  # of the next day
    return Window(_days(days or "mon-sun", text), start, end)


def _days(words: str, text: str) -> frozenset[int]:
    found: set[int] = set()
    for word in words.split(","):
        first, dash, last = (part.strip() for part in word.partition("-"))
        try:
            begin = DAYS.index(first)
            end = DAYS.index(last) if dash else begin
        except ValueError:
            raise ValueError(
                f"{text!r}: {word.strip()!r} is not a weekday: {', '.join(DAYS)}"
            ) from None
        found |= {(begin + n) % 7 for n in range((end - begin) % 7 + 1)}
    return frozenset(found)


def _check_window(text: str) -> str:
    parse_window(text)
    return text


def _check_not_empty(hours: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    if hours == ():
        raise ValueError("an empty list would never allow work; remove the key instead")
    return hours


def _check_cron(text: str) -> str:
    try:
        if len(text.split()) != 5:
            raise CronSimError("it needs five fields: minute hour day month weekday")
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"{text!r} is not a cron time: {str(error).lower()}") from None
    except StopIteration:
        raise ValueError(f"{text!r} never occurs") from None
    return text


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a path, a folder of zones
        known = "write it as in Europe/Berlin"
        if not available_timezones():
            known = "this system has none: python -m pip install tzdata"
        raise ValueError(f"there is no time zone {name!r}; {known}") from None
    return name


Hours = Annotated[str, AfterValidator(_check_window)]
Cron = Annotated[str, AfterValidator(_check_cron)]
AtEnd = Literal["checkpoint", "finish"]


class Schedule(Options):
    """When jobs may run; docs/bulk.md explains how the keys work together."""

    runs: Annotated[tuple[Cron, ...], FromList] = Field(
        (),
        description="Cron times at which a bulk run begins. New files wait until the next run.",
        examples=[["0 2 * * *"]],
    )
    hours: Annotated[
        Hours | tuple[Hours, ...] | None, FromList, AfterValidator(_check_not_empty)
    ] = Field(
        None,
        description='When work is allowed: "22:00-06:00", or a list of such ranges, also '
        'with days: "mon-fri 22:00-06:00".',
        examples=["22:00-06:00"],
    )
    timezone: Annotated[str, AfterValidator(_check_zone)] | None = Field(
        None,
        description="The time zone of these times, such as Europe/Berlin. Default: this machine's.",
    )
    at_end: AtEnd = Field(
        "checkpoint",
        description="What happens to running jobs when the hours end: they are suspended "
        "and continued later (checkpoint), or finished first (finish).",
    )

    @property
    def windows(self) -> tuple[Window, ...]:
        """The hours, parsed; empty: always."""
        hours = (self.hours,) if isinstance(self.hours, str) else self.hours or ()
        return tuple(map(parse_window, hours))

    @property
    def zone(self) -> tzinfo:
        """The time zone of all times."""
        return ZoneInfo(self.timezone) if self.timezone else MACHINE_ZONE


# --- hours ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stretch:
    """A span of time, in seconds since 1970, in which work is allowed throughout, or not at all."""

    open: bool
    since: float
    until: float

    def contains(self, wall: float) -> bool:
        """Whether a moment lies within it."""
        return self.since <= wall < self.until


def find_stretch(schedule: Schedule, now: datetime) -> Stretch:
    """Whether work is allowed at a moment, and the span around it in which that stays so."""
    at = now.timestamp()
    before, after = float("-inf"), float("inf")
    windows = schedule.windows
    if not windows:
        return Stretch(True, before, after)
    for start, end in _merged(_spans(windows, now.astimezone(schedule.zone).date(), schedule.zone)):
        if start <= at < end:
            return Stretch(True, start, end)
        if end <= at:
            before = end
        else:
            after = min(after, start)
    return Stretch(False, before, after)


def _spans(windows: Sequence[Window], today: date, zone: tzinfo) -> Iterator[tuple[float, float]]:
    """Start and end of all windows from 2 days ago to AHEAD_DAYS ahead, in seconds since 1970."""
    for number in range(-2, AHEAD_DAYS):
        day = today + timedelta(days=number)
        midnight = datetime(day.year, day.month, day.day)
        for window in windows:
            if day.weekday() in window.days:
                start, end = (timedelta(minutes=m) for m in (window.start, window.end))
                yield (
                    local_timestamp(midnight + start, zone),
                    local_timestamp(midnight + end, zone),
                )


def _merged(spans: Iterator[tuple[float, float]]) -> list[tuple[float, float]]:
    """Overlapping and adjoining spans joined; those that a clock change made empty left out."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


# --- runs -----------------------------------------------------------------------------------


def next_run(schedule: Schedule, after: datetime) -> datetime | None:
    """The first time after a moment at which a bulk run starts; None without cron times."""
    since = after.timestamp()
    local = after.astimezone(schedule.zone)
    # In an hour that is repeated, cron's next time may lie in the past: it is skipped.
    times = [
        next(time for time in CronSim(cron, local) if time.timestamp() > since)
        for cron in schedule.runs
    ]
    return min(times, key=datetime.timestamp, default=None)
