"""`sweep`: the options along both sides of the grid, and its progress."""

from pathlib import Path

from pipeline.cli.flags import RENAMED, parse_flags
from pipeline.cli.order import find_picture, resolve_style_names, show_progress
from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import PRESETS, Transfer
from pipeline.config.yaml_file import parse_scalar
from pipeline.errors import UsageError
from pipeline.render.grid import (
    Axis,
    enhance_axis,
    preset_axis,
    render_grid,
    seed_axis,
    style_axis,
    transfer_axis,
)
from pipeline.render.single import Order
from pipeline.system import interrupt
from pipeline.system.near_names import nearest, nearest_name

# The flag of each key of `enhance:`.
ENHANCE = {RENAMED.get(key, key): key for key in Enhance.model_fields}
OTHERS = ("style", "preset", "seed")


def run_sweep(wanted: Order, folder: Path, axes: tuple[Axis, Axis], plain: bool = False) -> int:
    """Render the grid; return the exit code."""
    interrupt.raise_swallowed()
    with show_progress(
        wanted.content, wanted.transfer, wanted.device, folder, draw=not plain
    ) as display:
        sheet = render_grid(wanted, folder, *axes, display.update_progress, display.end_job)
        display.dashboard.line(f"contact sheet: {sheet}")
    return 0


def parse_axes(rows: str, columns: str, config: Path | None) -> tuple[Axis, Axis]:
    """The options along both sides of a grid, from ``NAME=V,V``.

    Raises:
        UsageError: One is no option, or has a value that it cannot have.
    """
    found = _parse_axis(rows, "--rows", config), _parse_axis(columns, "--columns", config)
    if found[0].name == found[1].name:
        what = f"{found[0].name} is along both sides"
        raise UsageError(what, where="--columns", hint="name another option")
    return found


def _parse_axis(text: str, flag: str, config: Path | None) -> Axis:
    name, _, values = text.partition("=")
    name = name.strip().replace("-", "_")
    known = (*Transfer.model_fields, *ENHANCE, *OTHERS)
    if name not in known or not values:
        near = nearest_name(name, known)
        hint = "write NAME=V,V,V; NAME is an option of stylize, such as content_weight, or style"
        hint = f"did you mean {near!r}?" if values and near else hint
        raise UsageError(f"{text!r} is not an option with values", where=flag, hint=hint)
    parts = [part.strip() for part in values.split(",")]
    try:
        return _build_axis(name, parts, config)
    except UsageError as error:
        raise UsageError(f"{name}: {error.what}", where=flag, hint=error.hint) from None


def _build_axis(name: str, parts: list[str], config: Path | None) -> Axis:
    match name:
        case "style":
            return style_axis([find_picture(style) for style in resolve_style_names(parts, config)])
        case "preset":
            for part in parts:
                if part not in PRESETS:
                    raise UsageError(f"there is no preset {part!r}", hint=nearest(part, PRESETS))
            return preset_axis(parts)
        case "seed":
            return seed_axis([_parse_seed(part) for part in parts])
    if name in Transfer.model_fields:
        cells = [parse_flags(Transfer, {name: part}).chosen() for part in parts]
        return transfer_axis(name, [cell[name] for cell in cells])
    key = ENHANCE[name]
    chosen = [parse_flags(Enhance, {name: part}).chosen() for part in parts]
    return enhance_axis(name, key, [cell[key] for cell in chosen])


def _parse_seed(text: str) -> int:
    seed = parse_scalar(text)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UsageError(f"{text!r} is not a whole number from 0")
    return seed
