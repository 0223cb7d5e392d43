"""A trial: photos in several styles as small pictures, on one sheet and ranked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.model import WEIGHTS_WORDS
from pipeline.config.sections import Limits
from pipeline.config.transfer import INIT_WORDS, Transfer
from pipeline.errors import Failure, JobError, UsageError
from pipeline.jobs.job import Job, JobResult
from pipeline.render.contact_sheet import SHEET_NAME, write_contact_sheet
from pipeline.render.output_files import Target, check_target
from pipeline.render.trials.candidates import Candidate
from pipeline.render.trials.fit import measure_fit
from pipeline.render.trials.quick_painter import OnProgress, QuickPainter, quick_options
from pipeline.render.trials.ranking import (
    RANKING_NAME,
    Tried,
    ranking_report,
    write_ranking,
)
from pipeline.render.trials.sheet import arrange

OnDone = Callable[[JobResult], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried: each photo in each style."""

    photos: tuple[Path, ...]
    styles: tuple[Candidate, ...]
    size: int
    weights: str
    seed: int
    device: str
    limits: Limits
    force: bool = False  # also replace files that this program may not have made
    config: Path | None = None  # the config file that was read

    @property
    def pairs(self) -> int:
        """How many pictures there will be."""
        return len(self.photos) * len(self.styles)

    @property
    def works(self) -> list[Transfer]:
        """The options of every picture, for an estimate of the time."""
        return [
            quick_options(style.transfer, self.size) for style in self.styles for _ in self.photos
        ]

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All files that it reads."""
        inits = [Path(s.transfer.init) for s in self.styles if s.transfer.init not in INIT_WORDS]
        weights = [Path(self.weights)] if self.weights not in WEIGHTS_WORDS else []
        paintings = [path for style in self.styles for path, _ in style.images]
        config = [self.config] if self.config else []
        return (*self.photos, *paintings, *inits, *weights, *config)


def run_trial(
    trial: Trial, folder: Path, on_progress: OnProgress, on_done: OnDone
) -> dict[str, Any]:
    """Paint every photo in every style, and write the sheet and the ranking after each picture.

    A painting that cannot be used is left out, and named in the ranking.

    Args:
        trial: What is tried.
        folder: Where the two files are written; it is created.
        on_progress: Called while a picture is painted.
        on_done: Called after each.

    Returns:
        The ranking, as in the file.

    Raises:
        UsageError: A photo cannot be used, or a file must not be written.
        ConfigError: A painting cannot be read.
        WeightsError: The weights cannot be used.
    """
    tried: list[Tried] = []
    report: dict[str, Any] = {}
    with QuickPainter(trial.size, trial.weights, trial.seed, trial.device, trial.limits) as painter:
        photos = {path: painter.load_photo(path) for path in trial.photos}
        sheet, ranking = _check_targets(trial, folder)
        # Style by style: the statistics of a painting serve all photos, and can then be dropped.
        jobs = [
            (style, painter.build_job(photo, style.name, style.images, style.transfer))
            for style in trial.styles
            for photo in trial.photos
        ]
        for style, job in jobs:
            result, one = _try_pair(painter, job, style, on_progress)
            tried.append(one)
            cells, across = arrange(tried, len(trial.styles), photos)
            sheet = write_contact_sheet(cells, across, sheet)
            report = ranking_report(tried, trial.pairs, trial.size)
            ranking = write_ranking(report, ranking)
            on_done(result)
    return report


def _check_targets(trial: Trial, folder: Path) -> list[Target]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot be created: {error.strerror}", where=str(folder)) from None
    return [
        check_target(folder / name, trial.inputs, force=trial.force)
        for name in (SHEET_NAME, RANKING_NAME)
    ]


def _try_pair(
    painter: QuickPainter, job: Job, style: Candidate, on_progress: OnProgress
) -> tuple[JobResult, Tried]:
    began = time.monotonic()
    try:
        painted = painter.paint(job, on_progress)
    except JobError as error:
        failure = Failure(error.code, str(error))
        spent = time.monotonic() - began
        failed = JobResult(job, "failed", spent, painter.device, error=failure)
        return failed, Tried(job.path, style, failure=failure)
    shares = [share for _, share in style.images]
    fit = measure_fit(painted, shares, painter.network(job.recipe.transfer.pooling))
    done = JobResult(job, "done", time.monotonic() - began, painter.device)
    return done, Tried(job.path, style, painted.picture, fit)
