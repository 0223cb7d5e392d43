"""Weights of the content loss: high where a photo has detail, low where style is free."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.nst.colors import LUMA
from pipeline.nst.pyramid import resize, target_size

SIDE = 128  # px, long side at which detail is measured
FINE, AROUND = 1 / 64, 1 / 32  # of the long side: detail is finer than the first, and lasts so far
HALF = 0.5  # of a photo's mean detail: where the weight is half the highest
MAX_WEIGHT = 3.0  # times the mean: the only face in an even sky is not made a photograph
MIN_DETAIL = 1 / 1024  # a quarter of a level of 8 bits: less is noise


def focus_weights(photo: Tensor) -> Tensor:
    """The content loss's weight at each place of a photo, 1 in the mean (less where capped).

    Not the paper, which weights every place alike: an even sky then stays even, and the painting's
    stars and swirls have nowhere to go, while a face is kept no better than the wall behind it.
    Detail d is what is finer than FINE, as its root mean square over AROUND; the
    weight d^2 / (d^2 + h^2) levels off, so that an outline does not take all of it from a face.

    Args:
        photo: (1, 3, H, W) in [0, 1].

    Returns:
        (1, 1, h, w), its long side at most SIDE px; 1 everywhere for a photo without any detail.
    """
    height, width = photo.shape[-2:]
    side = min(SIDE, max(height, width))
    small = resize(photo, target_size(height, width, side))
    luma = (small * small.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    fine = luma - _blurred(luma, FINE * side)
    detail = _blurred(fine.square(), AROUND * side).sqrt() + MIN_DETAIL
    half = HALF * (detail.mean() - MIN_DETAIL)  # nothing for a photo without detail
    weights = detail.square() / (detail.square() + half.square())
    return (weights / weights.mean()).clamp_max(MAX_WEIGHT)


def guided_weights(
    weights: Tensor | None, hold: Tensor | None, cap: Tensor | None
) -> Tensor | None:
    """Weights (1, 1, h, w) times ``hold``, at most ``cap``, on the weights' grid or theirs."""
    if hold is None and cap is None:
        return weights
    if weights is None:
        weights = torch.ones_like(hold if hold is not None else cap)  # type: ignore[arg-type]
    size = weights.shape[-2], weights.shape[-1]
    if cap is not None:
        weights = weights.minimum(resize_to_size(cap, size))
    return weights if hold is None else weights * resize_to_size(hold, size)


def resize_to_size(weights: Tensor, size: tuple[int, int]) -> Tensor:
    """Weights (1, 1, h, w) on another grid: (1, 1, *size)."""
    return resize(weights, size, "bilinear")


def lerp_to(image: Tensor, other: Tensor, share: Tensor | None) -> Tensor:
    """(1, C, H, W) between two of that shape: ``share`` (1, 1, h, w) of the other; None: 0."""
    return image if share is None else image.lerp(other, share_at(share, image))


def share_at(share: Tensor, image: Tensor) -> Tensor:
    """A share (1, 1, h, w) on the grid of an image (1, C, H, W), in [0, 1]; one alone as it is."""
    if share.numel() == 1:
        return share  # exactly: resized, a share of 1 might become a little less
    return resize_to_size(share, (image.shape[-2], image.shape[-1])).clamp(0, 1)


def _blurred(image: Tensor, deviation: float) -> Tensor:
    """(1, 1, H, W) -> the same, by a Gaussian of a standard deviation in px, edges drawn out."""
    reach = math.ceil(3 * deviation)
    offsets = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype) / deviation
    kernel = torch.softmax(-offsets.square() / 2, 0)
    padded = F.pad(image, [reach] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
