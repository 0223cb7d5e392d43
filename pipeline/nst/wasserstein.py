"""The Wasserstein-2 distance of Gaussians (the Bures metric), affordable at every scale."""

import math
from functools import partial

import torch
from torch import Tensor

from pipeline.nst.statistics import (
    TINY,
    FeatureGradient,
    MomentLoss,
    Moments,
    MomentSums,
    covariance,
    linear_gradient,
)

RANK = 128  # most directions of a target: the root is one of a RANK x RANK matrix
# Least variance along one, as a share of all: a coarse scale's few positions span few directions.
LEAST = 1e-6
# Added to all eigenvalues, as a share of the norm and of the noise: sums in fp32 are as exact.
FLOOR = 2e-6
WIDE = 4  # times as many channels as directions: then two thin products are faster than one


class Wasserstein(MomentSums):
    """Wasserstein-2 distance of Gaussians (Mroueh 2019, "Wasserstein Style Transfer", section 3).

    L = |m - m*|^2 + tr S + tr S* - 2 tr (S*^1/2 S S*^1/2)^1/2, over |m*|^2 + tr S*. The target's
    covariance S* = V D V^T is cut to its strongest directions: with B = D^1/2 V^T the last term
    is the trace of the root of A = B S B^T.

    The gradient says how optimal transport would move each feature: dL/dx is 2 (x - T(x)) / N
    over the same size, with T(x) = m* + B^T A^-1/2 B (x - m).
    """

    def loss(self, target: Moments) -> MomentLoss:
        return _Distance(target.normalised())


class _Distance:
    """The distance to one target. In closed form: autograd would take up to twice the time."""

    def __init__(self, target: Moments) -> None:
        self.mean = target.first  # (C,)
        self.base, self.trace, self.largest = _strongest(covariance(target.first, target.second))
        self.size = self.mean.square().sum() + self.trace + TINY
        # The target's own distance: not 0, for weak directions are cut off; and the root's floor.
        self.nearest = self._at(target)[0]

    def __call__(self, sums: Moments) -> tuple[Tensor, FeatureGradient]:
        average = sums.normalised()
        value, transport = self._at(average)
        value = value - self.nearest
        scale = torch.where(value > 0, 2 / (self.size * sums.count), 0)
        by_mean = (self.base.T @ (transport @ average.first) - self.mean) * scale
        if len(average.first) >= WIDE * len(self.base):
            gradient_of = partial(_low_rank_gradient, by_mean, self.base, transport, scale)
        else:
            one = _identity(len(average.first), self.base)
            by_second = torch.addmm(one, self.base.T, transport, alpha=-1) * scale
            gradient_of = partial(linear_gradient, by_mean, by_second)
        return value.clamp_min(0), gradient_of

    def _at(self, average: Moments) -> tuple[Tensor, Tensor]:
        """The distance () before ``nearest`` is taken from it, and A^-1/2 B (K, C)."""
        mean, second = average.first, average.second
        along = self.base @ mean  # (K,)
        matrix = torch.addmm(-torch.outer(along, along), self.base @ second, self.base.T)
        matrix = (matrix + matrix.T) / 2  # as Newton-Schulz needs it: rounding is not
        root, inverse = _root(matrix, self.largest * mean.square().sum())
        spread = second.diagonal().sum() - mean.square().sum()  # tr S
        bures = spread + self.trace - 2 * root
        return ((mean - self.mean).square().sum() + bures) / self.size, inverse @ self.base


def _low_rank_gradient(
    by_mean: Tensor,
    base: Tensor,
    transport: Tensor,
    scale: Tensor,
    features: Tensor,
    strength: Tensor | float,
) -> Tensor:
    """`linear_gradient` with by_second = scale (1 - base^T transport), which is not made."""
    stays = torch.addcmul(by_mean * strength, features.T, scale * strength)  # (N, C)
    moves = features.T @ base.T  # (N, K)
    return stays.addmm_(moves, transport * (-strength * scale)).T


def _strongest(cov: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """B (K, C) of a covariance (C, C), the variance that it keeps, and the largest of one."""
    # Before the first step, on the CPU: not every accelerator has it, or fp64.
    values, vectors = torch.linalg.eigh(cov.cpu().double())  # ascending
    values = values.clamp_min(0)
    rank = int((values > LEAST * values.sum()).sum())
    rank = min(max(rank, 1), RANK)
    values, vectors = values[-rank:], vectors[:, -rank:]
    base = (values.sqrt() * vectors).T.to(cov).contiguous()
    return base, values.sum().to(cov), values[-1].to(cov)


def _root(matrix: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Trace of A^1/2 of a positive semidefinite A, as tr A (A + f)^-1/2 with a small f.

    Args:
        matrix: (K, K), symmetric.
        noise: () size of what was taken from sums in fp32 to make A, and left its rounding in it.

    Returns:
        The trace, and twice its derivative at A (K, K), which without f is A^-1/2.
    """
    norm = torch.linalg.matrix_norm(matrix)
    floor = FLOOR * (norm + noise) + TINY
    size = norm + floor
    one = _identity(len(matrix), matrix)
    raised = torch.addcmul(matrix, one, floor) / size  # eigenvalues from FLOOR / 2 to 1
    # On a CPU eigenvalues are faster; on an accelerator they would make the host wait for it.
    inverse_root = by_eigenvalues if matrix.device.type == "cpu" else by_newton_schulz
    inverse = inverse_root(raised) / size.sqrt()  # (A + floor)^-1/2
    # Not the trace of the root, to which the floor adds: a distance must not fall below 0.
    trace = (inverse * matrix).sum()
    return trace, torch.addmm(inverse, floor * inverse, inverse @ inverse)


def by_eigenvalues(matrix: Tensor) -> Tensor:
    """A^-1/2 of a symmetric A with eigenvalues from FLOOR / 2 to 1."""
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except RuntimeError:  # LinAlgError: LAPACK in fp32 does not always converge
        return by_newton_schulz(matrix)
    roots = values.clamp_min(FLOOR / 2).sqrt()
    inverse: Tensor = (vectors / roots) @ vectors.T
    return inverse


def by_newton_schulz(matrix: Tensor) -> Tensor:
    """The same by products of matrices alone.

    The coupled iteration, scaled (Chen & Chow 2014, "A stable scaling of Newton-Schulz"). From a
    negative eigenvalue, or from a matrix that is not symmetric, it would run away.
    """
    one = _identity(len(matrix), matrix)
    root, inverse = matrix, one
    for scaling in _SCALINGS:
        step = torch.addmm(one, inverse, root, beta=1.5 * scaling, alpha=-0.5 * scaling**3)
        root, inverse = root @ step, step @ inverse
    return inverse


def _identity(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)  # made there: no waiting


def _scalings(least: float) -> list[float]:
    """Factors by which the iteration takes roots from ``least`` to 1 soonest; 1 when there."""
    factors = []
    while least < 1 - 1e-8:
        factors.append(math.sqrt(3 / (1 + least + least**2)))
        least = factors[-1] * least * (3 - (factors[-1] * least) ** 2) / 2
    return factors


_SCALINGS = _scalings(math.sqrt(FLOOR / 2))
