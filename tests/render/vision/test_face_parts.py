"""Features, skin and heads are where a face's landmarks say, however it is turned."""

import pytest
import torch

from pipeline.render.vision import Face, face_parts

# A face in a picture of 400 x 200 px, from the front: eyes 40 px apart.
EYES, NOSE, MOUTH = [(180, 80), (220, 80)], (200, 104), [(184, 124), (216, 124)]
CHEEK, FOREHEAD, EAR, WALL = (176, 106), (200, 58), (152, 100), (40, 100)


def face(points: list[tuple[float, float]], turned: bool = False) -> Face:
    shares = tuple((x / 400, y / 200) for x, y in points)
    box = (0.39, 0.25, 0.61, 0.75) if turned else (0.4, 0.22, 0.6, 0.75)
    return Face(box, 0.99, shares)


def at(mask: torch.Tensor, point: tuple[float, float]) -> float:
    return float(mask[0, 0, int(point[1] / 2), int(point[0] / 2)])  # the grid is 200 x 100


UPRIGHT = face([*EYES, NOSE, *MOUTH])


def test_features_are_eyes_nose_and_mouth_alone() -> None:
    parts = face_parts([UPRIGHT], (100, 200))
    for point in (*EYES, NOSE, *MOUTH, (200, 124)):
        assert at(parts.features, point) > 0.9
    for point in (CHEEK, FOREHEAD, EAR, WALL):
        assert at(parts.features, point) < 0.1


def test_skin_ends_before_the_outline_of_the_face() -> None:
    parts = face_parts([UPRIGHT], (100, 200))
    for point in (CHEEK, FOREHEAD, NOSE):
        assert at(parts.skin, point) > 0.9
    for point in (EAR, WALL):
        assert at(parts.skin, point) == 0
    assert at(parts.heads, EAR) > 0.5
    assert at(parts.heads, WALL) == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_parts_turn_with_the_head(sign: int) -> None:
    """By a quarter, to either side, about the tip of the nose."""

    def turn(point: tuple[float, float]) -> tuple[float, float]:
        across, down = point[0] - NOSE[0], point[1] - NOSE[1]
        return NOSE[0] - sign * down, NOSE[1] + sign * across

    parts = face_parts([face([turn(each) for each in (*EYES, NOSE, *MOUTH)], True)], (100, 200))
    for point in (*EYES, *MOUTH):
        assert at(parts.features, turn(point)) > 0.9
    assert at(parts.features, turn(CHEEK)) < 0.1
    assert at(parts.skin, turn(CHEEK)) > 0.9
    assert at(parts.skin, turn(EAR)) == 0


def test_without_faces_nothing_is_a_part() -> None:
    assert not any(mask.any() for mask in face_parts([], (10, 20)))


def test_eyes_that_meet_in_profile_leave_finite_masks() -> None:
    aside = face([(200, 80), (200, 80), (210, 104), (200, 124), (200, 124)])
    for mask in face_parts([aside], (100, 200)):
        assert mask.isfinite().all()
        assert mask.any()
