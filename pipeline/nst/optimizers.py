"""The two optimisers behind one interface: step(objective) moves the picture once."""

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
        """Continue from ``image`` with half the step and no memory: the last steps diverged."""
        ...


def make_optimizer(image: Tensor, options: Transfer, depth: int) -> PictureOptimizer:
    """The optimiser that the options name, starting at ``image``; see `Smoothing` for depth."""
    if options.optimizer == "adam":
        return Adam(image, options.learning_rate or 0.05)
    return Lbfgs(image, options.learning_rate or 1.0, depth)


class Lbfgs:
    """L-BFGS (Liu & Nocedal 1989; Nocedal & Wright, algorithm 7.4), one evaluation a step.

    No line search: the objective is smooth enough, and each trial would cost a step. All numbers
    stay on the device. Not clamped inside: that would contradict the measured curvature. The start
    of its inverse Hessian is `Smoothing`, in place of a multiple of the identity.
    """

    FIRST_MOVE = 0.02  # mean absolute change of a pixel by the first step, in units of [0, 1]
    LONGEST_MOVE = 0.1  # root mean square change by any step; a wild curvature pair asks for more

    def __init__(self, image: Tensor, learning_rate: float, depth: int) -> None:
        self.image = image.detach().clone(memory_format=torch.contiguous_format)
        self.learning_rate = learning_rate
        self._smooth = Smoothing(self.image, depth)
        self._s: deque[Tensor] = deque(maxlen=HISTORY)  # moves, each (1, 3, H, W)
        self._y: deque[Tensor] = deque(maxlen=HISTORY)  # changes of the gradient
        self._rho: deque[Tensor] = deque(maxlen=HISTORY)  # 1 / (y . s), 0 if unusable
        self._scale = torch.ones((), device=image.device)  # s.y / y.Py: how long P's step should be
        self._last: tuple[Tensor, Tensor] | None = None  # move and gradient of the last step

    def restart(self, image: Tensor) -> None:
        """Drop all curvature information and halve the step."""
        self.image = image.detach().clone(memory_format=torch.contiguous_format)
        self.learning_rate /= 2
        for history in (self._s, self._y, self._rho):
            history.clear()
        self._scale, self._last = torch.ones((), device=image.device), None

    @torch.no_grad()
    def step(self, objective: EvaluateAt) -> Evaluation:
        """One quasi-Newton step."""
        evaluation = objective(self.image)
        gradient = evaluation.gradient
        if self._last is not None:
            self._add_pair(*self._last, gradient)
        move = self._direction(gradient) * self.learning_rate
        longest = self.LONGEST_MOVE / move.square().mean().sqrt().clamp_min(1e-12)
        move = move * longest.clamp_max(1.0)
        self.image = self.image + move
        self._last = (move, gradient)
        return evaluation

    def _add_pair(self, s: Tensor, before: Tensor, now: Tensor) -> None:
        """Store a move (1, 3, H, W) and the change of the gradient that it caused."""
        y = now - before
        product = (y * s).sum()
        # A pair without positive curvature counts as none: its factor is 0, not a branch.
        usable = product > 1e-10 * y.square().sum()
        self._s.append(s)
        self._y.append(y)
        self._rho.append(torch.where(usable, 1 / product, 0.0))
        scale = product / (y * self._smooth(y)).sum()
        self._scale = torch.where(usable, scale, self._scale)

    def _direction(self, gradient: Tensor) -> Tensor:
        """The step (1, 3, H, W) by the two-loop recursion, in the book's names."""
        if not self._s:
            downhill = -self._smooth(gradient)
            # Kept as the scale until a pair gives a better one.
            self._scale = self.FIRST_MOVE / downhill.abs().mean().clamp_min(1e-20)
            return downhill * self._scale
        q = gradient.clone()
        pairs = list(zip(self._s, self._y, self._rho, strict=True))
        alphas = []
        for s, y, rho in reversed(pairs):
            alpha = rho * (s * q).sum()
            q.addcmul_(y, -alpha)
            alphas.append(alpha)
        r = self._smooth(q) * self._scale
        for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
            r.addcmul_(s, alpha - rho * (y * r).sum())
        return -r


class Adam:
    """Adam (Kingma & Ba 2015), high learning rate and few steps, the picture kept in [0, 1]."""

    def __init__(self, image: Tensor, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._start(image)

    def _start(self, image: Tensor) -> None:
        self.image = image.detach().clone(memory_format=torch.contiguous_format)
        self._optimizer = torch.optim.Adam(
            [self.image], self.learning_rate, (0.9, 0.99), foreach=True
        )

    def restart(self, image: Tensor) -> None:
        """Drop the moments and halve the step."""
        self.learning_rate /= 2
        self._start(image)

    def step(self, objective: EvaluateAt) -> Evaluation:
        """One step along the normalised gradient."""
        evaluation = objective(self.image)
        self.image.grad = evaluation.gradient.contiguous()
        self._optimizer.step()
        self.image.clamp_(0, 1)
        return evaluation
