"""Styles as distributions along directions: sliced Wasserstein and per-channel histograms.

A distribution along a direction is kept as counts in fixed bins, a sum over positions like the
moments. In one dimension optimal transport is monotone: a value at quantile q moves to the
target's value at q, and the gradient of the squared distance is the distance left to go.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pipeline.nst.statistics import TINY, FeatureGradient

BINS = 512
DIRECTIONS = 64


@dataclass(frozen=True, slots=True)
class Counts:
    """Histograms along directions.

    Attributes:
        counts: (K, BINS) weighted counts; values outside the range fall into the outer bins.
        low, high: (K,) the range, shared by all pictures compared.
        directions: (K, C) unit rows; None for the channels themselves.
    """

    counts: Tensor
    low: Tensor
    high: Tensor
    directions: Tensor | None

    def __add__(self, other: Self) -> Self:
        return type(self)(self.counts + other.counts, self.low, self.high, self.directions)

    def scaled(self, factor: float) -> Self:
        """All counts times ``factor``."""
        return type(self)(self.counts * factor, self.low, self.high, self.directions)

    def normalised(self) -> Self:
        """Counts of each direction summing to one."""
        total = self.counts.sum(1, keepdim=True).clamp_min(TINY)
        return type(self)(self.counts / total, self.low, self.high, self.directions)

    def cumulative(self) -> Tensor:
        """(K, BINS + 1): share of values below each bin's lower edge, 0 to 1."""
        share = self.normalised().counts.cumsum(1)
        return torch.nn.functional.pad(share, (1, 0)).clamp(0, 1)


class Histogram:
    """Per-channel histograms (Risser et al. 2017, "Stable and controllable", section 4.1)."""

    sums = Counts

    def measure(
        self, features: Tensor, weights: Tensor | None = None, like: Counts | None = None
    ) -> Counts:
        directions = like.directions if like else self._directions(features)
        values = project(features, directions)  # (K, N)
        if like:
            low, high = like.low, like.high
        else:
            # Room on both sides: another picture's values beyond it count as if at the edge.
            room = 0.5 * (values.amax(1) - values.amin(1)) + TINY
            low, high = values.amin(1) - room, values.amax(1) + room
        return Counts(_count(values, weights, low, high), low, high, directions)

    def loss(self, target: Counts) -> "TransportLoss":
        return TransportLoss(target)

    def _directions(self, features: Tensor) -> Tensor | None:
        del features
        return None


class SlicedWasserstein(Histogram):
    """Sliced Wasserstein distance (Heitz et al. 2021), with directions fixed for a scale.

    Fixed ones keep the objective the same from step to step, which L-BFGS needs; orthonormal
    ones see more than independent ones.
    """

    def _directions(self, features: Tensor) -> Tensor:
        channels = features.shape[0]
        generator = torch.Generator().manual_seed(channels)
        square = torch.randn(channels, channels, generator=generator)
        orthonormal: Tensor = torch.linalg.qr(square).Q
        return orthonormal[: min(channels, DIRECTIONS)].to(features)


class TransportLoss:
    """Mean squared distance to the target along each direction, over the target's mean square."""

    def __init__(self, target: Counts) -> None:
        self.target = target
        self.cdf = target.cumulative()  # (K, BINS + 1)
        steps = torch.linspace(0, 1, BINS + 1, device=target.low.device, dtype=target.low.dtype)
        self.edges = target.low[:, None] + (target.high - target.low)[:, None] * steps
        centres = (self.edges[:, 1:] + self.edges[:, :-1]) / 2
        share = target.normalised().counts
        self.size = (share * centres.square()).sum(1).mean() + TINY

    def __call__(self, sums: Counts) -> tuple[Tensor, FeatureGradient]:
        # Where the lower and the upper edge of each bin should go, (K, BINS) each. They differ
        # where a bin meets an empty stretch of the target.
        quantiles = sums.cumulative()
        low = self._goals(quantiles[:, :-1], right=True)
        high = self._goals(quantiles[:, 1:], right=False)
        # A distance that changes linearly from a to b has the mean square (a^2 + ab + b^2) / 3.
        a, b = low - self.edges[:, :-1], high - self.edges[:, 1:]
        share = sums.normalised().counts
        value = (share * (a.square() + a * b + b.square())).sum(1).mean() / (3 * self.size)
        count = sums.counts.sum(1).mean()

        def gradient_of(features: Tensor, strength: Tensor | float) -> Tensor:
            values = project(features, sums.directions)  # (K, N)
            index, part = _place(values, self.target.low, self.target.high)
            start = low.gather(1, index)
            left = values - torch.lerp(start, high.gather(1, index), part)
            gradient = left * (2 * strength / (values.shape[0] * count * self.size))
            return gradient if sums.directions is None else sums.directions.T @ gradient

        return value, gradient_of

    def _goals(self, quantiles: Tensor, right: bool) -> Tensor:
        """The target's value at each quantile (K, BINS): its inverse cumulative."""
        cdf = self.cdf.contiguous()
        above = torch.searchsorted(cdf, quantiles.contiguous(), right=right).clamp(1, BINS)
        low, high = cdf.gather(1, above - 1), cdf.gather(1, above)
        part = ((quantiles - low) / (high - low).clamp_min(TINY)).clamp(0, 1)
        return torch.lerp(self.edges.gather(1, above - 1), self.edges.gather(1, above), part)


def project(features: Tensor, directions: Tensor | None) -> Tensor:
    """Features (C, N) along directions (K, C): (K, N)."""
    return features if directions is None else directions @ features


def _place(values: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bin (K, N) of each value, and how far into the bin it lies, 0 to 1."""
    at = (values - low[:, None]) * (BINS / (high - low))[:, None]
    index = at.long().clamp_(0, BINS - 1)
    return index, (at - index).clamp_(0, 1)


def _count(values: Tensor, weights: Tensor | None, low: Tensor, high: Tensor) -> Tensor:
    index, _ = _place(values, low, high)
    counts = torch.zeros(values.shape[0], BINS, device=values.device, dtype=values.dtype)
    ones = torch.ones_like(values) if weights is None else weights.expand_as(values)
    return counts.scatter_add_(1, index, ones)
