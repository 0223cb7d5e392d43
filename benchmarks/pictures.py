"""Pictures that all benchmarks share: they ship with the project."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from pipeline.imaging.tensors import load_image, resize, save_png

ROOT = Path(__file__).parent.parent
PHOTOS = {"astronaut": ROOT / "inbox/astronaut.jpg", "coffee": ROOT / "inbox/coffee.jpg"}


def photo(name: str = "coffee") -> Tensor:
    """A sample photograph (3, H, W)."""
    return load_image(PHOTOS[name]).rgb


def painting(name: str = "brush_strokes") -> Tensor:
    """A starter style (3, H, W)."""
    return load_image(ROOT / f"pipeline/styles/{name}.jpg").rgb


def sized(picture: Tensor, long_side: int) -> Tensor:
    """The picture at another size."""
    factor = long_side / max(picture.shape[1:])
    return resize(picture, (round(picture.shape[1] * factor), round(picture.shape[2] * factor)))


def as_file(picture: Tensor) -> str:
    """A temporary PNG of the picture, for peers that want a path."""
    path = Path(tempfile.mkdtemp(prefix="bench-")) / "picture.png"
    save_png(picture, path)
    return str(path)


def threads() -> int:
    """How many cores torch uses."""
    return torch.get_num_threads()
