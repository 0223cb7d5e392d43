"""Where the parts of faces are, by their landmarks: what makes a person, and the skin around it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.render.vision.faces import Face, face_mask

# In eye distances. Half axes of ellipses, where a mask is one half: of an eye with its brow, of the
# tip of the nose, and of a mouth beyond its corners and above its middle.
EYE, NOSE, MOUTH = (0.36, 0.27), (0.27, 0.2), (0.16, 0.27)
BROW = 0.08  # how far above a pupil the middle of an eye with its brow is
SKIN = (0.92, 1.27)  # it ends before cheeks, chin and hairline, which are outlines
BELOW_EYES = 0.55  # the middle of a face, on the way from the eyes to the mouth
SOFT, SOFT_SKIN = 0.25, 1 / 7  # of the half axes: how far a mask falls on either side
HEAD = 1.9  # times the box of a face: with hair
# Eyes seem closer in profile, where a face is this much of the way from eyes to mouth wide.
PROFILE = 0.9


class FaceParts(NamedTuple):
    """Masks (1, 1, h, w) in [0, 1] of parts of faces, on the CPU.

    Attributes:
        features: Eyes with their brows, tips of noses, mouths: what a person is recognised by.
        skin: Faces without their outlines; features are part of it.
        heads: Faces with outlines and hair.
    """

    features: Tensor
    skin: Tensor
    heads: Tensor


def face_parts(faces: Sequence[Face], size: tuple[int, int]) -> FaceParts:
    """Masks of the parts of faces; where two meet, the larger value counts.

    Args:
        faces: As `FaceDetector.find` returns them; none gives zeros.
        size: Height and width of the masks in px, of any scale of the picture.
    """
    features, skin = torch.zeros(size), torch.zeros(size)
    for face in faces:
        frame = _Frame.of(face, size)
        *eyes, nose, left, right = frame.points
        mouth, apart = (left + right) / 2, frame.apart
        for eye in eyes:
            at = eye - BROW * apart * frame.down
            features = features.maximum(frame.ellipse(at, EYE, SOFT))
        features = features.maximum(frame.ellipse(nose, NOSE, SOFT))
        half = float((right - left).norm()) / 2 / apart + MOUTH[0]
        features = features.maximum(frame.ellipse(mouth, (half, MOUTH[1]), SOFT))
        middle = torch.lerp((eyes[0] + eyes[1]) / 2, mouth, BELOW_EYES)
        skin = skin.maximum(frame.ellipse(middle, SKIN, SOFT_SKIN))
    return FaceParts(features[None, None], skin[None, None], face_mask(faces, size, HEAD))


class _Frame(NamedTuple):
    """A face's own axes, in px of a grid: a head may lean.

    Attributes:
        points: The five landmarks, (x, y) each.
        across, down: Unit vectors, from eye to eye and from the eyes to the mouth.
        apart: The distance of the eyes, as it is when the face is seen from the front.
        size: Height and width of the grid.
    """

    points: Sequence[Tensor]
    across: Tensor
    down: Tensor
    apart: float
    size: tuple[int, int]

    @classmethod
    def of(cls, face: Face, size: tuple[int, int]) -> "_Frame":
        points = list(torch.tensor(face.landmarks) * torch.tensor([size[1], size[0]]))
        eyes = points[1] - points[0]
        apart = float(eyes.norm().clamp_min(1))  # a pixel at least
        across = eyes / apart
        below = (points[3] + points[4] - points[0] - points[1]) / 2
        down = torch.stack((-across[1], across[0]))
        if float(below @ down) < 0:  # upside down
            down = -down
        return cls(points, across, down, max(apart, PROFILE * float(below @ down)), size)

    def ellipse(self, middle: Tensor, axes: tuple[float, float], soft: float) -> Tensor:
        """(h, w): 1 inside, falling smoothly to 0; half axes in eye distances, across and down."""
        rows = torch.arange(self.size[0])[:, None] + 0.5 - middle[1]
        columns = torch.arange(self.size[1]) + 0.5 - middle[0]
        across = (columns * self.across[0] + rows * self.across[1]) / (axes[0] * self.apart)
        down = (columns * self.down[0] + rows * self.down[1]) / (axes[1] * self.apart)
        radius = (across.square() + down.square()).sqrt()
        ramp = ((1 + soft - radius) / (2 * soft)).clamp(0, 1)
        return ramp.square() * (3 - 2 * ramp)  # smoothstep
