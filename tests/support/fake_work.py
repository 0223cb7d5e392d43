"""Stands for the engine, the outermost seam: a few bytes instead of minutes of optimisation.

`Workspace` work with real processes uses `paint`; `FakeExecutor` runs in the test's own process.
"""

import os
import signal
import time
from pathlib import Path

from PIL import Image

from pipeline.daemon.blame import is_check
from pipeline.errors import ChangedError, EngineError, Failure, JobError
from pipeline.jobs.job import Interrupted, Job, JobResult, Progress, Workspace
from pipeline.system.safe_files import read_verified
from pipeline.workers.executor import Event, GivenBack
from support.stock import stage_texts


def paint(job: Job, workspace: Workspace, on_progress, should_stop) -> JobResult:
    """A job as the real worker does it, without torch. Its name tells what goes wrong."""
    try:
        return paint_or_raise(job, workspace, on_progress, should_stop)
    except ChangedError:
        raise
    except JobError as error:
        return failed(job, error.code)


def paint_or_raise(job: Job, workspace: Workspace, on_progress, should_stop) -> JobResult:
    until = time.monotonic() + float(os.environ.get("PAINT_SECONDS", "0.05"))
    while time.monotonic() < until:
        if should_stop():
            raise Interrupted
        on_progress(Progress(job.id, 1, 1, 64, 1, 2, 0.5, 0.1, 0.1))
        time.sleep(0.01)  # this is the work
    if "poison" in job.content:
        os.kill(os.getpid(), signal.SIGKILL)
    while "hang" in job.content:
        time.sleep(1)
    # Jobs of tests of slots and devices have no photo.
    result = honest(job, workspace.staging) if job.path.exists() else done(job, workspace.staging)
    if isinstance(result, GivenBack):
        raise ChangedError(result.changed)
    return result


def done(job: Job, staging: Path, mark: str = "") -> JobResult:
    outputs = stage_texts(staging, f"{job.id} {job.sha256} {mark}")
    return JobResult(job, "done", 0.1, "cpu", outputs, {"total": 1.0})


def honest(job: Job, staging: Path) -> JobResult | GivenBack:
    """The same, with the real worker's way of reading: what was used stands in the pictures."""
    try:
        for path, sha256 in {job.path: job.sha256, **job.recipe.files}.items():
            read_verified(path, sha256)
    except ChangedError as error:
        return GivenBack(job, error.path)
    return done(job, staging, " ".join(sorted(job.recipe.files.values())))


def failed(job: Job, code) -> JobResult:
    return JobResult(job, "failed", 0.1, "cpu", error=Failure(code, "as told"))


class FakeExecutor:
    """Slots whose jobs end when the test says so, and how.

    The service's own checks end well at once, unless ``broken`` says how they fail.
    """

    trouble = ""
    broken = None

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.jobs: list[tuple[Job, Path]] = []
        self.events: list[Event] = []
        self.begun: list[Job] = []
        self.checks: list[Job] = []

    def free(self) -> int:
        return self.slots - len(self.jobs)

    def running(self) -> list[tuple[str, Job]]:
        return [("cpu", job) for job, _ in self.jobs]

    def submit(self, job: Job, staging: Path) -> None:
        if is_check(job):
            self.checks.append(job)
            self.events.append(failed(job, self.broken) if self.broken else done(job, staging))
            return
        self.jobs.append((job, staging))
        self.begun.append(job)

    def poll(self, timeout: float) -> list[Event]:
        events, self.events = self.events, []
        return events

    def interrupt(self) -> None:
        while self.jobs:
            self.events.append(GivenBack(self.jobs.pop()[0]))

    def renew(self) -> None:
        """Nothing was left out."""

    def end(self, how=done) -> Job:
        """End the oldest running job: ``how(job, staging)`` gives its result."""
        job, staging = self.jobs.pop(0)
        self.events.append(how(job, staging))
        return job

    def fail(self, code) -> Job:
        return self.end(lambda job, _: failed(job, code))


def photo(path: Path, seed: int = 0) -> Path:
    """A small real picture, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = ((seed * 37) % 256, (seed * 91) % 256, (seed * 53) % 256)
    image = Image.new("RGB", (16, 12), colour)
    image.putpixel((seed % 16, 3), (255, 0, seed % 256))
    image.putpixel((3, 1), (seed // 256 % 256, 1, 2))
    image.save(path, "PNG" if path.suffix != ".jpg" else "JPEG")
    return path


def every_step(job: Job, workspace: Workspace, on_progress, should_stop) -> JobResult:
    """A job that leaves a file when it ends."""
    result = done(job, workspace.staging)
    (workspace.staging / "ended").touch()
    return result


def held_at_its_last_scale(
    job: Job, workspace: Workspace, on_progress, should_stop, turn
) -> JobResult:
    """The real engine. A job that begins from nothing does not come further than its last scale."""
    from pipeline.render import progress as reporter
    from pipeline.render import run_job as worker

    reporter.CHECKPOINT_SECONDS = reporter.PREVIEW_SECONDS = 0.0  # as if each step took long
    goes_on = workspace.checkpoints.joinpath(f"{job.id}.pt").exists()

    def held(progress: Progress) -> None:
        on_progress(progress)
        while progress.scale == progress.scales and not (goes_on or should_stop()):
            time.sleep(0.01)

    return worker.run_job(job, workspace, held, should_stop, turn)


held_at_its_last_scale.takes_turns = True


def two_accelerators(name: str) -> tuple[tuple[str, int], ...]:
    """Stands for the search for devices: a large one and a small one."""
    found = (("cuda:0", 24 << 30), ("cuda:1", 4 << 30))
    return found if name == "auto" else tuple(one for one in found if one[0] == name)


def no_such_device(name: str) -> tuple[tuple[str, int], ...]:
    """The same on a machine without accelerators."""
    if name not in ("auto", "cpu"):
        raise EngineError("this machine has no such device", where=name)
    return (("cpu", 0),)
