"""Limits what one step may change, and measures what it changed."""

import math
import time

import torch
from torch import Tensor

from pipeline.enhance.filters import box, luma

EDGE = 0.6 / 255  # a value this far from black or white is neither, rounded to 8 bits
MAX_APPROACH = 0.45  # of the way to black or white that a value has left
MAX_MEAN_SHIFT = 0.004  # of a channel's mean, one of 255 levels
# Steps that are meant to change colours may shift a mean by so much.
ALLOWED_SHIFT = {"white_balance": 0.06, "tone": 0.06, "vibrance": 0.02}

Figures = dict[str, object]


def limit_change(changed: Tensor, before: Tensor, step: str) -> Tensor:
    """``changed`` (3, H, W), limited in its distance from ``before``.

    Value by value by `limit_values`; a change that shifts the mean colour too far is reduced in
    proportion.
    """
    changed = limit_values(changed, before)
    most, shift = ALLOWED_SHIFT.get(step, MAX_MEAN_SHIFT), mean_shift(changed, before)
    return changed if shift <= most else torch.lerp(before, changed, most / shift)


def limit_values(changed: Tensor, before: Tensor) -> Tensor:
    """No value becomes black or white, or comes nearer to them by more than MAX_APPROACH."""
    low = torch.maximum(before * (1 - MAX_APPROACH), before.clamp_max(EDGE))
    high = torch.minimum(1 - (1 - before) * (1 - MAX_APPROACH), before.clamp_min(1 - EDGE))
    return torch.minimum(torch.maximum(changed, low), high)


def measure_step(after: Tensor, before: Tensor, began: float) -> Figures:
    """What a step did to a picture of the same size, and its seconds since ``began``.

    ``clipped``: share of pixels with a channel newly black or white in 8 bits. ``mean_shift``: of
    the channel whose mean moved most. ``detail``: luma's finest detail, as a multiple.
    """
    newly = (extreme(after) & ~extreme(before)).any(0).float().mean().item()
    had, has = _detail(before), _detail(after)
    return {
        "clipped": round(newly, 5),
        "mean_shift": round(mean_shift(after, before), 4),
        "detail": round(has / had, 3) if had > 1e-6 else 1.0,
        "seconds": round(time.monotonic() - began, 3),  # last: the figures wait for the device
    }


def mean_shift(after: Tensor, before: Tensor) -> float:
    """By how much the mean of a channel moved, at most, of 1."""
    shift = (after.mean((1, 2)) - before.mean((1, 2))).abs().max().item()
    return shift if math.isfinite(shift) else math.inf


def extreme(rgb: Tensor) -> Tensor:
    """Where values are black or white, rounded to 8 bits."""
    return (rgb < 0.5 / 255) | (rgb > 254.5 / 255)


def _detail(rgb: Tensor) -> float:
    plane = luma(rgb)
    return (plane - box(plane, 1)).abs().mean().item()
