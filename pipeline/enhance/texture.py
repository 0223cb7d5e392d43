"""Surface textures: grain and canvas, the same for the same seed on every device."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.enhance.filters import luma, noise, resize_planes

GRAIN = 0.08  # standard deviation at full strength, in middle tones
WEAVE = 0.14  # the same of the canvas's light, as a share of the picture's


def grain(rgb: Tensor, strength: float, size: float, seed: int) -> Tensor:
    """Grey grain of ``size`` px, strongest in the middle tones, none in black and white."""
    height, width = rgb.shape[1:]
    grid = max(1, round(height / size)), max(1, round(width / size))
    grains = _standardise(_smooth(noise(*grid, seed, rgb), (height, width)))
    plane = luma(rgb)
    return rgb + _centre(GRAIN * strength * 4 * plane * (1 - plane) * grains)


def canvas(rgb: Tensor, strength: float, size: float, seed: int) -> Tensor:
    """Plain weave, ``size`` px from thread to thread, lit from the upper left."""
    relief = _weave(rgb.shape[1], rgb.shape[2], size, seed, rgb)
    return rgb * (1 + _centre(WEAVE * strength * _standardise(relief)))


def _weave(height: int, width: int, size: float, seed: int, like: Tensor) -> Tensor:
    """Light on the threads, (1, H, W): each goes over one and under the next."""
    down, across = (
        torch.arange(length, device=like.device, dtype=like.dtype) / size
        for length in (height + 1, width + 1)
    )
    v, u = torch.meshgrid(down, across, indexing="ij")
    # No two threads are alike: they wander by a quarter of their width over some ten threads.
    coarse = [max(2, math.ceil(length / (10 * size))) for length in (height + 1, width + 1)]
    wander = _smooth(noise(2 * coarse[0], coarse[1], seed, like), (2 * (height + 1), width + 1))
    v, u = v + 0.25 * wander[0, : height + 1], u + 0.25 * wander[0, height + 1 :]
    over = (v.floor() + u.floor()).remainder(2)  # 1: the thread across lies above
    along, beside = torch.sin(math.pi * v.frac()).abs(), torch.sin(math.pi * u.frac()).abs()
    threads = torch.lerp(beside * (0.5 + 0.5 * along), along * (0.5 + 0.5 * beside), over)
    return (threads[1:, 1:] - threads[:-1, :-1])[None]


def _smooth(planes: Tensor, size: tuple[int, int]) -> Tensor:
    if (planes.shape[1], planes.shape[2]) == size:
        return planes
    if planes.shape[1] > size[0] or planes.shape[2] > size[1]:
        return resize_planes(planes, size)
    return functional.interpolate(planes[None], size=size, mode="bicubic", align_corners=False)[0]


def _standardise(planes: Tensor) -> Tensor:
    """Mean 0, standard deviation 1; a single pixel is 0."""
    centred = _centre(planes)
    return centred / centred.square().mean().sqrt().clamp_min(1e-6)


def _centre(planes: Tensor) -> Tensor:
    return planes - planes.mean()
