"""Converts Pillow images and NumPy arrays to tensors, and tensors to Pillow images."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from pipeline.errors import InputError, UsageError
from pipeline.imaging.decode import Decoded
from pipeline.imaging.tensors import composite, resize

Pixels = npt.NDArray[Any]
PillowImage = Image.Image
PythonImage = Image.Image | Pixels | Tensor


def from_python(picture: PythonImage, name: str) -> tuple[Tensor, Tensor | None]:
    """A Pillow image (turned upright; its profile is not applied), an array or a tensor.

    Args:
        picture: An array as for :func:`from_array`; a tensor is (3, H, W) in [0, 1].
        name: Which picture, for errors.
    """
    if isinstance(picture, Tensor):
        if picture.layout is not torch.strided or picture.is_meta:
            what = "this kind of tensor holds no picture"
            raise UsageError(what, where=name, hint="a dense tensor (3, H, W)")
        # A tensor of the caller's inference mode can be used in no gradient: a copy can. Its shape
        # and range are checked where it is used.
        return (picture.clone() if picture.is_inference() else picture), None
    if isinstance(picture, Image.Image):
        picture = _pillow_pixels(picture, name)
    if not isinstance(picture, np.ndarray):
        what, hint = (
            f"{type(picture).__name__} is not a picture",
            "a path, a Pillow image or an array",
        )
        raise UsageError(what, where=name, hint=hint)
    return from_array(picture, name)


def _pillow_pixels(picture: Image.Image, name: str) -> Pixels:
    """(H, W, 3) or (H, W, 4) bytes; Pillow may read the file of a picture only now."""
    try:
        upright = ImageOps.exif_transpose(picture)
        return np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        what = f"this Pillow image (mode {picture.mode}) cannot be read: {error}"
        raise InputError(what, where=name, hint="open and load it again") from None


def from_array(array: Pixels, name: str) -> tuple[Tensor, Tensor | None]:
    """An array (H, W), (H, W, 3) or (H, W, 4), of bytes or of floats from 0 to 1.

    Returns:
        (3, H, W) in [0, 1], composited where it is transparent, and its opacity (1, H, W), if any.

    Raises:
        UsageError: It has another shape, type or range; ``name`` says which picture.
    """
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        hint = "(H, W), (H, W, 3) or (H, W, 4)"
        raise UsageError(f"an array of shape {array.shape} is not a picture", where=name, hint=hint)
    values = torch.from_numpy(_unit_range(array, name)).permute(2, 0, 1)  # (3 or 4, H, W)
    if len(values) == 3:
        return values, None
    return composite(values[:3], values[3:]), values[3:]


def mask_from_python(mask: PythonImage, name: str) -> Decoded:
    """A mask as if it had been decoded from a file.

    Args:
        mask: A Pillow image; an array as for :func:`from_array`, or of booleans; a tensor
            (H, W), (1, H, W) or (3, H, W) of floats in [0, 1] or booleans.
        name: Which mask, for errors.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(mask, Image.Image):
        upright = ImageOps.exif_transpose(mask)
        mask = np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    if isinstance(mask, Tensor):
        mask = mask.detach().cpu().numpy()
        mask = np.moveaxis(mask, 0, 2) if mask.ndim == 3 else mask
    if not isinstance(mask, np.ndarray):
        hint = "a path, a Pillow image or an array"
        raise UsageError(f"{type(mask).__name__} is not a mask", where=name, hint=hint)
    planes = mask[..., None] if mask.ndim == 2 else mask
    if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4) or 0 in planes.shape:
        hint = "(H, W), (H, W, 3) or (H, W, 4)"
        raise UsageError(f"an array of shape {mask.shape} is not a mask", where=name, hint=hint)
    planes = planes.astype(np.float32) if planes.dtype == np.bool_ else _unit_range(planes, name)
    pixels = np.round(planes * np.float32(255)).astype(np.uint8)
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return Decoded(rgb, alpha, b"", b"", b"")


def _unit_range(array: Pixels, name: str) -> npt.NDArray[np.float32]:
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if not np.issubdtype(array.dtype, np.floating):
        hint = "bytes from 0 to 255, or floats from 0 to 1"
        raise UsageError(f"an array of {array.dtype} is not accepted", where=name, hint=hint)
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise UsageError("values are not from 0 to 1", where=name, hint="divide by the maximum")
    return array.astype(np.float32)


def to_pillow(rgb: Tensor, alpha: Tensor | None = None) -> Image.Image:
    """A picture (3, H, W) in [0, 1] as RGB; as RGBA where ``alpha`` (1, h, w) is not all opaque."""
    planes = rgb.cpu()
    if alpha is not None and bool((alpha < 1).any()):
        planes = torch.cat([planes, resize(alpha, (planes.shape[1], planes.shape[2]))])
    pixels = (planes.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels)
