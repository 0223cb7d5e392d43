"""The picture enlarged: by Lanczos, by a learned model, or repainted at its new size."""

from collections.abc import Callable

from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.enhance.step_limits import held, limited
from pipeline.enhance.learned_upscaler import learned
from pipeline.errors import EngineError
from pipeline.config.transfer import Transfer

# (3, H, W), the picture enlarged -> (3, H, W), the same with new brushwork.
Repaint = Callable[[Tensor], Tensor]

STEPS = 8
DEPTH = 3  # forms are settled: only strokes and their texture are looked at
HOLD = 8 / 3  # times the content weight, everywhere alike: no motif is to come where none is
BLOCK = 1024  # px; larger pictures are repainted in blocks of this side


def upscaled(
    rgb: Tensor, options: Enhance, repaint: Repaint | None, model_sha256: str = ""
) -> tuple[Tensor, Tensor]:
    """The picture enlarged, and its plain enlargement that it is measured against.

    Raises:
        ChangedError: The model's file does not hold what ``model_sha256`` says.
        EngineError: When there is nothing to repaint or enlarge with.
    """
    plain = enlarged(rgb, options.upscale)
    if options.upscale_by == "lanczos":
        return plain, plain
    if options.upscale_by == "model":
        made = _by_model(rgb, options, (plain.shape[1], plain.shape[2]), model_sha256)
    elif repaint is None:
        raise EngineError("no style to paint with", where="upscale_by", mend="choose lanczos")
    else:
        made = repaint(plain).to(plain)
    # The mean colour stays: a network may shift it by a shade. Limits shift it again: in rounds.
    for _ in range(3):
        made = made + (plain - limited(made, plain)).mean((1, 2), keepdim=True)
    return held(made, plain, "upscale"), plain


def _by_model(rgb: Tensor, options: Enhance, size: tuple[int, int], sha256: str) -> Tensor:
    if options.upscale_model is None:
        raise EngineError("no model's file is named", where="upscale_model")
    made = learned(rgb, options.upscale_model, sha256)
    return made if (made.shape[1], made.shape[2]) == size else lanczos(made, size)


def brushwork(options: Transfer, long_side: int) -> Transfer:
    """The transfer that repaints an enlarged picture: one scale, few steps, shallow layers."""
    short = {
        "size": long_side,
        "scales": (long_side,),
        "steps": (STEPS,),
        "depths": (DEPTH,),
        "content_depths": (DEPTH,),
        "content_weight": HOLD * options.content_weight,
        "content_focus": "even",
        "init": "enlarged",  # no word of its own: the start image given counts
        "block": min(options.block or BLOCK, BLOCK),
    }
    return options.model_copy(update=short)
