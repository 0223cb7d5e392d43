"""No step moves a picture further from its paintings, or nearer to them, than is stated."""

import re
from itertools import pairwise, product

import pytest
import torch
from support import ROOT
from torch import Tensor

from pipeline.config.enhancement import ORDER, PRESETS, STEPS, Enhance, StepOptions
from pipeline.config.transfer import Transfer
from pipeline.enhance import StyleDistance, enhance
from pipeline.enhance.style_guard import MAX_STYLE_SHIFT, limit_style_shift
from pipeline.imaging.tensors import load_image, resize
from pipeline.nst import Vgg19, stylize
from pipeline.nst.pyramid import trim_edges

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

STRENGTHS = {
    name: sorted({1.0, *(s.strength for p in PRESETS.values() for s in p if s.step == name)})
    for name in ORDER
}


def own_options(name: str) -> list[dict[str, float]]:
    """A step's defaults, and each of its own options at both ends of its range."""
    fields = STEPS[name].model_fields.items()
    own = [(key, field) for key, field in fields if key not in StepOptions.model_fields]
    ends = [
        {key: getattr(bound, end)}
        for key, field in own
        for bound in field.metadata
        for end in ("ge", "le")
        if hasattr(bound, end)
    ]
    return [{}, *ends]


SETTINGS = {name: own_options(name) for name in ORDER}

Painted = tuple[Tensor, Tensor, StyleDistance]  # the picture, its photo, how far from its painting


@pytest.fixture(
    scope="module", params=["coffee-oil_impasto", "astronaut-mosaic", "coffee-watercolor"]
)
def painted(request: pytest.FixtureRequest, network: Vgg19) -> Painted:
    name, style = request.param.split("-")
    photo = load_image(ROOT / f"inbox/{name}.jpg", long_side=64).rgb
    painting = load_image(ROOT / f"pipeline/styles/{style}.jpg", long_side=96).rgb
    options = Transfer(size=64, steps=(12,))
    picture = stylize(photo, painting, options, network=network)
    return picture, photo, StyleDistance(network, photo, [painting], [1.0])


@pytest.mark.parametrize("name", ORDER)
def test_no_step_of_any_strength_moves_the_style_by_more_than_is_stated(
    name: str, painted: Painted
) -> None:
    picture, photo, distance = painted
    before = distance(picture)
    for strength, own in product(STRENGTHS[name], SETTINGS[name]):
        step = {"step": name, "strength": strength, **own}
        options = Enhance.model_validate({"steps": [step]})
        out, (said,) = enhance(picture, options, photo, distance=distance)
        assert abs(distance(out) - before) <= MAX_STYLE_SHIFT
        assert said["style_shift"] == pytest.approx(distance(out) - before, abs=1e-3)


def test_the_ends_of_a_steps_own_options_are_tried() -> None:
    assert SETTINGS["detail"] == [{}, {"radius": 1}, {"radius": 64}]
    assert SETTINGS["vibrance"] == [{}, {"guard": 0}, {"guard": 1}]
    assert SETTINGS["denoise"] == [{}]


@pytest.mark.parametrize("preset", ["natural", "vivid", "print"])
def test_no_preset_reaches_the_bound_in_any_step(preset: str, painted: Painted) -> None:
    """So that what its strengths say is what is done."""
    picture, photo, distance = painted
    options = Enhance.model_validate({"preset": preset})
    held = enhance(picture, options, photo, distance=distance)
    assert torch.equal(held.picture, enhance(picture, options, photo).picture)
    total = sum(float(str(said["style_shift"])) for said in held.steps)
    assert total == pytest.approx(distance(held.picture) - distance(picture), abs=2e-3)


def test_a_step_that_goes_too_far_is_taken_in_part() -> None:
    """By a distance of which everybody can say by how much a picture moves it."""
    before, changed = torch.full((3, 8, 8), 0.2), torch.full((3, 8, 8), 0.8)

    def distance(rgb: Tensor) -> float:
        return float(rgb.mean())

    held, now = limit_style_shift(changed, before, distance, 0.2)
    assert 0.8 * MAX_STYLE_SHIFT < now - 0.2 <= MAX_STYLE_SHIFT
    assert distance(held) == now


@pytest.mark.parametrize("far", [float("nan"), float("inf")])
def test_a_step_whose_distance_is_no_number_is_left_out(far: float) -> None:
    before = torch.full((3, 8, 8), 0.2)
    held, now = limit_style_shift(before + 0.1, before, lambda rgb: far, 0.2)
    assert torch.equal(held, before)
    assert now == 0.2


def test_the_photo_is_one_away_and_the_painting_none(network: Vgg19, painting: Tensor) -> None:
    photo = load_image(ROOT / "inbox/coffee.jpg", long_side=64).rgb
    square = resize(photo, (96, 96))
    distance = StyleDistance(network, square, [painting], [2.0])
    halfway = torch.lerp(square, painting, 0.5)
    assert distance(square) == pytest.approx(1.0)
    assert distance(trim_edges(painting[None])[0]) < 1e-4
    assert all(near < far for near, far in pairwise(map(distance, (painting, halfway, square))))


def test_a_chain_without_steps_measures_nothing(network: Vgg19) -> None:
    """It costs no look through the network either."""
    nothing = StyleDistance(network, torch.empty(0), [], [])
    picture = torch.full((3, 8, 8), 0.4)
    assert enhance(picture, Enhance(preset="none"), distance=nothing).steps == ()


def test_the_page_states_the_amount() -> None:
    page = (ROOT / "docs/enhancement.md").read_text()
    said = re.search(r"style distance by more than (0\.\d+)", page)
    assert said is not None
    assert float(said[1]) == MAX_STYLE_SHIFT
