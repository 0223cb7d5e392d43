"""Resizes images without aliasing."""

from torch import Tensor
from torch.nn import functional


def antialiased(image: Tensor, size: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """(N, C, H, W) -> (N, C, *size), ``bicubic`` (which may leave the range) or ``bilinear``."""
    if size[1] == 1 < size[0]:
        # torch 2.14 repeats the first row of a picture made one pixel wide; lying down it is right.
        return antialiased(image.mT, (1, size[0]), mode).mT
    return functional.interpolate(image, size, mode=mode, align_corners=False, antialias=True)
