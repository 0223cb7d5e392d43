"""Regions: each part of the photo learns from its own part of its own paintings, exactly."""

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Vgg19, stylize
from pipeline.nst.colors import combine_luma_and_color
from pipeline.nst.guidance.regions import (
    MIN_POSITIONS,
    Guide,
    Region,
    StyleTarget,
    masks_at,
)
from pipeline.nst.objective import Objective, measure_style, measure_style_moments
from pipeline.nst.pyramid import options_by_scale
from pipeline.nst.statistics import Moments
from pipeline.nst.tiles import TiledObjective

pytestmark = pytest.mark.slow

QUICK = Transfer(size=64, scales=(64,), steps=(12,))


@pytest.fixture(scope="module")
def left() -> Tensor:
    """(1, 1, 8, 8): the left half of a picture."""
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    return mask


def targets(network: Vgg19, painting: Tensor, options: Transfer, mask: Tensor) -> list[StyleTarget]:
    """The painting's two halves, one for each side of a mask."""
    given = (network, [painting[None]], [1.0], 96 * 96, options)
    return [
        StyleTarget(
            measure_style(*given, sources=[part]),
            part,
            moments=measure_style_moments(*given, sources=[part]),
        )
        for part in (mask, 1 - mask)
    ]


def test_masks_sum_to_one_and_those_too_small_for_a_layer_leave_it_to_the_others(
    left: Tensor,
) -> None:
    corner = torch.zeros(1, 1, 8, 8)
    corner[..., 0, 0] = 1
    fine = masks_at([left * (1 - corner), corner, 1 - left], (64, 64))
    coarse = masks_at([left * (1 - corner), corner, 1 - left], (16, 16))
    assert [index for index, _ in fine] == [0, 1, 2]
    assert [index for index, _ in coarse] == [0, 2]
    for found in (fine, coarse):
        masks = [mask for _, mask in found if mask is not None]
        torch.testing.assert_close(sum(masks), torch.ones_like(masks[0]))
        assert all(float(mask.sum()) >= MIN_POSITIONS for mask in masks)


def test_a_region_that_is_everything_is_the_picture_without_regions(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    everything = Guide(regions=(Region(torch.ones(1, 1, 4, 4)), Region(torch.zeros(1, 1, 4, 4))))
    plain = stylize(photo, painting, QUICK, network=network)
    torch.testing.assert_close(
        stylize(photo, painting, QUICK, network=network, guide=everything), plain
    )


@pytest.mark.parametrize("statistic", ["wasserstein", "gram", "sliced"])
def test_regions_in_blocks_are_those_of_the_whole(
    statistic: str, photo: Tensor, painting: Tensor, left: Tensor, network: Vgg19
) -> None:
    options = Transfer(statistic=statistic)
    given = targets(network, painting, options, left)
    at_once = Objective(network, photo[None], given, options)
    in_blocks = TiledObjective(48, network, photo[None], given, options)
    picture = photo.flip(2)[None]
    expected, found = at_once(picture), in_blocks(picture)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-4, atol=1e-6)
    error = (found.gradient - expected.gradient).norm() / expected.gradient.norm()
    assert error < 2e-3


def test_the_gradient_of_regions_is_the_slope_of_their_loss(
    photo: Tensor, painting: Tensor, left: Tensor, network: Vgg19
) -> None:
    options = Transfer(style_layers={"relu1_1": 1.0, "relu3_1": 1.0}, content_weight=0.0)
    objective = Objective(network, photo[None], targets(network, painting, options, left), options)
    picture = photo.flip(2)[None]
    gradient = objective(picture).gradient
    step = 0.02 * gradient / gradient.norm()  # along it: across, kinks of rectifiers are as large
    slope = (objective.value(picture + step) - objective.value(picture - step)) / 0.04
    assert float(gradient.norm()) == pytest.approx(float(slope), rel=0.03)


def test_each_side_gets_the_painting_of_its_region(
    photo: Tensor, left: Tensor, network: Vgg19
) -> None:
    """Measured by the colours of both sides: one painting is red, the other blue."""
    generator = torch.Generator().manual_seed(2)
    red, blue = (0.2 * torch.rand(3, 64, 64, generator=generator) for _ in range(2))
    red[0] += 0.7
    blue[2] += 0.7
    guide_regions = (Region(left, shares=(1.0, 0.0)), Region(1 - left, shares=(0.0, 1.0)))
    guide = Guide(regions=guide_regions, motifs=guide_regions)
    picture = stylize(photo, [red, blue], QUICK, network=network, guide=guide)
    third = picture.shape[2] // 3
    redness = picture[0] - picture[2]
    assert float(redness[:, :third].mean()) > 0.3
    assert float(redness[:, -third:].mean()) < -0.3


def test_what_is_untouched_shows_the_photo_and_its_colours_can_be_kept(
    photo: Tensor, painting: Tensor, left: Tensor, network: Vgg19
) -> None:
    plain = stylize(photo, painting, QUICK, network=network)
    kept = stylize(photo, painting, QUICK, network=network, guide=Guide(untouched=left))
    regions = (Region(left, colors="content"), Region(1 - left))
    in_regions, colored = (
        stylize(photo, painting, QUICK, network=network, guide=Guide(each, each))
        for each in ((Region(left), Region(1 - left)), regions)
    )
    side = slice(0, plain.shape[2] // 3), slice(-(plain.shape[2] // 3), None)
    expected = combine_luma_and_color(in_regions[None], photo[None])[0]
    torch.testing.assert_close(colored[..., side[0]], expected[..., side[0]])
    torch.testing.assert_close(colored[..., side[1]], in_regions[..., side[1]])
    torch.testing.assert_close(kept[..., side[1]], plain[..., side[1]])
    assert (kept[..., side[0]] - photo[..., side[0]]).abs().max() < 1e-6


def test_a_part_of_a_painting_that_teaches_nobody_has_no_weight_in_its_sums(
    painting: Tensor, left: Tensor, network: Vgg19
) -> None:
    """As if the painting were only its other half, but for what the layers see across the cut."""
    options = Transfer(style_layers={"relu1_1": 1.0})
    area = painting.shape[1] * painting.shape[2]
    half = painting[:, :, painting.shape[2] // 2 :]
    masked = measure_style(network, [painting[None]], [1.0], area, options, sources=[1 - left])
    cut = measure_style(network, [half[None]], [1.0], area // 2, options)
    found, expected = masked["relu1_1"], cut["relu1_1"]
    assert isinstance(found, Moments)
    assert isinstance(expected, Moments)
    difference = (found.first - expected.first).norm() / expected.first.norm()
    assert float(difference) < 0.05


def test_deep_content_in_a_cutout_is_that_of_the_whole_picture(
    painting: Tensor, network: Vgg19
) -> None:
    """Loss and gradient, for a place in the middle and at a border, at odd sizes, in blocks too."""
    generator = torch.Generator().manual_seed(3)
    photo = torch.nn.functional.interpolate(
        torch.rand(1, 3, 24, 25, generator=generator), (99, 103), mode="bicubic"
    ).clamp(0, 1)
    picture = photo.flip(3)
    *_, options = options_by_scale(Transfer(), 3)
    assert set(options.content_layers) == {"relu4_1", "relu3_1"}
    given = [StyleTarget(measure_style(network, [painting[None]], [1.0], 99 * 103, options))]
    for rows, columns in ((slice(3, 5), slice(2, 4)), (slice(6, 8), slice(6, 8))):
        place = torch.zeros(1, 1, 8, 8)
        place[..., rows, columns] = 1
        guide = Guide(detail=place)
        cutout = Objective(network, photo, given, options, guide=guide)
        whole = _Uncut(network, photo, given, options, guide=guide)
        blocks = TiledObjective(48, network, photo, given, options, guide=guide)
        assert cutout.cutout is not None
        expected = whole(picture)
        for found, most in ((cutout(picture), 1e-4), (blocks(picture), 1e-3)):
            torch.testing.assert_close(found.loss, expected.loss, rtol=1e-4, atol=1e-6)
            error = (found.gradient - expected.gradient).norm() / expected.gradient.norm()
            assert error < most


class _Uncut(Objective):
    """Computes deep features of the whole picture, and weighs them by the same mask."""

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        assert self.cutout is not None
        return self.network(image, [*self.layers, *self.cutout.layers])

    def _within_cutout(self, loss, window):
        return loss


def test_without_any_detail_the_deep_layer_is_not_computed(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    seen: list[set[str]] = []

    class Watched(Vgg19):
        def forward(self, image: Tensor, layers) -> dict[str, Tensor]:
            seen.append(set(layers))
            return super().forward(image, layers)

    watched = network
    original = watched.__class__
    watched.__class__ = Watched
    try:
        options = Transfer(size=96, scales=(48, 96), steps=(2, 2), depths=(5, 3))
        guide = Guide(detail=torch.zeros(1, 1, 1, 1))
        stylize(photo, painting, options, network=watched, guide=guide)
    finally:
        watched.__class__ = original
    assert "relu4_2" in set.union(*seen)  # at the coarse scale
    assert not any("relu4_1" in layers and "relu5_1" not in layers for layers in seen)
