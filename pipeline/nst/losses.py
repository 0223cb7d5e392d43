"""Content and total variation losses. Style: see `pipeline.nst.statistics`."""

from copy import copy

import torch
from torch import Tensor

from pipeline.nst.content_focus import resize_to_size
from pipeline.nst.statistics import TINY, Moments, deviation

MAX_GAIN = 4.0  # times a channel is stretched or shrunk: a dead one must not be made into noise


class ContentLoss:
    """Squared distance of features (Gatys et al. 2015, equation 1), over the target's own size.

    Args:
        target: P, (1, C, H, W).
        weights: Of each place, (1, 1, h, w), see `focus_weights`; absent: all alike (the paper).
    """

    def __init__(self, target: Tensor, weights: Tensor | None = None) -> None:
        self.target = target
        self.weights = None  # (1, 1, H, W)
        if weights is not None:
            self.weights = resize_to_size(weights, (target.shape[-2], target.shape[-1]))
        self.size = target.float().square().sum() + TINY

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The loss |F - P|^2 / |P|^2, each place by its weight, and its gradient at F."""
        difference = features - self.target
        weighted = difference if self.weights is None else difference * self.weights
        loss = (weighted.float() * difference.float()).sum() / self.size
        return loss, weighted.mul_(2 / self.size)

    def part(self, rows: slice, columns: slice) -> "ContentLoss":
        """The same loss of some places alone: over all parts they add up to the whole."""
        part = copy(self)  # `size` stays that of the whole
        part.target = self.target[..., rows, columns]
        part.weights = None if self.weights is None else self.weights[..., rows, columns]
        return part


def adapt_features(features: Tensor, style: Moments, mask: Tensor | None = None) -> Tensor:
    """Features (1, C, H, W) with the style's channel means and standard deviations.

    Their own are those within ``mask`` (1, 1, H, W), or of the whole picture.

    AdaIN (Huang & Belongie 2017, equation 8). Not the paper: the photo's own features of an evenly
    lit face mean "no tiles here", and the picture becomes a compromise of both. What is left of the
    photo after this is where things are, which is what content is meant to be.
    """
    flat = features.squeeze(0).flatten(1).float()  # (C, N)
    weights = None if mask is None else mask.flatten()
    own, other = Moments.of(flat, weights).normalised(), style.normalised()
    gain = deviation(other.first, other.second) / deviation(own.first, own.second)
    gain = gain.clamp(1 / MAX_GAIN, MAX_GAIN)[:, None]
    moved = (flat - own.first[:, None]) * gain + other.first[:, None]
    # Behind a ReLU nothing is negative, and no picture could follow a target that is.
    return moved.clamp_min(0).view_as(features).to(features.dtype)


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, of an image (1, 3, H, W) in [0, 1].

    The mean, not the sum, so that its strength does not grow with the picture's area.
    """
    across = (image[..., :, 1:] - image[..., :, :-1]).square()
    down = (image[..., 1:, :] - image[..., :-1, :]).square()
    parts = [part.mean() for part in (across, down) if part.numel()]
    return torch.stack(parts).sum() if parts else image.sum() * 0
