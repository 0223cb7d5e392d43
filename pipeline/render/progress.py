"""Reports what a running job does: progress, previews, the loss curve, checkpoints."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.imaging.tensors import preview
from pipeline.jobs.checkpoints import Checkpoints, Reached
from pipeline.jobs.job import Interrupted, Job, Progress
from pipeline.nst import Iterate
from pipeline.render.timelapse import Recorder

CURVE_POINTS = 240  # of the loss curve in the run log
PREVIEW_SIDE = 96  # px; what a terminal's half blocks can show
PREVIEW_SECONDS = 0.5
CHECKPOINT_SECONDS = 10.0  # of work between two checkpoints

OnProgress = Callable[[Progress], None]


class Reporter:
    """Turns iterates into `Progress`, with a preview twice a second; stops the run when asked.

    ``curve`` holds (step, total loss, scale): each scale has its own objective, so losses can
    only be compared within a scale.
    """

    def __init__(
        self,
        job: Job,
        on_progress: OnProgress,
        should_stop: Callable[[], bool],
        losses: dict[str, float],
        checkpoint: "CheckpointWriter",
        film: Recorder,
        *,
        finishing: bool = False,
    ) -> None:
        self.job, self.on_progress, self.should_stop = job, on_progress, should_stop
        self.checkpoint, self.film = checkpoint, film
        self.losses = losses
        self.curve: list[tuple[int, float, int]] = []
        self._latest: Iterate | None = None
        self._sent: Progress | None = None
        self._finishing = finishing  # whether this picture is a part of the enhancement
        self.last = -PREVIEW_SECONDS
        self.rate = _WorkRate()
        # What is recorded of each painting, by its strength: a target may need two.
        self._records: dict[float, tuple[dict[str, float], list[tuple[int, float, int]], Recorder]]
        self._records = {}

    def begin(self, strength: float) -> None:
        """Record a painting; of the second one, nothing is kept for after an interruption."""
        if self._records:
            self.record_last_step()
            self.losses, self.curve, self.film = {}, [], self.film.renewed()
            self.checkpoint, self.rate = CheckpointWriter(self.job, None), _WorkRate()
            self.last = -PREVIEW_SECONDS
        self._records[strength] = self.losses, self.curve, self.film

    def choose(self, strength: float) -> None:
        """Go on with the record of this painting."""
        self.record_last_step()
        self._latest = None
        self.losses, self.curve, self.film = self._records[strength]

    def __call__(self, iterate: Iterate) -> None:
        self.checkpoint.observe(iterate)
        if self.should_stop():
            self.checkpoint.write()
            raise Interrupted
        self._latest = iterate
        self.rate.observe(iterate)
        self.film.observe(iterate)
        final = iterate.step == iterate.steps
        if not final and iterate.seconds - self.last < PREVIEW_SECONDS:
            return
        self.last = iterate.seconds
        # Reading losses and picture waits for the device, so this happens only twice a second.
        self._read(iterate)
        small = preview(iterate.image.squeeze(0).clamp(0, 1), PREVIEW_SIDE)
        self._sent = self._progress(iterate, small)
        self.on_progress(self._sent)

    def report_finishing(self) -> None:
        """Report that the optimisation has ended: enhancement and writing follow."""
        if self._sent is not None:
            ended = replace(self._sent, step=self._sent.steps, seconds_left=0.0, preview=None)
            self.on_progress(replace(ended, finishing=True))

    def record_last_step(self) -> None:
        """Add the last step to the curve, if the run ended before its planned end."""
        if self._latest and self.curve and self.curve[-1][0] != self._latest.step:
            self._read(self._latest)

    def _read(self, iterate: Iterate) -> None:
        self.losses.update(iterate.losses())
        if iterate.restarts:
            self.losses["restarts"] = float(iterate.restarts)
        self.curve.append((iterate.step, self.losses["total"], iterate.scale))
        if len(self.curve) > CURVE_POINTS:
            del self.curve[1::2]  # keep every other point of a long job, and both ends

    def _progress(self, iterate: Iterate, small: tuple[int, int, bytes]) -> Progress:
        return Progress(
            job_id=self.job.id,
            scale=iterate.scale,
            scales=iterate.scales,
            side=iterate.side,
            step=iterate.step,
            steps=iterate.steps,
            loss=self.losses["total"],
            seconds=iterate.seconds,
            seconds_left=self.rate.seconds_left(iterate),
            preview=small,
            finishing=self._finishing,
        )


class Stopwatch:
    """How long a job takes, without the time in which it waits for the device."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Until now."""
        return time.monotonic() - self._began

    @contextmanager
    def taking(self, turn: AbstractContextManager[object]) -> Iterator[None]:
        """Hold ``turn``; waiting for it does not count."""
        waiting = time.monotonic()
        with turn:
            self._began += time.monotonic() - waiting
            yield


class CheckpointWriter:
    """Writes the result of the last finished scale, at most every CHECKPOINT_SECONDS.

    ``size`` is what `transfer.within` has chosen, in px; 0: the recipe says the size. A job that
    was interrupted goes on at the size that it has begun with, whatever the rates are by now.
    """

    def __init__(self, job: Job, folder: Path | None, block: int = 0) -> None:
        self.job, self.files, self.block = job.id, Checkpoints(folder) if folder else None, block
        self.start: Reached | None = self.files.load(self.job, block) if self.files else None
        self.size = self.files.size(self.job) if self.files and self.start else 0
        self._scale = 0
        self._unwritten: Reached | None = None
        self._written_at = 0.0

    def observe(self, iterate: Iterate) -> None:
        before, self._scale = self._scale, iterate.scale
        if before in (0, iterate.scale):
            return
        self._unwritten = (iterate.scale - 1, iterate.carried.squeeze(0))
        if iterate.seconds - self._written_at >= CHECKPOINT_SECONDS:
            self._written_at = iterate.seconds
            self.write()

    def write(self) -> None:
        if self.files and self._unwritten:
            self.files.save(self.job, *self._unwritten, self.block, self.size)
        self._unwritten = None

    def drop(self) -> None:
        if self.files:
            self.files.drop(self.job)


class _WorkRate:
    """Estimates the time left from the seconds per unit of work at the present scale."""

    def __init__(self) -> None:
        self.scale, self.since, self.done = 0, 0.0, 0.0

    def observe(self, iterate: Iterate) -> None:
        if iterate.scale != self.scale:
            self.scale, self.since, self.done = iterate.scale, iterate.seconds, iterate.work_done

    def seconds_left(self, iterate: Iterate) -> float:
        """Seconds until the end."""
        spent, work = iterate.seconds - self.since, iterate.work_done - self.done
        if work <= 0:  # the first step of this scale: nothing is known yet
            spent, work = iterate.seconds, iterate.work_done
        return spent / max(work, 1.0) * iterate.work_left
