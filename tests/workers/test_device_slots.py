"""Slots: signs of life, the next job in advance, devices found and not found."""

import os
import time
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_work import every_step, no_such_device, paint, two_accelerators
from support.stock import make_job

from pipeline.config.loading import load_config
from pipeline.errors import ConfigError, Reason
from pipeline.jobs.job import Job, JobResult
from pipeline.system.cores import count_usable_cores
from pipeline.workers import messages
from pipeline.workers import worker_process as workshop
from pipeline.workers.executor import GivenBack, WorkerSettings, open_executor
from pipeline.workers.local import LocalExecutor, count_sharers
from pipeline.workers.messages import Heartbeat
from pipeline.workers.stall_watch import HEARTBEAT_LOST_SECONDS, StallWatch

GIB = 1 << 30


@pytest.fixture
def work(tmp_path):
    """Executors that are closed whatever happens, and a folder for each job."""
    opened: list[LocalExecutor] = []

    class Work:
        def open(self, devices, **options) -> LocalExecutor:
            place = WorkerSettings(
                state=tmp_path / "state", **({"do": paint} | options.pop("place", {}))
            )
            opened.append(LocalExecutor(devices, place, **options))
            return opened[-1]

        def staging(self, job: Job) -> Path:
            folder = tmp_path / f"{job.id}.{job.attempt}"
            folder.mkdir(exist_ok=True)
            return folder

        def give(self, executor: LocalExecutor, *jobs: Job) -> None:
            for job in jobs:
                executor.submit(job, self.staging(job))

    yield Work()
    for executor in opened:
        executor.close(force=True)


def outcomes(executor: LocalExecutor, count: int) -> list:
    """The next so many ends of jobs."""
    found: list = []
    until = time.monotonic() + 60
    while len(found) < count and time.monotonic() < until:
        found += [e for e in executor.poll(0.2) if isinstance(e, JobResult | GivenBack)]
    assert len(found) == count
    return found


# --- signs of life --------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def waited(stall_watch: StallWatch, clock: Clock, seconds: float, beats: object = None) -> str:
    for _ in range(round(seconds)):
        clock.now += 1
        stall_watch.tick()
        if beats is not None:
            stall_watch.message_received(beats)
    return stall_watch.diagnose(600)


def test_a_process_without_a_beat_is_noticed_within_half_a_minute():
    stall_watch, clock = StallWatch(clock := Clock()), clock
    assert waited(stall_watch, clock, HEARTBEAT_LOST_SECONDS) == ""
    assert "no heartbeat" in waited(stall_watch, clock, 1)


def test_a_job_may_be_silent_for_long_where_its_process_computes_but_not_where_it_waits():
    stall_watch, clock = StallWatch(clock := Clock()), clock
    assert waited(stall_watch, clock, 3600, Heartbeat(busy=True)) == ""
    assert "reported no progress for" in waited(stall_watch, clock, 1, Heartbeat(busy=False))


def test_a_job_may_be_silent_ten_times_as_long_as_it_was_before():
    stall_watch, clock = StallWatch(clock := Clock()), clock
    waited(stall_watch, clock, 100, Heartbeat(busy=False))
    stall_watch.message_received("a message")
    assert waited(stall_watch, clock, 900, Heartbeat(busy=False)) == ""
    assert waited(stall_watch, clock, 200, Heartbeat(busy=False)) != ""


def test_time_in_which_nobody_listened_does_not_count_against_a_process():
    stall_watch, clock = StallWatch(clock := Clock()), clock
    clock.now += 7200  # Ctrl-Z, a laptop's lid
    stall_watch.tick()
    assert stall_watch.diagnose(600) == ""


# --- the next job in advance ----------------------------------------------------------------


def test_a_slot_takes_its_next_job_in_advance_and_no_third(work):
    executor = work.open(["cpu"])
    assert (executor.slots, executor.free()) == (1, 2)
    first, second = make_job("a.jpg"), make_job("b.jpg")
    work.give(executor, first, second)
    assert executor.free() == 0
    assert executor.running() == [("cpu", first), ("cpu", second)]
    assert [end.job for end in outcomes(executor, 2)] == [first, second]
    assert executor.free() == 2


def test_jobs_that_wait_come_back_at_once_when_asked_to_stop(work, monkeypatch):
    monkeypatch.setenv("PAINT_SECONDS", "600")
    executor = work.open(["cpu"])
    jobs = make_job("a.jpg"), make_job("b.jpg")
    work.give(executor, *jobs)
    executor.interrupt()
    assert {end.job.content for end in outcomes(executor, 2)} == {"a.jpg", "b.jpg"}
    assert executor.running() == []


def test_a_crash_fails_the_job_that_ran_and_not_the_one_that_waited(work):
    executor = work.open(["cpu"])
    poison, waiting = make_job("poison.jpg"), make_job("b.jpg")
    work.give(executor, poison, waiting)
    failed, back = outcomes(executor, 2)
    assert (failed.job, failed.error.code) == (poison, Reason.WORKER_CRASHED)
    assert back == GivenBack(waiting)


@pytest.mark.slow
def test_a_job_that_failed_before_has_its_process_to_itself(work):
    executor = work.open(["cpu"])
    first = make_job("a.jpg")
    again = replace(make_job("b.jpg"), caution=1)
    work.give(executor, first, again)
    before = executor.device_slots[0].process.pid
    assert [given.sent for given in executor.device_slots[0].jobs] == [True, False]
    assert [end.status for end in outcomes(executor, 2)] == ["done", "done"]
    assert executor.device_slots[0].process.pid != before


def test_a_job_goes_to_the_slot_that_has_its_photo_and_not_where_it_failed(work):
    executor = work.open(["cpu", "cpu"])
    one, two = executor.device_slots
    photos = [make_job("a.jpg", sha="a" * 64), make_job("b.jpg", sha="b" * 64)]
    work.give(executor, *photos)
    work.give(executor, make_job("b.jpg", "waves", sha="b" * 64))
    assert [given.job.style for given in two.jobs] == ["mosaic", "waves"]
    outcomes(executor, 3)
    executor._failed_on[photos[1].id] = two.number
    work.give(executor, photos[1])
    assert [given.job for given in one.jobs] == [photos[1]]


@pytest.mark.slow
def test_a_job_that_waits_behind_a_long_one_goes_to_a_slot_with_nothing_to_do(work, monkeypatch):
    monkeypatch.setenv("PAINT_SECONDS", "1")
    executor = work.open(["cpu", "cpu"])
    names = "poison.jpg", "b.jpg", "c.jpg"
    work.give(executor, *(make_job(name) for name in names[1:]))
    one, two = executor.device_slots
    behind = make_job("d.jpg")
    one.take(behind, work.staging(behind))
    two.jobs, taken = [], two.jobs  # as if it had ended at once
    for _ in range(3000):  # 60 s: a process starts slowly on a busy machine
        executor.poll(0.02)
        if any(given.job == behind for given in two.jobs):
            break
    else:
        raise AssertionError("never moved")
    two.jobs = [*taken, *two.jobs]
    assert {end.job.content for end in outcomes(executor, 3)} == {"b.jpg", "c.jpg", "d.jpg"}


def test_a_worker_begins_its_next_job_while_the_daemon_is_busy_elsewhere(work, tmp_path):
    executor = work.open(["cpu"], place={"do": every_step})
    jobs = [make_job("a.jpg"), make_job("b.jpg")]
    work.give(executor, *jobs)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/ended")) or len(list(tmp_path.glob("*/ended"))) < 2:
        assert time.monotonic() < until  # nothing polls: both are done all the same
        time.sleep(0.02)
    # Work that takes no time: the second may have said that it ended before the first, which
    # gave the device away and then spoke.
    ends = outcomes(executor, 2)
    assert {end.job.content: end.status for end in ends} == {"a.jpg": "done", "b.jpg": "done"}


def test_the_next_job_has_the_device_before_the_last_one_continues(tmp_path, monkeypatch):
    monkeypatch.setattr(workshop, "YIELD_SECONDS", 0.5)  # however busy this machine is
    order: list[str] = []

    def work(job, environment, on_progress, should_stop, turn) -> JobResult:
        with turn:
            order.append(f"{job.content} begins")
            while len(runner.turns) < 2 and len(order) == 1:
                time.sleep(0.001)  # for the next one
        order.append(f"{job.content} goes on")
        return JobResult(job, "done")

    runner = workshop.JobRunner(work, "cpu", WorkerSettings(), lambda _: None)
    for name in ("a.jpg", "b.jpg"):
        runner.handle(messages.DoJob(make_job(name), tmp_path))
    wait(runner.running)
    assert order.index("b.jpg begins") < order.index("a.jpg goes on")


# --- devices --------------------------------------------------------------------------------


def test_auto_takes_every_accelerator_and_small_jobs_share_one(work):
    place = {"find": two_accelerators}
    executor = work.open(["auto"], place=place, side=256, share="auto")
    work.give(executor, make_job())
    assert outcomes(executor, 1)[0].status == "done"
    # 24 GiB hold more than four jobs of 256 px, 4 GiB hold one.
    assert [slot.device for slot in executor.device_slots] == ["cuda:0"] * 4 + ["cuda:1"]
    assert (executor.slots, executor.free()) == (5, 10)


def test_large_pictures_do_not_share_an_accelerator():
    assert (
        count_sharers(80 * GIB, 2048) == count_sharers(80 * GIB, None) == count_sharers(0, 256) == 1
    )
    assert count_sharers(8 * GIB, 512) == 2
    assert count_sharers(80 * GIB, 512) == 4


def test_a_missing_device_is_left_out_and_the_others_work(work):
    executor = work.open(["cuda:7", "cpu"], place={"find": no_such_device})
    work.give(executor, make_job("a.jpg"), make_job("b.jpg"))
    ends = outcomes(executor, 2)
    assert {(type(end), end.job.content) for end in ends} == {
        (GivenBack, "a.jpg"), (JobResult, "b.jpg"),
    }  # fmt: skip
    assert "cuda:7: this machine has no such device" in executor.trouble
    assert (executor.slots, executor.free()) == (1, 2)
    work.give(executor, make_job("a.jpg"))
    assert outcomes(executor, 1)[0].status == "done"


def test_no_device_at_all_is_an_error_of_the_config(work):
    executor = work.open(["cuda:7", "cuda:8"], place={"find": no_such_device})
    with pytest.raises(ConfigError, match=r"cuda:7.*no such device.*cuda:8"):
        executor.confirm(60)


def test_slots_in_the_config_multiply_the_devices(tmp_path):
    (tmp_path / "config.yaml").write_text(
        'styles: {a: {image: "builtin:mosaic"}}\ndevice: cpu\nslots: 3\n'
    )
    executor = open_executor(load_config(tmp_path / "config.yaml"), WorkerSettings())
    assert executor.slots == 3
    executor.close()


def test_cores_are_those_that_this_process_is_given(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cpus, groups = tmp_path / "cpus", tmp_path / "groups"
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for cpu in mine:  # all threads of one core
        (cpus / f"cpu{cpu}/topology").mkdir(parents=True)
        (cpus / f"cpu{cpu}/topology/thread_siblings_list").write_text("0-63\n")
    assert count_usable_cores(cpus, groups) == 1
    groups.mkdir()
    (groups / "cpu.max").write_text("150000 100000\n")
    assert count_usable_cores(tmp_path / "none", groups) == 1
    (groups / "cpu.max").write_text("max 100000\n")
    if hasattr(os, "sched_getaffinity"):
        assert count_usable_cores(tmp_path / "none", groups) == len(mine)
    for said, cores in (("1", 1), ("1,8", 1), ("0", len(mine)), ("many", len(mine))):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert count_usable_cores(tmp_path / "none", groups) == cores
