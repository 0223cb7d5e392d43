"""Local clock times to timestamps, and moments as text. Pure functions of a given `now`."""

import re
import time
from datetime import UTC, datetime, timedelta, tzinfo


class _MachineZone(tzinfo):
    """The machine's own time zone with all its jumps, as the C library knows it."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return moment.replace(tzinfo=None).astimezone().utcoffset() if moment else None

    def dst(self, _moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _moment: datetime | None) -> str:
        return time.tzname[0]

    def fromutc(self, moment: datetime) -> datetime:
        seconds = moment.replace(tzinfo=UTC).timestamp()
        return datetime.fromtimestamp(seconds).replace(tzinfo=self)


MACHINE_ZONE = _MachineZone()


def local_timestamp(reading: datetime, zone: tzinfo) -> float:
    """When a zone's clock first shows this reading, or jumps over it; in seconds since 1970.

    A time that comes twice (autumn) counts the first time, one that is left out (spring) counts as
    the moment of the jump: as cron has it.
    """
    moment = reading.replace(tzinfo=zone)
    while moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != reading:
        reading += timedelta(minutes=1)  # a day at most: islands have changed sides
        moment = reading.replace(tzinfo=zone)
    return moment.timestamp()


def format_moment(at: datetime, now: datetime) -> str:
    """A moment as short text: 22:00, Tue 02:00, 2026-12-24 02:00."""
    days = (at.date() - now.astimezone(at.tzinfo).date()).days
    if days == 0:
        return f"{at:%H:%M}"
    return f"{at:%a %H:%M}" if 0 < days < 7 else f"{at:%Y-%m-%d %H:%M}"


_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_length(text: str) -> float:
    """Parse a length of time as users write it, in seconds: ``30s``, ``2m``, ``1.5h``, ``1d``.

    Raises:
        ValueError: It is none.
    """
    length = _LENGTH.fullmatch(text.strip().lower())
    if length is None:
        raise ValueError(f"{text!r} is not a length of time, such as 30s, 2m, 1h")
    return float(length[1]) * _SECONDS[length[2]]


def parse_moment(text: str, now: datetime) -> datetime:
    """Parse a time as users write it: ``06:00`` (the next), ``2026-12-24 06:00``, ``90m``, ``8h``.

    Args:
        text: As the user wrote it.
        now: Aware; its zone is whose clock is meant.

    Raises:
        ValueError: It is none of these, or is in the past.
    """
    words = text.strip().lower()
    try:
        if _LENGTH.fullmatch(words):
            lasting = timedelta(seconds=parse_length(words))
            return (now.astimezone(UTC) + lasting).astimezone(now.tzinfo)
        if re.fullmatch(r"\d{1,2}:\d{2}", words):
            return _next_reading(words, now)
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time, such as 06:00, 2026-12-24 06:00, 90m, 8h"
        ) from None
    zone = now.tzinfo
    assert zone is not None  # noqa: S101  # aware, as asked for
    if found.tzinfo is None:
        found = datetime.fromtimestamp(local_timestamp(found, zone), zone)
    if found.timestamp() <= now.timestamp():
        raise ValueError(f"{text!r} is in the past")
    return found


def _next_reading(words: str, now: datetime) -> datetime:
    hour, minute = map(int, words.split(":"))
    zone = now.tzinfo
    assert zone is not None  # noqa: S101  # aware, as asked for
    midnight = datetime(now.year, now.month, now.day, hour, minute)
    days = (local_timestamp(midnight + timedelta(days=n), zone) for n in range(3))
    return datetime.fromtimestamp(next(at for at in days if at > now.timestamp()), zone)
