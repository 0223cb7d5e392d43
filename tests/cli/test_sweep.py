"""`sweep`: any option along a side of the grid, the painting included."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from support.command_line import SMALL

from pipeline.cli.trials.sweep import parse_axes
from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.errors import UsageError
from pipeline.render.contact_sheet import NARROWEST, SHORTEST, captioned
from pipeline.render.grid import build_cell_orders
from pipeline.render.single import Order


def cells(rows: str, columns: str, config: Path | None = None) -> list[tuple[str, Order]]:
    """Name and order of each picture of a grid."""
    options = resolve_transfer("draft", Transfer(size=48))
    order = Order(Path("cup.jpg"), (), options, Enhance(), "embedded", 0, "cpu")
    found = build_cell_orders(order, Path(), *parse_axes(rows, columns, config))
    return [(path.stem, order) for path, order, _ in found]


def test_a_painting_along_one_side_and_an_option_along_the_other(folder):
    found = cells("style=builtin:mosaic,builtin:watercolor", "content_weight=0.1,1")
    assert [name for name, _ in found] == [
        "cup--style-mosaic--content_weight-0.1",
        "cup--style-mosaic--content_weight-1",
        "cup--style-watercolor--content_weight-0.1",
        "cup--style-watercolor--content_weight-1",
    ]
    order = found[3][1]
    assert [(path.stem, share) for path, share in order.styles] == [("watercolor", 1.0)]
    assert order.transfer.content_weight == 1.0


def test_a_style_of_the_config_can_be_named(folder):
    ((_, order),) = cells("style=mosaic", "seed=0", Path("config.yaml"))
    assert order.styles[0][0].name == "mosaic.jpg"


def test_the_enhancement_and_the_seed_can_be_along_a_side():
    found = cells("enhance=vivid,none", "seed=3,4")
    assert [(order.enhance.preset, order.seed) for _, order in found] == [
        ("vivid", 3), ("vivid", 4), ("none", 3), ("none", 4),
    ]  # fmt: skip
    ((_, order),) = cells("white-balance=0.5", "upscale=2")
    assert (order.enhance.white_balance, order.enhance.upscale) == (0.5, 2)


@pytest.mark.parametrize("sides", [("preset=fine", "size=300"), ("size=300", "preset=fine")])
def test_a_preset_is_the_ground_of_the_other_side_and_leaves_nothing_of_another(sides):
    ((_, order),) = cells(*sides)
    assert order.transfer == resolve_transfer("fine", Transfer(size=300))


def test_one_option_along_both_sides_is_refused():
    with pytest.raises(UsageError, match="both sides"):
        parse_axes("content-weight=1", "content_weight=2", None)


@pytest.mark.slow
def test_an_option_of_the_enhancement_is_shown_on_enhanced_pictures(pipeline, folder):
    said = pipeline(
        "sweep", "inbox/cup.jpg", "-o", "grid", *SMALL,
        "--rows", "style=builtin:mosaic", "--columns", "upscale=1,2",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert "cup--style-mosaic--upscale-2.enhanced.png" in {p.name for p in Path("grid").iterdir()}
    with Image.open(folder / "grid" / "contact-sheet.png") as sheet:
        assert sheet.width < 2 * 200  # both pictures as large as is easily looked at, not 320 px


def test_captions_stay_smaller_than_small_pictures_and_within_their_width():
    for size in ((36, 48), (48, 20), (200, 300), (400, 320)):
        red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, *size)
        cell = captioned(red, "style van_gogh_wheat_field_with_crows", "b")
        picture = cell[0, :, cell.shape[2] // 2] > cell[1, :, cell.shape[2] // 2] + 0.5
        assert picture.sum() > 0.6 * cell.shape[1], size
        assert cell.shape[2] >= NARROWEST
        assert max(cell.shape[1:]) >= SHORTEST
    text = captioned(torch.ones(3, 100, 160), "W" * 99)[:, :-100]
    assert float(text[..., -1:].min()) > 0.9  # nothing runs over the edge
    assert float(text.min()) < 0.5
