"""Enlarges with a learned model from the user's file; the only module that uses spandrel."""

import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ChangedError, EngineError, install_command
from pipeline.system.safe_files import read_verified

TILE = 256  # px of the picture before it is enlarged
OVERLAP = 32  # px computed around a tile and cut off, so that no seam is seen


def upscale_with_model(rgb: Tensor, path: Path, sha256: str = "") -> Tensor:
    """(3, H, W) in [0, 1] -> (3, s H, s W) in [0, 1], s the model's own scale.

    Args:
        rgb: The picture.
        path: The model's file.
        sha256: Its SHA-256; absent: it is not checked.

    Raises:
        ChangedError: Its SHA-256 is another one.
        EngineError: The file is missing, is no model for colour pictures, or spandrel is missing.
    """
    model = _model(path, sha256 or _digest(path)).to(rgb.device)
    height, width = rgb.shape[1:]
    out = rgb.new_empty(3, height * model.scale, width * model.scale)
    with torch.inference_mode():
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                _fill(out, rgb, model, top, left)
    return out


def _fill(out: Tensor, rgb: Tensor, model: Any, top: int, left: int) -> None:
    """One tile, computed with a margin of which nothing is kept."""
    (y0, y1, y2), (x0, x1, x2) = (_span(top, rgb.shape[1]), _span(left, rgb.shape[2]))
    made = model(rgb[None, :, y0:y2, x0:x2])[0]
    s = model.scale
    out[:, top * s : y1 * s, left * s : x1 * s] = made[
        :, (top - y0) * s : (y1 - y0) * s, (left - x0) * s : (x1 - x0) * s
    ]


def _span(start: int, length: int) -> tuple[int, int, int]:
    """Where a tile's margin begins, where the tile ends, and where its margin does."""
    end = min(start + TILE, length)
    return max(0, start - OVERLAP), end, min(end + OVERLAP, length)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_verified(path)).hexdigest()
    except FileNotFoundError:
        raise EngineError("no such file", where=str(path), hint="see upscale_model") from None
    except OSError as error:
        raise EngineError(f"cannot be read: {error.strerror}", where=str(path)) from None


@lru_cache(maxsize=1)
def _model(path: Path, sha256: str) -> Any:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, canonicalize_state_dict
    except ImportError:
        hint = install_command("upscale")
        raise EngineError("enlarging with a model needs spandrel", hint=hint) from None
    try:
        state = _state(read_verified(path, sha256))
        model = ModelLoader().load_from_state_dict(canonicalize_state_dict(state))
    except ChangedError:
        raise
    except Exception as error:  # torch and spandrel raise anything at all on files that are none
        line = " ".join(str(error).split())[:200]
        raise EngineError(f"is not a usable model: {line}", where=str(path)) from None
    if not isinstance(model, ImageModelDescriptor) or model.input_channels != 3:
        raise EngineError("is not a model for enlarging colour pictures", where=str(path))
    return model.eval()


def _state(content: bytes) -> dict[str, Any]:
    """The model's tensors; never code, which a pickle could hold."""
    if content[8:9] == b"{":  # safetensors: behind eight bytes of length, a header in JSON
        from safetensors.torch import load

        return dict(load(content))
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
