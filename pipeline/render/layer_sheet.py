"""The sheet of `explain --layers`: what each layer of VGG-19 keeps of a photo and of a painting."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pipeline.config.sections import Limits
from pipeline.config.transfer import PRESETS, Transfer
from pipeline.imaging.sandbox import Decoder
from pipeline.imaging.tensors import add_caption, resize, to_picture
from pipeline.nst import Vgg19, load_weights, stylize
from pipeline.nst.pyramid import target_size
from pipeline.render.contact_sheet import write_contact_sheet
from pipeline.render.output_files import Target
from pipeline.render.run_job import use_threads
from pipeline.system.cores import count_usable_cores
from pipeline.system.paths import real_path

SIDE = PRESETS["draft"]["size"] // 2  # px, long side of each picture: 128
STEPS = PRESETS["draft"]["steps"][0]  # of L-BFGS: 50; with more, nothing visible changes
LAYERS = tuple(f"relu{block}_1" for block in range(1, 6))
# From noise, in one scale: nothing is in a picture that its layer has not put there.
ALONE = {
    "depths": (5,),
    "init": "noise",
    "content_target": "photo",
    "content_focus": "even",
    "style_loss": "whole",
    "pooling": "average",
}


class Cell(NamedTuple):
    """One picture of the sheet."""

    caption: str
    options: Transfer


def content_cells(side: int = SIDE, steps: int = STEPS) -> list[Cell]:
    """The photo from the features of one layer alone (Gatys et al. 2015, figure 1)."""
    base = ALONE | {"size": side, "scales": (side,), "steps": (steps,), "style_weight": 0.0}
    return [
        Cell(layer, Transfer.model_validate(base | {"content_layers": {layer: 1.0}}))
        for layer in LAYERS
    ]


def style_cells(side: int = SIDE, steps: int = STEPS) -> list[Cell]:
    """The painting from its style in the layers up to each block, as a texture (same figure)."""
    base = ALONE | {"size": side, "scales": (side,), "steps": (steps,), "content_weight": 0.0}
    weights = Transfer().style_layers
    return [
        Cell(
            f"to {layer}",
            Transfer.model_validate(
                base | {"style_layers": {each: weights[each] for each in LAYERS[: number + 1]}}
            ),
        )
        for number, layer in enumerate(LAYERS)
    ]


def draw_layers(
    photo: Path,
    painting: Path | None,
    place: Target,
    device: str,
    on_cell: Callable[[str], None],
    side: int = SIDE,
    steps: int = STEPS,
) -> None:
    """Draw the sheet: a row of the photo, and one of the painting if there is one.

    Raises:
        InputError: A picture cannot be decoded.
        UsageError: Another file has taken the name of the sheet meanwhile.
    """
    use_threads(count_usable_cores())
    with closing(Decoder(Limits())) as decoder:
        given = [_load(decoder, path) for path in (photo, painting) if path is not None]
    # A maximum hands the gradient to one pixel of four, which shows as dots in deep layers.
    network = Vgg19(load_weights(), "average")
    render = partial(stylize, given[0], given[-1], device=device, network=network)
    cells = [*_row(given[0], "photo", content_cells(side, steps), render, on_cell)]
    if painting is not None:
        cells += _row(given[1], "painting", style_cells(side, steps), render, on_cell)
    write_contact_sheet(cells, len(LAYERS) + 1, place)


def _row(
    original: Tensor,
    name: str,
    cells: list[Cell],
    render: Callable[..., Tensor],
    on_cell: Callable[[str], None],
) -> Iterator[Tensor]:
    """The original (3, H, W) and a picture for each cell, with captions."""
    height, width = original.shape[1:]
    side = int(cells[0].options.size)
    yield add_caption(resize(original, target_size(height, width, side)), name)
    for cell in cells:
        yield add_caption(render(options=cell.options), cell.caption)
        on_cell(cell.caption)


def _load(decoder: Decoder, path: Path) -> Tensor:
    """(3, H, W), not larger than the sheet needs."""
    return to_picture(decoder.decode(real_path(path), 4 * SIDE)).rgb
