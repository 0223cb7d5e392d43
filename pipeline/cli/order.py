"""`stylize`: turns arguments into an `Order`, executes it and shows its progress."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.cli.common import DEFAULT_CONFIG
from pipeline.cli.flags import parse_flags, parse_masks, parse_regions
from pipeline.config.checks.options import find_products
from pipeline.config.enhancement import Enhance
from pipeline.config.loading import load_config
from pipeline.config.manifest import Style, find_image, load_manifest, starter_styles
from pipeline.config.model import BUILTIN, WEIGHTS_WORDS, Device, device_hint
from pipeline.config.output import OutputFormat, format_of
from pipeline.config.picture_files import picture_problem
from pipeline.config.transfer import INIT_WORDS, PRESETS, Transfer, resolve_transfer
from pipeline.config.yaml_file import parse_scalar
from pipeline.errors import PipelineError, UsageError
from pipeline.jobs.job import Job, JobResult, Progress
from pipeline.jobs.rates import Rates, rates_file
from pipeline.monitoring.terminal.dashboard import Dashboard
from pipeline.monitoring.view import View
from pipeline.render.single import (
    Order,
    check_masks,
    check_out,
    check_targets,
    stylize_file,
)
from pipeline.system import interrupt
from pipeline.system.near_names import nearest, nearest_name, nearest_path
from pipeline.system.paths import is_file, real_path
from pipeline.system.text import format_count


def build_order(
    content: Path | str,
    styles: list[str],
    shares: str,
    preset: str,
    seed: int,
    device: str,
    weights: str,
    flags: Mapping[str, str | None],
    out: Path | None = None,
) -> Order:
    """Check all arguments and build the order; the suffix of ``out`` decides the output format.

    Raises:
        UsageError: An argument is wrong; the error names it.
    """
    if preset not in PRESETS:
        what = f"there is no preset {preset!r}"
        raise UsageError(what, where="--preset", hint=nearest(preset, PRESETS))
    check_device(device)
    paintings = [find_picture(style) for style in styles]
    return Order(
        content=find_picture(str(content)),
        styles=tuple(zip(paintings, _parse_shares(shares, len(paintings)), strict=True)),
        transfer=_with_absolute_init(resolve_transfer(preset, parse_flags(Transfer, flags))),
        enhance=parse_flags(Enhance, flags),
        output=_parse_output_format(out, flags),
        weights=_find_weights(weights),
        seed=seed,
        device=device,
    )


def resolve_style_names(styles: list[str], config: Path | None) -> list[str]:
    """Replace names of styles of the config among the STYLE arguments by their only painting.

    Raises:
        ConfigError: The config is wrong.
        UsageError: A name stands for a blend; give its paintings and ``--shares`` instead.
    """
    if config is None:
        return styles
    manifest = load_manifest(load_config(config), config).styles
    return [
        _only_painting(manifest[name]) if name in manifest else _check_no_style(name, manifest)
        for name in styles
    ]


def with_regions(
    order: Order, regions: Iterable[str], masks: Iterable[str], config: Path | None
) -> Order:
    """The order with what flags ``--region`` and ``--mask`` say.

    Raises:
        UsageError: An argument is wrong; the error names it.
    """
    options = parse_regions(regions)
    files = parse_masks(masks, options)
    paintings = {
        name: tuple(
            find_picture(style, f"--region {name}")
            for style in resolve_style_names(list(each.styles), config)
        )
        for name, each in options.items()
        if each.styles
    }
    found = {name: _find_mask(name, file) for name, file in files.items()}
    order = replace(order, regions=options, paintings=paintings, masks=found)
    check_masks(order)
    return order


def _find_mask(name: str, file: str) -> Path:
    path = Path(file)
    if (problem := picture_problem(path, "the path of a picture, white inside")) is not None:
        raise UsageError(f"{file}: {problem[0]}", where=f"--mask {name}", hint=problem[1])
    return real_path(path)


def _check_no_style(name: str, manifest: Mapping[str, Style]) -> str:
    """A STYLE that is no style of the config: it must be a file, or a starter style."""
    near = nearest_name(name, manifest, cutoff=0.75)
    if near and not name.startswith(BUILTIN) and not os.path.lexists(name):
        raise UsageError("no such style or image", where=name, hint=f"did you mean {near!r}?")
    return name


def _only_painting(style: Style) -> str:
    if len(style.images) > 1:
        hint = "give the paintings instead, and their weights with --shares"
        raise UsageError(
            "is a blend of several paintings; this command needs one", where=style.name, hint=hint
        )
    return str(style.images[0][0])


def run_stylize(wanted: Order, out: Path, as_json: bool, plain: bool = False) -> int:
    """Render one picture; return the exit code."""
    interrupt.raise_swallowed()
    check_targets(wanted, out)
    with show_progress(
        wanted.content, wanted.transfer, wanted.device, out, silent=as_json, draw=not plain
    ) as display:
        result = stylize_file(wanted, out, display.update_progress)
        display.end_job(result)
        goals = result.notes if result.target or result.within else ()
        for note in (*find_products(wanted.transfer), *goals):
            display.dashboard.line(f"note: {note}")
    rates = Rates(rates_file())
    rates.add_result(result)
    rates.save()
    if as_json:
        print(json.dumps(result_report(result)))
    return 0


# --- parsing arguments ------------------------------------------------------------------


def _parse_output_format(out: Path | None, flags: Mapping[str, str | None]) -> OutputFormat:
    if out is not None:
        check_out(out)
    wanted = format_of(out.name) if out else None
    return parse_flags(OutputFormat, {**flags, "format": wanted or "png"})


def find_picture(source: str, where: str = "STYLE") -> Path:
    """The file of a photo or painting that the command line names.

    Raises:
        UsageError: There is no such picture.
        ConfigError: There is no such starter style.
    """
    if source.startswith(BUILTIN):
        return find_image(source, where)
    path = Path(source)
    remedy = _near_style(source) or f"a path, or {BUILTIN}NAME; `styles` lists the names"
    if (problem := picture_problem(path, remedy)) is not None:
        raise UsageError(problem[0], where=source, hint=problem[1])
    return real_path(path)  # a link on the command line means the file that it points at


def _near_style(name: str) -> str:
    """A hint to the starter style, or the style of ./config.yaml, that was probably meant."""
    starters = starter_styles()
    if (near := nearest_name(name, starters, cutoff=0.75)) is not None:
        return f"did you mean {BUILTIN}{near}?"
    with suppress(PipelineError):
        if name in load_config(DEFAULT_CONFIG).styles:
            return f"for the style of {DEFAULT_CONFIG}, add --config {DEFAULT_CONFIG}"
    return ""


def check_device(name: str) -> None:
    """Refuse what is no device's name.

    Raises:
        UsageError: There is no such device.
    """
    try:
        TypeAdapter(Device).validate_python(name)
    except ValidationError:
        what = f"there is no device {name!r}"
        raise UsageError(what, where="--device", hint=device_hint(name)) from None


def _with_absolute_init(transfer: Transfer) -> Transfer:
    """``init`` as an absolute path, unless it is one of INIT_WORDS."""
    if transfer.init in INIT_WORDS:
        return transfer
    near = nearest_name(transfer.init, INIT_WORDS)
    remedy = (
        f"did you mean {near!r}?" if near else f"{', '.join(INIT_WORDS)} or the path of an image"
    )
    if (problem := picture_problem(Path(transfer.init), remedy)) is not None:
        raise UsageError(f"{transfer.init}: {problem[0]}", where="--init", hint=problem[1])
    return transfer.model_copy(update={"init": str(real_path(Path(transfer.init)))})


def _find_weights(source: str) -> str:
    if source in WEIGHTS_WORDS:
        return source
    if not is_file(Path(source)):
        near = nearest_name(source, WEIGHTS_WORDS) or nearest_path(Path(source))
        hint = "embedded, torchvision or the path of a state dictionary"
        hint = f"did you mean {str(near)!r}?" if near else hint
        raise UsageError(f"no such file: {source}", where="--weights", hint=hint)
    return str(real_path(Path(source)))


def _parse_shares(text: str, count: int) -> list[float]:
    values = [parse_scalar(part) for part in text.split(",")] if text else [1.0] * count
    good = all(isinstance(v, int | float) and 0 < v < 1e6 for v in values)
    if not good or len(values) != count:
        hint = f"give {format_count(count, 'positive number')}, one for each painting"
        raise UsageError(
            f"{text!r} does not have one number for each style", where="--shares", hint=hint
        )
    return [float(v) for v in values]


# --- progress -------------------------------------------------------------------------------


class _ProgressDisplay:
    """Shows orders, which run without a service, on the dashboard."""

    def __init__(
        self, content: Path, transfer: Transfer, device: str, out: Path, dashboard: Dashboard
    ) -> None:
        size, within = transfer.size, transfer.within
        preset = f"{size} px" if size != "source" else "source size"
        self.dashboard = dashboard
        self.view = View(
            inbox=str(content),
            outbox=str(out),
            device=device,
            preset=preset if within is None else f"within {within:g} s",
            started_at=time.time(),
        )

    def update_progress(self, job: Job, progress: Progress) -> None:
        interrupt.raise_swallowed()
        if all(lane.job != job.id for lane in self.view.running):
            self.view.begin_job(job.id, job.content, job.style, self.view.device)
        self.view.update_progress(progress)
        self.dashboard.update(self.view, time.time())

    def end_job(self, result: JobResult) -> None:
        self.view.end_job(result, time.time())
        self.dashboard.update(self.view, time.time())


@contextmanager
def show_progress(
    content: Path,
    transfer: Transfer,
    device: str,
    out: Path,
    silent: bool = False,
    draw: bool = True,
) -> Iterator[_ProgressDisplay]:
    """Show the dashboard while pictures are rendered."""
    with Dashboard(silent=silent, draw=draw) as dashboard:
        display = _ProgressDisplay(content, transfer, device, out, dashboard)
        try:
            yield display
        except PipelineError:
            # `main` prints the reason to stderr.
            display.view.message = "not painted"
            dashboard.update(display.view, time.time())
            raise


def result_report(result: JobResult) -> dict[str, Any]:
    """What `--json` prints about a rendered picture."""
    return {
        "outputs": [asdict(output) for output in result.outputs],
        "seconds": round(result.seconds, 3),
        "device": result.device,
        "losses": dict(result.losses),
        "curve": [list(point) for point in result.curve],
        "target": dict(result.target) or None,
        "within": dict(result.within) or None,
    }
