"""The chain gone through: each step taken, held within its bounds and measured."""

import time
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.chain import (
    FINISHING,
    AnyStep,
    Canvas,
    Clean,
    Contrast,
    Denoise,
    Detail,
    Enhance,
    Grain,
    Sharpen,
    Tone,
    Vibrance,
    WhiteBalance,
)
from pipeline.enhance.bounds import Figures, figures, held
from pipeline.enhance.sharp import detail, sharpen
from pipeline.enhance.smooth import clean, denoise
from pipeline.enhance.texture import canvas, grain
from pipeline.enhance.tone import contrast, tone, vibrance, white_balance
from pipeline.enhance.upscale import Repaint, upscaled


class Enhanced(NamedTuple):
    """The enhanced picture, (3, H, W) in [0, 1], and what each step did."""

    picture: Tensor
    steps: tuple[Figures, ...]


@torch.no_grad()
def enhance(
    picture: Tensor,
    options: Enhance,
    photo: Tensor | None = None,
    repaint: Repaint | None = None,
) -> Enhanced:
    """The enhanced picture.

    Args:
        picture: (3, H, W) sRGB in [0, 1], of any size.
        options: The chain.
        photo: (3, h, w), what the picture was painted from, for the step ``detail``; without it
            that step is left out.
        repaint: Paints an enlarged picture again, for ``upscale_by: transfer``.

    Returns:
        (3, H, W) in [0, 1] on the same device, H and W times ``options.upscale``. In 8 bits, no
        value becomes black or white that was not before; for how far a step moves the mean colour
        see `pipeline.enhance.bounds`.

    Raises:
        EngineError: When the picture cannot be enlarged as asked.
    """
    rgb, done = picture.detach(), []
    chain = options.chain()
    at = next((i for i, s in enumerate(chain) if s.step in FINISHING), len(chain))
    for step in chain[:at]:
        rgb, said = _taken(step, rgb, photo)
        done.append(said)
    if options.upscale > 1:
        rgb, said = _enlarged(rgb, options, repaint)
        done.append(said)
    for step in chain[at:]:
        rgb, said = _taken(step, rgb, photo)
        done.append(said)
    return Enhanced(rgb, tuple(done))


def _taken(step: AnyStep, rgb: Tensor, photo: Tensor | None) -> tuple[Tensor, Figures]:
    began = time.monotonic()
    after = held(_stepped(step, rgb, photo), rgb, step.step)
    return after, {"step": step.step, "strength": step.strength} | figures(after, rgb, began)


def _stepped(step: AnyStep, rgb: Tensor, photo: Tensor | None) -> Tensor:
    match step:
        case Clean():
            return clean(rgb, step.strength, step.border)
        case Denoise():
            return denoise(rgb, step.strength)
        case Detail():
            return (
                rgb if photo is None else detail(rgb, _as(photo, rgb), step.strength, step.radius)
            )
        case WhiteBalance():
            return white_balance(rgb, step.strength)
        case Tone():
            return tone(rgb, step.strength)
        case Contrast():
            return contrast(rgb, step.strength)
        case Vibrance():
            return vibrance(rgb, step.strength, step.guard)
        case Sharpen():
            return sharpen(rgb, step.strength)
        case Grain():
            return grain(rgb, step.strength, step.size, step.seed)
        case Canvas():
            return canvas(rgb, step.strength, step.size, step.seed)


def _as(photo: Tensor, rgb: Tensor) -> Tensor:
    """The photo at the picture's size, on its device."""
    size = rgb.shape[1], rgb.shape[2]
    resized = functional.interpolate(
        photo[None].to(rgb), size=size, mode="bicubic", align_corners=False, antialias=True
    )
    return resized[0].clamp(0, 1)


def _enlarged(rgb: Tensor, options: Enhance, repaint: Repaint | None) -> tuple[Tensor, Figures]:
    began = time.monotonic()
    after, plain = upscaled(rgb, options, repaint)
    said: Figures = {"step": "upscale", "factor": options.upscale, "by": options.upscale_by}
    return after, said | figures(after, plain, began)
