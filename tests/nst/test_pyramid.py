"""Scales from coarse to fine: their sizes, steps, layers and costs, and how pictures grow."""

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import PresetName, Transfer, resolve_transfer
from pipeline.nst.pyramid import (
    enlarge,
    limit_depth,
    options_by_scale,
    per_scale,
    resize,
    scale_sides,
    step_cost,
    style_size,
)


def test_a_photo_shrunk_to_one_pixel_of_width_keeps_its_rows() -> None:
    """torch 2.14 alone repeats the first one."""
    rows = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(1, 3, 64, 4).contiguous()
    shrunk = resize(rows, (8, 1)).squeeze(3)
    assert (shrunk.diff(dim=2) > 0.1).all()


def test_scales_halve_down_to_a_side_near_128() -> None:
    assert scale_sides(Transfer(), 512) == [128, 256, 512]
    assert scale_sides(Transfer(), 384) == [96, 192, 384]
    assert scale_sides(Transfer(), 256) == [128, 256]
    assert scale_sides(Transfer(), 191) == [191]
    assert scale_sides(Transfer(), 48) == [48]
    assert scale_sides(Transfer(scales=(100, 900)), 300) == [100, 300]


def test_the_first_of_the_steps_is_the_coarsest_scales_and_the_last_the_finests() -> None:
    assert per_scale((150, 60, 10), 1) == [150]
    assert per_scale((150, 60, 10), 2) == [150, 10]
    assert per_scale((150, 60, 10), 3) == [150, 60, 10]
    assert per_scale((150, 60, 10), 5) == [150, 60, 10, 10, 10]
    assert per_scale((40,), 3) == [40, 40, 40]


def test_a_shallow_scale_leaves_deep_layers_out_but_keeps_the_photo() -> None:
    shallow = limit_depth(Transfer(), 3)
    assert list(shallow.style_layers) == ["relu1_1", "relu2_1", "relu3_1"]
    assert list(shallow.content_layers) == ["relu3_1"]
    assert limit_depth(Transfer(), 5) == Transfer()


def test_the_finest_scale_keeps_the_photo_by_its_deep_layer_too() -> None:
    *_, middle, finest = options_by_scale(Transfer(), 3)
    assert list(finest.style_layers) == ["relu1_1", "relu2_1", "relu3_1"]
    assert middle == Transfer()
    assert _held(finest) == pytest.approx({"relu3_1": 0.3 * 0.03, "relu4_1": 0.3 * 0.15})


def _held(options: Transfer) -> dict[str, float]:
    whole = sum(options.content_layers.values())
    shares = options.content_layers.items()
    return {name: options.content_weight * share / whole for name, share in shares}


@pytest.mark.parametrize(
    ("preset", "side"), [("draft", 256), ("balanced", 512), ("fine", 512), ("print", 512)]
)
def test_faces_are_kept_at_the_scale_of_strokes(preset: PresetName, side: int) -> None:
    options = resolve_transfer(preset)
    sides = scale_sides(options, int(options.size))
    layers = [set(there.content_layers) for there in options_by_scale(options, len(sides))]
    assert sides[layers.index({"relu4_1", "relu3_1"})] == side


def test_without_content_depths_fine_scales_are_shallow_alone() -> None:
    finest = options_by_scale(Transfer(content_depths=(1,)), 4)[-1]
    assert _held(finest) == pytest.approx({"relu3_1": 0.3 * 0.03})


@pytest.mark.parametrize(
    ("layers", "content_depth", "beside"),
    [
        (["relu4_1", "relu5_1"], 5, {"relu5_1"}),
        (["relu5_1"], 4, {"relu4_1"}),
        (["relu4_2"], 2, set()),
    ],
)
def test_content_is_kept_no_deeper_than_its_own_layers_and_content_depths(
    layers: list[str], content_depth: int, beside: set[str]
) -> None:
    options = Transfer(content_layers=dict.fromkeys(layers, 1.0))
    assert set(limit_depth(options, 3, content_depth).content_layers) == {"relu3_1"} | beside


def test_a_step_costs_what_its_convolutions_do() -> None:
    at_five = step_cost(10_000, ["relu1_1", "relu5_1"])
    assert at_five == 13_000
    assert step_cost(10_000, ["relu3_1"]) < step_cost(10_000, ["relu4_2"]) < at_five
    assert step_cost(20_000, ["relu3_1"]) - step_cost(10_000, ["relu3_1"]) == pytest.approx(
        10_000 * 12_480 / 40_128, abs=1
    )
    assert step_cost(10_000, []) == 3000


def test_a_painting_is_taken_at_the_photos_area_and_never_enlarged() -> None:
    painting = torch.zeros(1, 3, 400, 100)
    assert style_size(painting, 10_000, 1.0) == (200, 50)
    assert style_size(painting, 1_000_000, 1.0) == (400, 100)
    assert style_size(painting, 10_000, 0.5) == (100, 25)


def test_a_picture_is_enlarged_by_its_cosine_series() -> None:
    """So that waves, the shortest too, come out as the same waves, at any size."""

    def waves(height: int, width: int) -> Tensor:
        rows, columns = ((torch.arange(n) + 0.5) / n * torch.pi for n in (height, width))
        return 0.5 + 0.2 * torch.outer((11 * rows).cos(), (16 * columns).cos()).expand(1, 3, -1, -1)

    torch.testing.assert_close(enlarge(waves(12, 17), (31, 34)), waves(31, 34))
    torch.testing.assert_close(enlarge(waves(12, 17), (12, 34)), waves(12, 34))
    assert torch.equal(enlarge(waves(12, 17), (12, 17)), waves(12, 17))


def test_one_pixel_is_enlarged_to_as_many_as_wanted() -> None:
    one = torch.rand(1, 3, 1, 1)
    torch.testing.assert_close(enlarge(one, (3, 5)), one.expand(1, 3, 3, 5))
