"""`explain --layers`: what each layer keeps of the photo, and of the painting."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.imaging.tensors import load_image
from pipeline.nst import Vgg19, stylize
from pipeline.render.layer_sheet import LAYERS, content_cells, draw_layers, style_cells
from pipeline.render.output_files import check_target, is_made_here

SIDE, TINY = 48, 16  # px


@pytest.mark.slow
def test_a_shallow_layer_keeps_the_photos_pixels_and_a_deep_one_only_its_forms(
    network: Vgg19, photo: Tensor, painting: Tensor
) -> None:
    cells = content_cells(64, steps=30)
    first, last = (stylize(photo, painting, cells[i].options, network=network) for i in (0, 4))
    assert (first - photo).abs().mean() < 0.05
    assert (last - photo).abs().mean() > 2 * (first - photo).abs().mean()


@pytest.mark.slow
def test_a_texture_has_the_paintings_colours_and_nothing_of_the_photo(
    network: Vgg19, photo: Tensor, painting: Tensor
) -> None:
    texture = stylize(photo, painting, style_cells(SIDE, 20)[2].options, network=network)
    other = stylize(photo.flip(2), painting, style_cells(SIDE, 20)[2].options, network=network)
    means = [image.mean((1, 2)) for image in (texture, painting)]
    assert torch.allclose(*means, atol=0.06)
    assert (texture - other).abs().mean() < 0.05  # another photo makes no other texture


def test_each_cell_measures_only_what_its_caption_says() -> None:
    for layer, cell in zip(LAYERS, content_cells(), strict=True):
        assert list(cell.options.content_layers) == [layer]
        assert (cell.options.style_weight, cell.options.init) == (0.0, "noise")
    for count, cell in enumerate(style_cells(), 1):
        assert list(cell.options.style_layers) == list(LAYERS[:count])
        assert cell.options.content_weight == 0.0
        assert cell.caption == f"to {LAYERS[count - 1]}"


@pytest.mark.slow
def test_the_sheet_has_a_row_for_photo_and_painting_and_may_be_replaced(tmp_path: Path) -> None:
    for name, color in (("photo.png", "#c08040"), ("painting.png", "#2050a0")):
        Image.new("RGB", (32, 24), color).save(tmp_path / name)
    sheet, done = tmp_path / "sheet.png", list[str]()
    pictures = tmp_path / "photo.png", tmp_path / "painting.png"
    draw_layers(*pictures, check_target(sheet, pictures), "cpu", done.append, TINY, steps=1)
    assert done == [*LAYERS, *(f"to {layer}" for layer in LAYERS)]
    both = load_image(sheet).rgb.shape
    assert is_made_here(sheet)
    draw_layers(pictures[0], None, check_target(sheet, pictures), "cpu", done.append, TINY, 1)
    alone = load_image(sheet).rgb.shape
    assert alone[2] == both[2] >= 6 * TINY
    assert both[1] > 1.7 * alone[1]
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "painting.png", "sheet.png"}
