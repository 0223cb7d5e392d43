"""`explain` of a finished picture: reports how it was made, and renders it again."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.loading import load_config
from pipeline.config.output import SUFFIXES, format_of
from pipeline.config.sections import Limits
from pipeline.errors import UsageError
from pipeline.jobs.job import Job
from pipeline.jobs.provenance import Provenance
from pipeline.render.output_files import Target, check_target
from pipeline.render.reproduce import read_provenance, rebuild_job
from pipeline.system.paths import is_file, real_path
from pipeline.system.text import visible

Report = dict[str, Any]


# --- how it was made ------------------------------------------------------------------------


def picture_report(file: Path, config: Path) -> Report | None:
    """How a picture was made; None for a file in the inbox, and for one that is not a picture.

    Raises:
        UsageError: The picture holds no record of this program.
    """
    if not is_file(file) or format_of(file.name) is None or _is_in_inbox(file, config):
        return None
    if (made := read_provenance(file)) is None:
        what = "is not in the inbox, and contains no record of how it was made"
        raise UsageError(what, where=str(file))
    return {"file": str(file), "made": made.model_dump(mode="json")}


def picture_text(report: Report) -> str:
    """The report for people."""
    made = report["made"]
    kind = f"the {made['kind']} picture of {made['photo']['name']} in the style {made['style']}"
    parts = [("photo", made["photo"]), *(("painting", painting) for painting in made["paintings"])]
    for region in made["regions"]:
        parts += [(f"painting of {region['name']}", each) for each in region["paintings"]]
        parts += [(f"mask of {region['name']}", region["mask"])] if region["mask"] else []
    options = {key: made[key] for key in ("transfer", "enhance", "output")}
    options |= {f"region {each['name']}": _region_options(each) for each in made["regions"]}
    lines = [
        report["file"],
        f"  {kind}",
        f"  made by {made['program']}, engine {made['engine']}, torch {made['torch'] or 'unknown'}",
        f"  recipe {made['recipe']}, seed {made['seed']}, weights {made['weights']}",
        *(f"  {role:9} {_format_source(part)}" for role, part in parts),
        *(f"  {key:9} {_format_options(chosen)}" for key, chosen in options.items()),
        "  `explain FILE --again OUT` paints it again",
    ]
    return "\n".join(map(visible, lines))


def _region_options(region: Report) -> Report:
    return {key: region[key] for key in ("strength", "colors", "color_strength", "color")}


def _format_source(part: Report) -> str:
    share = f"{part['weight']:.0%}  " if "weight" in part else ""
    return f"{part['name']}  {share}sha256 {part['sha256']}"


def _format_options(options: Any) -> str:
    if not isinstance(options, dict):
        return json.dumps(options)
    chosen = (f"{key}: {json.dumps(value)}" for key, value in options.items() if value is not None)
    return ", ".join(chosen) or "defaults"


def _is_in_inbox(file: Path, config: Path) -> bool:
    if not is_file(config):
        return False
    root = real_path(load_config(config).inbox)
    # The folder is resolved, the name is not: for a link in the inbox, the link itself is meant.
    place = real_path(file.parent) / file.name
    inside = not file.is_absolute() and os.path.lexists(root / file)
    return inside or place.is_relative_to(root)


# --- rendering it again ---------------------------------------------------------------------


def render_again(
    file: Path,
    out: Path,
    config: Path,
    sources: Sequence[Path],
    device: str,
    as_json: bool,
    force: bool = False,
) -> int:
    """Render a finished picture again, as ``out``; return the exit code.

    Raises:
        UsageError: The picture holds no record, a source file is not found, or this version of the
            program would render a different picture.
    """
    made = read_provenance(file) if is_file(file) else None
    if made is None:
        hint = "only a picture that this program made can be painted again"
        raise UsageError("contains no record of how it was made", where=str(file), hint=hint)
    loaded = load_config(config) if is_file(config) else None
    job = rebuild_job(made, file, loaded, sources)
    if format_of(out.name) != job.recipe.output.format:
        hint = f"name it {' or '.join(SUFFIXES[job.recipe.output.format])}"
        raise UsageError(f"{file.name} is {job.recipe.output.format}", where="--again", hint=hint)
    place = check_target(out, (file, config, *_list_inputs(job)), force=force)
    return _render(job, made, loaded.limits if loaded else Limits(), place, device, as_json)


def _list_inputs(job: Job) -> Iterator[Path]:
    """All files that a job reads."""
    recipe = job.recipe
    yield from (job.path, *recipe.files)
    named = (recipe.transfer.init, recipe.weights, recipe.enhance.enlarging_model)
    yield from (Path(name) for name in named if name)


def _render(
    job: Job, made: Provenance, limits: Limits, place: Target, device: str, as_json: bool
) -> int:
    from pipeline.cli import order as ordering  # imports torch, which `explain` need not load
    from pipeline.render.single import check_out, stylize_one

    out = place.path
    check_out(out)
    with ordering.show_progress(
        job.path, job.recipe.transfer, device, out, silent=as_json
    ) as display:
        result = stylize_one(job, made, limits, device, place, display.update_progress)
        display.end_job(result)
    if as_json:
        print(json.dumps(ordering.result_report(result)))
    return 0
