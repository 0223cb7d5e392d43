"""`stylize` and `sweep`: from words on the command line to an order, and its progress shown."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config import BUILTIN, parse_scalar
from pipeline.dashboard import Dashboard
from pipeline.errors import UsageError
from pipeline.flags import chosen
from pipeline.jobs import JobResult, Progress
from pipeline.manifest import find_image
from pipeline.options import PRESETS, Enhance, Transfer, resolve_transfer
from pipeline.single import Axis, Order, check_out, stylize_file
from pipeline.single import sweep as paint_grid
from pipeline.view import View


def order(
    content: Path,
    styles: list[str],
    shares: str,
    preset: str,
    seed: int,
    device: str,
    weights: str,
    flags: Mapping[str, str | None],
) -> Order:
    """Check every word.

    Raises:
        UsageError: Naming the flag or argument.
    """
    if preset not in PRESETS:
        raise UsageError(f"no preset {preset!r}", where="--preset", mend=", ".join(PRESETS))
    paintings = [_image(style) for style in styles]
    return Order(
        content=_image(str(content)),
        styles=tuple(zip(paintings, _shares(shares, len(paintings)), strict=True)),
        transfer=resolve_transfer(preset, chosen(Transfer, flags)),
        enhance=Enhance.model_validate(chosen(Enhance, flags)),
        weights=weights,
        seed=seed,
        device=device,
    )


def stylize(wanted: Order, out: Path, as_json: bool) -> int:
    """Paint one picture; returns the exit code."""
    check_out(out)
    view = _view(wanted, out)
    with Dashboard(silent=as_json) as dashboard:
        result, paths = stylize_file(wanted, out, _shower(view, dashboard))
        _end(view, result, paths)
        dashboard.update(view, time.time())
    if as_json:
        print(json.dumps({"outputs": [str(p) for p in paths], **_figures(result)}))
    return 0


def sweep(wanted: Order, folder: Path, rows: str, columns: str) -> int:
    """Paint the grid; returns the exit code."""
    axes = _axis(rows, "--rows"), _axis(columns, "--columns")
    view = _view(wanted, folder)
    with Dashboard() as dashboard:
        show = _shower(view, dashboard)
        sheet = paint_grid(wanted, folder, *axes, show, lambda path: dashboard.line(str(path)))
        view.message = f"contact sheet: {sheet}"
        dashboard.update(view, time.time())
    return 0


def _image(source: str) -> Path:
    if source.startswith(BUILTIN):
        return find_image(source, "STYLE")
    path = Path(source)
    if not path.is_file():
        mend = f"a path, or {BUILTIN}NAME; `pipeline styles` lists names"
        raise UsageError("no such image", where=source, mend=mend)
    return path.resolve()  # whoever types a link means what it points at


def _shares(text: str, count: int) -> list[float]:
    values = [parse_scalar(part) for part in text.split(",")] if text else [1.0] * count
    good = all(isinstance(v, int | float) and 0 < v < 1e6 for v in values)
    if not good or len(values) != count:
        mend = f"one positive number for each of the {count} styles"
        raise UsageError(f"{text!r} does not fit", where="--shares", mend=mend)
    return [float(v) for v in values]


def _axis(text: str, flag: str) -> Axis:
    name, _, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if name not in Transfer.model_fields or not values:
        mend = "NAME=V,V,V with NAME a transfer option, such as content_weight"
        raise UsageError(f"{text!r} is not an axis", where=flag, mend=mend)
    return name, [chosen(Transfer, {name: value})[name] for value in values.split(",")]


def _view(wanted: Order, out: Path) -> View:
    size = wanted.transfer.size
    view = View(
        inbox=str(wanted.content),
        outbox=str(out),
        device=wanted.device,
        preset=f"{size} px" if size != "source" else "source size",
        started_at=time.time(),
    )
    return view


def _shower(view: View, dashboard: Dashboard) -> Any:
    def show(progress: Progress) -> None:
        if all(lane.job != progress.job_id for lane in view.running):
            view.running.clear()
            view.begin(progress.job_id, view.inbox, "", view.device)
        view.see(progress)
        dashboard.update(view, time.time())

    return show


def _end(view: View, result: JobResult, paths: tuple[Path, ...]) -> None:
    view.running.clear()
    view.end(result, time.time())
    view.message = " and ".join(map(str, paths))


def _figures(result: JobResult) -> dict[str, Any]:
    return {
        "seconds": round(result.seconds, 3),
        "device": result.device,
        "losses": dict(result.losses),
        "error": asdict(result.error) if result.error else None,
    }
