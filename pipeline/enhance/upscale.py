"""Enlarges the picture: by Lanczos, by a learned model, or by stylizing it at its new size."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import Transfer
from pipeline.enhance.learned_upscaler import upscale_with_model
from pipeline.enhance.step_limits import EDGE, limit_change, limit_values
from pipeline.errors import EngineError

# (3, H, W), the picture enlarged -> (3, H, W), the same with new brushwork.
Repaint = Callable[[Tensor], Tensor]

STEPS = 8
DEPTH = 3  # VGG blocks: forms are there already, only strokes and their texture are new
CONTENT_FACTOR = 8 / 3  # of the content weight, everywhere alike: no new motifs where none is
BLOCK = 1024  # px; larger pictures are repainted in blocks of this side


def upscale(
    rgb: Tensor, options: Enhance, repaint: Repaint | None, model_sha256: str = ""
) -> tuple[Tensor, Tensor]:
    """The picture enlarged, and its plain enlargement that it is measured against.

    Raises:
        ChangedError: The model's file has another SHA-256.
        EngineError: When there is nothing to repaint or enlarge with.
    """
    plain = enlarge(rgb, options.upscale)
    if options.upscale_by == "lanczos":
        return plain, plain
    if options.upscale_by == "model":
        made = _by_model(rgb, options, (plain.shape[1], plain.shape[2]), model_sha256)
    elif repaint is None:
        raise EngineError(
            "enlarging by transfer needs a style", where="upscale_by", hint="choose lanczos"
        )
    else:
        made = repaint(plain).to(plain)
    # Keeps the mean colour, which a network may shift a little; limits shift it again: in rounds.
    for _ in range(3):
        made = made + (plain - limit_values(made, plain)).mean((1, 2), keepdim=True)
    return limit_change(made, plain, "upscale"), plain


def _by_model(rgb: Tensor, options: Enhance, size: tuple[int, int], sha256: str) -> Tensor:
    if options.upscale_model is None:
        raise EngineError("the file of the model is missing", where="upscale_model")
    made = upscale_with_model(rgb, options.upscale_model, sha256)
    return made if (made.shape[1], made.shape[2]) == size else lanczos(made, size)


def repaint_options(options: Transfer, long_side: int) -> Transfer:
    """The transfer that repaints an enlarged picture: one scale, few steps, shallow layers."""
    short = {
        "size": long_side,
        "scales": (long_side,),
        "steps": (STEPS,),
        "depths": (DEPTH,),
        "content_depths": (DEPTH,),
        "content_weight": CONTENT_FACTOR * options.content_weight,
        "content_focus": "even",
        "init": "enlarged",  # not one of the named starts: the start image that is given is used
        "block": min(options.block or BLOCK, BLOCK),
    }
    return options.model_copy(update=short)


LOBES = 3  # of the Lanczos kernel


def enlarge(rgb: Tensor, factor: int) -> Tensor:
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
