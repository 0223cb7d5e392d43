"""Renders a grid of pictures over the values of two options: `sweep`."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import NOTHING_MEASURED, PRESETS, Transfer
from pipeline.errors import UsageError
from pipeline.imaging.tensors import load_image
from pipeline.jobs.job import MARKS, JobResult
from pipeline.render.contact_sheet import LONGEST, SHEET_NAME, captioned, write_contact_sheet
from pipeline.render.output_files import check_target
from pipeline.render.single import OnJob, Order, check_targets, stylize_file
from pipeline.system.file_names import fit_name, fold_name, portable_name


@dataclass(frozen=True, slots=True)
class Axis:
    """An option, and its values along one side of a grid.

    Attributes:
        name: The option, as on the command line.
        values: Its values.
        change: The order with one value of the option.
        enhanced: Whether it only changes the enhanced picture.
    """

    name: str
    values: Sequence[Any]
    change: Callable[[Order, Any], Order]
    enhanced: bool = False


def transfer_axis(name: str, values: Sequence[Any]) -> Axis:
    """An option of `transfer:`."""

    def change(order: Order, value: Any) -> Order:
        wanted = Transfer.model_validate({name: value})
        try:
            return replace(order, transfer=order.transfer.overlay(wanted))
        except ValidationError:  # each value is valid, but not all of them together
            raise UsageError(NOTHING_MEASURED, where=f"{name}={value}") from None

    return Axis(name, values, change)


def enhance_axis(name: str, key: str, values: Sequence[Any]) -> Axis:
    """A key of `enhance:`, whose flag may have another name."""

    def change(order: Order, value: Any) -> Order:
        wanted = Enhance.model_validate({key: value})
        return replace(order, enhance=order.enhance.overlay(wanted))

    return Axis(name, values, change, enhanced=True)


def style_axis(paintings: Sequence[Path]) -> Axis:
    """The painting."""
    return Axis("style", paintings, lambda order, path: replace(order, styles=((path, 1.0),)))


def seed_axis(seeds: Sequence[int]) -> Axis:
    """The random seed."""
    return Axis("seed", seeds, lambda order, seed: replace(order, seed=seed))


def preset_axis(names: Sequence[str]) -> Axis:
    """The preset. Its options replace those of `--preset` and of flags for the same options."""
    keys = {key for options in PRESETS.values() for key in options}
    defaults = Transfer().model_dump(include=keys)

    def change(order: Order, name: str) -> Order:
        wanted = Transfer.model_validate(defaults | PRESETS[name])
        return replace(order, transfer=order.transfer.overlay(wanted))

    return Axis("preset", names, change)


def render_grid(
    order: Order,
    folder: Path,
    rows: Axis,
    columns: Axis,
    on_progress: OnJob,
    on_done: Callable[[JobResult], None],
) -> Path:
    """Render a picture for each cell of the grid, and a contact sheet of all of them.

    Returns:
        The path of the contact sheet.

    Raises:
        UsageError: The folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot be created: {error.strerror}", where=str(folder)) from None
    cells = []
    orders = build_cell_orders(order, folder, rows, columns)
    inputs = {path for _, cell, _ in orders for path in cell.inputs}
    sheet = check_target(folder / SHEET_NAME, inputs, force=order.force)
    for path, cell, _ in orders:
        check_targets(cell, path)
    mark = MARKS["enhanced" if rows.enhanced or columns.enhanced else "stylized"]
    for path, cell, values in orders:
        on_done(stylize_file(cell, path, on_progress))
        shown = path.with_name(path.stem + mark + path.suffix)
        small = load_image(shown, long_side=LONGEST).rgb
        cells.append(captioned(small, *_format_caption(values)))
    write_contact_sheet(cells, len(columns.values), sheet)
    return sheet.path


def build_cell_orders(
    order: Order, folder: Path, rows: Axis, columns: Axis
) -> list[tuple[Path, Order, dict[str, Any]]]:
    """Path, order and option values of each cell, row by row; all paths differ."""
    cells, names = [], Counter[bytes]()
    for values, cell in _list_cells(order, rows, columns):
        label = "--".join(f"{key}-{_format_value(value)}" for key, value in values.items())
        name = portable_name(f"{order.content.stem}--{label}")
        names[fold_name(name)] += 1
        times = names[fold_name(name)]
        mark = f"~{times}" if times > 1 else ""
        path = folder / (
            fit_name(name + mark, ".enhanced.png").removesuffix(".enhanced.png") + ".png"
        )
        cells.append((path, cell, values))
    return cells


def _list_cells(order: Order, rows: Axis, columns: Axis) -> Iterator[tuple[dict[str, Any], Order]]:
    """Values and order of each cell. A preset is only the ground of all other options."""
    for row in rows.values:
        for column in columns.values:
            changes = [(rows, row), (columns, column)]
            cell = order
            for axis, value in sorted(changes, key=lambda change: change[0].name != "preset"):
                cell = axis.change(cell, value)
            yield {rows.name: row, columns.name: column}, cell


def _format_caption(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} {_format_value(value)}" for key, value in values.items()]


def _format_value(value: Any) -> str:
    """The value of an option as part of a file name."""
    if isinstance(value, tuple):
        return "+".join(map(_format_value, value))
    if isinstance(value, dict):
        return "+".join(value)
    if isinstance(value, Path):  # a painting
        return value.stem
    return f"{value:g}" if isinstance(value, float) else Path(str(value)).name
