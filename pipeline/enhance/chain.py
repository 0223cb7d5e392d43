"""The enhancement chain: each step applied, limited and measured.

How to add a step: see *Add an enhancement step* in CONTRIBUTING.md.
"""

import time
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.config.enhancement import (
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
from pipeline.enhance.cleanup import clean, denoise
from pipeline.enhance.detail import detail, sharpen
from pipeline.enhance.step_limits import Figures, limit_change, measure_step
from pipeline.enhance.style_guard import Distance, limit_style_shift
from pipeline.enhance.texture import canvas, grain
from pipeline.enhance.tone import contrast, tone, vibrance, white_balance
from pipeline.enhance.upscale import Repaint, upscale
from pipeline.imaging.resampling import antialiased


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
    distance: Distance | None = None,
    model_sha256: str = "",
) -> Enhanced:
    """The enhanced picture.

    Args:
        picture: (3, H, W) sRGB in [0, 1], of any size.
        options: The chain.
        photo: (3, h, w), what the picture was painted from, for the step ``detail``; without it
            that step is left out.
        repaint: Paints an enlarged picture again, for ``upscale_by: transfer``.
        distance: How far pictures are from the paintings, as `StyleDistance` measures it; without
            it the steps may change the style.
        model_sha256: What the file of ``options.upscale_model`` must hold; absent: anything.

    Returns:
        (3, H, W) in [0, 1] on the same device, H and W times ``options.upscale``. In 8 bits, no
        value becomes black or white that was not before; for how far a step moves the mean colour
        see `pipeline.enhance.step_limits`, and the style `pipeline.enhance.style_guard`.

    Raises:
        EngineError: When the picture cannot be enlarged as asked.
        ChangedError: When the model's file has another SHA-256.
    """
    state = _ChainState(picture.detach(), photo, distance)
    chain = options.chain()
    at = next((i for i, s in enumerate(chain) if s.at_final_size), len(chain))
    for step in chain[:at]:
        state.apply(step)
    if options.upscale > 1:
        state.enlarge(options, repaint, model_sha256)
    for step in chain[at:]:
        state.apply(step)
    return Enhanced(state.rgb, tuple(state.done))


class _ChainState:
    """The picture between two steps of the chain, and the figures of the steps so far."""

    def __init__(self, rgb: Tensor, photo: Tensor | None, distance: Distance | None) -> None:
        self.rgb, self.photo, self.distance = rgb, photo, distance
        self.style_distance: float | None = None  # of ``rgb``, once it is known
        self.done: list[Figures] = []

    def apply(self, step: AnyStep) -> None:
        """Apply a step within its limits."""
        began, before = time.monotonic(), self.rgb
        entry: Figures = {"step": step.step, "strength": step.strength}
        self.rgb = limit_change(_apply_step(step, before, self.photo), before, step.step)
        if self.distance is not None:
            was = self.distance(before) if self.style_distance is None else self.style_distance
            self.rgb, self.style_distance = limit_style_shift(self.rgb, before, self.distance, was)
            entry["style_shift"] = round(self.style_distance - was, 4)
        self.done.append(entry | measure_step(self.rgb, before, began))

    def enlarge(self, options: Enhance, repaint: Repaint | None, model_sha256: str) -> None:
        """Enlarge to the final size; new brushwork is intended, so the style is not limited."""
        began = time.monotonic()
        self.rgb, plain = upscale(self.rgb, options, repaint, model_sha256)
        self.style_distance = None
        entry: Figures = {"step": "upscale", "factor": options.upscale, "by": options.upscale_by}
        self.done.append(entry | measure_step(self.rgb, plain, began))


def _apply_step(step: AnyStep, rgb: Tensor, photo: Tensor | None) -> Tensor:
    match step:
        case Clean():
            return clean(rgb, step.strength, step.border)
        case Denoise():
            return denoise(rgb, step.strength)
        case Detail():
            return (
                rgb
                if photo is None
                else detail(rgb, _fit_photo(photo, rgb), step.strength, step.radius)
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


def _fit_photo(photo: Tensor, rgb: Tensor) -> Tensor:
    """The photo at the picture's size, on its device."""
    size = rgb.shape[1], rgb.shape[2]
    return antialiased(photo[None].to(rgb), size)[0].clamp(0, 1)
