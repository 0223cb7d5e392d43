"""Workers: real processes that crash, hang, chatter and are asked to stop; jobs that go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support import ROOT, TESTS
from support.fake_work import paint, photo
from support.stock import make_job
from support.worker_runs import outcome, staging

from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import starter_styles
from pipeline.config.sections import Limits
from pipeline.config.transfer import Transfer
from pipeline.errors import Reason
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Interrupted, Job, JobResult, Progress, Workspace
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.render.run_job import run_job
from pipeline.workers.device_slot import DEAF_SECONDS, END_SECONDS
from pipeline.workers.executor import GivenBack, WorkerSettings
from pipeline.workers.local import LocalExecutor

pytestmark = pytest.mark.slow


@pytest.fixture
def executor(tmp_path):
    executor = LocalExecutor(["cpu"], WorkerSettings(state=tmp_path / "state", do=paint))
    yield executor
    executor.close(force=True)


def chatter(job, workspace, on_progress, should_stop):
    os.write(1, b"a library's chatter\n")
    os.write(2, b"a library's complaint\n")
    return paint(job, workspace, on_progress, should_stop)


def until_it_reports(executor: LocalExecutor) -> None:
    """Wait until a worker is up and at its job."""
    while not any(isinstance(event, Progress) for event in executor.poll(0.2)):
        pass


def test_the_slot_survives_a_worker_that_is_killed(executor, tmp_path):
    executor.submit(make_job("poison.jpg"), staging(tmp_path, "one"))
    result = outcome(executor)
    assert (result.status, result.error.code) == ("failed", Reason.WORKER_CRASHED)
    assert "SIGKILL" in result.error.message
    executor.submit(make_job("good.jpg"), staging(tmp_path, "two"))
    assert outcome(executor).status == "done"


def test_the_slot_survives_a_worker_that_hangs(tmp_path):
    now = 0.0
    place = WorkerSettings(Limits(stall_seconds=3), tmp_path / "state", paint)
    executor = LocalExecutor(["cpu"], place, clock=lambda: now)
    try:
        executor.submit(make_job("hang.jpg"), staging(tmp_path, "one"))
        until_it_reports(executor)
        now += 4
        result = outcome(executor)
        assert result.error.code is Reason.STALLED
        assert "reported no progress" in result.error.message
        executor.submit(make_job("good.jpg"), staging(tmp_path, "two"))
        assert outcome(executor).status == "done"
    finally:
        executor.close(force=True)


def test_the_slot_survives_a_worker_that_is_stopped(tmp_path):
    now = 0.0
    executor = LocalExecutor(["cpu"], WorkerSettings(state=tmp_path, do=paint), clock=lambda: now)
    try:
        executor.submit(make_job("hang.jpg"), staging(tmp_path, "one"))
        until_it_reports(executor)
        os.kill(executor.device_slots[0].process.pid, signal.SIGSTOP)
        events = []
        while not events and now < 100:
            now += 1
            events = [e for e in executor.poll(0.0) if isinstance(e, JobResult)]
        assert 30 <= now < 45
        assert events[0].error.code is Reason.STALLED
        assert "no heartbeat" in events[0].error.message
        executor.submit(make_job("good.jpg"), staging(tmp_path, "two"))
        assert outcome(executor).status == "done"
    finally:
        executor.close(force=True)


def test_an_interrupt_does_not_wait_for_a_worker_that_is_stopped(tmp_path):
    now = 0.0
    executor = LocalExecutor(["cpu"], WorkerSettings(state=tmp_path, do=paint), clock=lambda: now)
    try:
        executor.submit(make_job("hang.jpg"), staging(tmp_path, "one"))
        until_it_reports(executor)
        os.kill(executor.device_slots[0].process.pid, signal.SIGSTOP)
        executor.interrupt()
        events = []
        while not events and now < 100:
            now += 1
            events = [e for e in executor.poll(0.0) if not isinstance(e, Progress)]
        assert events == [GivenBack(make_job("hang.jpg"))]
        assert now < 10
        executor.submit(make_job("good.jpg"), staging(tmp_path, "two"))
        assert outcome(executor).status == "done"
    finally:
        executor.close(force=True)


def test_an_interrupt_does_not_wait_for_a_worker_that_hangs_while_it_is_loading(tmp_path):
    executor = LocalExecutor(["cpu"], WorkerSettings(state=tmp_path, do=paint))
    try:
        executor.submit(make_job(), staging(tmp_path, "one"))
        os.kill(executor.device_slots[0].process.pid, signal.SIGSTOP)
        executor.interrupt()
        assert executor.poll(0.0) == [GivenBack(make_job())]
        executor.submit(make_job("good.jpg"), staging(tmp_path, "two"))
        assert outcome(executor).status == "done"
    finally:
        executor.close(force=True)


def test_the_end_does_not_wait_long_for_idle_workers_that_hang_however_many(tmp_path):
    executor = LocalExecutor(["cpu"], WorkerSettings(state=tmp_path, do=paint), share=3)
    processes = []
    for slot in executor.device_slots:
        slot.start()
        processes.append(slot.process)
        os.kill(slot.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    executor.close()
    # With the wait for a worker that has jobs, below the 10 s that a stop may take.
    assert time.monotonic() - began < 2 * END_SECONDS
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 3
    assert DEAF_SECONDS + END_SECONDS <= 7


def test_a_job_asked_to_stop_comes_back(executor, tmp_path, monkeypatch):
    monkeypatch.setenv("PAINT_SECONDS", "600")
    executor.submit(make_job(), staging(tmp_path))
    executor.interrupt()
    assert outcome(executor) == GivenBack(make_job())


def test_what_libraries_print_in_a_worker_goes_to_its_log(tmp_path, capfd):
    executor = LocalExecutor(["cpu"], WorkerSettings(state=tmp_path, do=chatter))
    executor.submit(make_job(), staging(tmp_path))
    assert outcome(executor).status == "done"
    executor.close()
    assert capfd.readouterr() == ("", "")
    log = (tmp_path / "logs/worker-0.log").read_text()
    assert log == "a library's chatter\na library's complaint\n"


ORPHAN = """
import sys, time
from pathlib import Path
from support.fake_work import paint
from support.stock import make_job
from pipeline.workers.local import LocalExecutor
from pipeline.workers.executor import WorkerSettings
if __name__ == "__main__":
    executor = LocalExecutor(["cpu"], WorkerSettings(do=paint))
    executor.submit(make_job(), Path(sys.argv[1]))
    while not executor.poll(0.2):
        pass
    print(executor.device_slots[0].process.pid, flush=True)
    time.sleep(600)
"""


def test_a_worker_whose_parent_is_killed_ends_by_itself(tmp_path):
    program = tmp_path / "orphan.py"
    program.write_text(ORPHAN)
    paths = [str(TESTS), str(ROOT)]
    environment = os.environ | {"PAINT_SECONDS": "600", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, program, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        worker = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        until = time.monotonic() + 30
        while alive(worker) and time.monotonic() < until:
            time.sleep(0.05)  # the kernel closes its pipe in its own time
        assert not alive(worker)


def alive(process: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


# --- going on where it was interrupted ------------------------------------------------------


@pytest.fixture
def real_job(tmp_path) -> Job:
    path = photo(tmp_path / "a.png")
    transfer = Transfer(size=48, scales=(32, 40, 48), steps=(2,))
    mosaic = starter_styles()["mosaic"]
    image = StyleImage(mosaic, 1.0, digest(mosaic))
    recipe = Recipe((image,), transfer, Enhance(), "embedded", 0)
    return Job("a.png", path, digest(path), "mosaic", recipe, 1)


def test_an_interrupted_job_resumes_from_its_last_scale(real_job, tmp_path):
    workspace = Workspace("cpu", staging(tmp_path), checkpoints=tmp_path / "checkpoints")
    looks = iter(range(100))
    with pytest.raises(Interrupted):
        # Two steps a scale: the fifth question is asked at the third and last scale.
        run_job(real_job, workspace, lambda _: None, lambda: next(looks) == 4)
    scale, image = Checkpoints(tmp_path / "checkpoints").load(real_job.id)
    assert scale == 2
    assert image.shape[0] == 3
    assert max(image.shape) == 40
    seen, looks = [], iter(range(100))
    result = run_job(real_job, workspace, seen.append, lambda: next(looks) > 100)
    assert result.status == "done", result.error
    assert {progress.scale for progress in seen} == {3}
    assert next(looks) == 2  # steps that were left
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_an_interrupted_job_makes_the_picture_that_it_would_have_made(real_job, tmp_path):
    def stylized(result: JobResult) -> str:
        assert result.status == "done", result.error
        (output,) = (output for output in result.outputs if output.kind == "stylized")
        return output.sha256

    whole = run_job(
        real_job, Workspace("cpu", staging(tmp_path, "whole")), lambda _: None, lambda: False
    )
    workspace = Workspace("cpu", staging(tmp_path), checkpoints=tmp_path / "checkpoints")
    looks = iter(range(100))
    with pytest.raises(Interrupted):
        run_job(real_job, workspace, lambda _: None, lambda: next(looks) == 4)
    again = run_job(real_job, workspace, lambda _: None, lambda: False)
    assert stylized(again) == stylized(whole)


@pytest.mark.parametrize("spoil", [b"", b"not a checkpoint", None])
def test_a_torn_checkpoint_is_as_if_it_were_not_there(tmp_path, spoil):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("abc", 1, torch.rand(3, 8, 8))
    path = tmp_path / "abc.pt"
    path.write_bytes(path.read_bytes()[:200] if spoil is None else spoil)
    assert checkpoints.load("abc") is None
    assert not path.exists()


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path):
    image = torch.rand(3, 8, 8)
    Checkpoints(tmp_path).save("abc", 1, image)
    path = tmp_path / "abc.pt"
    content = bytearray(path.read_bytes())
    content[content.index(image.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert Checkpoints(tmp_path).load("abc") is None


def test_a_checkpoint_of_blocks_does_not_continue_a_whole_picture(tmp_path):
    """Their last bits differ: a mixture of both could not be reproduced."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("abc", 1, torch.rand(3, 8, 8), block=256)
    assert checkpoints.load("abc") is None
    assert checkpoints.load("abc", block=256) is not None


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"scale": 1, "image": Evil()}, tmp_path / "abc.pt")
    assert Checkpoints(tmp_path).load("abc") is None
    assert not (tmp_path / "pwned").exists()


def test_checkpoints_of_jobs_that_are_not_wanted_any_more_are_swept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for job in ("kept", "gone"):
        checkpoints.save(job, 1, torch.rand(3, 8, 8))
    checkpoints.sweep({"kept"})
    assert [path.name for path in tmp_path.iterdir()] == ["kept.pt"]
