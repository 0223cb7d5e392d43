"""Pictures that several test files make, and how they are loaded. No test stands here."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import torch
from PIL import Image

from pipeline.imaging.tensors import Picture, load_image

pillow_heif.register_heif_opener()

KINDS: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    "progressive": {"format": "JPEG", "quality": 95, "progressive": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "lossless": True},
    "tiff": {"format": "TIFF"},
    "lzw": {"format": "TIFF", "compression": "tiff_lzw"},
    "bmp": {"format": "BMP"},
    "gif": {"format": "GIF"},
}
NEWER: dict[str, dict[str, Any]] = {
    "avif": {"format": "AVIF", "quality": 95, "subsampling": "4:4:4"},
    "heic": {"format": "HEIF", "quality": 95, "chroma": 444},
}
EXACT = ("png", "webp", "tiff", "lzw", "bmp")


def photo(height: int = 24, width: int = 32) -> Image.Image:
    """A small picture without symmetry: smooth ramps and one bright corner."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 // width, y * 200 // height, (x + y) * 2 % 256], -1)
    pixels[: height // 4, : width // 4] = (250, 240, 30)
    return Image.fromarray(pixels.astype(np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


Load = Callable[..., Picture]


def loader(folder: Path) -> Load:
    """Loads bytes, or an image saved with the given options, by way of a file in a folder."""

    def load(source: bytes | Image.Image, *, long_side: int | None = None, **save: Any) -> Picture:
        path = folder / "picture"
        path.write_bytes(source if isinstance(source, bytes) else encoded(source, **save))
        return load_image(path, long_side=long_side)

    return load


# Left, top, right, bottom of the face of scikit-image's astronaut, in shares of its sides.
PORTRAIT_BOX = (0.37, 0.14, 0.5, 0.32)
