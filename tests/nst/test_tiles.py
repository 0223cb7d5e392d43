"""A picture larger than memory, block by block: the same loss, the same gradient, exactly."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Vgg19, stylize
from pipeline.nst.guidance.regions import StyleTarget
from pipeline.nst.objective import STATISTICS, Objective, measure_style
from pipeline.nst.tiles import MARGIN, TiledObjective, extract_in_blocks, spans

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 24, 430  # long enough that a block does not see the far end, and odd at the grid


@pytest.fixture(scope="module")
def wide() -> Tensor:
    """(1, 3, HEIGHT, WIDTH): a picture that differs from place to place."""
    noise = torch.rand(1, 3, 10, 108, generator=torch.Generator().manual_seed(5))
    return F.interpolate(noise, (HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)


def test_blocks_cover_every_pixel_once_and_start_on_the_grid() -> None:
    found = spans(1000, 300)
    assert [span.start for span in found[1:]] == [span.end for span in found[:-1]]
    assert (found[0].start, found[-1].end) == (0, 1000)
    assert all(span.start % 16 == 0 and span.outer_start % 16 == 0 for span in found)
    assert all(span.outer_end - span.end in (0, MARGIN) or span.outer_end == 1000 for span in found)


@pytest.mark.parametrize("statistic", sorted(STATISTICS))
def test_the_gradient_in_blocks_is_that_of_the_whole(
    statistic: str, wide: Tensor, painting: Tensor, network: Vgg19
) -> None:
    options = Transfer(statistic=statistic, tv_weight=0.5)
    target = measure_style(network, [painting[None]], [1.0], HEIGHT * WIDTH, options)
    photo = wide.flip(3)
    at_once = Objective(network, photo, [StyleTarget(target)], options)
    in_blocks = TiledObjective(128, network, photo, [StyleTarget(target)], options)
    expected, found = at_once(wide), in_blocks(wide)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(in_blocks.value(wide), expected.loss, rtol=1e-4, atol=1e-6)
    error = (found.gradient - expected.gradient).norm() / expected.gradient.norm()
    assert error < 2e-3


def test_a_painting_measured_in_blocks_has_the_same_style(wide: Tensor, network: Vgg19) -> None:
    options, area = Transfer(), HEIGHT * WIDTH
    at_once = measure_style(network, [wide], [1.0], area, options)
    in_blocks = measure_style(network, [wide], [1.0], area, options, extract_in_blocks(64))
    for layer, sums in at_once.items():
        torch.testing.assert_close(in_blocks[layer].second, sums.second, rtol=1e-3, atol=1e-2)


def test_a_picture_painted_in_blocks_is_the_picture(
    wide: Tensor, painting: Tensor, network: Vgg19
) -> None:
    plain = Transfer(size=WIDTH, scales=(WIDTH,), steps=(4,), depths=(3,))
    blocky = plain.model_copy(update={"block": 64})
    whole, tiled = (
        stylize(wide[0], painting, options, network=network) for options in (plain, blocky)
    )
    assert (whole - tiled).abs().mean() < 0.01
