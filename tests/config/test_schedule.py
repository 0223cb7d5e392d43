"""Cron times and hours of work: right on every day of the year, whatever the clock does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.loading import load_config
from pipeline.config.schedule import Schedule, find_stretch, next_run
from pipeline.errors import ConfigError
from pipeline.system.clock import MACHINE_ZONE, format_moment, local_timestamp, parse_moment

BERLIN, LORD_HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")
SPRING, AUTUMN = datetime(2026, 3, 28, 12), datetime(2026, 10, 24, 12)  # noon before the change


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def is_open(schedule: Schedule, now: datetime) -> bool:
    found = find_stretch(schedule, now)
    assert found.contains(now.timestamp())
    return found.open


def opening(schedule: Schedule, after: datetime) -> tuple[datetime, datetime]:
    """Begin and end of the hours of work after a moment outside of them."""
    closed = find_stretch(schedule, after)
    assert not closed.open
    found = find_stretch(schedule, at(closed.until))
    assert found.since == closed.until
    return at(found.since), at(found.until)


def hours(text, zone: str = "Europe/Berlin") -> Schedule:
    return Schedule(hours=text, timezone=zone)


def runs(*cron: str, zone: str = "Europe/Berlin") -> Schedule:
    return Schedule(runs=cron, timezone=zone)


# --- hours ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noon", "begins", "ends", "long"),
    [
        (SPRING, utc(2026, 3, 28, 21), utc(2026, 3, 29, 4), 7),
        (AUTUMN, utc(2026, 10, 24, 20), utc(2026, 10, 25, 5), 9),
        (datetime(2026, 6, 1, 12), utc(2026, 6, 1, 20), utc(2026, 6, 2, 4), 8),
    ],
)
def test_a_night_over_a_change_of_the_clock_is_an_hour_shorter_or_longer(noon, begins, ends, long):
    night = opening(hours("22:00-06:00"), noon.replace(tzinfo=BERLIN))
    assert night == (begins, ends)
    assert night[1] - night[0] == timedelta(hours=long)


@pytest.mark.parametrize(
    ("day", "text", "begins", "ends"),
    [
        # 2:00 becomes 2:30 on 2026-10-04, and 2:00 becomes 1:30 on 2026-04-05.
        (datetime(2026, 10, 3, 12), "22:00-06:00", utc(2026, 10, 3, 11, 30), utc(2026, 10, 3, 19)),
        (datetime(2026, 4, 4, 12), "22:00-06:00", utc(2026, 4, 4, 11), utc(2026, 4, 4, 19, 30)),
        (datetime(2026, 10, 3, 12), "02:15-03:00", utc(2026, 10, 3, 15, 30), utc(2026, 10, 3, 16)),
        (datetime(2026, 4, 4, 12), "01:45-03:00", utc(2026, 4, 4, 14, 45), utc(2026, 4, 4, 16, 30)),
    ],
)
def test_a_change_by_half_an_hour_is_right_too(day, text, begins, ends):
    night = opening(hours(text, "Australia/Lord_Howe"), day.replace(tzinfo=LORD_HOWE))
    assert night == (begins, ends)


def test_a_window_that_a_change_leaves_out_is_empty_and_one_that_comes_twice_opens_once():
    left_out = hours("02:15-02:45")
    assert opening(left_out, SPRING.replace(tzinfo=BERLIN))[0] == utc(2026, 3, 30, 0, 15)
    assert opening(left_out, AUTUMN.replace(tzinfo=BERLIN)) == (
        utc(2026, 10, 25, 0, 15),
        utc(2026, 10, 25, 0, 45),
    )
    assert not is_open(left_out, utc(2026, 10, 25, 1, 30))  # 02:30 for the second time


def test_a_window_over_midnight_belongs_to_the_weekday_on_which_it_begins():
    weekdays = hours("mon-fri 22:00-06:00", "UTC")
    friday = datetime(2026, 11, 27, 21, 59, tzinfo=UTC)
    assert opening(weekdays, friday) == (utc(2026, 11, 27, 22), utc(2026, 11, 28, 6))
    assert is_open(weekdays, utc(2026, 11, 28, 5, 59))
    assert not is_open(weekdays, utc(2026, 11, 29, 23))  # Sunday
    assert opening(weekdays, utc(2026, 11, 28, 6))[0] == utc(2026, 11, 30, 22)


def test_windows_that_touch_are_one_and_a_list_of_them_may_name_days_in_any_way():
    found = hours(["fri 20:00-24:00", "Sat-Sun 00:00-24:00", "mon 0:00-6:00"], "UTC")
    assert opening(found, utc(2026, 11, 27, 12)) == (utc(2026, 11, 27, 20), utc(2026, 11, 30, 6))
    wrapped = hours("sat-mon,wed 12:00-13:00", "UTC")
    days = [is_open(wrapped, utc(2026, 11, day, 12, 30)) for day in range(23, 30)]
    assert days == [True, False, True, False, False, True, True]  # from Monday on


def test_without_hours_or_with_all_of_them_work_is_always_allowed():
    for schedule in (Schedule(), hours("00:00-24:00"), hours("22:00-21:59", "UTC")):
        assert is_open(schedule, utc(2026, 3, 29, 12))
    assert find_stretch(Schedule(), utc(2026, 1, 1)).until == float("inf")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 366 * 1440 * 2),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Tokyo"]),
    st.sampled_from(["22:00-06:00", "sun 01:30-03:30", "mon-fri 22:00-06:00", "00:00-24:00"]),
)
def test_an_answer_holds_until_it_ends_and_the_opposite_follows(minutes, zone, text):
    schedule = hours(text, zone)
    now = utc(2026, 1, 1) + timedelta(minutes=minutes)
    found = find_stretch(schedule, now)
    for inside in (found.since, now.timestamp(), found.until - 0.001):
        assert find_stretch(schedule, at(max(inside, now.timestamp() - 86400))).open == found.open
    if text != "00:00-24:00":
        assert find_stretch(schedule, at(found.until)).open is not found.open


def test_the_machines_own_clock_is_meant_where_no_zone_is_named():
    now = utc(2026, 7, 1, 12)
    assert now.astimezone(MACHINE_ZONE).replace(tzinfo=None) == now.astimezone().replace(
        tzinfo=None
    )
    assert (
        at(local_timestamp(datetime(2026, 7, 1, 12), MACHINE_ZONE))
        == datetime(2026, 7, 1, 12).astimezone()
    )


# --- runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "after", "begins"),
    [
        ("30 2 * * *", SPRING, [utc(2026, 3, 29, 1), utc(2026, 3, 30, 0, 30)]),  # left out
        ("30 2 * * *", AUTUMN, [utc(2026, 10, 25, 0, 30), utc(2026, 10, 26, 1, 30)]),  # not twice
        ("0 * * * *", AUTUMN.replace(hour=23), [utc(2026, 10, 24, 22 + n) for n in (0, 1)]),
        ("0 2 * * mon-fri", SPRING, [utc(2026, 3, 30, 0), utc(2026, 3, 31, 0)]),
        ("0 6 29 2 *", SPRING, [utc(2028, 2, 29, 5), utc(2032, 2, 29, 5)]),
    ],
)
def test_bulk_runs_begin_at_crons_times_also_where_the_clock_changes(cron, after, begins):
    found = [after.replace(tzinfo=BERLIN)]
    for _ in begins:
        found.append(next_run(runs(cron), found[-1]))
    assert [run.astimezone(UTC) for run in found[1:]] == begins


def test_within_an_hour_that_comes_twice_the_next_run_is_never_behind_us():
    second = datetime(2026, 10, 25, 2, 15, fold=1, tzinfo=BERLIN)
    assert next_run(runs("30 2 * * *"), second).astimezone(UTC) == utc(2026, 10, 26, 1, 30)


def test_of_several_cron_times_the_next_one_counts_and_without_any_there_is_none():
    both = runs("0 2 * * *", "0 14 * * sat", zone="UTC")
    assert next_run(both, utc(2026, 11, 28, 3)) == utc(2026, 11, 28, 14)
    assert next_run(Schedule(), utc(2026, 11, 28)) is None


# --- what cannot be meant -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('runs: ["0 0 31 2 *"]', "schedule.runs.0", "bad day-of-month"),
        ('runs: ["0 2 * * *", "60 2 * * *"]', "schedule.runs.1", "bad minute"),
        ('runs: ["* * * *"]', "schedule.runs.0", "five fields"),
        ('hours: "22:00-25:00"', "schedule.hours", "invalid time of day"),
        ('hours: "22:00-22:00"', "schedule.hours", "begins and ends at the same time"),
        ('hours: "at night"', "schedule.hours", '"22:00-06:00"'),
        (
            'hours: ["8:00-9:00", "funday 1:00-2:00"]',
            "schedule.hours.1",
            "'funday' is not a weekday",
        ),
        ("hours: []", "schedule.hours", "remove the key"),
        ("timezone: Mars/Olympus", "schedule.timezone", "no time zone 'Mars/Olympus'"),
        ("timezone: /etc/passwd", "schedule.timezone", "no time zone"),
        ("at_end: drop", "schedule.at_end", "accepted: checkpoint, finish"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused_with_its_key(tmp_path: Path, text, key, words):
    path = tmp_path / "config.yaml"
    path.write_text(f'styles: {{a: {{image: "builtin:mosaic"}}}}\nschedule:\n  {text}\n')
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert f"{key}: " in str(error.value)
    assert words in str(error.value)
    assert "config.yaml:3" in str(error.value)


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("02:30", utc(2026, 10, 25, 0, 30)),  # the first of two
        ("00:30", utc(2026, 10, 25, 23, 30)),
        ("8h", utc(2026, 10, 25, 7)),
        ("90m", utc(2026, 10, 25, 0, 30)),
        ("2026-12-24 06:00", utc(2026, 12, 24, 5)),
        ("2026-12-24T06:00Z", utc(2026, 12, 24, 6)),
    ],
)
def test_a_time_on_the_command_line_is_the_next_such_time(text, meant):
    assert parse_moment(text, datetime(2026, 10, 25, 1, tzinfo=BERLIN)).astimezone(UTC) == meant


@pytest.mark.parametrize("text", ["25:00", "soon", "", "2026-10-24 06:00", "-3h", "99999999999d"])
def test_what_is_no_time_to_come_is_refused(text):
    with pytest.raises(ValueError, match=r"is not a time|is in the past"):
        parse_moment(text, datetime(2026, 10, 25, 1, tzinfo=BERLIN))


def test_times_are_said_as_shortly_as_they_can_be_understood():
    now = datetime(2026, 11, 23, 20, tzinfo=BERLIN)
    said = [format_moment(now + timedelta(hours=hours), now) for hours in (2, 6, 24 * 9)]
    assert said == ["22:00", "Tue 02:00", "2026-12-02 20:00"]
