"""`try`: says what is tried and how long it takes, runs the trial and reports the ranking."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.cli.common import FAILED, OK, print_lines
from pipeline.cli.order import check_device, show_progress
from pipeline.cli.trials.arguments import sort_arguments
from pipeline.config.loading import Loaded, load_or_starters
from pipeline.jobs.job import JobResult
from pipeline.jobs.rates import Rates, Work, rates_file, work_of
from pipeline.monitoring.estimate import estimate_work
from pipeline.render.contact_sheet import SHEET_NAME
from pipeline.render.trials.candidates import Candidate
from pipeline.render.trials.ranking import RANKING_NAME
from pipeline.render.trials.trial import Trial, run_trial
from pipeline.system import interrupt
from pipeline.system.text import format_count, visible

MOST_NAMED = 5  # photos or styles in the first line


def build_trial(
    words: Sequence[str],
    photos: Iterable[str],
    styles: Iterable[str],
    size: int,
    device: str,
    config: Path,
    force: bool,
) -> Trial:
    """Check all arguments and build the trial.

    Raises:
        UsageError: An argument is wrong; the error names it.
        ConfigError: The config is wrong.
    """
    check_device(device)
    loaded = load_or_starters(config)
    found = sort_arguments(words, photos, styles, loaded)
    return replace(plan_trial(*found, size, loaded, device), force=force)


def plan_trial(
    photos: tuple[Path, ...],
    styles: tuple[Candidate, ...],
    size: int,
    loaded: Loaded,
    device: str = "auto",
) -> Trial:
    """The trial of these photos and styles with the settings of a config."""
    devices = loaded.config.device
    own = devices if isinstance(devices, str) else devices[0]
    return Trial(
        photos,
        styles,
        size=size,
        weights=loaded.config.weights,
        seed=loaded.config.seed,
        device=own if device == "auto" else device,
        limits=loaded.config.limits,
        config=loaded.path if loaded.found else None,
    )


def run_try(trial: Trial, folder: Path, as_json: bool, plain: bool) -> int:
    """Run a trial; return the exit code: 1 if a picture could not be painted."""
    interrupt.raise_swallowed()
    rates = Rates(rates_file())
    if not as_json:
        print_lines("\n".join([*_describe(trial), _estimate(trial, rates)]))
    with show_progress(
        trial.photos[0], trial.works[0], trial.device, folder, silent=as_json, draw=not plain
    ) as display:
        display.view.queued = trial.pairs - 1

        def end(result: JobResult) -> None:
            if result.status == "done":
                rates.add_duration(
                    result.device, work_of(result.job.recipe.transfer), result.seconds
                )
            display.view.queued = max(0, display.view.queued - 1)
            display.end_job(result)

        report = run_trial(trial, folder, display.update_progress, end)
    rates.save()
    print_lines(json.dumps(report, indent=2) if as_json else _format_report(report, folder))
    return FAILED if report["failed"] else OK


def _describe(trial: Trial) -> list[str]:
    """Which arguments were taken for photos, and which for paintings."""
    photos = _count_and_name([path.name for path in trial.photos], "photo")
    lines = [f"{photos}; {_count_and_name([style.name for style in trial.styles], 'style')}"]
    folder = trial.photos[0].parent
    beside = [p.name for s in trial.styles for p, _ in s.images if p.parent == folder]
    if beside:  # perhaps a shell wrote out `*.jpg`
        lines.append(f"{beside[0]} is taken for a painting; put --photo before it for a photo")
    return [visible(line) for line in lines]


def _count_and_name(names: Sequence[str], noun: str) -> str:
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"{format_count(len(names), noun)}: {', '.join(names[:MOST_NAMED])}{more}"


def _estimate(trial: Trial, rates: Rates) -> str:
    works = Counter[tuple[Work, ...]]((work_of(transfer),) for transfer in trial.works)
    return estimate_work(works, lambda work: rates.seconds([trial.device], work), 1).words()


def _format_report(report: dict[str, Any], folder: Path) -> str:
    """The ranking, where the files are, and what to write into config.yaml for the best style."""
    lines = [
        f"contact sheet: {visible(str(folder / SHEET_NAME))}",
        f"ranking: {visible(str(folder / RANKING_NAME))}",
    ]
    ranking = report["ranking"]
    rows = [(visible(each["style"]), each) for each in ranking]
    if len(ranking) == 1:  # one style: which photo suits it best
        rows = [(visible(each["photo"]), each) for each in ranking[0]["photos"]]
    width = max((len(name) for name, _ in rows), default=0)
    for rank, (name, each) in enumerate(rows, 1):
        parts = ", ".join(f"{part} {value:.2f}" for part, value in each["parts"].items())
        lines.append(f"{rank:4}  {name:{width}}  {each['score']:.2f}  ({parts})")
    if ranking:
        best = ranking[0]
        lines += [f"for {visible(best['style'])}, write into config.yaml:", ""]
        lines += [f"  {visible(line)}" for line in best["yaml"].splitlines()]
    return "\n".join(lines)
