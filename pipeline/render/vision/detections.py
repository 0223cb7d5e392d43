"""What a detector returns, before it is a `Face` of the whole picture."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Detections:
    """Faces in px: boxes (n, 4), scores (n), landmarks (n, 5, 2) as (x, y); best first."""

    boxes: Tensor  # left, top, right, bottom
    scores: Tensor
    landmarks: Tensor
