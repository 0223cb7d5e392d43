"""One job: load -> stylize -> enhance -> stage -> JobResult. A failed job is a result."""

import atexit
import errno
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from pipeline.checkpoint import Checkpoints, Reached
from pipeline.config import Limits
from pipeline.decoder import Decoder
from pipeline.enhance import enhance
from pipeline.errors import EngineError, JobError, PipelineError, Reason
from pipeline.images import Picture, as_picture, preview, resize, save_png, save_small
from pipeline.jobs import (
    Bench,
    Failure,
    Interrupted,
    Job,
    JobResult,
    Kind,
    Output,
    Progress,
)
from pipeline.nst import Iterate, Vgg19, load_weights, stylize
from pipeline.nst.cache import Caches, MemoryCache
from pipeline.nst.devices import choose_device
from pipeline.outbox import staged_output
from pipeline.stylecache import DiskCache
from pipeline.thumbnails import SMALL, STAGED, before_name, before_side, small_name

CAREFUL_BLOCK = 256  # px
CURVE_POINTS = 240  # of the loss curve in the run log
SCALES_KEPT = 8  # one photo's features at all its scales, for its next style
PREVIEW_SIDE = 96  # px; what a terminal's half blocks can show
PREVIEW_SECONDS = 0.5
CHECKPOINT_SECONDS = 10.0  # of work that a scale must end before it is worth a file
LAST_CAUTION = 2  # memory was short so often: a device without much is given up for the CPU

__all__ = ["Bench", "Interrupted", "run_job", "use_threads"]

OnProgress = Callable[[Progress], None]


def run_job(
    job: Job, bench: Bench, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> JobResult:
    """Do one job. Every failure but `Interrupted` comes back as a result with a reason code."""
    began = time.monotonic()
    try:
        device = str(choose_device("cpu" if job.caution >= LAST_CAUTION else bench.device))
        losses: dict[str, float] = {}
        size = job.recipe.transfer.size
        if size == "source":  # too large, perhaps, to be held for the next style
            photo = _load(job.path, None, bench.limits)
        else:
            photo = _photo(job.sha256, job.path, size, bench.limits)
        reached = _Reached(job, bench.checkpoints)
        report = _Reporter(job, on_progress, should_stop, losses, reached)
        picture = _paint(job, photo, device, report, bench)
        outputs = _stage(job, picture, photo, bench.staging)
        reached.drop()
        seconds = time.monotonic() - began
        return JobResult(job, "done", seconds, device, outputs, losses, curve=report.curve)
    except (PipelineError, MemoryError, RuntimeError, OSError) as error:
        failure = _failure(error)
        return JobResult(job, "failed", time.monotonic() - began, bench.device, error=failure)


def use_threads(count: int) -> None:
    """Bound the cores that this process computes on."""
    torch.set_num_threads(count)


def _paint(job: Job, photo: Picture, device: str, report: "_Reporter", bench: Bench) -> Tensor:
    options, limits = job.recipe.transfer, bench.limits
    if job.caution and options.block is None:
        # Memory was short before: the same picture in blocks (a recipe does not count them).
        options = options.model_copy(update={"block": CAREFUL_BLOCK})
    init = None
    if options.init not in ("content", "noise", "style"):
        init = _load(Path(options.init).resolve(), None, limits).rgb
    return stylize(
        photo.rgb,
        [_load_style(image.path, limits) for image in job.recipe.images],
        options,
        report,
        shares=[image.weight for image in job.recipe.images],
        init_image=init,
        seed=job.recipe.seed,
        device=device,
        resume=report.reached.start,
        network=_network(job.recipe.weights, options.pooling, device),
        caches=_caches(bench.checkpoints.parent if bench.checkpoints else None),
    )


def _stage(job: Job, picture: Tensor, photo: Picture, staging: Path) -> tuple[Output, ...]:
    """Write both pictures and their small copies, the photo's transparency given back."""
    height, width = picture.shape[1:]
    alpha = None if photo.alpha is None else resize(photo.alpha, (height, width))
    small = staging / STAGED
    small.mkdir()
    save_small(photo.rgb, small / small_name(job.sha256), SMALL)
    before = small / before_name(job.sha256, width, height)
    save_small(photo.rgb, before, before_side(width, height))
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
        save_small(pixels, small / small_name(outputs[-1].sha256), SMALL)
    return tuple(outputs)


class _Reporter:
    """Turns iterates into Progress, with a preview twice a second; stops the run when asked."""

    def __init__(
        self,
        job: Job,
        on_progress: OnProgress,
        should_stop: Callable[[], bool],
        losses: dict[str, float],
        reached: "_Reached",
    ) -> None:
        self.job, self.on_progress, self.should_stop = job, on_progress, should_stop
        self.reached = reached
        self.losses = losses
        self.curve: list[tuple[int, float]] = []
        self.last = -PREVIEW_SECONDS
        self.rate = _Pace()

    def __call__(self, iterate: Iterate) -> None:
        self.reached.saw(iterate)
        if self.should_stop():
            self.reached.write()
            raise Interrupted
        self.rate.saw(iterate)
        final = iterate.step == iterate.steps
        if not final and iterate.seconds - self.last < PREVIEW_SECONDS:
            return
        self.last = iterate.seconds
        # Reading the losses and the picture waits for the device: only here, twice a second.
        self.losses.update(iterate.losses())
        if iterate.restarts:
            self.losses["restarts"] = float(iterate.restarts)
        self.curve.append((iterate.step, self.losses["total"]))
        if len(self.curve) > CURVE_POINTS:
            del self.curve[1::2]  # a long job keeps every other point; its ends stay
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


class _Reached:
    """The picture at the end of the last scale, written down now and then."""

    def __init__(self, job: Job, folder: Path | None) -> None:
        self.job, self.files = job.id, Checkpoints(folder) if folder else None
        self.start: Reached | None = self.files.load(self.job) if self.files else None
        self._last: Iterate | None = None
        self._unwritten: Reached | None = None
        self._written_at = 0.0

    def saw(self, iterate: Iterate) -> None:
        last, self._last = self._last, iterate
        if last is None or iterate.scale == last.scale:
            return
        self._unwritten = (last.scale, last.image.squeeze(0))
        if iterate.seconds - self._written_at >= CHECKPOINT_SECONDS:
            self._written_at = iterate.seconds
            self.write()

    def write(self) -> None:
        if self.files and self._unwritten:
            self.files.save(self.job, *self._unwritten)
        self._unwritten = None

    def drop(self) -> None:
        if self.files:
            self.files.drop(self.job)


class _Pace:
    """Time left, from the seconds per unit of work seen at this scale."""

    def __init__(self) -> None:
        self.scale, self.since, self.done = 0, 0.0, 0.0

    def saw(self, iterate: Iterate) -> None:
        if iterate.scale != self.scale:
            self.scale, self.since, self.done = iterate.scale, iterate.seconds, iterate.work_done

    def left(self, iterate: Iterate) -> float:
        """Seconds until the end."""
        spent, work = iterate.seconds - self.since, iterate.work_done - self.done
        if work <= 0:  # the first step of a scale says nothing of it yet
            spent, work = iterate.seconds, iterate.work_done
        return spent / max(work, 1.0) * iterate.work_left


@lru_cache(maxsize=1)
def _photo(_sha256: str, path: Path, long_side: int, limits: Limits) -> Picture:
    """A photo is decoded once for all its styles, which come one after the other."""
    return _load(path, long_side, limits)


def _load(path: Path, long_side: int | None, limits: Limits) -> Picture:
    return as_picture(_decoder(limits).decode(path, long_side))


@lru_cache(maxsize=1)
def _decoder(limits: Limits) -> Decoder:
    decoder = Decoder(limits)
    atexit.register(decoder.close)
    return decoder


def _load_style(path: Path, limits: Limits) -> Tensor:
    try:
        return _cached_style(path, path.stat().st_mtime_ns, limits)
    except JobError as error:
        raise JobError(
            error.what, where=error.where, mend=error.mend, code=Reason.STYLE_INVALID
        ) from None


@lru_cache(maxsize=8)
def _cached_style(path: Path, _mtime_ns: int, limits: Limits) -> Tensor:
    return _load(path, 4096, limits).rgb


@lru_cache(maxsize=1)
def _caches(state: Path | None) -> Caches:
    """Sums of paintings on disk, where there is a state folder; features of the last photo."""
    styles = DiskCache(state / "styles") if state else MemoryCache(SCALES_KEPT)
    return Caches(styles, MemoryCache(SCALES_KEPT))


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
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Failure(Reason.DISK_FULL if full else Reason.IO_ERROR, line)
    if "CUDA error" in line:  # a device that failed once fails until its process is a new one
        return Failure(Reason.WORKER_CRASHED, line)
    return Failure(Reason.ENGINE_ERROR, f"{type(error).__name__}: {line}")
