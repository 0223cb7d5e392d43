"""Loads, resizes and saves pictures as tensors; `decode` and `encode` handle the formats."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.output import OutputFormat, Profile
from pipeline.errors import OutputError
from pipeline.imaging.decode import DEFAULT_LIMITS, Bytes, Decoded, DecodeLimits, decode_file
from pipeline.imaging.encode import (
    NO_LABELS,
    Labels,
    caption,
    encode,
    encode_small,
    png_bytes,
)
from pipeline.imaging.resampling import antialiased

__all__ = [
    "DecodeLimits",
    "Labels",
    "Picture",
    "add_caption",
    "composite",
    "encode_png",
    "load_image",
    "preview",
    "resize",
    "save",
    "save_png",
    "save_small",
    "to_picture",
]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture, upright, in sRGB or the colour space that was asked for.

    ``rgb`` is composited where the file was transparent, so every value can be computed with.
    ``exif``, ``xmp`` and ``icc`` are the file's own bytes: the orientation in them has been
    applied already, and ``icc`` describes the file, not ``rgb``.
    """

    rgb: Tensor  # (3, H, W) float32 in [0, 1]
    alpha: Tensor | None = None  # (1, H, W) float32 in [0, 1], None when opaque
    exif: bytes = b""
    xmp: bytes = b""
    icc: bytes = b""
    notes: tuple[str, ...] = ()  # what of the file was not used


def load_image(
    path: Path,
    *,
    long_side: int | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    profile: Profile = "srgb",
) -> Picture:
    """The picture in the file at ``path``; of an animation the first frame.

    Args:
        path: A regular file, not a link, of a kind that the table ``KINDS`` in
            `pipeline.config.file_kinds` has as a photo.
        long_side: Reduce to this long side in px, with antialiasing; never enlarges.
        limits: Of the file.
        profile: The colour space of the values returned.

    Raises:
        InputError: The file cannot be used; ``code`` says why.
        EngineError: There is not memory enough to decode it.
    """
    return to_picture(decode_file(path, long_side, limits, profile))


def to_picture(decoded: Decoded) -> Picture:
    """A decoded picture, from here or the sandbox, as tensors for computing."""
    rgb = _tensor(decoded.rgb)
    alpha = None if decoded.alpha is None else _tensor(decoded.alpha[..., None])
    if alpha is not None:
        rgb = composite(rgb, alpha)
    return Picture(rgb, alpha, decoded.exif, decoded.xmp, decoded.icc, decoded.notes)


def save(
    rgb: Tensor,
    path: Path,
    wanted: OutputFormat,
    alpha: Tensor | None = None,
    labels: Labels = NO_LABELS,
) -> tuple[int, int]:
    """Writes a picture in the format ``wanted`` to exactly ``path``, and syncs it to disk.

    Args:
        rgb: (3, H, W) in the colours of ``wanted.profile``; values beyond [0, 1] are clamped.
        path: A staging path: it is overwritten, and may hold half a picture after an error.
        wanted: Format, quality, depth and profile.
        alpha: (1, H, W) in [0, 1], or None for an opaque picture.
        labels: Metadata to write.

    Returns:
        Width and height in px.

    Raises:
        OutputError: The picture is not finite, the disk is full or the file cannot be written.
    """
    pixels = _stack_alpha(rgb, alpha)
    if not pixels.isfinite().all():
        what, hint = "the picture holds NaN or infinity", "lower the learning rate"
        raise OutputError(what, where=str(path), hint=hint)
    encode(_to_uint16(pixels) if wanted.depth == 16 else _to_uint8(pixels), path, wanted, labels)
    return pixels.shape[2], pixels.shape[1]


def save_png(rgb: Tensor, path: Path) -> tuple[int, int]:
    """`save` as a plain 8-bit PNG in sRGB."""
    return save(rgb, path, OutputFormat())


def encode_png(rgb: Tensor) -> bytes:
    """(3, H, W) as the bytes of an 8-bit PNG in sRGB."""
    return png_bytes(_to_uint8(rgb))


def save_small(
    rgb: Tensor,
    path: Path,
    long_side: int,
    alpha: Tensor | None = None,
    profile: Profile = "srgb",
) -> None:
    """Writes a small copy of (3, H, W) for the gallery: JPEG in sRGB, at most ``long_side`` px.

    A transparent picture is shown on a checkerboard.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """
    encode_small(_to_uint8(_stack_alpha(rgb, alpha).nan_to_num()), path, long_side, profile)


def add_caption(rgb: Tensor, text: str) -> Tensor:
    """(3, H, W) with lines of text on a white band above: (3, H + band, W)."""
    return _tensor(caption(_to_uint8(rgb), text).copy())  # Pillow lends read-only memory


def resize(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """(C, H, W) -> (C, *size), antialiased bicubic, clamped to [0, 1], which bicubic may leave."""
    return antialiased(rgb[None], size)[0].clamp(0, 1)


def preview(rgb: Tensor, long_side: int) -> tuple[int, int, bytes]:
    """Height, width and sRGB bytes of a small copy of (3, H, W); never enlarged."""
    height, width = rgb.shape[1:]
    ratio = min(1.0, long_side / max(height, width))
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    small = resize(rgb.detach().nan_to_num().clamp(0, 1), size)
    return *size, _to_uint8(small).tobytes()


def composite(rgb: Tensor, alpha: Tensor) -> Tensor:
    """The picture on a ground of the mean colour of what is visible.

    White or black would draw a hard outline that the transfer takes for content, and that shows
    as a fringe where the alpha is put back. Only a picture of a single colour (a logo, ink) would
    vanish on its own mean: it gets white or black, whichever is further from it.
    """
    seen = alpha.sum().clamp_min(1e-6)
    ground = (rgb * alpha).sum((1, 2), keepdim=True) / seen  # (3, 1, 1)
    spread = ((rgb - ground).square().mul(alpha).sum() / (3 * seen)).sqrt()
    if spread < 0.05:
        ground = (ground.mean() < 0.5).to(rgb).expand(3, 1, 1)
    return torch.lerp(ground, rgb, alpha)


def _stack_alpha(rgb: Tensor, alpha: Tensor | None) -> Tensor:
    """(3 or 4, H, W)."""
    return rgb if alpha is None else torch.cat((rgb, alpha.to(rgb)))


def _to_uint16(pixels: Tensor) -> npt.NDArray[np.uint16]:
    """(C, H, W) -> (H, W, C) of 16 bits on the CPU."""
    # float32 holds 24 bits: rounding to 65,535 levels is exact.
    rounded = (pixels.detach().float().clamp(0, 1) * 65535).round()
    return rounded.permute(1, 2, 0).contiguous().cpu().numpy().astype(np.uint16)


def _tensor(array: Bytes) -> Tensor:
    """(H, W, C) bytes -> (C, H, W) float32 in [0, 1]."""
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div_(255)


def _to_uint8(pixels: Tensor) -> Bytes:
    """(C, H, W) -> (H, W, C) bytes on the CPU."""
    rounded = (pixels.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.permute(1, 2, 0).contiguous().cpu().numpy()
