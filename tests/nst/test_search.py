"""The search keeps the best picture, steps back from a divergence and ends in time."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.errors import EngineError
from pipeline.nst.objective import Evaluation
from pipeline.nst.optimizers import make_optimizer
from pipeline.nst.search import Search


class Scripted:
    """An objective that says what it is told to: losses in turn, and a gradient of its own."""

    def __init__(self, losses: list[float], gradient: float = 1.0) -> None:
        self.losses, self.gradient = iter(losses), gradient

    def __call__(self, image: Tensor) -> Evaluation:
        loss = torch.tensor(next(self.losses))
        return Evaluation(loss, torch.full_like(image, self.gradient), {})

    def value(self, image: Tensor) -> Tensor:
        return torch.tensor(next(self.losses))


def search(
    losses: list[float], gradient: float = 1.0, steps: int = 0, optimizer_name: str = "lbfgs"
) -> Search:
    options = Transfer(optimizer=optimizer_name)
    optimizer = make_optimizer(torch.rand(1, 3, 8, 8), options, 5)
    found = Search(optimizer, Scripted(losses, gradient))  # type: ignore[arg-type]
    for _ in range(steps):
        found.step()
    return found


def test_the_best_picture_of_all_steps_is_returned() -> None:
    found = search([3.0, 1.0, 2.0, 5.0])
    found.step()
    second = found.optimizer.image.clone()
    found.step()
    found.step()
    assert torch.equal(found.best(final=True), second)


def test_a_divergence_is_stepped_back_from_and_counted() -> None:
    found = search([3.0, 1.0, 9.0, 99.0, 999.0], steps=2)
    rate = found.optimizer.learning_rate  # type: ignore[attr-defined]
    best = found.optimizer.image.clone()
    for _ in range(3):
        found.step()
    assert not found.has_converged()
    assert found.restarts == 1
    assert found.optimizer.learning_rate == rate / 2  # type: ignore[attr-defined]
    assert (found.optimizer.image - best).abs().max() < 1


def test_not_a_number_never_becomes_the_picture() -> None:
    found = search([2.0, math.nan, math.nan, math.nan], gradient=math.nan, steps=3)
    assert not found.has_converged()
    assert found.restarts == 1
    assert found.optimizer.image.isfinite().all()
    assert found.best(final=True).isfinite().all()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("final", [False, True])
def test_a_scale_too_short_for_a_check_gives_a_finite_picture(optimizer: str, final: bool) -> None:
    found = search([math.nan, math.nan], math.nan, 1, optimizer)
    assert found.best(final).isfinite().all()


def test_a_loss_that_is_no_number_from_the_start_is_an_error() -> None:
    with pytest.raises(EngineError, match="at the first step"):
        search([math.nan], steps=1).has_converged()


def test_a_scale_ends_when_another_step_would_not_be_seen() -> None:
    still = search([1.0] * 10, gradient=0.0, steps=5)
    assert still.has_converged()
    moving = search([1.0, 0.9, 0.8, 0.7, 0.6], gradient=1.0, steps=5)
    assert not moving.has_converged()
