"""How far a picture is from its paintings, and what no step may add to that or take from it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.enhance.filters import small
from pipeline.imaging.resampling import antialiased
from pipeline.nst import Vgg19
from pipeline.nst.objective import Objective, style_sums
from pipeline.nst.pyramid import inner, to_depth

MAX_STYLE_SHIFT = 0.1  # of the photo's own distance from the paintings
ROUNDS = 8  # of holding a step back, before it is left out
# Strokes and their texture are what a step can change; and all of it costs 3 % of a draft.
SIDE = 256  # px of the copy that is looked at
DEPTH = 3  # VGG's blocks that look at it

# (3, H, W) -> its distance from the paintings: 0 in their style, 1 as far away as the photo.
Distance = Callable[[Tensor], float]


class StyleDistance:
    """The transfer's own style loss, as a `Distance`; looks at nothing before it is asked.

    Args:
        network: VGG-19, on the device of the pictures.
        photo: (3, h, w) in [0, 1].
        paintings: (3, h, w) each.
        shares: Of the blend; any positive scale.
        style_scale: As in the transfer.
    """

    def __init__(
        self,
        network: Vgg19,
        photo: Tensor,
        paintings: Sequence[Tensor],
        shares: Sequence[float],
        style_scale: float = 1.0,
    ) -> None:
        self.network, self.photo, self.paintings = network, photo, paintings
        self.shares = [share / sum(shares) for share in shares]
        style = Transfer(content_weight=0.0, tv_weight=0.0, style_scale=style_scale)
        self.options = to_depth(style, DEPTH)
        self._objectives: dict[tuple[int, int], Objective] = {}

    def __call__(self, rgb: Tensor) -> float:
        seen = small(rgb, SIDE)
        return float(self._objective(seen).value(seen[None]))

    def _objective(self, like: Tensor) -> Objective:
        size = like.shape[1], like.shape[2]
        if size not in self._objectives:
            photo = antialiased(self.photo[None].to(like), size, "bilinear")
            paintings = [inner(painting[None].to(like)) for painting in self.paintings]
            area = size[0] * size[1]
            sums = style_sums(self.network, paintings, self.shares, area, self.options)
            self._objectives[size] = Objective(self.network, photo, sums, self.options)
        return self._objectives[size]


def style_held(
    changed: Tensor, before: Tensor, distance: Distance, was: float
) -> tuple[Tensor, float]:
    """``changed``, held back until it is as far from the paintings as ``before`` was, or nearly.

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
