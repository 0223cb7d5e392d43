"""Steps that remove noise, specks and border marks, and keep brush texture."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.enhance.filters import LUMA, guided_filter, luma

SPECK = 0.04  # by how much a pixel must stand out from all eight around it


def denoise(rgb: Tensor, strength: float) -> Tensor:
    """Removes fine noise, far more in chroma than in luma, where the eye sees brushwork.

    Chroma that follows luma is kept (guided filter, He, Sun and Tang 2013). Of the rest, edges
    between colours of equal luma are large and stay; noise is small and goes.

    Args:
        rgb: (3, H, W) in [0, 1]; what is returned may leave that range a little.
        strength: In (0, 1].
    """
    plane = luma(rgb)
    chroma = rgb[::2] - plane  # (2, H, W): red and blue as distances from luma
    explained = guided_filter(plane, chroma, radius=3, deviation=0.05 * strength)
    rest = chroma - explained
    chroma = explained + guided_filter(rest, rest, radius=3, deviation=0.15 * strength)
    plane = guided_filter(plane, plane, radius=2, deviation=0.05 * strength)
    red, blue = plane + chroma[:1], plane + chroma[1:]
    green = (plane - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.cat((red, green, blue))


def clean(rgb: Tensor, strength: float, border: int) -> Tensor:
    """Specks moved into the range of their neighbours, and the border made like its inside."""
    return _without_frame(_without_specks(rgb, strength), strength, border)


def _without_specks(rgb: Tensor, strength: float) -> Tensor:
    """Conservative smoothing: only a pixel beyond all of its eight neighbours is touched."""
    height, width = rgb.shape[1:]
    padded = functional.pad(rgb, (1, 1, 1, 1), mode="replicate")
    around = [
        padded[:, y : y + height, x : x + width]
        for y in range(3)
        for x in range(3)
        if (y, x) != (1, 1)
    ]
    low = high = around[0]
    for shifted in around[1:]:
        low, high = torch.minimum(low, shifted), torch.maximum(high, shifted)
    beyond = rgb - torch.minimum(torch.maximum(rgb, low), high)
    return rgb - strength * functional.softshrink(beyond, SPECK)


def _without_frame(rgb: Tensor, strength: float, border: int) -> Tensor:
    """All four sides; in a corner the side that is further off counts."""
    change = torch.zeros_like(rgb)
    for turns in range(4):
        turned = rgb.rot90(turns, (1, 2))
        if border and turned.shape[1] >= 4 * border:
            here = functional.pad(
                _stripe(turned, border), (0, 0, 0, turned.shape[1] - border)
            ).rot90(-turns, (1, 2))
            change = torch.where(here.abs() > change.abs(), here, change)
    return rgb + strength * change


def _stripe(rgb: Tensor, border: int) -> Tensor:
    """The correction that makes the outermost rows like those inside, (3, border, W).

    A network that repeats or pads the border leaves stripes along it: a difference that goes on
    along the row. So it is averaged along the row; and only what exceeds the difference of the
    rows inside among themselves is a stripe.
    """
    near, far = rgb[:, border : 2 * border].mean(1), rgb[:, 2 * border : 3 * border].mean(1)
    off = _along(near[:, None] - rgb[:, :border], 8 * border)
    typical = _along((near - far).abs()[:, None], 8 * border)
    return off.sign() * (off.abs() - 2 * typical - 0.01).clamp_min(0)


def _along(rows: Tensor, radius: int) -> Tensor:
    """Mean along each row, (C, h, W) -> (C, h, W)."""
    padded = functional.pad(rows, (radius, radius, 0, 0), mode="replicate")
    return functional.avg_pool2d(padded, (1, 2 * radius + 1), 1)
