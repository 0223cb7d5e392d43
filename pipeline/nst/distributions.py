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
QUANTILES = 4 * BINS  # that a distribution between two others is made of
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

    def between(self, other: Self, share: float) -> Self:
        """The distribution ``share`` of the way to another: each quantile moves by that much."""
        at = (torch.arange(QUANTILES, device=self.low.device) + 0.5) / QUANTILES
        at = at.to(self.low).expand(len(self.low), -1)
        here, there = (values_at(each.cumulative(), each.edges(), at) for each in (self, other))
        values = torch.lerp(here, there, share)
        counts = _count(values, None, self.low, self.high)
        return type(self)(counts, self.low, self.high, self.directions)

    def edges(self) -> Tensor:
        """(K, BINS + 1): the bins' edges."""
        steps = torch.linspace(0, 1, BINS + 1, device=self.low.device, dtype=self.low.dtype)
        return self.low[:, None] + (self.high - self.low)[:, None] * steps


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
        self.edges = target.edges()
        centres = (self.edges[:, 1:] + self.edges[:, :-1]) / 2
        share = target.normalised().counts
        self.size = (share * centres.square()).sum(1).mean() + TINY

    def __call__(self, sums: Counts) -> tuple[Tensor, FeatureGradient]:
        # Where the lower and the upper edge of each bin should go, (K, BINS) each. They differ
        # where a bin meets an empty stretch of the target.
        quantiles = sums.cumulative()
        low = values_at(self.cdf, self.edges, quantiles[:, :-1], right=True)
        high = values_at(self.cdf, self.edges, quantiles[:, 1:])
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


def values_at(cdf: Tensor, edges: Tensor, quantiles: Tensor, right: bool = False) -> Tensor:
    """The values (K, Q) at quantiles (K, Q): the inverse of a cumulative.

    Args:
        cdf: (K, BINS + 1), see `Counts.cumulative`.
        edges: (K, BINS + 1), of the bins.
        quantiles: From 0 to 1.
        right: Of an empty stretch of bins, take the upper end and not the lower one.
    """
    above = torch.searchsorted(cdf.contiguous(), quantiles.contiguous(), right=right)
    above = above.clamp(1, BINS)
    low, high = cdf.gather(1, above - 1), cdf.gather(1, above)
    part = ((quantiles - low) / (high - low).clamp_min(TINY)).clamp(0, 1)
    return torch.lerp(edges.gather(1, above - 1), edges.gather(1, above), part)


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
