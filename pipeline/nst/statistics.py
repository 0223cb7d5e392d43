"""What a style is: statistics of a layer's features, and how far one picture's are from another's.

Every statistic is a sum over positions. So it can be accumulated over the blocks of a picture
larger than memory, and over weighted regions; and once all sums are in, the loss gives its
gradient at the features of each block in closed form (Galerne et al. 2024, SPST, section 3).

    sums = statistic.measure(features)          # added up over blocks; features (C, N)
    loss = statistic.loss(target_sums)          # once per style, scale and layer
    value, pull = loss(sums)                    # once per step
    gradient = pull(features, strength)         # (C, N), times strength, per block

Losses are divided by the size of their target, so that one set of weights serves all layers,
picture sizes, styles and sources of VGG weights (the paper: fixed factors 1 / (4 C^2 N^2)).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

import torch
from torch import Tensor

# Keeps divisions and roots finite for a black picture or a dead channel; features are 1 to 1000.
TINY = 1e-6
PART = 1 << 14  # positions

# The strength is a factor of the gradient: taken into the small matrices, it costs no pass over
# the features, which at the finest scale are ten times the picture and more.
Pull = Callable[[Tensor, Tensor | float], Tensor]


class Sums(Protocol):
    """Sums over positions of one layer; `+` joins blocks, `scaled` weighs a style in a blend."""

    def __add__(self, other: Self) -> Self: ...
    def scaled(self, factor: float) -> Self: ...
    def normalised(self) -> Self: ...


StyleLoss = Callable[[Sums], tuple[Tensor, Pull]]


class Statistic(Protocol):
    """One way to describe a style."""

    sums: type  # what `measure` gives

    def measure(
        self, features: Tensor, weights: Tensor | None = None, like: Sums | None = None
    ) -> Sums:
        """Sums of features (C, N), each position counted by weights (N,), 1 when absent.

        ``like``: earlier sums that these will be added to or compared with.
        """
        ...

    def loss(self, target: Sums) -> StyleLoss:
        """The distance to ``target``, as a function of another picture's sums."""
        ...


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums of features and of their outer products.

    Attributes:
        count: () sum of the positions' weights.
        first: (C,) weighted sum of features.
        second: (C, C) weighted sum of outer products.
    """

    count: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, features: Tensor, weights: Tensor | None = None) -> Self:
        """Moments of features (C, N)."""
        weighted = features if weights is None else features * weights
        positions = features.shape[1]
        count = features.new_full((), positions) if weights is None else weights.sum()
        # In parts: one long sum in fp32 loses too much for a covariance to be taken from it.
        parts = zip(torch.split(weighted, PART, 1), torch.split(features, PART, 1), strict=True)
        second = torch.stack([left @ right.T for left, right in parts]).sum(0)
        return cls(count, weighted.sum(1), second)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.count + other.count, self.first + other.first, self.second + other.second
        )

    def scaled(self, factor: float) -> Self:
        """All sums times ``factor``."""
        return type(self)(self.count * factor, self.first * factor, self.second * factor)

    def normalised(self) -> Self:
        """The same distribution with a count of one: averages instead of sums."""
        count = self.count.clamp_min(TINY)
        return type(self)(self.count / count, self.first / count, self.second / count)


class _MomentStatistic:
    """A statistic that is a function of mean (C,) and second moment (C, C).

    With L(m, M), m = sum F / N and M = sum F F^T / N: dL/dF = (dL/dm + 2 dL/dM F) / N. The two
    small derivatives come from autograd on matrices no larger than 512 x 512.
    """

    sums = Moments

    def measure(
        self, features: Tensor, weights: Tensor | None = None, like: Sums | None = None
    ) -> Moments:
        del like  # moments of any two pictures can be added and compared
        return Moments.of(features, weights)

    def loss(self, target: Moments) -> Callable[[Moments], tuple[Tensor, Pull]]:
        distance = self.distance(target.normalised())

        def evaluate(sums: Moments) -> tuple[Tensor, Pull]:
            average = sums.normalised()
            with torch.enable_grad():
                mean = average.first.requires_grad_()
                second = average.second.requires_grad_()
                value = distance(mean, second)
                by_mean, by_second = torch.autograd.grad(
                    value, (mean, second), allow_unused=True, materialize_grads=True
                )
            by_mean = by_mean / sums.count
            by_second = (by_second + by_second.T) / sums.count  # symmetric
            return value.detach(), partial(_pull, by_mean, by_second)

        return evaluate

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        """L(mean, second moment), 0 at the target, about 1 for features of another picture."""
        raise NotImplementedError


def _pull(by_mean: Tensor, by_second: Tensor, features: Tensor, strength: Tensor | float) -> Tensor:
    # Multiplied the other way round, (N, C) x (C, C), the gradient lies in memory as the features
    # of a channels_last network do, and is used there without being copied.
    return torch.addmm(by_mean * strength, features.T, by_second * strength).T


class Gram(_MomentStatistic):
    """Squared distance of Gram matrices (Gatys et al. 2015, equations 3 to 5): |G-A|^2 / |A|^2."""

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        size = target.second.square().sum() + TINY
        return lambda _, second: (second - target.second).square().sum() / size


class MeanStd(_MomentStatistic):
    """Channel means and standard deviations (Li et al. 2017, "Demystifying", section 4.2)."""

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        mean, std = target.first, deviation(target.first, target.second)
        size = mean.square().sum() + std.square().sum() + TINY

        def distance(m: Tensor, second: Tensor) -> Tensor:
            of_std = (deviation(m, second) - std).square().sum()
            return ((m - mean).square().sum() + of_std) / size

        return distance


class Covariance(_MomentStatistic):
    """Means and covariances, each over its target's size (the two halves of a Gaussian)."""

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        mean, cov = target.first, _covariance(target.first, target.second)
        mean_size = mean.square().sum() + TINY
        cov_size = cov.square().sum() + TINY

        def distance(m: Tensor, second: Tensor) -> Tensor:
            of_cov = (_covariance(m, second) - cov).square().sum() / cov_size
            return (m - mean).square().sum() / mean_size + of_cov

        return distance


class Wasserstein(_MomentStatistic):
    """Wasserstein-2 distance of Gaussians (the Bures metric; Mroueh 2019, section 3).

    L = |m - m*|^2 + tr S + tr S* - 2 tr (S*^1/2 S S*^1/2)^1/2, over |m*|^2 + tr S*. The target's
    covariance S* = V D V^T is cut to its RANK strongest directions, so the square root is one of
    a RANK x RANK matrix at every layer: with B = D^1/2 V^T it is tr (B S B^T)^1/2.
    """

    RANK = 128

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        mean, cov = target.first, _covariance(target.first, target.second)
        # Before the first step, on the CPU: not every accelerator has it, or fp64.
        values, vectors = torch.linalg.eigh(cov.cpu().double())  # ascending
        values, vectors = values[-self.RANK :].clamp_min(0), vectors[:, -self.RANK :]
        base = (values.sqrt() * vectors).T.to(cov)  # (RANK, C)
        trace, largest = values.sum().to(cov), values[-1].to(cov)
        size = mean.square().sum() + trace + TINY

        def cut(m: Tensor, second: Tensor) -> Tensor:
            s = _covariance(m, second)
            root = _root_trace(base @ s @ base.T, largest * m.detach().square().sum())
            bures = s.diagonal().sum() + trace - 2 * root
            total: Tensor = ((m - mean).square().sum() + bures) / size
            return total

        # Weak directions cut off, and the root's floor: nearer than that is not told apart.
        nearest = cut(mean, target.second)
        return lambda m, second: (cut(m, second) - nearest).clamp_min(0)


def deviation(mean: Tensor, second: Tensor) -> Tensor:
    """Standard deviation (C,) of each channel, from mean (C,) and second moment (C, C)."""
    # Floored before the root: a dead channel has variance 0, and its root no derivative.
    return (second.diagonal() - mean.square()).clamp_min(TINY).sqrt()


def _covariance(mean: Tensor, second: Tensor) -> Tensor:
    return second - torch.outer(mean, mean)


def _root_trace(matrix: Tensor, noise: Tensor) -> Tensor:
    """Trace of A^1/2 of a positive semidefinite A, as tr A (A + f)^-1/2 with a small f.

    Args:
        matrix: (K, K).
        noise: () size of what was taken from sums in fp32 to make A, and left its rounding in it.
    """
    root: Tensor = _RootTrace.apply(matrix, noise)
    return root


class _RootTrace(torch.autograd.Function):
    """Autograd's own derivative of eigh divides by gaps between eigenvalues; this one need not."""

    # Added to all eigenvalues, as a share of the norm and of the noise: sums in fp32 are as exact.
    FLOOR = 2e-6

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, noise: Tensor) -> Tensor:
        norm = torch.linalg.matrix_norm(matrix)
        floor = _RootTrace.FLOOR * (norm + noise) + TINY
        size = norm + floor
        one = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        raised = (matrix + floor * one) / size  # eigenvalues from FLOOR / 2 to 1
        # Eigenvalues are sooner had on a CPU; an accelerator would have to be waited for.
        way = by_eigenvalues if matrix.device.type == "cpu" else by_newton_schulz
        inverse = way(raised) / size.sqrt()  # (A + floor)^-1/2
        ctx.save_for_backward(inverse, floor)
        # Not the trace of the root, to which the floor adds: a distance must not fall below 0.
        trace: Tensor = (inverse * matrix).sum()
        return trace

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        inverse, floor = ctx.saved_tensors
        by_matrix = torch.addmm(inverse, floor * inverse, inverse @ inverse)
        return grad * 0.5 * by_matrix, None


def by_eigenvalues(matrix: Tensor) -> Tensor:
    """A^-1/2 of a symmetric A with eigenvalues from FLOOR / 2 to 1."""
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except RuntimeError:  # LinAlgError: LAPACK's fp32 does not always come to an end
        return by_newton_schulz(matrix)
    roots = values.clamp_min(_RootTrace.FLOOR / 2).sqrt()
    inverse: Tensor = (vectors / roots) @ vectors.T
    return inverse


def by_newton_schulz(matrix: Tensor) -> Tensor:
    """The same by products of matrices alone.

    The coupled iteration, scaled (Chen & Chow 2014, "A stable scaling of Newton-Schulz"). From a
    negative eigenvalue it would run away.
    """
    one = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    root, inverse = matrix, one
    for scaling in _SCALINGS:
        step = torch.addmm(one, inverse, root, beta=1.5 * scaling, alpha=-0.5 * scaling**3)
        root, inverse = root @ step, step @ inverse
    return inverse


def _scalings(least: float) -> list[float]:
    """Factors by which the iteration takes roots from ``least`` to 1 soonest; 1 when there."""
    factors = []
    while least < 1 - 1e-8:
        factors.append(math.sqrt(3 / (1 + least + least**2)))
        least = factors[-1] * least * (3 - (factors[-1] * least) ** 2) / 2
    return factors


_SCALINGS = _scalings(math.sqrt(_RootTrace.FLOOR / 2))
