"""When jobs may be begun: hours, bulk runs, a person's pause, over restarts and clock changes."""

from datetime import UTC, datetime

import pytest
from support.studio import CONFIG, Studio

from pipeline.config.schedule import Schedule
from pipeline.daemon.planned_pauses import (
    BULK_RUNS,
    USER_PAUSE,
    PlannedPauses,
    UserPause,
    next_opening,
    read_user_pause,
    remove_user_pause,
    save_user_pause,
)

NIGHT = CONFIG + 'schedule: {hours: "22:00-06:00", timezone: UTC}\n'
NIGHTLY = CONFIG + 'schedule: {runs: ["0 2 * * *"], timezone: UTC}\n'
HOUR, DAY = 3600.0, 86400.0


def clock(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2033, 5, day, hour, minute, tzinfo=UTC).timestamp()


@pytest.fixture
def make(make_studio):
    def open_at(config: str, wall: float) -> Studio:
        studio = make_studio(config)
        studio.wall = wall
        return studio

    return open_at


def work(studio: Studio, ticks: int = 60) -> list[str]:
    """Let a minute go by, in which every job ends well; what was begun."""
    before = len(studio.executor.begun)
    for _ in range(ticks):
        studio.tick(0.01)
        studio.examined()
        while studio.executor.jobs:
            studio.executor.end()
    return [job.content for job in studio.executor.begun[before:]]


# --- hours ----------------------------------------------------------------------------------


def test_the_next_opening_is_known_outside_the_hours_alone():
    night = Schedule(hours="22:00-06:00", timezone="UTC")
    assert next_opening(night, clock(18, 12)) == clock(18, 22)
    assert next_opening(night, clock(18, 23)) is None
    assert next_opening(Schedule(), clock(18, 12)) is None
    assert next_opening(None, clock(18, 12)) is None


def test_outside_the_hours_files_are_seen_but_nothing_is_begun(make):
    studio = make(NIGHT, clock(18, 12))
    studio.put("a.png")
    assert work(studio) == []
    assert studio.view.message == "outside the hours of work, continues at 22:00"
    assert studio.service.planned_pause.cause == "schedule"
    assert studio.view.queued == 1
    studio.wall = clock(18, 22)
    assert work(studio) == ["a.png"]
    assert "hours" not in studio.view.message


def test_a_restart_within_the_hours_works_and_one_outside_of_them_does_not(make):
    studio = make(NIGHT, clock(18, 23))
    studio.put("a.png")
    studio.again()
    assert work(studio) == ["a.png"]
    studio.wall = clock(19, 7)
    studio.put("b.png", seed=1)
    studio.again()
    assert work(studio) == []


@pytest.mark.parametrize(("at_end", "state"), [("checkpoint", "queued"), ("finish", "running")])
def test_when_the_hours_end_running_jobs_are_put_off_or_finished_as_configured(make, at_end, state):
    studio = make(NIGHT.replace("UTC}", f"UTC, at_end: {at_end}}}"), clock(18, 23))
    studio.put("a.png")
    studio.until_running()
    studio.wall = clock(19, 6)
    studio.tick(0.01)
    studio.tick(0.01)
    assert studio.states() == {"a.png": state}
    work(studio)
    assert studio.states() == {"a.png": "queued" if at_end == "checkpoint" else "done"}
    assert studio.ledger.pairs()[0].attempt == (0 if at_end == "checkpoint" else 1)
    studio.wall = clock(19, 22)
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


def test_a_run_outside_the_hours_is_idle_and_anyway_works_all_the_same(make, tmp_path):
    studio = make(NIGHT, clock(18, 12))
    studio.put("a.png")
    assert work(studio) == []
    assert studio.service.idle
    studio.service.planned_pauses = PlannedPauses(
        tmp_path / ".state", studio.config.schedule, bulk=True, anyway=True
    )
    assert work(studio) == ["a.png"]


def test_a_time_limit_puts_running_jobs_off_and_ends_the_run(make, tmp_path):
    studio = make(CONFIG, clock(18, 12))
    studio.service.planned_pauses = PlannedPauses(
        tmp_path / ".state", bulk=True, until=clock(18, 13)
    )
    studio.put("a.png")
    studio.until_running()
    assert not studio.service.idle
    studio.wall = clock(18, 13)
    studio.tick(0.01)
    studio.tick(0.01)
    assert studio.service.idle
    assert studio.states() == {"a.png": "queued"}
    assert "the time given with --until has passed" in studio.view.message


# --- bulk runs ------------------------------------------------------------------------------


def test_between_bulk_runs_new_files_wait_and_a_run_takes_all_of_them(make):
    studio = make(NIGHTLY, clock(18, 12))
    studio.put("a.png")
    studio.put("b.png", seed=1)
    assert work(studio) == []
    assert studio.view.message == "waits for the bulk run at Thu 02:00"
    studio.wall = clock(19, 2)
    assert sorted(work(studio)) == ["a.png", "b.png"]
    studio.put("c.png", seed=2)
    assert work(studio) == []
    assert studio.view.message == "waits for the bulk run at Fri 02:00"


def test_a_bulk_run_that_a_restart_cuts_short_goes_on_and_is_not_begun_twice(make):
    studio = make(NIGHTLY, clock(18, 12))
    work(studio)
    studio.put("a.png")
    studio.wall = clock(19, 2)
    studio.until_running()
    studio.again()
    assert work(studio) == ["a.png"]
    studio.again()
    studio.put("b.png", seed=1)
    assert work(studio) == []


def test_runs_that_were_missed_are_caught_up_once(make):
    studio = make(NIGHTLY, clock(18, 12))
    work(studio)
    studio.put("a.png")
    studio.wall = clock(23, 12)
    studio.again()
    assert work(studio) == ["a.png"]
    studio.put("b.png", seed=1)
    assert work(studio) == []


def test_a_clock_that_jumps_about_doubles_no_bulk_run(make):
    studio = make(NIGHTLY, clock(18, 12))
    work(studio)
    studio.wall = clock(19, 2)
    work(studio)
    for jump in (-HOUR, +HOUR, -5 * HOUR, +5 * HOUR):
        studio.wall += jump
        studio.put(f"{jump}.png", seed=int(jump) % 97)
        assert work(studio) == []
    studio.wall = clock(20, 2)
    assert len(work(studio)) == 4


def test_a_clock_that_was_years_ahead_stops_no_bulk_run_for_years(make):
    studio = make(NIGHTLY, clock(18, 12))
    studio.wall += 3650 * DAY
    work(studio)
    studio.wall -= 3650 * DAY
    studio.put("a.png")
    work(studio)
    studio.wall = clock(19, 2)
    assert work(studio) == ["a.png"]


def test_a_bulk_run_works_in_its_hours_only_and_goes_on_when_they_come_again(make):
    both = 'schedule: {runs: ["0 2 * * *"], hours: "22:00-03:00", timezone: UTC}\n'
    studio = make(CONFIG + both, clock(18, 12))
    work(studio)
    studio.put("a.png")
    studio.wall = clock(18, 23)
    assert work(studio) == []  # within the hours, but no run has begun
    studio.wall = clock(19, 2)
    studio.until_running()
    studio.wall = clock(19, 3)
    work(studio)
    assert studio.states() == {"a.png": "queued"}
    studio.wall = clock(19, 22)
    assert work(studio) == ["a.png"]


def test_a_run_whose_time_lies_outside_the_hours_begins_with_them(make):
    both = 'schedule: {runs: ["0 12 * * *"], hours: "22:00-03:00", timezone: UTC}\n'
    studio = make(CONFIG + both, clock(18, 11))
    work(studio)
    studio.put("a.png")
    studio.wall = clock(18, 13)
    assert work(studio) == []
    studio.wall = clock(18, 22)
    assert work(studio) == ["a.png"]


def test_a_damaged_note_of_bulk_runs_doubles_nothing(make, tmp_path):
    studio = make(NIGHTLY, clock(18, 12))
    work(studio)
    (tmp_path / ".state" / BULK_RUNS).write_text('{"considered": ')
    studio.again()
    studio.put("a.png")
    assert work(studio) == []
    studio.wall = clock(19, 2)
    assert work(studio) == ["a.png"]


# --- pause and resume -----------------------------------------------------------------------


def test_a_pause_is_seen_by_a_running_daemon_outlasts_a_restart_and_ends_by_resume(make, tmp_path):
    studio = make(CONFIG, clock(18, 12))
    state = tmp_path / ".state"
    studio.put("a.png")
    studio.until_running()
    save_user_pause(state, UserPause())
    studio.put("b.png", seed=1)
    assert work(studio) == []
    assert studio.states() == {"a.png": "done"}  # what ran was finished
    assert studio.service.planned_pause.cause == "person"
    assert studio.view.message == "paused by you (`resume` continues)"
    studio.again()
    assert work(studio) == []
    assert remove_user_pause(state)
    assert work(studio) == ["b.png"]
    assert not remove_user_pause(state)


def test_a_pause_at_once_puts_running_jobs_off_and_costs_no_attempt(make, tmp_path):
    studio = make(CONFIG, clock(18, 12))
    studio.put("a.png")
    studio.until_running()
    save_user_pause(tmp_path / ".state", UserPause(at_once=True))
    studio.tick(0.01)
    studio.tick(0.01)
    assert studio.states() == {"a.png": "queued"}
    assert studio.ledger.pairs()[0].attempt == 0


def test_a_pause_until_a_time_ends_by_itself_and_for_good(make, tmp_path):
    studio = make(CONFIG, clock(18, 12))
    state = tmp_path / ".state"
    save_user_pause(state, UserPause(until=clock(18, 18)))
    studio.put("a.png")
    assert work(studio) == []
    assert studio.view.message.startswith("paused by you until ")
    assert read_user_pause(state, studio.wall) == UserPause(until=clock(18, 18))
    studio.wall = clock(18, 18)
    assert work(studio) == ["a.png"]
    studio.wall = clock(18, 12)
    studio.put("b.png", seed=1)
    assert work(studio) == ["b.png"]


def test_a_pause_that_cannot_be_read_is_a_pause(make, tmp_path):
    studio = make(CONFIG, clock(18, 12))
    (tmp_path / ".state" / USER_PAUSE).write_text("{")
    studio.put("a.png")
    assert work(studio) == []


def test_another_schedule_counts_at_once(tmp_path):
    pauses = PlannedPauses(tmp_path, Schedule(hours="22:00-06:00", timezone="UTC"))
    assert pauses.find(clock(18, 12)) is not None
    pauses.use_schedule(Schedule(hours="11:00-13:00", timezone="UTC"))
    assert pauses.find(clock(18, 12)) is None
