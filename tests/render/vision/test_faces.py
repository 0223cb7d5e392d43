"""Faces are found where they are, in any picture, and nowhere else."""

import pytest
import torch
from support import ROOT
from torch import Tensor
from torchvision.transforms import functional as pictures

from pipeline.errors import EngineError
from pipeline.imaging.resampling import antialiased
from pipeline.imaging.tensors import load_image
from pipeline.render.vision import Face, FaceDetector, face_mask

# In px of the astronaut's 512, by eye on an enlargement: pupils, tip of the nose, mouth corners.
LANDMARKS = [(203, 101), (247, 103), (224, 128), (202, 139), (246, 141)]
FACE = (slice(None), slice(40, 200), slice(150, 300))  # with hair and shoulders, 160 x 150 px


def shrink(image: Tensor, height: int, width: int) -> Tensor:
    return antialiased(image.unsqueeze(0), (height, width), "bilinear")[0].clamp(0, 1)


def middle(face: Face) -> tuple[float, float]:
    left, top, right, bottom = face.box
    return (left + right) / 2, (top + bottom) / 2


# --- where faces are ------------------------------------------------------------------------


def test_the_astronauts_face_is_found_with_its_eyes_nose_and_mouth(detector, astronaut):
    (face,) = detector.find(astronaut)
    assert face.score > 0.95
    left, top, right, bottom = (512 * value for value in face.box)
    assert 170 < left < 195
    assert 50 < top < 75
    assert 255 < right < 280
    assert 160 < bottom < 190
    eyes_apart = 44
    for (x, y), (true_x, true_y) in zip(face.landmarks, LANDMARKS, strict=True):
        error = ((512 * x - true_x) ** 2 + (512 * y - true_y) ** 2) ** 0.5
        assert error < 0.06 * eyes_apart


@pytest.mark.parametrize("side", [100, 1100])
def test_a_face_is_at_the_same_place_at_every_size_of_the_picture(detector, astronaut, side):
    (face,) = detector.find(shrink(astronaut, side, side))
    (whole,) = detector.find(astronaut)
    assert face.box == pytest.approx(whole.box, abs=0.02)


def test_a_mirrored_picture_has_its_face_mirrored(detector, astronaut):
    (face,) = detector.find(astronaut.flip(2))
    eye, other_eye = face.landmarks[:2]
    assert eye[0] == pytest.approx(1 - LANDMARKS[1][0] / 512, abs=0.01)
    assert other_eye[0] == pytest.approx(1 - LANDMARKS[0][0] / 512, abs=0.01)


@pytest.mark.parametrize("angle", [-30, 30])
def test_a_face_that_leans_is_found(detector, astronaut, angle):
    bilinear = pictures.InterpolationMode.BILINEAR
    (face,) = detector.find(pictures.rotate(astronaut, angle, bilinear))
    assert face.score > 0.9


def test_a_picture_without_colours_or_light_has_the_same_face(detector, astronaut):
    for image in (astronaut.mean(0, keepdim=True).expand(3, -1, -1), 0.2 * astronaut):
        (face,) = detector.find(image)
        assert middle(face) == pytest.approx((0.437, 0.229), abs=0.02)


def test_a_face_that_the_border_cuts_stays_inside_the_picture(detector, astronaut):
    (face,) = detector.find(astronaut[:, 85:, :])  # without hair and forehead
    assert face.box[1] == 0
    assert all(0 <= value <= 1 for value in face.box)


def test_a_face_upside_down_is_found_where_it_is_or_not_at_all(detector, astronaut):
    faces = detector.find(astronaut.flip(1, 2))
    assert len(faces) <= 1
    for face in faces:
        assert middle(face) == pytest.approx((1 - 0.437, 1 - 0.229), abs=0.05)


def test_fifty_small_faces_are_fifty_faces(detector, astronaut):
    tile = shrink(astronaut[FACE], 80, 75)
    faces = detector.find(tile.repeat(1, 5, 10))
    assert len(faces) == 50
    cells = {(int(10 * x), int(5 * y)) for x, y in map(middle, faces)}
    assert len(cells) == 50


def test_the_largest_face_comes_first(detector, astronaut):
    small = torch.zeros(3, 160, 150)
    small[:, :80, :75] = shrink(astronaut[FACE], 80, 75)
    faces = detector.find(torch.cat((small, astronaut[FACE]), 2))
    assert [middle(face)[0] > 0.5 for face in faces] == [True, False]
    assert faces[0].area > 3 * faces[1].area


def test_a_face_smaller_than_a_few_strokes_is_none(detector, astronaut):
    image = torch.full((3, 640, 640), 0.4)
    image[:, 300:332, 300:330] = shrink(astronaut[FACE], 32, 30)  # a face of 14 px
    assert detector.find(image) == []


@pytest.mark.slow
def test_the_same_picture_has_exactly_the_same_faces_each_time(detector, astronaut):
    again = FaceDetector()
    images = (astronaut, astronaut[:, :, 200:], shrink(astronaut, 90, 90).repeat(1, 2, 3))
    first = [detector.find(image) for image in images]
    assert all(first)
    assert [detector.find(image) for image in images] == first
    assert [again.find(image) for image in images] == first


# --- where none is --------------------------------------------------------------------------


def test_a_photo_of_coffee_has_no_face(detector, coffee):
    assert detector.find(coffee) == []


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline/styles").iterdir()), ids=lambda p: p.stem)
@pytest.mark.slow
def test_no_starter_style_has_a_face(detector, path):
    assert detector.find(load_image(path).rgb) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 640), (11, 11), (13, 2000)])
def test_a_picture_too_small_or_narrow_for_a_face_has_none(detector, size):
    generator = torch.Generator().manual_seed(0)
    assert detector.find(torch.rand(3, *size, generator=generator)) == []


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_even_picture_has_no_face(detector, value):
    assert detector.find(torch.full((3, 300, 400), value)) == []


def test_noise_has_no_face(detector):
    generator = torch.Generator().manual_seed(0)
    assert detector.find(torch.rand(3, 400, 600, generator=generator)) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_picture_with_nan_or_infinity_is_refused(detector, astronaut, bad):
    image = astronaut.clone()
    image[1, 7, 9] = bad
    with pytest.raises(EngineError, match="NaN or infinity"):
        detector.find(image)


@pytest.mark.parametrize("shape", [(1, 60, 60), (4, 60, 60), (60, 60), (1, 3, 60, 60), (3, 0, 60)])
def test_what_is_no_picture_is_refused_with_its_shape(detector, shape):
    with pytest.raises(EngineError, match=r"should be \(3, H, W\)") as error:
        detector.find(torch.zeros(shape))
    assert str(shape) in str(error.value)


# --- masks ----------------------------------------------------------------------------------

NO_LANDMARKS = ((0.5, 0.5),) * 5


def test_a_mask_is_an_ellipse_around_the_face_with_a_soft_edge():
    mask = face_mask([Face((0.4, 0.3, 0.6, 0.7), 1.0, NO_LANDMARKS)], (200, 200), grow=1.4)
    assert mask.shape == (1, 1, 200, 200)
    values = mask[0, 0]
    assert values[100, 100] == 1
    assert values[100, 81] > 0.9  # the box's own ellipse ends at 80
    assert values[100, 87] == 1
    assert values[100, 73] < 0.1
    assert values[100, 71] == 0
    assert values[45, 100] == pytest.approx(0, abs=0.05)
    assert values[40, 100] == 0
    assert values.diff(dim=1).abs().max() < 0.2  # no step; the edge is 8 px wide
    assert torch.allclose(values, values.flip(0), atol=1e-4)
    assert torch.allclose(values, values.flip(1), atol=1e-4)


def test_a_mask_covers_what_was_found(detector, astronaut):
    faces = detector.find(astronaut)
    mask = face_mask(faces, (512, 512))[0, 0]
    assert all(mask[y, x] == 1 for x, y in LANDMARKS)
    assert mask[400:].max() == 0
    assert 0.03 < mask.mean() < 0.1


def test_masks_of_two_faces_are_joined_by_the_larger_value():
    faces = [
        Face((0.2, 0.2, 0.6, 0.6), 1.0, NO_LANDMARKS),
        Face((0.4, 0.4, 0.8, 0.8), 1.0, NO_LANDMARKS),
    ]
    both = face_mask(faces, (60, 90))
    assert torch.equal(both, torch.maximum(*(face_mask([face], (60, 90)) for face in faces)))


def test_no_faces_give_an_empty_mask():
    assert torch.equal(face_mask([], (3, 4)), torch.zeros(1, 1, 3, 4))


def test_a_small_face_is_not_lost_on_a_coarse_grid():
    for place in (0.50, 0.51, 0.53, 0.56):
        face = Face((place, place, place + 0.02, place + 0.02), 1.0, NO_LANDMARKS)
        assert face_mask([face], (8, 8)).max() > 0.9


def test_a_face_at_the_corner_has_its_mask_cut_by_the_border():
    mask = face_mask([Face((0.9, 0.9, 1.0, 1.0), 1.0, NO_LANDMARKS)], (100, 100))
    assert mask[0, 0, 95, 95] == 1
    assert mask.isfinite().all()
    assert mask.max() <= 1
