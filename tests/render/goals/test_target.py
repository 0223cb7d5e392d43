"""`transfer.target`: the strength that gives a picture of a wanted structure or style."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from support import ROOT
from torch import Tensor

import pipeline
from pipeline.config.checks.options import find_products
from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import Transfer
from pipeline.jobs.job import Job, JobResult
from pipeline.jobs.rates import work_of
from pipeline.jobs.recipe import Recipe
from pipeline.nst import Vgg19, stylize
from pipeline.outbox.run_log import run_log_line
from pipeline.render.goals.target import (
    MOST_TRIALS,
    NEAR,
    Found,
    TargetSearch,
    find_strength,
    structure_of,
)

PHOTO = ROOT / "inbox/coffee.jpg"
SMALL = {"size": 96, "scales": [96], "steps": [6], "depths": [3], "protect": "none"}


# --- the search -------------------------------------------------------------------------------

CURVES = {
    "straight": lambda x: 1 - 0.7 * x,
    "a kink at the usual strength": lambda x: 1 - 0.9 * x if x < 0.5 else 0.55 - 0.1 * (x - 0.5),
    "steep at the photo": lambda x: 0.3 + 0.7 * (1 - x) ** 6,
    "steep at the painting": lambda x: 1 - 0.7 * x**6,
    "a step": lambda x: 0.8 if x < 0.37 else 0.31,
}


@pytest.mark.parametrize("curve", list(CURVES))
@pytest.mark.parametrize("wanted", [0.97, 0.8, 0.6, 0.45, 0.31])
def test_it_reaches_what_some_strength_reaches_in_eight_trials(curve: str, wanted: float) -> None:
    found = find_strength("structure", wanted, CURVES[curve])
    nearest = min(abs(CURVES[curve](x / 500) - wanted) for x in range(501))
    assert abs(found.reached - wanted) <= max(NEAR, nearest + 1e-6)
    assert found.reached == CURVES[curve](found.strength)
    assert found.trials <= MOST_TRIALS
    assert found.missed == (nearest > NEAR)


def test_what_no_strength_reaches_ends_at_once_with_the_nearest() -> None:
    found = find_strength("style", 0.05, CURVES["straight"])
    assert (found.strength, found.trials) == (1.0, 2)
    assert found.note == "target style 0.05 is not reached; the nearest, strength 1 gives 0.30"
    found = find_strength("structure", 1.0, lambda x: 0.9 - x / 2)
    assert (found.strength, found.trials, found.missed) == (0.0, 2, True)


def test_values_that_do_not_fall_end_in_the_budget_with_the_nearest() -> None:
    found = find_strength("style", 0.5, lambda x: 0.4 if x < 0.9 else 0.7)
    assert found.trials <= MOST_TRIALS
    assert found.missed


# --- the full picture -------------------------------------------------------------------------


def search_for(wanted: float, side: int, keeps: float) -> tuple[TargetSearch, list[float], object]:
    """A search whose full pictures have this share of the difference from the photo left."""
    generator = torch.Generator().manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 24, generator=generator), side)[0]
    noise = torch.nn.functional.interpolate(torch.rand(1, 3, 32, 32, generator=generator), side)[0]
    painted: list[float] = []

    def small(_: Tensor, options: Transfer) -> Tensor:
        return torch.lerp(photo, noise, options.strength)

    def full(options: Transfer) -> Tensor:
        painted.append(options.strength)
        return torch.lerp(photo, noise, keeps * options.strength)

    target = Transfer(size=side, target={"structure": wanted})
    return TargetSearch(target, photo, small, lambda _: 1.0), painted, full


def test_a_full_picture_that_misses_its_target_is_painted_once_more() -> None:
    search, painted, full = search_for(0.6, 256, keeps=0.93)
    picture, options, found = search.paint(full)
    assert len(painted) == 2
    assert found.error <= NEAR
    assert found.reached == search.measure(picture)
    assert (options.strength, options.target) == (painted[1], None)
    assert found.strength == painted[1] > painted[0]


@pytest.mark.parametrize(("side", "keeps"), [(256, 1.0), (96, 0.8)])
def test_a_full_picture_that_is_near_or_as_small_as_a_trial_is_painted_once(
    side: int, keeps: float
) -> None:
    search, painted, full = search_for(0.6, side, keeps)
    search.paint(full)
    assert len(painted) == 1


def test_of_two_full_pictures_the_nearer_one_counts() -> None:
    search, painted, full = search_for(0.6, 256, keeps=0.8)
    shares = iter((0.8, 0.1))
    picture, options, found = search.paint(
        lambda options: full(
            options.model_copy(update={"strength": options.strength * next(shares)})
        )
    )
    assert len(painted) == 2
    assert found.reached == search.measure(picture) > 0.6
    assert found.strength == options.strength


# --- what is measured -------------------------------------------------------------------------


def test_structure_is_that_of_the_photo_and_less_the_weaker_its_edges(photo: Tensor) -> None:
    measure = structure_of(photo)
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))
    values = [measure(torch.lerp(photo, noise, share)) for share in (0.0, 0.3, 0.6, 1.0)]
    assert values[0] == pytest.approx(1.0, abs=1e-5)
    assert all(more > less for more, less in pairwise(values))
    assert measure(torch.full_like(photo, 0.5)) == 0.0


# --- the picture ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("target", [{"structure": 0.8}, {"style": 0.5}])
def test_a_picture_reaches_its_target(target: dict[str, float], network: Vgg19) -> None:
    with Image.open(PHOTO) as photo:
        content = photo.resize((96, 64))
    painted = pipeline.paint(content, "builtin:mosaic", target=target, **SMALL)
    if "structure" in target:
        as_tensor = [
            torch.from_numpy(np.asarray(image) / np.float32(255)).permute(2, 0, 1)
            for image in (painted, content)
        ]
        reached = structure_of(as_tensor[1])(as_tensor[0])
        assert reached == pytest.approx(0.8, abs=NEAR + 0.005)
    usual = pipeline.paint(content, "builtin:mosaic", **SMALL)
    assert (np.asarray(painted) != np.asarray(usual)).any()


@pytest.mark.slow
def test_paint_warns_of_a_target_that_cannot_be_reached() -> None:
    with pytest.warns(UserWarning, match="is not reached"):
        pipeline.paint(PHOTO, "builtin:mosaic", target={"style": 0.0}, **SMALL)


def test_the_engine_itself_does_not_search(network: Vgg19, photo: Tensor, painting: Tensor) -> None:
    quick = Transfer(size=32, scales=(32,), steps=(1,))
    wanted = quick.model_copy(update={"target": {"style": 0.1}})
    one, other = (stylize(photo, painting, each, network=network) for each in (quick, wanted))
    assert torch.equal(one, other)


# --- around it --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{}, {"structure": 0.5, "style": 0.5}, {"style": 2}, {"a": 0.5}])
def test_a_target_is_one_measure_from_0_to_1(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Transfer.model_validate({"target": wrong})


def test_a_target_costs_time_and_makes_a_strength_meaningless() -> None:
    plain, wanted = Transfer(), Transfer(target={"style": 0.2}, strength=0.7)
    assert 2 * work_of(plain).units < work_of(wanted).units < 4 * work_of(plain).units
    assert work_of(plain).kind != work_of(wanted).kind
    assert list(find_products(wanted)) == [
        "target and strength are both set: target decides, and strength has no effect"
    ]


def test_the_run_log_has_the_strength_found_and_options_that_paint_the_same_without_a_search():
    row = Found("structure", 0.5, 0.4125, 0.50321, 4).as_row()
    recipe = Recipe((), Transfer(target={"structure": 0.5}), Enhance(), "embedded", 0)
    job = Job("a.jpg", Path("a.jpg"), "5" * 64, "mosaic", recipe)
    line = json.loads(json.dumps(run_log_line(JobResult(job, "done", target=row), "run", "now")))
    used = line["options"]["styles"]["mosaic"]["transfer"]
    assert used["strength"] == 0.4125
    assert "target" not in used
    assert line["recipe"] == recipe.digest  # what was planned
    assert line["target"] == {
        "measure": "structure",
        "wanted": 0.5,
        "reached": 0.503,
        "strength": 0.4125,
        "trials": 4,
    }
