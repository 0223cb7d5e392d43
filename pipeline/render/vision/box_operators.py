"""torchvision's operators for boxes, without its Python package.

`import torchvision` takes a second (it imports torch's compiler), which each process that paints
would spend. The operators need the package's library alone.
"""

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@lru_cache(maxsize=1)
def _operators() -> Any:
    spec = find_spec("torchvision")  # found, not imported
    folder = Path((spec.submodule_search_locations or ["."])[0]) if spec else Path()
    for library in sorted([*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]):
        torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    if not hasattr(torch.ops.torchvision, "nms"):  # a torchvision of another layout
        import_module("torchvision")
    return torch.ops.torchvision


def nms(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Indices (k,) of the boxes that no better one overlaps by more than ``overlap``, best first.

    Args:
        boxes: (n, 4): left, top, right, bottom.
        scores: (n,).
        overlap: Intersection over union, 0 to 1.
    """
    kept: Tensor = _operators().nms(boxes, scores, overlap)
    return kept


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float) -> Tensor:
    """`nms` within each group (n,) of boxes alone."""
    if not len(boxes):
        return groups.new_zeros(0, dtype=torch.long)
    apart = groups.to(boxes) * (boxes.max() - boxes.min() + 1)  # no two groups share a place
    return nms(boxes + apart[:, None], scores, overlap)


def crop_boxes(pixels: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Boxes (n, 4) of a picture (1, C, H, W), averaged down to (n, C, side, side); 0 beyond it.

    RoIAlign (He et al. 2017, "Mask R-CNN", section 3) with as many samples as a large box needs.
    """
    numbered = torch.cat((boxes.new_zeros(len(boxes), 1), boxes), 1)  # all of picture 0
    patches: Tensor = _operators().roi_align(pixels, numbered, 1.0, side, side, -1, True)
    return patches


def box_overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (n, m) of boxes (n, 4) with others (m, 4)."""
    corner = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    end = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (end - corner).clamp_min(0).prod(-1)
    area, other = ((each[:, 2:] - each[:, :2]).prod(-1) for each in (boxes, others))
    return shared / (area[:, None] + other[None, :] - shared)
