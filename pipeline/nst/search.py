"""One scale's optimisation: keeps the best picture, restarts after divergence, stops in time."""

import torch
from torch import Tensor

from pipeline.errors import EngineError
from pipeline.nst.objective import Evaluation, Objective
from pipeline.nst.optimizers import PictureOptimizer

# Steps between two checks of the numbers. Reading them waits for the device.
CHECK_EVERY = 5
# Converged: each of the last CHECK_EVERY steps changed the picture by less than this, root mean
# square. A quarter of one 8-bit level, which cannot be seen.
MIN_CHANGE = 0.25 / 255
DIVERGED = 1.5  # times the best loss: L-BFGS without line search wobbles below that and recovers
MAX_RESTARTS = 3  # after which a scale is given up and its best picture taken


class Search:
    """Steps an optimiser and keeps the best picture so far."""

    def __init__(self, optimizer: PictureOptimizer, objective: Objective) -> None:
        self.optimizer, self.objective = optimizer, objective
        self.restarts = 0
        self._best = optimizer.image.clone()  # Adam moves its own in place
        self._best_loss = torch.full((), torch.inf, device=optimizer.image.device)
        self._latest = self._best_loss
        self._before = self._best  # at the last check

    def step(self) -> Evaluation:
        """One step; the picture before it was evaluated and may be the best so far."""
        # Adam moves its picture in place: the one that was evaluated must outlive the step.
        evaluated = self.optimizer.image.clone()
        evaluation = self.optimizer.step(self.objective)
        self._latest = evaluation.loss
        self._keep_if_better(evaluated, evaluation.loss)
        return evaluation

    def _keep_if_better(self, image: Tensor, loss: Tensor) -> None:
        better = loss < self._best_loss  # False for NaN
        self._best = torch.where(better, image, self._best)
        self._best_loss = torch.where(better, loss, self._best_loss)

    def has_converged(self) -> bool:
        """Whether the scale is finished; restarts the optimiser after a divergence.

        Raises:
            EngineError: When not even the start had a finite loss.
        """
        latest, best = torch.stack([self._latest, self._best_loss]).tolist()
        if best == float("inf"):
            raise EngineError(
                "the loss is not a number at the first step", hint="lower the weights"
            )
        if not latest <= DIVERGED * best:
            self.restarts += 1
            self.optimizer.restart(self._best)
            self._before = self._best
            return self.restarts > MAX_RESTARTS
        image = self.optimizer.image
        change = float((image - self._before).square().mean().sqrt()) / CHECK_EVERY
        self._before = image.clone()
        return change < MIN_CHANGE

    def best(self, final: bool) -> Tensor:
        """The best picture: the last one if it is, which at the ``final`` scale is measured."""
        image = self.optimizer.image
        if final:
            self._keep_if_better(image, self.objective.value(image))
            return self._best
        # Between scales the last move is trusted unless the loss was already rising: the next
        # scale measures it anyway.
        good = image.isfinite().all() & (self._latest <= DIVERGED * self._best_loss)
        return torch.where(good, image, self._best)
