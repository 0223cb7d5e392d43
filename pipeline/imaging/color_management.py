"""Converts pictures of any mode and profile to 8-bit RGB in our colour spaces (littleCMS)."""

import io
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from pipeline.imaging.icc_profiles import icc_bytes

if TYPE_CHECKING:  # a decoder process starts sooner without the models
    from pipeline.config.output import Profile


def plain(image: Image.Image) -> Image.Image:
    """The same picture as L, LA, RGB, RGBA or CMYK: 8 bits a channel, no palette."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_deep_grey(image)
    if image.mode == "LAB":
        return _apply_profile(
            image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "srgb"
        )
    mode = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    if image.has_transparency_data:  # an alpha channel, or one colour declared transparent
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, whole or float, to 8 bits without clipping.

    16-bit whole numbers span 0..65535 and floats 0..1, as is usual. Numbers beyond that have no
    agreed meaning: their own range is stretched. NaN is black, infinity an extreme.
    """
    grey = np.array(image, dtype=np.float32)
    finite = grey[np.isfinite(grey)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    nominal = 1.0 if image.mode == "F" else 65535.0
    if low >= 0 and high <= nominal:
        low, high = 0.0, nominal
    # Halved first: the difference of two floats may be too large for a float.
    share = np.nan_to_num(grey, nan=low, posinf=high, neginf=low) / 2 - low / 2
    share /= max(high / 2 - low / 2, np.finfo(np.float32).tiny)
    return Image.fromarray(np.rint(share * 255).astype(np.uint8))


def convert_colors(
    image: Image.Image, icc: bytes, target: "Profile", notes: list[str], stated: bytes = b""
) -> Image.Image:
    """Convert to RGB in the target's colours; without a usable profile, values are sRGB.

    Args:
        image: Of a mode that `plain` gives.
        icc: The file's own profile.
        target: The colours that are wanted.
        notes: What cannot be used is added here.
        stated: A profile of RGB that takes precedence over the file's own.
    """
    colour = image.convert(image.mode.removesuffix("A"))
    if stated and colour.mode != "CMYK":
        return _apply_profile(colour.convert("RGB"), _profile(stated), target)
    if icc:
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return _apply_profile(colour, _profile(icc), target)
        notes.append("its colour profile cannot be used: read as sRGB")
    elif colour.mode == "CMYK":
        notes.append("CMYK without a colour profile: its colours are an estimate")
    return between(colour.convert("RGB"), "srgb", target)


def _profile(icc: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


def between(image: Image.Image, source: "Profile", target: "Profile") -> Image.Image:
    """RGB from one of our colour spaces in another."""
    return image if source == target else _apply_profile(image, _own_profile(source), target)


@cache
def _own_profile(name: "Profile") -> ImageCms.ImageCmsProfile:
    return _profile(icc_bytes(name))


def _apply_profile(
    image: Image.Image, profile: ImageCms.ImageCmsProfile, target: "Profile"
) -> Image.Image:
    transform = ImageCms.buildTransform(
        profile,
        _own_profile(target),
        image.mode,
        "RGB",
        ImageCms.Intent.PERCEPTUAL,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return transform.apply(image)
