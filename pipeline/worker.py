"""One job: load -> stylize -> enhance -> stage -> JobResult. A failed job is a result."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from pipeline.enhance import enhance
from pipeline.errors import EngineError, JobError, PipelineError, Reason
from pipeline.images import Picture, load_image, preview, resize, save_png
from pipeline.jobs import Failure, Job, JobResult, Kind, Output, Progress
from pipeline.nst import Iterate, Vgg19, load_weights, stylize
from pipeline.nst.devices import choose_device
from pipeline.outbox import staged_output

PREVIEW_SIDE = 96  # px; what a terminal's half blocks can show
PREVIEW_SECONDS = 0.5

OnProgress = Callable[[Progress], None]


class Interrupted(Exception):
    """The job was asked to stop; nothing of it is kept and nothing is held against it."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a job is done: the device, and the folder its pictures are staged in."""

    device: str
    staging: Path


def run_job(
    job: Job, bench: Bench, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> JobResult:
    """Do one job. Every failure but `Interrupted` comes back as a result with a reason code."""
    began = time.monotonic()
    try:
        device = str(choose_device(bench.device))
        losses: dict[str, float] = {}
        size = job.recipe.transfer.size
        photo = load_image(job.path, long_side=None if size == "source" else size)
        picture = _paint(job, photo, device, _Reporter(job, on_progress, should_stop, losses))
        outputs = _stage(job, picture, photo.alpha, bench.staging)
        seconds = time.monotonic() - began
        return JobResult(job, "done", seconds, device, outputs, losses)
    except (PipelineError, MemoryError, RuntimeError, OSError) as error:
        failure = _failure(error)
        return JobResult(job, "failed", time.monotonic() - began, bench.device, error=failure)


def _paint(job: Job, photo: Picture, device: str, report: "_Reporter") -> Tensor:
    options = job.recipe.transfer
    init = None
    if options.init not in ("content", "noise", "style"):
        init = load_image(Path(options.init).resolve()).rgb
    return stylize(
        photo.rgb,
        [_load_style(image.path) for image in job.recipe.images],
        options,
        report,
        shares=[image.weight for image in job.recipe.images],
        init_image=init,
        seed=job.recipe.seed,
        device=device,
        network=_network(job.recipe.weights, options.pooling, device),
    )


def _stage(job: Job, picture: Tensor, alpha: Tensor | None, staging: Path) -> tuple[Output, ...]:
    """Write both pictures to the staging folder, the photo's transparency given back."""
    if alpha is not None:
        alpha = resize(alpha, (picture.shape[1], picture.shape[2]))
    text = {"Software": "pipeline", "Style": job.style, "Recipe": job.recipe.digest}
    outputs = []
    kinds: tuple[tuple[Kind, Tensor], ...] = (
        ("stylized", picture),
        ("enhanced", enhance(picture, job.recipe.enhance)),
    )
    for kind, pixels in kinds:
        path = staging / f"{kind}.png"
        width, height = save_png(pixels, path, alpha, text)
        outputs.append(staged_output(kind, path, width, height))
    return tuple(outputs)


class _Reporter:
    """Turns iterates into Progress, with a preview twice a second; stops the run when asked."""

    def __init__(
        self,
        job: Job,
        on_progress: OnProgress,
        should_stop: Callable[[], bool],
        losses: dict[str, float],
    ) -> None:
        self.job, self.on_progress, self.should_stop = job, on_progress, should_stop
        self.losses = losses
        self.last = -PREVIEW_SECONDS
        self.rate = _Pace()

    def __call__(self, iterate: Iterate) -> None:
        if self.should_stop():
            raise Interrupted
        self.rate.saw(iterate)
        final = iterate.step == iterate.steps
        if not final and iterate.seconds - self.last < PREVIEW_SECONDS:
            return
        self.last = iterate.seconds
        # Reading the losses and the picture waits for the device: only here, twice a second.
        self.losses.update(iterate.losses())
        small = preview(iterate.image.squeeze(0).clamp(0, 1), PREVIEW_SIDE)
        self.on_progress(self._progress(iterate, small))

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
            seconds_left=self.rate.left(iterate),
            preview=small,
        )


class _Pace:
    """Time left, from the seconds per pixel step seen at this scale."""

    def __init__(self) -> None:
        self.scale, self.since, self.first = 0, 0.0, 0

    def saw(self, iterate: Iterate) -> None:
        if iterate.scale != self.scale:
            self.scale, self.since, self.first = iterate.scale, iterate.seconds, iterate.step

    def left(self, iterate: Iterate) -> float:
        """Seconds until the end: what is left of each scale, weighed by its pixels."""
        pixels = iterate.image.shape[-1] * iterate.image.shape[-2]
        steps = iterate.step - self.first
        if steps <= 0:
            spent, work = iterate.seconds, iterate.work_done * 1.0
        else:
            spent, work = iterate.seconds - self.since, float(steps * pixels)
        return spent / max(work, 1.0) * iterate.work_left


def _load_style(path: Path) -> Tensor:
    try:
        return _cached_style(path, path.stat().st_mtime_ns)
    except JobError as error:
        raise JobError(
            error.what, where=error.where, mend=error.mend, code=Reason.STYLE_INVALID
        ) from None


@lru_cache(maxsize=8)
def _cached_style(path: Path, _mtime_ns: int) -> Tensor:
    return load_image(path, long_side=4096).rgb


@lru_cache(maxsize=2)
def _network(weights: str, pooling: str, device: str) -> Vgg19:
    return Vgg19(load_weights(weights), pooling).to(torch.device(device))


def _failure(error: Exception) -> Failure:
    if isinstance(error, JobError):
        return Failure(error.code, str(error))
    if isinstance(error, PipelineError):
        return Failure(Reason.ENGINE_ERROR, str(error))
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error):
        mend = EngineError("out of memory", mend="choose a smaller size or another device")
        return Failure(Reason.OUT_OF_MEMORY, str(mend))
    line = " ".join(str(error).split())[:300]
    return Failure(Reason.ENGINE_ERROR, f"{type(error).__name__}: {line}")
