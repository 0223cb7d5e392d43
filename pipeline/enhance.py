"""Stylised picture -> enhanced picture: denoise, local contrast, sharpening.

Three steps on luma and chroma, on the picture's own device, each with a strength in [0, 1]; 0 is
the identity. Bounded by construction, whatever the picture: see ``_bounded``.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.chain import Enhance

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, taken on the gamma-coded values
DARK = 0.05  # luma below which changes fade, so that noise in the shadows is not raised
MAX_MEAN_SHIFT = 0.008  # with rounding to 8 bits, which may add 0.002, within the promised 0.01
MAX_APPROACH = 0.45  # below one half, so that the 8-bit values 1 and 254 stay clear of 0 and 255


def enhance(rgb: Tensor, options: Enhance) -> Tensor:
    """The enhanced picture.

    Args:
        rgb: (3, H, W) sRGB in [0, 1], of any size.
        options: The strength of each step.

    Returns:
        (3, H, W) in [0, 1], on the same device. In 8 bits, no value becomes black or white that
        was not before, and the mean of each channel moves by at most 0.01.
    """
    rgb = rgb.detach()
    clean = denoise(rgb, options.denoise) if options.denoise else rgb
    luma = target = _luma(clean)
    if options.contrast:
        target = target + options.contrast * _detail(target)
    if options.sharpen:
        target = sharpen(target, options.sharpen)
    # One factor for all three channels keeps the hue.
    return _bounded(clean * ((target + DARK) / (luma + DARK)), rgb)


def denoise(rgb: Tensor, strength: float) -> Tensor:
    """Removes fine noise, chroma's far more than luma's: the eye sees brushwork in luma.

    Chroma that follows luma is kept (guided filter, He, Sun and Tang 2013). Of the rest, edges
    between colours of equal luma are large and stay; noise is small and goes.

    Args:
        rgb: (3, H, W) in [0, 1]; what is returned may leave that range a little.
        strength: In (0, 1].
    """
    luma = _luma(rgb)
    chroma = rgb[::2] - luma  # (2, H, W): red and blue as distances from luma
    explained = guided_filter(luma, chroma, radius=3, deviation=0.05 * strength)
    rest = chroma - explained
    chroma = explained + guided_filter(rest, rest, radius=3, deviation=0.15 * strength)
    luma = guided_filter(luma, luma, radius=2, deviation=0.05 * strength)
    red, blue = luma + chroma[:1], luma + chroma[1:]
    green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.cat((red, green, blue))


def _detail(luma: Tensor) -> Tensor:
    """What stands out from its surroundings, less so the more it does: strong edges get no halo.

    The base is a fast guided filter (He and Sun 2015): its coefficients are found on a small copy.
    """
    height, width = luma.shape[1:]
    ratio = min(1.0, 128 / max(height, width))
    small = _scaled(luma, (max(1, round(height * ratio)), max(1, round(width * ratio))))
    slope, offset = _guided_lines(small, small, radius=8, deviation=0.1)
    return luma - _scaled(slope, (height, width)) * luma - _scaled(offset, (height, width))


def sharpen(luma: Tensor, strength: float) -> Tensor:
    """Unsharp masking within the range of each pixel's 3 x 3 neighbourhood: no halo can arise."""
    padded = functional.pad(luma, (1, 1, 1, 1), mode="replicate")[None]
    top = functional.max_pool2d(padded, 3, stride=1)[0]
    bottom = -functional.max_pool2d(-padded, 3, stride=1)[0]
    blurred = _box(_box(luma, 1), 1)
    return torch.clamp(luma + 1.5 * strength * (luma - blurred), bottom, top)


def guided_filter(guide: Tensor, planes: Tensor, radius: int, deviation: float) -> Tensor:
    """Smooths ``planes`` where ``guide`` deviates less than ``deviation``, and keeps its edges.

    Args:
        guide: (1 or C, H, W).
        planes: (C, H, W).
        radius: Of the square window, in px.
        deviation: Standard deviation that counts as an edge; the paper's epsilon is its square.
    """
    slope, offset = _guided_lines(guide, planes, radius, deviation)
    return slope * guide + offset


def _guided_lines(
    guide: Tensor, planes: Tensor, radius: int, deviation: float
) -> tuple[Tensor, Tensor]:
    """Slope and offset, (C, H, W) each, of the line in ``guide`` that fits ``planes`` locally."""
    mean_guide, mean_planes = _box(guide, radius), _box(planes, radius)
    variance = _box(guide * guide, radius) - mean_guide * mean_guide
    covariance = _box(guide * planes, radius) - mean_guide * mean_planes
    slope = covariance / (variance.clamp_min(0) + deviation**2)
    return _box(slope, radius), _box(mean_planes - slope * mean_guide, radius)


def _box(planes: Tensor, radius: int) -> Tensor:
    """Mean over a square window, (C, H, W) -> (C, H, W); beyond the border its last pixels."""
    size = 2 * radius + 1
    padded = functional.pad(planes, (radius,) * 4, mode="replicate")
    # Column by column, then row by row; pooling is three times as fast as a convolution here.
    return functional.avg_pool2d(functional.avg_pool2d(padded, (size, 1), 1), (1, size), 1)


def _scaled(planes: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(
        planes[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]


def _luma(rgb: Tensor) -> Tensor:
    """(3, H, W) -> (1, H, W)."""
    return (rgb * rgb.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)


def _bounded(changed: Tensor, rgb: Tensor) -> Tensor:
    """``changed``, held back where it goes too far from ``rgb``.

    No channel comes nearer to black or white than about half of the way that it had left, and a
    change that moves the mean colour too far is taken back in proportion.
    """
    changed = changed.clamp(rgb * (1 - MAX_APPROACH), rgb + (1 - rgb) * MAX_APPROACH)
    shift = (changed - rgb).mean((1, 2)).abs().max().item()
    return torch.lerp(rgb, changed, min(1.0, MAX_MEAN_SHIFT / max(shift, 1e-9)))
