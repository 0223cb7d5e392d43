"""The two optimisers, behind one small interface: step(objective) moves the picture once."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst.objective import Evaluation
from pipeline.nst.preconditioner import Smoothing

HISTORY = 20  # pairs kept by L-BFGS; 100, as most tools keep, costs memory and gains nothing here

EvaluateAt = Callable[[Tensor], Evaluation]


class PictureOptimizer(Protocol):
    """Holds the picture (1, 3, H, W) and improves it, without ever waiting for the device."""

    image: Tensor

    def step(self, objective: EvaluateAt) -> Evaluation:
        """Move once; returns the evaluation before the move."""
        ...

    def restart(self, image: Tensor) -> None:
        """Go on from ``image``, more carefully: what was learnt led astray."""
        ...


def make_optimizer(image: Tensor, options: Transfer, depth: int) -> PictureOptimizer:
    """The optimiser that the options name, starting at ``image``; see `Smoothing` for depth."""
    if options.optimizer == "adam":
        return Adam(image, options.learning_rate or 0.05)
    return Lbfgs(image, options.learning_rate or 1.0, depth)


class Lbfgs:
    """L-BFGS (Liu & Nocedal 1989; Nocedal & Wright, algorithm 7.4), one evaluation a step.

    No line search: the objective is smooth enough, and each trial would cost a step. All numbers
    stay on the device. Not clamped inside: that would contradict the curvature it has learnt.
    What it does not know yet about curvature it takes from `Smoothing`, in place of the identity.
    """

    FIRST_MOVE = 0.02  # mean absolute change of a pixel by the first step, in units of [0, 1]
    LONGEST_MOVE = 0.1  # root mean square change by any step; a wild curvature pair asks for more

    def __init__(self, image: Tensor, learning_rate: float, depth: int) -> None:
        self.image = image.detach().clone(memory_format=torch.contiguous_format)
        self.learning_rate, self.depth = learning_rate, depth
        self._smooth = Smoothing(self.image, depth)
        self._moves: deque[Tensor] = deque(maxlen=HISTORY)  # s, each (1, 3, H, W)
        self._turns: deque[Tensor] = deque(maxlen=HISTORY)  # y
        self._curvatures: deque[Tensor] = deque(maxlen=HISTORY)  # 1 / (y . s), 0 if unusable
        self._scale = torch.ones((), device=image.device)  # s.y / y.Py: how long P's step should be
        self._last: tuple[Tensor, Tensor] | None = None  # move and gradient of the last step

    def restart(self, image: Tensor) -> None:
        """Forget all curvature and move half as far."""
        self.__init__(image, self.learning_rate / 2, self.depth)  # type: ignore[misc]

    @torch.no_grad()
    def step(self, objective: EvaluateAt) -> Evaluation:
        """One quasi-Newton step."""
        evaluation = objective(self.image)
        gradient = evaluation.gradient
        if self._last is not None:
            self._learn(*self._last, gradient)
        move = self._direction(gradient) * self.learning_rate
        longest = self.LONGEST_MOVE / move.square().mean().sqrt().clamp_min(1e-12)
        move = move * longest.clamp_max(1.0)
        self.image = self.image + move
        self._last = (move, gradient)
        return evaluation

    def _learn(self, move: Tensor, before: Tensor, now: Tensor) -> None:
        turn = now - before
        product = (turn * move).sum()
        # A pair without positive curvature counts as none: its factor is 0, not a branch.
        usable = product > 1e-10 * turn.square().sum()
        self._moves.append(move)
        self._turns.append(turn)
        self._curvatures.append(torch.where(usable, 1 / product, 0.0))
        fresh = product / (turn * self._smooth(turn)).sum()
        self._scale = torch.where(usable, fresh, self._scale)

    def _direction(self, gradient: Tensor) -> Tensor:
        if not self._moves:
            downhill = -self._smooth(gradient)
            # Kept as the scale until a pair tells a better one.
            self._scale = self.FIRST_MOVE / downhill.abs().mean().clamp_min(1e-20)
            return downhill * self._scale
        q = gradient.clone()
        pairs = list(zip(self._moves, self._turns, self._curvatures, strict=True))
        steps = []
        for move, turn, curvature in reversed(pairs):
            step = curvature * (move * q).sum()
            q.addcmul_(turn, -step)
            steps.append(step)
        q = self._smooth(q) * self._scale
        for (move, turn, curvature), step in zip(pairs, reversed(steps), strict=True):
            q.addcmul_(move, step - curvature * (turn * q).sum())
        return -q


class Adam:
    """Adam (Kingma & Ba 2015), high learning rate and few steps, the picture kept in [0, 1]."""

    def __init__(self, image: Tensor, learning_rate: float) -> None:
        self.image = image.detach().clone(memory_format=torch.contiguous_format)
        self.learning_rate = learning_rate
        self._optimizer = torch.optim.Adam([self.image], learning_rate, (0.9, 0.99), foreach=True)

    def restart(self, image: Tensor) -> None:
        """Forget the moments and move half as far."""
        self.__init__(image, self.learning_rate / 2)  # type: ignore[misc]

    def step(self, objective: EvaluateAt) -> Evaluation:
        """One step along the normalised gradient."""
        evaluation = objective(self.image)
        self.image.grad = evaluation.gradient.contiguous()
        self._optimizer.step()
        self.image.clamp_(0, 1)
        return evaluation
