"""Steps that change tones and colours: white balance, tone, local contrast, vibrance."""

import torch
from torch import Tensor

from pipeline.enhance.filters import guided_lines, luma, resize_planes, shrink, with_luma

MEASURED_SIDE = 256  # px of the copy that the picture as a whole is measured on
MAX_GAIN = 1.25  # of a channel, in linear light
MAX_STRETCH = 1.5  # of the range of tones: a faint picture stays one
MIDDLE = 0.45  # where a picture's middle tone is drawn to, a little


def white_balance(rgb: Tensor, strength: float) -> Tensor:
    """Removes a colour cast: shades of grey, p = 6 (Finlayson and Trezzi 2004).

    The light's colour is the sixth-power mean of each channel in linear light; each channel is
    divided by it (von Kries), as far as the strength says.
    """
    linear = _to_linear(rgb)
    light = shrink(linear, MEASURED_SIDE).pow(6).mean((1, 2)).pow(1 / 6).clamp_min(1e-4)
    gain = (luma(light[:, None, None]).squeeze() / light).clamp(1 / MAX_GAIN, MAX_GAIN)
    return _from_linear(linear * gain.pow(strength)[:, None, None])


def tone(rgb: Tensor, strength: float) -> Tensor:
    """Tones stretched towards black and white, the middle one moved a little to MIDDLE.

    Black and white are the 0.5 % and 99.5 % quantiles of luma.
    """
    plane = luma(rgb)
    ends = plane.new_tensor([0.005, 0.5, 0.995])
    dark, middle, light = shrink(plane, MEASURED_SIDE).flatten().quantile(ends).clamp(0, 1)
    stretch = (1 - (1 - strength) * (dark + 1 - light)) / (light - dark).clamp_min(1e-3)
    stretch = stretch.clamp_max(1 + (MAX_STRETCH - 1) * strength)
    around = (1 - strength) * (dark + light) / 2 + strength / 2
    stretched = (around + stretch * (plane - (dark + light) / 2)).clamp(0, 1)
    was = (around + stretch * (middle - (dark + light) / 2)).clamp(0.02, 0.98)
    goal = torch.lerp(middle, middle.new_tensor(MIDDLE), 0.25 * strength).clamp(0.02, 0.98)
    power = (goal.log() / was.log()).clamp(0.7, 1.4)
    return with_luma(rgb, plane, stretched.clamp_min(1e-4).pow(power))


def contrast(rgb: Tensor, strength: float) -> Tensor:
    """Raises local contrast, less where it is high already, so that no halo appears.

    The surroundings are a fast guided filter's (He and Sun 2015): its lines are found on a small
    copy.
    """
    plane = luma(rgb)
    tiny, size = shrink(plane, 128), (rgb.shape[1], rgb.shape[2])
    slope, offset = (resize_planes(line, size) for line in guided_lines(tiny, tiny, 8, 0.1))
    return with_luma(rgb, plane, plane + strength * (plane - slope * plane - offset))


def vibrance(rgb: Tensor, strength: float, guard: float) -> Tensor:
    """Chroma raised where there is some but not much; colours of skin less, by ``guard``."""
    plane = luma(rgb)
    saturation = rgb.amax(0, keepdim=True) - rgb.amin(0, keepdim=True)
    muted = (1 - saturation) * saturation / (saturation + 0.08)  # none at grey: it has no hue
    gain = 1 + strength * muted * (1 - guard * skin(rgb))
    return plane + gain * (rgb - plane)


def skin(rgb: Tensor) -> Tensor:
    """(1, H, W): 1 at colours of skin, 0 away from them.

    The box of Chai and Ngan 1999 ("Face segmentation using skin-color map"), Cb 77 to 127 and
    Cr 133 to 173 of 255, as an ellipse with a soft rim as wide as itself.
    """
    weights = rgb.new_tensor(((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)))
    cb, cr = torch.einsum("ij,jhw->ihw", weights, rgb)  # ITU-R BT.601, in [-0.5, 0.5]
    away = torch.hypot((cb + 26 / 255) / (25 / 255), (cr - 25 / 255) / (20 / 255))
    return (2 - away).clamp(0, 1)[None]


def _to_linear(rgb: Tensor) -> Tensor:
    """Values of sRGB -> linear light (IEC 61966-2-1)."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0) + 0.055) / 1.055).pow(2.4))


def _from_linear(linear: Tensor) -> Tensor:
    """Linear light -> sRGB values."""
    root = linear.clamp_min(0.0031308).pow(1 / 2.4)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * root - 0.055)
