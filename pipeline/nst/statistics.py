"""What a style is: statistics of a layer's features, and how far one picture's are from another's.

Every statistic is a sum over positions. So it can be accumulated over the blocks of a picture
larger than memory, and over weighted regions; and once all sums are in, the loss gives its
gradient at the features of each block in closed form (Galerne et al. 2024, SPST, section 3).

    sums = statistic.measure(features)          # added up over blocks; features (C, N)
    loss = statistic.loss(target_sums)          # once per style, scale and layer
    value, gradient_of = loss(sums)             # once per step
    gradient = gradient_of(features, strength)  # (C, N), times strength, per block

Losses are divided by the size of their target, so that one set of weights serves all layers,
picture sizes, styles and sources of VGG weights (the paper: fixed factors 1 / (4 C^2 N^2)).

How to add one: see *Add a style statistic* in CONTRIBUTING.md. `Gram` is the shortest example.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import torch
from torch import Tensor

# Keeps divisions and roots finite for a black picture or a dead channel; features are 1 to 1000.
TINY = 1e-6
PART = 1 << 14  # positions

# (features (C, N), strength) -> strength times dL/dF, (C, N). The strength is taken into the small
# matrices: so it costs no pass over the features, which at the finest scale are ten times the
# picture and more.
FeatureGradient = Callable[[Tensor, Tensor | float], Tensor]


class Sums(Protocol):
    """Sums over positions of one layer; `+` joins blocks, `scaled` weighs a style in a blend."""

    def __add__(self, other: Self) -> Self: ...
    def scaled(self, factor: float) -> Self: ...
    def normalised(self) -> Self: ...
    def between(self, other: Self, share: float) -> Self: ...


StyleLoss = Callable[[Sums], tuple[Tensor, FeatureGradient]]


class Statistic(Protocol):
    """A statistic that describes a style."""

    # What `measure` returns: a dataclass whose fields are tensors or None, so that
    # `pipeline.nst.cache.pack` can store it.
    sums: type

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

    def between(self, other: Self, share: float) -> Self:
        """Mean and covariance between two, ``share`` of the way: with a count of one.

        Not their mixture, which also varies from the one mean to the other.
        """
        one, two = self.normalised(), other.normalised()
        mean = torch.lerp(one.first, two.first, share)
        spread = torch.lerp(
            covariance(one.first, one.second), covariance(two.first, two.second), share
        )
        return type(self)(one.count, mean, spread + torch.outer(mean, mean))


MomentLoss = Callable[[Moments], tuple[Tensor, FeatureGradient]]


class MomentSums:
    """A statistic whose sums are `Moments`."""

    sums = Moments

    def measure(
        self, features: Tensor, weights: Tensor | None = None, like: Sums | None = None
    ) -> Moments:
        del like  # moments of any two pictures can be added and compared
        return Moments.of(features, weights)


class MomentStatistic(MomentSums):
    """A statistic that is a function of mean (C,) and second moment (C, C).

    With L(m, M), m = sum F / N and M = sum F F^T / N: dL/dF = (dL/dm + 2 dL/dM F) / N. The two
    small derivatives come from autograd on matrices no larger than 512 x 512.
    """

    def loss(self, target: Moments) -> MomentLoss:
        distance = self.distance(target.normalised())

        def evaluate(sums: Moments) -> tuple[Tensor, FeatureGradient]:
            average = sums.normalised()
            with torch.enable_grad():
                mean = average.first.requires_grad_()
                second = average.second.requires_grad_()
                value = distance(mean, second)
                by_mean, by_second = torch.autograd.grad(
                    value, (mean, second), allow_unused=True, materialize_grads=True
                )
            # Detached: what torch 2.9 fills in for an unused mean asks for a gradient of its own.
            by_mean = by_mean.detach() / sums.count
            by_second = (by_second + by_second.T) / sums.count  # symmetric
            return value.detach(), partial(linear_gradient, by_mean, by_second)

        return evaluate

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        """L(mean, second moment), 0 at the target, about 1 for features of another picture."""
        raise NotImplementedError


def linear_gradient(
    by_mean: Tensor, by_second: Tensor, features: Tensor, strength: Tensor | float
) -> Tensor:
    """A gradient (C, N) that is linear in features (C, N): strength (by_second F + by_mean).

    by_mean is (C,), by_second (C, C) symmetric.
    """
    # Multiplied the other way round, (N, C) x (C, C), the gradient lies in memory as the features
    # of a channels_last network do, and is used there without being copied.
    return torch.addmm(by_mean * strength, features.T, by_second * strength).T


class Gram(MomentStatistic):
    """Squared distance of Gram matrices (Gatys et al. 2015, equations 3 to 5): |G-A|^2 / |A|^2."""

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        size = target.second.square().sum() + TINY
        return lambda _, second: (second - target.second).square().sum() / size


class MeanStd(MomentStatistic):
    """Channel means and standard deviations (Li et al. 2017, "Demystifying", section 4.2)."""

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        mean, std = target.first, deviation(target.first, target.second)
        size = mean.square().sum() + std.square().sum() + TINY

        def distance(m: Tensor, second: Tensor) -> Tensor:
            of_std = (deviation(m, second) - std).square().sum()
            return ((m - mean).square().sum() + of_std) / size

        return distance


class Covariance(MomentStatistic):
    """Means and covariances, each over its target's size (the two halves of a Gaussian)."""

    def distance(self, target: Moments) -> Callable[[Tensor, Tensor], Tensor]:
        mean, cov = target.first, covariance(target.first, target.second)
        mean_size = mean.square().sum() + TINY
        cov_size = cov.square().sum() + TINY

        def distance(m: Tensor, second: Tensor) -> Tensor:
            of_cov = (covariance(m, second) - cov).square().sum() / cov_size
            return (m - mean).square().sum() / mean_size + of_cov

        return distance


def deviation(mean: Tensor, second: Tensor) -> Tensor:
    """Standard deviation (C,) of each channel, from mean (C,) and second moment (C, C)."""
    # Floored before the root: a dead channel has variance 0, and its root no derivative.
    return (second.diagonal() - mean.square()).clamp_min(TINY).sqrt()


def covariance(mean: Tensor, second: Tensor) -> Tensor:
    """Covariance (C, C), from mean (C,) and second moment (C, C)."""
    return second - torch.outer(mean, mean)
