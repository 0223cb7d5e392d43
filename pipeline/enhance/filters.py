"""Filters that several steps share: luma, box means, the guided filter, resizing, noise."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.imaging.resampling import antialiased

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, taken on the gamma-coded values
DARK = 0.05  # luma below which changes fade, so that noise in the shadows is not raised


def luma(rgb: Tensor) -> Tensor:
    """(3, H, W) -> (1, H, W)."""
    return (rgb * rgb.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)


def with_luma(rgb: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The picture (3, H, W) with luma ``after`` instead of ``before``, (1, H, W) each.

    One factor for all three channels keeps the hue.
    """
    return rgb * ((after + DARK) / (before + DARK))


def box(planes: Tensor, radius: int) -> Tensor:
    """Mean over a square window, (C, H, W) -> (C, H, W); beyond the border its last pixels."""
    size, (height, width) = 2 * radius + 1, planes.shape[1:]
    padded = functional.pad(planes, (radius,) * 4, mode="replicate")
    # Shifted copies added up: a quarter of the time of pooling, a seventh of a convolution's.
    down = padded[:, :height].clone()
    for shift in range(1, size):
        down += padded[:, shift : shift + height]
    both = down[:, :, :width].clone()
    for shift in range(1, size):
        both += down[:, :, shift : shift + width]
    return both / size**2


def guided_filter(guide: Tensor, planes: Tensor, radius: int, deviation: float) -> Tensor:
    """Smooths ``planes`` where ``guide`` deviates less than ``deviation``, and keeps its edges.

    He, Sun and Tang 2013, "Guided Image Filtering", equations 5, 6 and 8.

    Args:
        guide: (1 or C, H, W).
        planes: (C, H, W).
        radius: Of the square window, in px.
        deviation: Standard deviation that counts as an edge; the paper's epsilon is its square.
    """
    slope, offset = guided_lines(guide, planes, radius, deviation)
    return slope * guide + offset


def guided_lines(
    guide: Tensor, planes: Tensor, radius: int, deviation: float
) -> tuple[Tensor, Tensor]:
    """Slope and offset, (C, H, W) each, of the line in ``guide`` that fits ``planes`` locally."""
    mean_guide, mean_planes = box(guide, radius), box(planes, radius)
    variance = box(guide * guide, radius) - mean_guide * mean_guide
    covariance = box(guide * planes, radius) - mean_guide * mean_planes
    slope = covariance / (variance.clamp_min(0) + deviation**2)
    return box(slope, radius), box(mean_planes - slope * mean_guide, radius)


def resize_planes(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """(C, H, W) -> (C, *size), bilinear, antialiased."""
    return antialiased(planes[None], size, "bilinear")[0]


def shrink(planes: Tensor, side: int) -> Tensor:
    """A copy (C, h, w) of at most ``side`` px, for measuring the picture as a whole."""
    height, width = planes.shape[1:]
    ratio = min(1.0, side / max(height, width))
    return resize_planes(planes, (max(1, round(height * ratio)), max(1, round(width * ratio))))


def noise(height: int, width: int, seed: int, like: Tensor) -> Tensor:
    """(1, H, W) standard normal; drawn on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, height, width, generator=generator).to(like)
