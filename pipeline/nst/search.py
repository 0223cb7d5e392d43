"""One scale's search: keeps the best picture, steps back from divergence, knows when to stop."""

import torch
from torch import Tensor

from pipeline.errors import EngineError
from pipeline.nst.objective import Evaluation, Objective
from pipeline.nst.optimizers import PictureOptimizer

# Steps between two looks at the numbers. Looking waits for the device; not looking does not.
CHECK = 5
# Another step would not be seen: by less than this, root mean square, did each of the last CHECK
# steps move the picture. A quarter of one 8-bit level.
UNSEEN = 0.25 / 255
WORSE = 1.5  # times the best loss: L-BFGS without line search wobbles below that and recovers
PATIENCE = 3  # restarts before a scale is given up and its best picture taken


class Search:
    """Steps an optimiser and remembers the best picture it passed."""

    def __init__(self, optimizer: PictureOptimizer, objective: Objective) -> None:
        self.optimizer, self.objective = optimizer, objective
        self.restarts = 0
        self._best = optimizer.image.clone()  # Adam moves its own in place
        self._best_loss = torch.full((), torch.inf, device=optimizer.image.device)
        self._latest = self._best_loss
        self._before = self._best  # at the last look

    def step(self) -> Evaluation:
        """One step; the picture before it was evaluated and may be the best so far."""
        # Adam moves its picture in place: the one that was evaluated must outlive the step.
        standing = self.optimizer.image.clone()
        evaluation = self.optimizer.step(self.objective)
        self._latest = evaluation.loss
        self._take(standing, evaluation.loss)
        return evaluation

    def _take(self, image: Tensor, loss: Tensor) -> None:
        better = loss < self._best_loss  # False for NaN
        self._best = torch.where(better, image, self._best)
        self._best_loss = torch.where(better, loss, self._best_loss)

    def settled(self) -> bool:
        """Look at the numbers: restart after a divergence; True when another step is not worth it.

        Raises:
            EngineError: When not even the start had a finite loss.
        """
        latest, best = torch.stack([self._latest, self._best_loss]).tolist()
        if best == float("inf"):
            raise EngineError("the loss is not a number from the start", hint="lower the weights")
        if not latest <= WORSE * best:
            self.restarts += 1
            self.optimizer.restart(self._best)
            self._before = self._best
            return self.restarts > PATIENCE
        image = self.optimizer.image
        change = float((image - self._before).square().mean().sqrt()) / CHECK
        self._before = image.clone()
        return change < UNSEEN

    def best(self, final: bool) -> Tensor:
        """The best picture: the last one if it is, which at the ``final`` scale is measured."""
        image = self.optimizer.image
        if final:
            self._take(image, self.objective.value(image))
            return self._best
        # Between scales the last move is trusted unless the loss was already rising: the next
        # scale measures it anyway.
        good = image.isfinite().all() & (self._latest <= WORSE * self._best_loss)
        return torch.where(good, image, self._best)
