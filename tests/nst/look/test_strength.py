"""Strength and stroke: from the photo to the painting, and from fine to broad, evenly."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Iterate, Vgg19, stylize
from pipeline.nst.guidance.regions import NO_GUIDE, Guide, Region, StyleTarget
from pipeline.nst.look.strength import (
    BROAD,
    apply_strength,
    apply_stroke,
    effect_of,
    is_photo,
    stroke_scale,
)
from pipeline.nst.objective import Objective, measure_style

QUICK = Transfer(size=64, scales=(64,), steps=(12,))


def painted(network: Vgg19, photo: Tensor, painting: Tensor, **more: object) -> Tensor:
    guide = more.pop("guide", NO_GUIDE)
    options = QUICK.model_copy(update=more)
    return stylize(photo, painting, options, network=network, guide=guide)


# --- the definition ---------------------------------------------------------------------------


def test_the_usual_strength_and_stroke_change_nothing(photo: Tensor) -> None:
    guide = Guide(regions=(Region(torch.ones(1, 1, 2, 2), strength=0.5), Region()))
    for given in (NO_GUIDE, guide):
        options, found = apply_strength(QUICK, given, photo)
        assert options is QUICK
        assert found is given
    assert apply_stroke(QUICK) is QUICK


def test_a_strength_changes_more_the_farther_it_is_from_the_usual_one() -> None:
    effects = [effect_of(index / 20) for index in range(21)]
    for weaker, stronger in pairwise(effects):
        assert weaker.content >= stronger.content
        assert weaker.keep >= stronger.keep
        assert weaker.pixels >= stronger.pixels
        assert weaker != stronger
    assert effect_of(0.5) == (1, 0, 0)
    assert effect_of(0.501).content > 0.95
    assert effect_of(0).pixels == effect_of(0).keep == 1
    assert 0 < effect_of(1).content < 0.1


def test_strokes_multiply_and_stay_within_bounds() -> None:
    assert stroke_scale(Transfer(stroke=1.0)) == pytest.approx(BROAD)
    assert stroke_scale(Transfer(stroke=0.0)) == pytest.approx(1 / BROAD)
    assert stroke_scale(Transfer(stroke=1.0, style_scale=2.0)) == pytest.approx(2 * BROAD)
    assert stroke_scale(Transfer(stroke=0.0, style_scale=0.1)) == 0.1
    assert stroke_scale(Transfer(stroke=1.0, style_scale=10.0)) == 10


# --- pictures -------------------------------------------------------------------------------------


def test_a_strength_of_0_is_the_photo_without_any_step(photo: Tensor, painting: Tensor) -> None:
    steps: list[Iterate] = []
    guide = Guide(regions=(Region(torch.ones(1, 1, 2, 2), strength=0.0),))
    colors = Transfer(size=64, strength=0.0, colors="luminance", init="noise")
    for options, given in ((colors, NO_GUIDE), (Transfer(size=64), guide)):
        assert is_photo(options, given)
        assert stylize(photo, painting, options, steps.append, guide=given).equal(photo)
    assert not steps


@pytest.fixture(scope="module")
def ladder(photo: Tensor, painting: Tensor, network: Vgg19) -> dict[float, Tensor]:
    """Pictures by strength, of as many steps as a strong one needs to differ from a usual one."""
    strengths, steps = (0.05, 0.25, 0.5, 0.75, 1.0), (20,)
    return {
        each: painted(network, photo, painting, strength=each, steps=steps) for each in strengths
    }


@pytest.mark.slow
def test_a_stronger_picture_is_nearer_to_the_painting_and_farther_from_the_photo(
    photo: Tensor, painting: Tensor, network: Vgg19, ladder: dict[float, Tensor]
) -> None:
    target = StyleTarget(measure_style(network, [painting[None]], [1.0], 64 * 64, QUICK))
    judge = Objective(network, photo[None], [target], QUICK.model_copy(update={"tv_weight": 0.0}))
    terms = [judge(picture[None]).terms for picture in (photo, *ladder.values())]
    styles = [float(term["style"]) for term in terms]
    contents = [float(term["content"]) for term in terms]
    away = [float((picture - photo).square().mean()) for picture in (photo, *ladder.values())]
    # Least at the strong end, where the forms are nearly all painted: 14 %, 3 %, 5 %.
    assert all(later < 0.95 * before for before, later in pairwise(styles))
    assert all(later > 1.02 * before for before, later in pairwise(contents))
    assert all(later > 1.02 * before for before, later in pairwise(away))
    assert styles[1] > 0.8
    assert styles[-1] < 0.3


@pytest.mark.slow
def test_a_region_and_a_picture_of_the_same_strength_are_alike(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    """One definition: a region that is all of the picture gives the picture of its strength."""
    # The total variation is of the whole picture; and more steps amplify rounding.
    alike = {"tv_weight": 0.0, "steps": (4,)}
    for strength in (0.25, 0.75):
        everything = Region(torch.ones(1, 1, 4, 4), strength=strength)
        regions = (everything, Region(torch.zeros(1, 1, 4, 4)))
        guide = Guide(regions=regions, motifs=regions)
        found = painted(network, photo, painting, guide=guide, **alike)
        whole = painted(network, photo, painting, strength=strength, **alike)
        torch.testing.assert_close(found, whole, atol=0.005, rtol=0)


@pytest.mark.slow
def test_a_strong_region_lies_in_a_weak_picture(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    left = torch.zeros(1, 1, 8, 8)
    left[..., :4] = 1
    regions = (Region(left, strength=0.8), Region(1 - left))
    guide = Guide(regions=regions, motifs=regions)
    picture = painted(network, photo, painting, strength=0.0, guide=guide)
    assert picture[..., -24:].sub(photo[..., -24:]).abs().max() < 0.01
    assert picture[..., :24].sub(photo[..., :24]).abs().mean() > 0.05


@pytest.mark.slow
def test_any_start_and_statistic_leads_to_the_photo(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    for init, statistic in (("noise", "gram"), ("style", "histogram")):
        near = painted(
            network, photo, painting, strength=0.02, init=init, statistic=statistic, steps=(4,)
        )
        assert (near - photo).abs().mean() < 0.03


@pytest.mark.slow
def test_strength_and_stroke_go_with_blocks_blends_and_an_interruption(
    painting: Tensor, network: Vgg19
) -> None:
    wide = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 24, generator=torch.Generator().manual_seed(5)), (64, 128)
    )[0]
    options = Transfer(
        size=128, scales=(64, 128), steps=(3, 3), depths=(4, 3), strength=0.3, stroke=0.8
    )
    given = {"shares": (2.0, 1.0), "network": network, "seed": 3}
    paintings = [painting, painting.flip(0)]
    begun: dict[int, Tensor] = {}

    def watch(iterate: Iterate) -> None:
        begun[iterate.scale] = iterate.carried.squeeze(0)

    whole = stylize(wide, paintings, options, watch, **given)
    blocks = stylize(wide, paintings, options.model_copy(update={"block": 64}), **given)
    assert (whole - blocks).abs().mean() < 0.01
    assert stylize(wide, paintings, options, resume=(1, begun[2]), **given).equal(whole)


@pytest.mark.slow
def test_a_broader_stroke_paints_larger_forms(network: Vgg19) -> None:
    """Measured in a photo without forms of its own, by a painting that is a chessboard."""
    rows, columns = torch.meshgrid(torch.arange(160), torch.arange(160), indexing="ij")
    board = ((rows // 8 + columns // 8) % 2).float().expand(3, 160, 160)
    even = torch.full((3, 64, 64), 0.5)
    even[:, ::7, ::5] += 0.2

    def edges(stroke: float) -> float:
        picture = painted(network, even, board, stroke=stroke, strength=1.0).mean(0)
        across = (picture[:, 1:] - picture[:, :-1]).abs().mean()
        return float(across / picture.std())

    fine, usual, broad = map(edges, (0.0, 0.5, 1.0))
    assert fine > usual > broad
