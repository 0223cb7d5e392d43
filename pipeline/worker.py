"""One job: load -> stylize -> enhance -> stage -> JobResult. A failed job is a result."""

import atexit
import errno
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from pipeline.decoder import Decoder
from pipeline.enhance import enhance
from pipeline.errors import EngineError, JobError, PipelineError, Reason
from pipeline.images import Picture, as_picture
from pipeline.jobs import (
    Bench,
    Failure,
    Interrupted,
    Job,
    JobResult,
)
from pipeline.nst import Vgg19, load_weights, stylize
from pipeline.nst.cache import Caches, MemoryCache
from pipeline.nst.devices import choose_device
from pipeline.reporter import OnProgress, Progressed, Reporter
from pipeline.sections import Limits
from pipeline.staging import stage
from pipeline.stylecache import DiskCache

CAREFUL_BLOCK = 256  # px
SCALES_KEPT = 8  # one photo's features at all its scales, for its next style
LAST_CAUTION = 2  # memory was short so often: a device without much is given up for the CPU

Steps = Sequence[Mapping[str, object]]

__all__ = ["Bench", "Interrupted", "run_job", "use_threads"]


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
        reached = Progressed(job, bench.checkpoints)
        report = Reporter(job, on_progress, should_stop, losses, reached)
        picture = _paint(job, photo, device, report, bench)
        finished, steps = _enhanced(job, picture)
        outputs = stage(job, photo, picture, finished, bench.staging)
        reached.drop()
        seconds = time.monotonic() - began
        return JobResult(
            job, "done", seconds, device, outputs, losses, curve=report.curve, enhanced=steps
        )
    except (PipelineError, MemoryError, RuntimeError, OSError) as error:
        failure = _failure(error)
        return JobResult(job, "failed", time.monotonic() - began, bench.device, error=failure)


def use_threads(count: int) -> None:
    """Bound the cores that this process computes on."""
    torch.set_num_threads(count)


def _paint(job: Job, photo: Picture, device: str, report: Reporter, bench: Bench) -> Tensor:
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


def _enhanced(job: Job, picture: Tensor) -> tuple[Tensor, Steps]:
    """The finished picture (3, H, W), and what each step of the enhancement did."""
    return enhance(picture, job.recipe.enhance), ()


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
