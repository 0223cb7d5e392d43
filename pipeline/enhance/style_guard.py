"""The distance of a picture from its paintings, and a limit to how far a step may change it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.enhance.filters import shrink
from pipeline.imaging.resampling import antialiased
from pipeline.nst import Vgg19
from pipeline.nst.guidance.regions import StyleTarget
from pipeline.nst.objective import Objective, measure_style
from pipeline.nst.pyramid import limit_depth, trim_edges

MAX_STYLE_SHIFT = 0.1  # of the photo's own distance from the paintings
ROUNDS = 8  # of reducing a step, before it is left out
# Strokes and their texture are what a step can change; and all of it costs 3 % of a draft.
SIDE = 256  # px of the copy that is measured
DEPTH = 3  # VGG blocks that it is measured with

# (3, H, W) -> its distance from the paintings: 0 in their style, 1 as far away as the photo.
Distance = Callable[[Tensor], float]


class StyleDistance:
    """The transfer's own style loss, as a `Distance`; computes nothing before the first call.

    Args:
        network: VGG-19, on the device of the pictures.
        photo: (3, h, w) in [0, 1].
        paintings: (3, h, w) each.
        shares: Of the blend; any positive scale.
        style_scale: As in the transfer.
        depth: The deepest VGG block that is measured, 1 to 5.
    """

    def __init__(
        self,
        network: Vgg19,
        photo: Tensor,
        paintings: Sequence[Tensor],
        shares: Sequence[float],
        style_scale: float = 1.0,
        depth: int = DEPTH,
    ) -> None:
        self.network, self.photo, self.paintings = network, photo, paintings
        self.shares = [share / sum(shares) for share in shares]
        style = Transfer(content_weight=0.0, tv_weight=0.0, style_scale=style_scale)
        self.options = limit_depth(style, depth)
        self._objectives: dict[tuple[int, int], Objective] = {}

    def __call__(self, rgb: Tensor) -> float:
        seen = shrink(rgb, SIDE)
        return float(self._objective(seen).value(seen[None]))

    def _objective(self, like: Tensor) -> Objective:
        size = like.shape[1], like.shape[2]
        if size not in self._objectives:
            photo = antialiased(self.photo[None].to(like), size, "bilinear")
            paintings = [trim_edges(painting[None].to(like)) for painting in self.paintings]
            area = size[0] * size[1]
            sums = measure_style(self.network, paintings, self.shares, area, self.options)
            self._objectives[size] = Objective(
                self.network, photo, [StyleTarget(sums)], self.options
            )
        return self._objectives[size]


def limit_style_shift(
    changed: Tensor, before: Tensor, distance: Distance, was: float
) -> tuple[Tensor, float]:
    """``changed``, reduced until its distance from the paintings is about that of ``before``.

    Returns:
        The picture, between ``before`` and ``changed``; and its distance, at most
        MAX_STYLE_SHIFT from ``was``, that of ``before``.
    """
    for _ in range(ROUNDS):
        now = distance(changed)
        moved = abs(now - was)
        if moved <= MAX_STYLE_SHIFT:
            return changed, now
        # A squared distance: half the change moves it by a quarter, or by half at most.
        changed = torch.lerp(before, changed, (0.9 * MAX_STYLE_SHIFT / moved) ** 0.5)
    return before, was
