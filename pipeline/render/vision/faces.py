"""Finds the faces of photos and paintings, and makes soft masks of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import EngineError
from pipeline.imaging.resampling import antialiased
from pipeline.render.vision.box_operators import box_overlap
from pipeline.render.vision.centerface import CenterFace
from pipeline.render.vision.detections import Detections
from pipeline.render.vision.mtcnn import Mtcnn, Thresholds

SIDE = 640  # px: long side at which MTCNN looks
PAINTED_SIDE = 480  # and CenterFace: brush strokes are smooth there (self-portrait 0.63, then 0.79)
SMALLEST = 1 / 24  # of the long side: a smaller face is a few strokes of paint
# One set for photos and paintings; the figures are in the lab book. CenterFace scores every face of
# the paintings but The Scream's at 0.67 or more, and what is none at 0.31 at most. MTCNN sees faces
# in ornaments and foam, up to 0.944, and alone counts only where it is sure.
SURE_CENTER, SURE_MTCNN = 0.5, 0.98
# Where both find a face, less is enough.
MAYBE_CENTER = 0.3
THRESHOLDS = Thresholds(proposal=0.6, refine=0.7, output=0.7)  # the authors'
SAME = 0.3  # IoU above which both have found the same face
FIGURE = 1.0, 7.0, 4.0  # in faces: what is above one, below one, and how wide a figure is
EDGE = 0.3  # of an ellipse's half axes, over which a mask falls to 0: the whole face is above 0.9

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """A face of a picture, in shares of its width and height."""

    box: Box  # left, top, right, bottom in 0..1: what is seen of a face at the border
    score: float  # 0..1
    # Left and right eye, nose, left and right corner of the mouth; "left" is left in an upright
    # picture. May lie a little outside of it, for a face that the border cuts.
    landmarks: tuple[Point, ...]

    @property
    def area(self) -> float:
        """As a share of the picture."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


class FaceDetector:
    """Finds faces by two networks, MTCNN and CenterFace; offline, since both are installed.

    MTCNN places landmarks to a pixel, and misses painted faces at thresholds that spare ornaments;
    CenterFace finds those. Neither finds a face as far from nature as The Scream's.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Load the networks.

        Raises:
            WeightsError: The weights are missing or damaged; with the command to type.
        """
        self._mtcnn, self._center = Mtcnn(device), CenterFace(device)

    def find(self, image: Tensor) -> list[Face]:
        """The faces of a picture, largest first; the same ones each time.

        Args:
            image: (3, H, W) sRGB in [0, 1].

        Raises:
            EngineError: The image has another shape, or holds NaN or infinity.
        """
        image = _checked(image)
        height, width = image.shape[-2:]
        small = _shrunk(image, SIDE)
        found = self._mtcnn.detect(small, max(small.shape[-2:]) * SMALLEST, THRESHOLDS)
        smaller = _shrunk(image, PAINTED_SIDE)
        painted = _in_shares(self._center.detect(smaller, MAYBE_CENTER), smaller)
        agreed = _agreed(_in_shares(found, small), painted)
        boxes = agreed.boxes.clamp(0, 1).tolist()
        rows = zip(boxes, agreed.scores.tolist(), agreed.landmarks.tolist(), strict=True)
        faces = [Face(_box(box), score, tuple(map(_point, five))) for box, score, five in rows]
        # The networks' windows start at about SMALLEST, and calibration may shrink them further.
        seen = [face for face in faces if _long_side(face, width, height) >= SMALLEST]
        return sorted(seen, key=lambda face: (-face.area, face.box))


def face_mask(faces: Sequence[Face], size: tuple[int, int], grow: float = 1.4) -> Tensor:
    """Where faces are: (1, 1, h, w) in [0, 1], on the CPU.

    Each is an ellipse in its box times ``grow`` (hair, ears and chin reach beyond the box), 1
    inside and falling smoothly to 0 at its edge. Where two meet, the larger value counts.

    Args:
        faces: As `FaceDetector.find` returns them; none gives zeros.
        size: Height and width of the mask in px, of any scale of the picture.
        grow: How much larger than its box an ellipse is.
    """
    height, width = size
    mask = torch.zeros(height, width)
    rows = (torch.arange(height) + 0.5).unsqueeze(1) / height  # centres of pixels
    columns = (torch.arange(width) + 0.5) / width
    for face in faces:
        left, top, right, bottom = face.box
        # A pixel at least: on a coarse grid a small face would fall between the centres.
        half_width = max((right - left) * grow / 2, 1 / width)
        half_height = max((bottom - top) * grow / 2, 1 / height)
        across = (columns - (left + right) / 2) / half_width
        down = (rows - (top + bottom) / 2) / half_height
        ramp = ((1 - (across.square() + down.square()).sqrt()) / EDGE).clamp(0, 1)
        mask = torch.maximum(mask, ramp.square() * (3 - 2 * ramp))  # smoothstep
    return mask.view(1, 1, height, width)


def person_mask(faces: Sequence[Face], size: tuple[int, int]) -> Tensor:
    """Where the figures are whose faces were found: (1, 1, h, w) in [0, 1], on the CPU.

    Of an upright figure, a box with round corners: from the hair or hat down to the knees.
    """
    height, width = size
    mask = torch.zeros(height, width)
    rows = (torch.arange(height) + 0.5).unsqueeze(1) / height
    columns = (torch.arange(width) + 0.5) / width
    for face in faces:
        left, top, right, bottom = face.box
        first, last = top - FIGURE[0] * (bottom - top), bottom + FIGURE[1] * (bottom - top)
        across = (columns - (left + right) / 2) / (FIGURE[2] * (right - left) / 2)
        down = (rows - (first + last) / 2) / ((last - first) / 2)
        distance = (across**4 + down**4) ** 0.25
        mask = torch.maximum(mask, ((1 - distance) / EDGE).clamp(0, 1))
    return mask.view(1, 1, height, width)


def _checked(image: Tensor) -> Tensor:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        what = f"an image for face detection should be (3, H, W), is {tuple(image.shape)}"
        raise EngineError(what)
    if not image.isfinite().all():
        raise EngineError("an image for face detection contains NaN or infinity")
    return image.float().clamp(0, 1)


def _shrunk(image: Tensor, side: int) -> Tensor:
    """A picture of at most ``side`` px; a smaller one as it is."""
    height, width = image.shape[-2:]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return antialiased(image.unsqueeze(0), size, "bilinear")[0] if scale < 1 else image


def _in_shares(found: Detections, image: Tensor) -> Detections:
    """Boxes and landmarks in shares of the picture's width and height."""
    unit = found.boxes.new_tensor([image.shape[-1], image.shape[-2]])
    return Detections(found.boxes / unit.repeat(2), found.scores, found.landmarks / unit)


def _agreed(mtcnn: Detections, center: Detections) -> Detections:
    """What one network is sure of, or both find: MTCNN's box and landmarks where it has them."""
    overlap = box_overlap(mtcnn.boxes, center.boxes) > SAME  # (m, c)
    kept = (mtcnn.scores > SURE_MTCNN) | overlap.any(1)
    # The better one's score: MTCNN's is low for painted faces.
    best = (overlap * center.scores).amax(1) if len(center.scores) else mtcnn.scores
    scores = torch.maximum(mtcnn.scores, best)
    alone = (center.scores > SURE_CENTER) & ~overlap.any(0)
    return Detections(
        torch.cat((mtcnn.boxes[kept], center.boxes[alone])),
        torch.cat((scores[kept], center.scores[alone])),
        torch.cat((mtcnn.landmarks[kept], center.landmarks[alone])),
    )


def _long_side(face: Face, width: int, height: int) -> float:
    """The longer side of what is seen of a face, as a share of the picture's longer side."""
    left, top, right, bottom = face.box
    return max((right - left) * width, (bottom - top) * height) / max(width, height)


def _box(values: Sequence[float]) -> Box:
    left, top, right, bottom = values
    return left, top, right, bottom


def _point(values: Sequence[float]) -> Point:
    x, y = values
    return x, y
