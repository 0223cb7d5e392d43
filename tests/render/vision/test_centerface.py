"""CenterFace, whose weights travel with the program: what it finds, and what is never loaded."""

import pytest

from pipeline.errors import WeightsError
from pipeline.render.vision import FaceDetector, centerface
from pipeline.render.vision.centerface import CenterFace

EYES = [(203, 101), (247, 103)]  # in px of the astronaut's 512, by eye


@pytest.fixture(scope="module")
def network() -> CenterFace:
    return CenterFace()


def test_the_astronauts_face_is_the_only_one(network, astronaut):
    found = network.detect(astronaut, 0.3)
    assert found.scores.tolist() == [pytest.approx(0.91, abs=0.03)]
    left, top, right, bottom = found.boxes[0].tolist()
    assert (left, top, right, bottom) == pytest.approx((179, 56, 270, 178), abs=10)
    for (x, y), (true_x, true_y) in zip(found.landmarks[0].tolist(), EYES, strict=False):
        assert (x, y) == (pytest.approx(true_x, abs=4), pytest.approx(true_y, abs=4))


def test_sides_that_are_no_multiple_of_its_stride_move_nothing(network, astronaut):
    whole, cut = network.detect(astronaut, 0.3), network.detect(astronaut[:, :-9, :-21], 0.3)
    assert (whole.boxes - cut.boxes).abs().max() < 3  # px


def test_a_photo_without_a_face_has_none_at_a_low_threshold(network, coffee):
    assert len(network.detect(coffee, 0.3).scores) == 0


@pytest.mark.parametrize("what", ["damaged", "missing"])
def test_a_damaged_or_missing_file_of_weights_is_refused(tmp_path, monkeypatch, what):
    copy = tmp_path / "centerface.npz"
    if what == "damaged":
        content = bytearray(centerface.FILE.read_bytes())
        content[5000] ^= 1
        copy.write_bytes(content)
    monkeypatch.setattr(centerface, "FILE", copy)
    with pytest.raises(WeightsError, match=r"wrong SHA-256|cannot be read") as error:
        FaceDetector()
    assert error.value.where == str(copy)
    assert "install the program again" in error.value.hint
