"""One picture, or a grid of them, without folders: `stylize` and `sweep`."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from pipeline.chain import Enhance
from pipeline.config import WEIGHTS_WORDS
from pipeline.errors import EngineError, JobError, UsageError
from pipeline.formats import SUFFIXES, OutputFormat, format_of
from pipeline.images import labelled, load_image, save_png
from pipeline.jobs import (
    MARKS,
    PLAIN_OUTPUT,
    Job,
    JobResult,
    Kind,
    Output,
    Progress,
    Recipe,
    StyleImage,
)
from pipeline.nst import load_weights
from pipeline.nst.devices import choose_device
from pipeline.options import INIT_WORDS, Transfer
from pipeline.paths import is_folder
from pipeline.recipes import digest
from pipeline.sections import Timelapse
from pipeline.worker import Bench, run_job

SHEET_SIDE = 320  # px, of one picture on a contact sheet
GAP = 8  # px


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for on the command line."""

    content: Path
    styles: tuple[tuple[Path, float], ...]
    transfer: Transfer
    enhance: Enhance
    weights: str
    seed: int
    device: str
    film: Path | None = None  # where the timelapse goes; its suffix says the format
    output: OutputFormat = PLAIN_OUTPUT

    def job(self) -> Job:
        """The job that makes it."""
        total = sum(weight for _, weight in self.styles)
        images = tuple(StyleImage(p, w / total, digest(p)) for p, w in self.styles)
        init, weights = self.transfer.init, self.weights
        model = self.enhance.enlarging_model
        recipe = Recipe(
            images=images,
            transfer=self.transfer,
            enhance=self.enhance,
            weights=weights,
            seed=self.seed,
            weights_sha256=weights if weights in WEIGHTS_WORDS else digest(Path(weights)),
            init_sha256="" if init in INIT_WORDS else digest(Path(init)),
            upscale_sha256=digest(model) if model else "",
            output=self.output,
        )
        style = "+".join(path.stem for path, _ in self.styles)
        return Job(self.content.name, self.content, digest(self.content), style, recipe)


OnJob = Callable[[Job, Progress], None]


def stylize_file(order: Order, out: Path, on_progress: OnJob) -> JobResult:
    """Paint one picture to ``out``, and its enhanced version beside it: see `paint`."""
    check_out(out)
    _check_machine(order.device, order.weights)
    with paint(order.job(), order.device, out.parent, on_progress, order.film) as result:
        return replace(result, outputs=tuple(_move(o, out, order.film) for o in result.outputs))


def stylize_one(job: Job, kind: Kind, device: str, out: Path, on_progress: OnJob) -> JobResult:
    """Do a job and keep one of its pictures, as ``out``: see `paint`."""
    check_out(out)
    _check_machine(device, job.recipe.weights)
    with paint(job, device, out.parent, on_progress) as result:
        (output,) = (output for output in result.outputs if output.kind == kind)
        Path(output.path).replace(out)
        return replace(result, outputs=(replace(output, path=str(out)),))


@contextmanager
def paint(
    job: Job, device: str, folder: Path, on_progress: OnJob, film: Path | None = None
) -> Iterator[JobResult]:
    """Do a job; its files lie in a hidden folder within ``folder`` until the block ends.

    Raises:
        UsageError: When there is no such device, or the picture cannot be written.
        WeightsError: When the weights cannot be used.
        JobError: When the job fails.
    """
    # Beside the result, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pipeline-") as name:
        bench = Bench(device, Path(name), timelapse=_timelapse(film))
        result = run_job(job, bench, partial(on_progress, job), lambda: False)
        if result.error is not None:
            raise JobError(result.error.message, code=result.error.code)
        yield result


def _timelapse(film: Path | None) -> Timelapse:
    return Timelapse.model_validate({"format": film.suffix[1:].lower() if film else "none"})


def _move(output: Output, out: Path, film: Path | None) -> Output:
    if output.kind == "timelapse" and film:
        shutil.move(output.path, film)  # it may be wanted on another disk
        return replace(output, path=str(film))
    target = out.with_name(out.stem + MARKS[output.kind] + out.suffix)
    Path(output.path).replace(target)
    return replace(output, path=str(target))


def _check_machine(device: str, weights: str) -> None:
    """What the command line asked for and this machine has not is wrong usage, not a failed job."""
    try:
        choose_device(device)
    except EngineError as error:
        raise UsageError(error.what, where="--device", mend=error.mend) from None
    if weights != "embedded":
        load_weights(weights)


def check_out(out: Path) -> None:
    """Refuse an impossible output before minutes of work are spent on it."""
    if format_of(out.name) is None:
        mend = f"name it {' '.join(suffix for suffix, *_ in SUFFIXES.values())}"
        raise UsageError(f"{out.name!r} is no picture's name", where="-o", mend=mend)
    _check_place(out)


def check_film(film: Path) -> None:
    """Refuse an impossible timelapse before minutes of work are spent on it."""
    try:
        settings = _timelapse(film)
    except ValidationError as error:
        (first, *_) = error.errors()
        known = first["type"] == "value_error"  # MP4, and nothing here that writes it
        mend = str(first["ctx"]["error"]) if known else "name it .webp, .gif or .mp4"
        raise UsageError(
            f"{film.name!r} cannot be written", where="--timelapse", mend=mend
        ) from None
    if settings.format == "none":
        mend = "name it .webp, .gif or .mp4"
        raise UsageError(f"{film.name!r} is no film", where="--timelapse", mend=mend)
    _check_place(film)


def _check_place(out: Path) -> None:
    if is_folder(out):
        raise UsageError("is a folder", where=str(out), mend="give a file name")
    if not is_folder(out.parent) or not os.access(out.parent, os.W_OK):
        raise UsageError("cannot be written to", where=str(out.parent), mend="make the folder")


# --- sweep ----------------------------------------------------------------------------------

Axis = tuple[str, Sequence[Any]]


def grid(rows: Axis, columns: Axis) -> Iterator[dict[str, Any]]:
    """Option values of each cell, row by row."""
    for row, column in itertools.product(rows[1], columns[1]):
        yield {rows[0]: row, columns[0]: column}


def sweep(
    order: Order,
    folder: Path,
    rows: Axis,
    columns: Axis,
    on_progress: OnJob,
    on_done: Callable[[JobResult], None],
) -> Path:
    """A picture for each cell of the grid and a contact sheet of them all.

    Returns:
        The path of the contact sheet.

    Raises:
        UsageError: When the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot be made: {error.strerror}", where=str(folder)) from None
    cells = []
    for values in grid(rows, columns):
        name = "--".join(f"{key}-{_word(value)}" for key, value in values.items())
        path = folder / f"{order.content.stem}--{name}.png"
        transfer = Transfer.model_validate(order.transfer.chosen() | values)
        on_done(stylize_file(replace(order, transfer=transfer), path, on_progress))
        small = load_image(path, long_side=SHEET_SIDE).rgb
        cells.append(labelled(_widened(small, SHEET_SIDE), _caption(values)))
    sheet = folder / "contact-sheet.png"
    save_png(contact_sheet(cells, len(columns[1])), sheet)
    return sheet


def _widened(rgb: Tensor, width: int) -> Tensor:
    """(3, H, W) in the middle of white, at least ``width`` px wide: the caption needs room."""
    spare = max(0, width - rgb.shape[2])
    return functional.pad(rgb, (spare // 2, spare - spare // 2), value=1.0)


def contact_sheet(cells: Sequence[Tensor], across: int) -> Tensor:
    """Pictures (3, h, w) of any sizes in rows of ``across`` on white, (3, H, W).

    Columns are equally wide; a row is as high as the highest picture in it.
    """
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    heights = [max(cell.shape[1] for cell in row) + GAP for row in rows]
    width = max(cell.shape[2] for cell in cells) + GAP
    sheet = torch.ones(3, sum(heights) + GAP, across * width + GAP)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            left = GAP + column * width
            sheet[:, top : top + cell.shape[1], left : left + cell.shape[2]] = cell
        top += height
    return sheet


def _caption(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{key} {_word(value)}" for key, value in values.items())


def _word(value: Any) -> str:
    """An option's value as part of a file name."""
    if isinstance(value, tuple):
        return "+".join(map(_word, value))
    if isinstance(value, dict):
        return "+".join(value)
    return f"{value:g}" if isinstance(value, float) else Path(str(value)).name
