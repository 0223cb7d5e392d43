"""Runs one job: load -> stylize -> enhance -> stage -> JobResult. A failed job is a result too."""

import atexit
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from pipeline.config.output import Profile
from pipeline.config.sections import Limits
from pipeline.config.transfer import INIT_WORDS, LARGEST, Transfer
from pipeline.enhance import StyleDistance, enhance, repaint_options
from pipeline.enhance.style_guard import DEPTH
from pipeline.errors import ChangedError, JobError, Reason
from pipeline.imaging.sandbox import Decoder
from pipeline.imaging.tensors import Picture, resize, to_picture
from pipeline.jobs.job import NO_TIMELAPSE, Effort, Interrupted, Job, JobResult, Workspace
from pipeline.jobs.provenance import is_cut, record
from pipeline.jobs.rates import Rates, rates_file
from pipeline.jobs.recipe import StyleImage
from pipeline.jobs.retry_policy import BLAME, Blame
from pipeline.nst import Vgg19, load_weights, stylize
from pipeline.nst.cache import Caches, MemoryCache
from pipeline.nst.devices import choose_device
from pipeline.nst.guidance.regions import Guide
from pipeline.nst.look.strength import stroke_scale
from pipeline.render.failures import describe_failure
from pipeline.render.goals.target import DEEPEST, Found, TargetSearch, style_of
from pipeline.render.goals.within import (
    Chosen,
    Pair,
    choose,
    reduced_photo,
    sized,
    time_steps,
)
from pipeline.render.guidance import Sources, build_guide
from pipeline.render.learned_places import stage_learned_map
from pipeline.render.progress import CheckpointWriter, OnProgress, Reporter, Stopwatch
from pipeline.render.region_masks import load_masks
from pipeline.render.staging import stage_pictures
from pipeline.render.style_cache import DiskCache
from pipeline.render.timelapse import Recorder
from pipeline.system.paths import real_path

CAREFUL_BLOCK = 256  # px
STYLE_SIDE = 4096  # px; larger paintings are reduced
CACHED_SCALES = 8  # features of one photo at all its scales, kept for its next style
LAST_CAUTION = 2  # after memory ran out this often, the CPU is used instead of the device

Steps = Sequence[Mapping[str, object]]

__all__ = ["Interrupted", "Workspace", "run_job", "use_threads"]

_ALWAYS_FREE = nullcontext()  # a device without other users
_LOADING = threading.RLock()  # one decoder serves both jobs of a process


def run_job(
    job: Job,
    workspace: Workspace,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
    turn: AbstractContextManager[object] = _ALWAYS_FREE,
) -> JobResult:
    """Run one job. A failure is returned as a result with a reason code.

    The job holds ``turn`` only while it needs the device, so that another job of this process can
    load its photo or write its pictures meanwhile.

    Raises:
        Interrupted: The job was asked to stop.
        ChangedError: A file does not have the SHA-256 that the job states. Nothing has failed; the
            job must be planned again.
    """
    watch = Stopwatch()
    try:
        device = str(choose_device("cpu" if job.caution >= LAST_CAUTION else workspace.device))
        workspace = _cautious(job, workspace)
        checkpoint = CheckpointWriter(job, workspace.checkpoints, workspace.block)
        planned, chosen = _with_size(job, checkpoint, device, workspace, should_stop, turn, watch)
        photo, masks = _load_pictures(planned, workspace.limits)
        timelapse = NO_TIMELAPSE if job.draft else workspace.timelapse
        film = Recorder(timelapse, job.recipe.output.profile)
        report = Reporter(job, on_progress, should_stop, {}, checkpoint, film)
        with watch.taking(turn):
            render, guide = _renderer(planned, photo, masks, device, workspace)
            used, picture, found = _to_target(planned, photo, render, report, device, workspace)
            report.record_last_step()
            report.report_finishing()
            finished, steps = _enhance(used, picture, photo, device, report, render, workspace)
        outputs = stage_pictures(used, photo, picture, finished, workspace)
        stage_learned_map(job, guide, _style_images(job, workspace), outputs[0], workspace)
        outputs += report.film.stage(finished, workspace.staging)
        checkpoint.drop()
        return JobResult(
            job,
            "done",
            watch.seconds,
            device,
            outputs,
            report.losses,
            curve=report.curve,
            enhanced=steps,
            notes=_notes(job, photo, chosen, found),
            target=found.as_row() if found else {},
            within=chosen.as_row() if chosen else {},
            # A run that was interrupted has taken a part of the time only.
            effort=None if checkpoint.start else _effort(planned, photo.rgb, guide),
        )
    except (Interrupted, ChangedError):
        raise
    except Exception as error:  # broken libraries may raise anything
        failure = describe_failure(error)
        return JobResult(job, "failed", watch.seconds, workspace.device, error=failure)


def _notes(job: Job, photo: Picture, *goals: Chosen | Found | None) -> list[str]:
    """What of the photo's file was not used, what was chosen, and what is not in the record."""
    found = [*photo.notes, *(goal.note for goal in goals if goal is not None)]
    # The record in the pictures is too long to be whole: only the run log has it all.
    cut = job.recipe.output.provenance and is_cut(record(job, "stylized"))
    found += ["too many paintings for the record in the picture: it names none"] if cut else []
    return found


def _load_pictures(job: Job, limits: Limits) -> tuple[Picture, Mapping[str, Tensor]]:
    """The photo and its masks; the paintings are in the cache then."""
    profile = job.recipe.output.profile
    with _LOADING:
        photo = _load_job_photo(job, limits, profile)
        for image in (*job.recipe.images, *_region_images(job)):
            _load_style(image, limits, profile)
        return photo, load_masks(job, _decoder(limits), _count_untrusted_names(job))


def _cautious(job: Job, workspace: Workspace) -> Workspace:
    """The workspace of a job that failed before, perhaps because memory ran out.

    The same picture in blocks, which are no part of the recipe but change the last bits: so they
    are recorded in the picture.
    """
    if not job.caution or job.recipe.transfer.block is not None:
        return workspace
    return replace(workspace, block=CAREFUL_BLOCK)


def use_threads(count: int) -> None:
    """Limit the number of threads that torch computes with."""
    torch.set_num_threads(count)


# (content, options=..., on_iterate=..., init_image=..., resume=...) -> picture, of one job.
Render = Callable[..., Tensor]


def _renderer(
    job: Job, photo: Picture, masks: Mapping[str, Tensor], device: str, workspace: Workspace
) -> tuple[Render, Guide]:
    """`stylize` with all that the job's pictures have in common, and their guide."""
    recipe, profile = job.recipe, job.recipe.output.profile
    network = _load_network(recipe.weights, recipe.weights_sha256, recipe.transfer.pooling, device)
    images = [*recipe.images, *_region_images(job)]
    styles = [_load_style(image, workspace.limits, profile) for image in images]
    shares, start = dict[str, dict[int, float]](), len(recipe.images)
    for region in recipe.regions:
        if region.images:
            own = range(start, start + len(region.images))
            shares[region.name] = dict(
                zip(own, (each.weight for each in region.images), strict=True)
            )
            start += len(region.images)
    sources = Sources(photo.rgb, styles, shares, masks)
    guide = build_guide(sources, recipe.transfer, recipe.regions, network, device)
    render = partial(
        stylize,
        styles=styles,
        shares=[each.weight for each in recipe.images] + [0.0] * len(_region_images(job)),
        seed=recipe.seed,
        device=device,
        network=network,
        caches=_caches(workspace.checkpoints.parent if workspace.checkpoints else None),
        guide=guide,
    )
    return render, guide


def _with_options(job: Job, transfer: Transfer) -> Job:
    return replace(job, recipe=replace(job.recipe, transfer=transfer))


def _pair(job: Job, photo: Tensor, guide: Guide) -> Pair:
    return Pair((photo.shape[1], photo.shape[2]), guide, job.recipe.enhance)


def _effort(job: Job, photo: Tensor, guide: Guide) -> Effort | None:
    return _pair(job, photo, guide).effort(job.recipe.transfer)


def _with_size(
    job: Job,
    checkpoint: CheckpointWriter,
    device: str,
    workspace: Workspace,
    should_stop: Callable[[], bool],
    turn: AbstractContextManager[object],
    watch: Stopwatch,
) -> tuple[Job, Chosen | None]:
    """The job with the size and steps that there is time for: what is used is what is recorded."""
    wish = job.recipe.transfer
    if wish.within is None:
        return job, None
    if checkpoint.size:  # chosen by the run that was interrupted
        chosen = Chosen(wish.within, sized(wish, checkpoint.size))
        return _with_options(job, chosen.transfer), chosen
    photo, masks = _load_pictures(_with_options(job, sized(wish, LARGEST)), workspace.limits)

    def check() -> None:
        if should_stop():
            raise Interrupted

    with watch.taking(turn):
        small = replace(photo, rgb=reduced_photo(photo.rgb))
        render, guide = _renderer(job, small, masks, device, workspace)
        pair = _pair(job, photo.rgb, guide)
        measured = Rates(rates_file()).efforts(device, pair.manner(wish))
        timed = partial(time_steps, wish, pair, render, small.rgb, check, watch)
        chosen = choose(wish, pair, measured, timed)
    checkpoint.start, checkpoint.size = None, int(chosen.transfer.size)
    return _with_options(job, chosen.transfer), chosen


def _to_target(
    job: Job, photo: Picture, render: Render, report: Reporter, device: str, workspace: Workspace
) -> tuple[Job, Tensor, Found | None]:
    """The picture, and the job with the strength that reaches its target: it is recorded so."""
    transfer = job.recipe.transfer

    def paint(options: Transfer) -> Tensor:
        report.begin(options.strength)
        return _stylize(_with_options(job, options), photo, render, report, workspace)

    if transfer.target is None:
        return job, paint(transfer), None
    distance = style_of(_style_distance(job, photo, device, workspace, DEEPEST), device)
    silent = _silent_reporter(report, finishing=False)
    trial = partial(render, on_iterate=silent, init_image=_load_init(job, workspace))
    search = TargetSearch(transfer, photo.rgb, trial, distance)
    picture, transfer, found = search.paint(paint)
    report.choose(found.strength)
    return _with_options(job, transfer), picture, found


def _load_init(job: Job, workspace: Workspace) -> Tensor | None:
    """The start image (3, H, W), where it is a file."""
    init, limits, profile = job.recipe.transfer.init, workspace.limits, job.recipe.output.profile
    if init in INIT_WORDS:
        return None
    return _load_configured(Path(init), None, limits, profile, job.recipe.init_sha256)


def _stylize(
    job: Job, photo: Picture, render: Render, report: Reporter, workspace: Workspace
) -> Tensor:
    options = job.recipe.transfer
    if workspace.block:
        options = options.model_copy(update={"block": workspace.block})
    return render(
        photo.rgb,
        options=options,
        on_iterate=report,
        init_image=_load_init(job, workspace),
        resume=report.checkpoint.start,
    )


def _enhance(
    job: Job,
    picture: Tensor,
    photo: Picture,
    device: str,
    report: Reporter,
    render: Render,
    workspace: Workspace,
) -> tuple[Tensor, Steps]:
    """Enhance; returns the finished picture (3, H, W) and what each step changed."""
    repaint = partial(_repaint, job, render, report, workspace)
    distance = _style_distance(job, photo, device, workspace)
    chain = job.recipe.enhance
    model = job.recipe.upscale_sha256
    finished = enhance(picture.to(device), chain, photo.rgb, repaint, distance, model)
    return finished.picture.cpu(), finished.steps


def _style_distance(
    job: Job, photo: Picture, device: str, workspace: Workspace, depth: int = DEPTH
) -> StyleDistance | None:
    """A measure of how far an enhancement step changes the style; None without a style."""
    options, images = job.recipe.transfer, job.recipe.images
    if not options.style_weight:
        return None
    return StyleDistance(
        _load_network(job.recipe.weights, job.recipe.weights_sha256, options.pooling, device),
        photo.rgb,
        _style_images(job, workspace),
        [image.weight for image in images],
        stroke_scale(options),
        depth,
    )


def _silent_reporter(report: Reporter, *, finishing: bool = True) -> Reporter:
    """A reporter that reports progress and stops, and records nothing.

    Neither losses nor the timelapse, nor a checkpoint: that of the picture itself must stay.
    """
    no_checkpoint, no_film = CheckpointWriter(report.job, None), Recorder(NO_TIMELAPSE)
    return Reporter(
        report.job,
        report.on_progress,
        report.should_stop,
        {},
        no_checkpoint,
        no_film,
        finishing=finishing,
    )


def _repaint(
    job: Job, render: Render, report: Reporter, workspace: Workspace, enlarged: Tensor
) -> Tensor:
    """Stylize an enlarged picture (3, H, W) again, so that its new detail is brushwork."""
    size = enlarged.shape[1], enlarged.shape[2]
    options, profile = repaint_options(job.recipe.transfer, max(size)), job.recipe.output.profile
    # The photo may have been decoded smaller than the picture is now.
    photo = _load(
        job.path, max(size), workspace.limits, profile, _count_untrusted_names(job), job.sha256
    )
    silent = _silent_reporter(report)
    content = resize(photo.rgb, size)
    return render(content, options=options, on_iterate=silent, init_image=enlarged)


def _region_images(job: Job) -> list[StyleImage]:
    return [image for region in job.recipe.regions for image in region.images]


def _load_job_photo(job: Job, limits: Limits, profile: Profile) -> Picture:
    size, below = job.recipe.transfer.size, _count_untrusted_names(job)
    if size == "source":  # may be too large to cache for the next style
        return _load(job.path, None, limits, profile, below, job.sha256)
    return cached_photo(job.sha256, job.path, size, limits, profile, below)


@lru_cache(maxsize=2)  # of the running job and of the next one
def cached_photo(
    sha256: str, path: Path, long_side: int, limits: Limits, profile: Profile, below: int = 1
) -> Picture:
    """Decode a photo once for all its styles, which follow each other in the queue."""
    return _load(path, long_side, limits, profile, below, sha256)


def _count_untrusted_names(job: Job) -> int:
    """How many last parts of the photo's path are within the inbox, where no link is followed."""
    names = PurePosixPath(job.content).parts
    return len(names) if job.path.parts[-len(names) :] == names else 1


def _load(
    path: Path,
    long_side: int | None,
    limits: Limits,
    profile: Profile,
    below: int = 1,
    sha256: str = "",
) -> Picture:
    with _LOADING:
        return to_picture(_decoder(limits).decode(path, long_side, profile, below, sha256))


@lru_cache(maxsize=1)
def _decoder(limits: Limits) -> Decoder:
    decoder = Decoder(limits)
    atexit.register(decoder.close)
    return decoder


def _style_images(job: Job, workspace: Workspace) -> list[Tensor]:
    """The paintings of the job's style, (3, h, w) each."""
    profile = job.recipe.output.profile
    return [_load_style(image, workspace.limits, profile) for image in job.recipe.images]


def _load_style(image: StyleImage, limits: Limits, profile: Profile) -> Tensor:
    return _cached_style(image.sha256, image.path, limits, profile)


@lru_cache(maxsize=8)  # by SHA-256: a changed file belongs to another recipe
def _cached_style(sha256: str, path: Path, limits: Limits, profile: Profile) -> Tensor:
    return _load_configured(path, STYLE_SIDE, limits, profile, sha256)


def _load_configured(
    path: Path, long_side: int | None, limits: Limits, profile: Profile, sha256: str
) -> Tensor:
    """Load a picture that the config names, which may be a link.

    A damaged one gets the reason `style_invalid`, because no photo is to blame.

    Raises:
        ChangedError: It is gone, or has another SHA-256.
    """
    try:
        return _load(real_path(path), long_side, limits, profile, sha256=sha256).rgb
    except ChangedError:
        raise ChangedError(path) from None
    except JobError as error:
        if sha256 and error.code in (Reason.VANISHED, Reason.NOT_REGULAR_FILE):
            raise ChangedError(path) from None
        if BLAME[error.code] is Blame.MACHINE:
            raise
        code = Reason.STYLE_INVALID
        raise JobError(error.what, where=error.where, hint=error.hint, code=code) from None


@lru_cache(maxsize=1)
def _caches(state: Path | None) -> Caches:
    """Statistics of paintings, on disk if there is a state folder; features of the last photo."""
    styles = DiskCache(state / "styles") if state else MemoryCache(CACHED_SCALES)
    return Caches(styles, MemoryCache(CACHED_SCALES))


@lru_cache(maxsize=2)
def _load_network(weights: str, sha256: str, pooling: str, device: str) -> Vgg19:
    return Vgg19(load_weights(weights, sha256), pooling).to(torch.device(device))
