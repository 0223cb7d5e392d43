"""Regions: which part of a photo learns from which part of which painting.

Every statistic is a sum over positions, so it can be taken of a part of them: each position counts
by a soft mask (Gatys et al. 2017, "Controlling perceptual factors", section 4, "spatial guidance").
A style loss with regions is the sum of the regions' own losses, each by its share of the picture;
with a single region it is the loss of the whole picture.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.config.transfer import ColorWord
from pipeline.errors import EngineError
from pipeline.nst.content_focus import resize_to_size
from pipeline.nst.losses import adapt_features
from pipeline.nst.statistics import TINY, Moments, Statistic, StyleLoss, Sums

# Positions that a region must have at a layer to be compared there: the statistics of fewer are
# mostly chance. Below it the layer counts its positions to the other regions.
MIN_POSITIONS = 12.0
# The shallowest VGG block that represents motifs (an eye, a leaf) and not only strokes and colours.
MOTIF_BLOCK = 3


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the photo, and what it learns from.

    Attributes:
        mask: (1, 1, h, w) in [0, 1] over the photo; None: all of it.
        strength: Of the region, see `pipeline.nst.look.strength`; None: that of the picture.
        colors: Of the region, see `pipeline.nst.look.coloring`; None: as in the whole picture.
        shares: Of each painting, any positive scale; None: those of the style.
        sources: (1, 1, h, w) in [0, 1] over each painting, its outermost edge trimmed
            (`trim_edges`), or None for all of it; None: all of all.
        color_strength: How far its colours apply; None: fully with `colors`, else as the picture's.
    """

    mask: Tensor | None = None
    strength: float | None = None
    colors: ColorWord | None = None
    shares: tuple[float, ...] | None = None
    sources: tuple[Tensor | None, ...] | None = None
    color_strength: float | None = None


WHOLE = (Region(),)


@dataclass(frozen=True, slots=True)
class Learned:
    """Which places of a painting each place of the photo learns from.

    Attributes:
        plan: P (h w, h' w'), from `pipeline.nst.guidance.matching.match`.
        grids: Rows and columns of the photo's places, and of the painting's.
    """

    plan: Tensor
    grids: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Guide:
    """What is known about where things are, in the photo and in the paintings.

    Attributes:
        regions: For the layers of VGG's first blocks, which represent strokes and colours.
        motifs: For the layers from block `MOTIF_BLOCK` on, and for content.
        hold: (1, 1, h, w), a factor of the content loss at each place; None: 1.
        cap: (1, 1, h, w), the content loss's highest weight at each place, in units of the mean;
            None: no bound but the general one.
        learned: For each painting, which of its places each place of the photo learns from; then
            content is adapted to these, and not to a region's style. Empty: unknown.
        detail: (1, 1, h, w) in [0, 1]: where a deep content layer must keep small forms at the
            finest scale. Nowhere: the layer is not computed. None: everywhere.
        keep: (1, 1, h, w) in [0, 1]: the photo's share in what each place must resemble; None: 0.
        untouched: (1, 1, h, w) in [0, 1]: how much of the photo's own pixels each place shows.
        fixed: Whether the sources depend on the paintings alone, so that their sums may be cached.
    """

    regions: tuple[Region, ...] = WHOLE
    motifs: tuple[Region, ...] = WHOLE
    learned: tuple[Learned, ...] = ()
    hold: Tensor | None = None
    cap: Tensor | None = None
    detail: Tensor | None = None
    keep: Tensor | None = None
    untouched: Tensor | None = None
    fixed: bool = True


NO_GUIDE = Guide()


@dataclass(frozen=True, slots=True)
class StyleTarget:
    """What one part of the picture is compared with.

    Attributes:
        sums: The style's sums by layer, as `measure_style` gives them.
        mask: (1, 1, h, w) in [0, 1] over the picture; None: all of it.
        keep: The photo's own share in what it is compared with.
        moments: The style's moments at the content layers.
    """

    sums: Mapping[str, Sums]
    mask: Tensor | None = None
    keep: float = 0.0
    moments: Mapping[str, Moments] = field(default_factory=dict)


class Window(NamedTuple):
    """The rows and columns of a layer's features that a block of the picture holds."""

    rows: slice
    columns: slice

    def of(self, mask: Tensor) -> Tensor:
        """The part of a mask (1, 1, H, W) in it, flat: (N,)."""
        return mask[0, 0, self.rows, self.columns].flatten()


EVERYWHERE = Window(slice(None), slice(None))


def masks_at(
    masks: Sequence[Tensor | None], size: tuple[int, int]
) -> list[tuple[int, Tensor | None]]:
    """Masks on a layer's grid: index and mask (1, 1, H, W) of those that are large enough there.

    They sum to 1 everywhere. A single one that is left counts everywhere: None.
    """
    if len(masks) == 1 and masks[0] is None:
        return [(0, None)]
    on_grid = [_on_grid(mask, size, masks) for mask in masks]
    total = torch.stack(on_grid).sum(0).clamp_min(TINY)
    large = [
        (index, mask)
        for index, mask in enumerate(on_grid)
        if mask.sum() ** 2 >= MIN_POSITIONS * mask.square().sum() and mask.sum() >= MIN_POSITIONS
    ]
    if len(large) < 2:
        largest = max(range(len(masks)), key=lambda index: float(on_grid[index].sum()))
        return [(large[0][0] if large else largest, None)]
    total = torch.stack([mask for _, mask in large]).sum(0)
    # Where only regions count that are too small here, the others share the place equally.
    return [
        (index, torch.where(total > TINY, mask / total.clamp_min(TINY), 1 / len(large)))
        for index, mask in large
    ]


def _on_grid(mask: Tensor | None, size: tuple[int, int], masks: Sequence[Tensor | None]) -> Tensor:
    if mask is None:
        like = next((each for each in masks if each is not None), None)
        return torch.ones(1, 1, *size, device=None if like is None else like.device)
    return resize_to_size(mask, size).clamp(0, 1)


def map_of_regions(regions: Sequence[Region], values: Sequence[float], like: Tensor) -> Tensor:
    """The value of the region that each place is in: (1, 1, h, w), on the device of ``like``."""
    parts = [
        region.mask * value
        for region, value in zip(regions, values, strict=True)
        if region.mask is not None
    ]
    if len({*values}) == 1 or not parts:
        return like.new_full((1, 1, 1, 1), values[0])
    return torch.stack(parts).sum(0)


def normalised_shares(shares: Sequence[float] | None, count: int) -> list[float]:
    """The shares of ``count`` styles, summing to 1; equal when absent.

    Raises:
        EngineError: They are too few, too many or negative.
    """
    weights = [1.0] * count if shares is None else list(shares)
    if not count or len(weights) != count or min(weights) < 0 or sum(weights) <= 0:
        raise EngineError(f"{count} styles with shares {weights}", where="styles")
    return [weight / sum(weights) for weight in weights]


class RegionalLoss:
    """The style loss of one layer, over all regions.

    Args:
        statistic: Measures features.
        targets: The sums that each region is compared with.
        masks: Of each region over the picture; see `StyleTarget.mask`.
        keeps: The photo's share in each region's target, see `mix_in`.
        size: (H, W) of the layer's features.
    """

    def __init__(
        self,
        statistic: Statistic,
        targets: Sequence[Sums],
        masks: Sequence[Tensor | None],
        keeps: Sequence[float],
        size: tuple[int, int],
    ) -> None:
        used = masks_at(masks, size)
        self.statistic = statistic
        self.targets = [targets[index] for index, _ in used]
        self.masks = [mask for _, mask in used]
        self.keeps = [keeps[index] for index, _ in used]
        self.shares = [1.0 if mask is None else mask.mean() for mask in self.masks]
        self.losses: list[StyleLoss] = [statistic.loss(target) for target in self.targets]
        self.whole: Tensor | float = 1.0  # the loss at the photo, which all are divided by

    def mix_in(self, photo: Sequence[Sums]) -> None:
        """Compare each region with what lies between its style and the photo's own sums."""
        if not any(self.keeps):
            return
        parts = zip(self.targets, photo, self.keeps, strict=True)
        self.targets = [
            target.between(own, keep) if keep else target for target, own, keep in parts
        ]
        self.losses = [self.statistic.loss(target) for target in self.targets]

    def measure(self, features: Tensor, window: Window = EVERYWHERE) -> list[Sums]:
        """Sums of features (C, N) of a window, for each region."""
        return [
            self.statistic.measure(features, None if mask is None else window.of(mask), like=target)
            for mask, target in zip(self.masks, self.targets, strict=True)
        ]

    def __call__(self, sums: Sequence[Sums]) -> tuple[Tensor, "RegionalGradient"]:
        """The loss of the whole picture's sums, and its gradient at features."""
        found = [loss(each) for loss, each in zip(self.losses, sums, strict=True)]
        weighted = [share * value for share, (value, _) in zip(self.shares, found, strict=True)]
        value = torch.stack(weighted).sum() if len(weighted) > 1 else weighted[0]
        return value / self.whole, RegionalGradient(self, [gradient for _, gradient in found])


@dataclass(frozen=True, slots=True)
class RegionalGradient:
    """The gradient of a `RegionalLoss` at features (C, N) of a window, times a strength: (C, N)."""

    loss: RegionalLoss
    gradients: Sequence[Any]

    def __call__(self, features: Tensor, strength: float, window: Window = EVERYWHERE) -> Tensor:
        found: list[Tensor] = []
        parts = zip(self.gradients, self.loss.masks, self.loss.shares, strict=True)
        for gradient_of, mask, share in parts:
            part: Tensor = gradient_of(features, strength * share / self.loss.whole)
            found.append(part if mask is None else part * window.of(mask))
        return reduce(torch.add, found)


def adapt_by_region(
    features: Tensor, moments: Sequence[Moments], masks: Sequence[Tensor | None]
) -> Tensor:
    """`adapt_features` within each region: (1, C, H, W) with the moments of the region's style."""
    height, width = features.shape[-2:]
    adapted = []
    for index, mask in masks_at(masks, (height, width)):
        here = adapt_features(features, moments[index], mask)
        adapted.append(here if mask is None else mask * here)
    return reduce(torch.add, adapted)


def add_sums(left: Iterable[Sums], right: Iterable[Sums]) -> list[Sums]:
    """Sums of two blocks of a picture, region by region."""
    return [a + b for a, b in zip(left, right, strict=True)]
