"""Lanczos resampling on tensors, as Pillow does it on bytes."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.enhance.step_limits import EDGE

LOBES = 3


def enlarged(rgb: Tensor, factor: int) -> Tensor:
    """(3, H, W) -> (3, factor H, factor W) in [0, 1].

    Lanczos overshoots beside edges; a value becomes black or white only beside one that is.
    """
    height, width = rgb.shape[1:]
    padded = functional.pad(rgb, (1, 1, 1, 1), mode="replicate")
    high = functional.max_pool2d(padded, 3, stride=1).clamp_min(1 - EDGE)
    low = -functional.max_pool2d(-padded, 3, stride=1).clamp_min(-EDGE)
    bounds = [
        plane.repeat_interleave(factor, 1).repeat_interleave(factor, 2) for plane in (low, high)
    ]
    return lanczos(rgb, (height * factor, width * factor)).clamp(*bounds)


def lanczos(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """(C, H, W) -> (C, *size), antialiased; what is returned may leave the range a little."""
    rows = _weights(planes.shape[1], size[0], planes)
    columns = _weights(planes.shape[2], size[1], planes)
    return rows @ planes @ columns.T


def _weights(before: int, after: int, like: Tensor) -> Tensor:
    """(after, before): the share of each old pixel in each new one."""
    scale = before / after
    centres = (torch.arange(after, device=like.device) + 0.5) * scale
    away = torch.arange(before, device=like.device) + 0.5 - centres[:, None]
    away = away / max(scale, 1.0)
    weights = torch.sinc(away) * torch.sinc(away / LOBES) * (away.abs() < LOBES)
    return (weights / weights.sum(1, keepdim=True)).to(like)
