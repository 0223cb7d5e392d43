"""Whether the service is really alive, and whom it informs."""

import os
import socket
from pathlib import Path

import pytest

from pipeline.jobs.job import Progress
from pipeline.monitoring.digest import MAX_FAILED, Batch
from pipeline.monitoring.health import FAILING, GRACE_SECONDS, HealthMonitor, find_trouble
from pipeline.monitoring.systemd import Notifier
from pipeline.monitoring.view import Result, View

NOW = 1_700_000_000.0


def a_view() -> View:
    view = View()
    view.begin_job("job1", "a.jpg", "ink", "cpu")
    return view


def spoke(view: View, seconds: float) -> None:
    view.update_progress(Progress("job1", 1, 1, 64, 1, 2, 0.5, seconds, 30.0))


def a_line(status: str = "done", code: str = "", content: str = "a.jpg") -> dict[str, object]:
    error = {"code": code, "message": "as told"} if code else None
    return {
        "status": status, "content": content, "style": "ink", "seconds": 10.0, "error": error,
        "run": "r",
    }  # fmt: skip


def report(batch: Batch, view: View, line: dict, at: float) -> None:
    """A result, as the service reports it: to the view first, then as a line."""
    code = line["error"]["code"] if line["error"] else ""
    view.add_result(Result(at, line["content"], line["style"], line["status"], code=code))
    batch.add_line(line, at)


# --- the health ------------------------------------------------------------------------------


def test_a_silent_worker_is_the_executors_matter_first():
    """Only one that is silent beyond the executor's patience makes the service unwell."""
    view, health = a_view(), HealthMonitor(stall_seconds=600)
    for second in (0, 5000, 6000 + GRACE_SECONDS):
        health.observe(view.running, second)
        assert health.find_stuck(second) == ""
    assert "cpu" in health.find_stuck(6001 + GRACE_SECONDS)
    spoke(view, 1.0)
    health.observe(view.running, 7000)
    assert health.find_stuck(7000) == ""


def test_a_worker_of_long_steps_is_given_time():
    """Ten times its longest silence, as the executor has it."""
    view, health = a_view(), HealthMonitor(stall_seconds=1)
    health.observe(view.running, 0)
    spoke(view, 50.0)
    health.observe(view.running, 50)
    health.observe(view.running, 540)
    assert health.find_stuck(540) == ""
    assert health.find_stuck(50 + 500 + GRACE_SECONDS + 1)


def test_a_job_taken_in_advance_may_wait_as_long_as_the_one_before_it_takes():
    """It has nothing to say while its device speaks of another."""
    view, health = a_view(), HealthMonitor(stall_seconds=1)
    view.begin_job("job2", "b.jpg", "ink", "cpu")
    for second in range(0, 1000, 5):
        spoke(view, float(second))
        health.observe(view.running, second)
        assert health.find_stuck(second) == ""


def test_a_job_that_ended_is_no_longer_waited_for():
    view, health = a_view(), HealthMonitor(stall_seconds=10)
    health.observe(view.running, 0)
    view.remove_job("job1")
    health.observe(view.running, 1)
    assert health.find_stuck(10_000) == ""


def test_job_after_job_failing_is_an_ailment_unless_the_photos_are_at_fault():
    health = HealthMonitor(600)
    for _ in range(50):
        health.add_line(a_line("failed", "truncated"))
    assert health.find_failing() == ""
    for _ in range(FAILING):
        assert health.find_failing() == ""
        health.add_line(a_line("failed", "out_of_memory"))
    assert "out_of_memory" in health.find_failing()
    health.add_line(a_line("skipped", "no_match"))
    assert health.find_failing()
    health.add_line(a_line("done"))
    assert health.find_failing() == ""


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (None, "no `run` or `watch` is running"),
        ({}, "not started"),
        ({"ticked": NOW - 61}, "has not run for 61 s"),
        ({"ticked": NOW + 3600}, "has not run"),
        ({"ticked": NOW, "stuck": "the worker hangs"}, "the worker hangs"),
        ({"ticked": NOW, "failing": "all fail"}, "all fail"),
        ({"ticked": NOW - 59, "stuck": "", "failing": "", "paused": "the disk is full"}, ""),
    ],
)
def test_the_record_states_what_is_wrong(record, words):
    """A pause is no find_trouble: a restart would not end it."""
    found = find_trouble(record, NOW)
    assert (words in found) if words else not found


# --- systemd --------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path):
    """The listening end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(10)
        yield ear


def heard(ear: socket.socket) -> list[str]:
    ear.setblocking(False)
    words = []
    try:
        while True:
            words.append(ear.recv(4096).decode())
    except BlockingIOError:
        return words


def test_systemd_is_told_three_times_in_its_patience(manager):
    """Ready once, alive every ten of thirty seconds, its status when it changes, stopping."""
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"})
    notifier.notify_ready()
    for second in range(1, 30):
        notifier.notify_alive(100.0 + second)
        notifier.notify_status("1 queued\nREADY=0" if second < 20 else "none queued")
    notifier.notify_stopping()
    assert heard(manager) == [
        "READY=1", "WATCHDOG=1", "STATUS=1 queued READY=0", "WATCHDOG=1", "STATUS=none queued",
        "WATCHDOG=1", "STOPPING=1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "not a number"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)},
    ],
)
def test_nobody_asked_nobody_is_told(manager, environment):
    """Without a watchdog, or where the watchdog means another process, nothing is sent."""
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), **environment})
    notifier.notify_alive(1.0)
    assert heard(manager) == []
    Notifier(environment).notify_ready()


def test_a_manager_that_is_gone_or_deaf_stops_nothing(tmp_path, manager):
    """Neither an address that is not there nor one whose queue is full is waited for."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).notify_ready()
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    for _ in range(5000):
        notifier.notify_ready()
    assert heard(manager)


# --- batches --------------------------------------------------------------------------------


def test_a_batch_is_told_once_when_nothing_has_been_left_for_a_while():
    """Counts, reasons, the first failed files, pairs an hour; then a new batch begins."""
    batch, view = Batch(10.0), View(queued=1)
    report(batch, view, a_line(), NOW + 10)
    assert batch.check(view, False, 0.0, NOW + 10) is None
    report(batch, view, a_line("failed", "truncated", "half.jpg"), NOW + 20)
    report(batch, view, a_line("failed", "stalled", "b.jpg"), NOW + 30)
    report(batch, view, a_line(content="b.jpg"), NOW + 3600)  # tried again
    view.queued = 0
    assert batch.check(view, False, 100.0, NOW) is None
    assert batch.check(view, False, 109.0, NOW) is None
    digest = batch.check(view, False, 110.0, NOW + 3610)
    assert digest is not None
    assert digest["why"] == "drained"
    assert (digest["done"], digest["failed"], digest["skipped"]) == (2, 1, 0)
    assert digest["not_taken"] == 0
    assert digest["failures"] == {"truncated": 1}
    assert digest["first_failed"] == [
        {"content": "half.jpg", "style": "ink", "code": "truncated", "message": "as told"}
    ]
    assert (digest["seconds"], digest["pairs_per_hour"]) == (3600, 2)
    assert batch.check(view, False, 999.0, NOW) is None
    report(batch, view, a_line(), NOW + 9000)
    again = batch.end("stopped", view.tally, NOW + 9000)
    assert again is not None
    assert (again["done"], again["failed"]) == (1, 0)


def test_a_batch_goes_on_while_work_waits():
    """For a disk, for a file still being written, for an hour of the schedule."""
    batch, view = Batch(5.0), View()
    report(batch, view, a_line(), NOW)
    for second in range(100):
        assert batch.check(view, True, second, NOW) is None
    view.settling = 1
    for second in range(100, 200):
        assert batch.check(view, False, second, NOW) is None
    view.settling = 0
    assert batch.check(view, False, 300.0, NOW) is None
    assert batch.check(view, False, 305.0, NOW)


def test_files_that_are_none_of_ours_make_no_batch():
    batch, view = Batch(0.0), View()
    report(batch, view, a_line("skipped", "no_match"), NOW)
    assert batch.check(view, False, 1.0, NOW) is None


def test_ten_thousand_failures_make_a_short_digest():
    """A pipe takes it without anybody reading."""
    import json

    batch, view = Batch(0.0), View()
    for number in range(10_000):
        line = a_line("failed", "truncated", f"{'東' * 5000}{number}.jpg")
        error = {"code": "truncated", "message": "東" * 5000}
        report(batch, view, line | {"error": error}, NOW)
    digest = batch.end("run_ended", view.tally, NOW)
    assert digest is not None
    assert digest["failures"] == {"truncated": 10_000}
    assert len(digest["first_failed"]) == MAX_FAILED
    assert len(json.dumps(digest)) < 60_000
