"""Content and total variation losses. Style: see `pipeline.nst.statistics`."""

import torch
from torch import Tensor

from pipeline.nst.statistics import TINY


class ContentLoss:
    """Squared distance of features (Gatys et al. 2015, equation 1), over the target's own size."""

    def __init__(self, target: Tensor) -> None:
        self.target = target  # (1, C, H, W)
        self.size = target.float().square().sum() + TINY

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The loss |F - P|^2 / |P|^2, and its gradient at the features."""
        difference = features - self.target
        return difference.float().square().sum() / self.size, difference * (2 / self.size)


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, of an image (1, 3, H, W) in [0, 1].

    The mean, not the sum, so that its strength does not grow with the picture's area.
    """
    across = (image[..., :, 1:] - image[..., :, :-1]).square()
    down = (image[..., 1:, :] - image[..., :-1, :]).square()
    parts = [part.mean() for part in (across, down) if part.numel()]
    return torch.stack(parts).sum() if parts else image.sum() * 0
