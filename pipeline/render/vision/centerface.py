"""CenterFace (Xu, Yan, Yang, Sun et al. 2020): faces as points, each with its size and landmarks.

"CenterFace: joint face detection and alignment using face as point", Scientific Programming 2020.
A MobileNetV2 (section 3.1) and a pyramid of features give one map at a quarter of the picture's
size: the heatmap of face centres, the logarithm of their sizes, their offsets within a cell and
five landmarks. It finds painted faces that MTCNN misses, and takes fewer ornaments for faces.

The weights (MIT, (c) 2019 StarClouds) travel with the program: scripts/pack_centerface.py.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import WeightsError
from pipeline.render.vision.box_operators import nms
from pipeline.render.vision.detections import Detections
from pipeline.system.safe_files import read_verified

FILE = Path(__file__).with_name("centerface.npz")
SHA256 = "29882aaad2616fea93f012479e4384849acaf09fc5466cb177692f016e9ab671"
CELL = 4  # px of the picture for each place of the map
MULTIPLE = 32  # of which the network takes sides
# MobileNetV2's inverted residual blocks: (output channels, stride); each widens by 6 inside. The
# four groups end at 1/4, 1/8, 1/16 and 1/32 of the picture; the last three features are joined.
GROUPS = (
    ((24, 2), (24, 1)),
    ((32, 2), (32, 1), (32, 1)),
    ((64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1), (96, 1)),
    ((160, 2), (160, 1), (160, 1), (320, 1)),
)
OVERLAP = 0.3  # IoU above which two boxes are one face

Layer = tuple[Tensor, Tensor]


class CenterFace:
    """The network, on one device."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.layers = [(w.to(device), b.to(device)) for w, b in _load_layers()]
        self.device = torch.device(device)

    @torch.no_grad()
    def detect(self, image: Tensor, threshold: float) -> Detections:
        """Faces of a picture (3, H, W), sRGB in [0, 1], whose centres score above ``threshold``."""
        pixels = image.to(self.device, torch.float32).unsqueeze(0) * 255
        height, width = pixels.shape[-2:]
        padded = F.pad(pixels, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        found = self._maps(padded)[0]  # (15, h, w)
        scores = found[0].sigmoid()
        rows, columns = (scores > threshold).nonzero(as_tuple=True)
        scores = scores[rows, columns]
        # (height, width) and (y, x), as the network has them, to (x, y).
        sizes = found[1:3, rows, columns].exp().flip(0).T * CELL  # section 3.3
        offsets = found[3:5, rows, columns].flip(0).T
        centres = (torch.stack((columns, rows), 1) + offsets + 0.5) * CELL
        boxes = torch.cat((centres - sizes / 2, centres + sizes / 2), 1)
        points = found[5:15, rows, columns].T.reshape(-1, 5, 2).flip(2)  # shares of the box
        landmarks = boxes[:, None, :2] + points * sizes[:, None]
        kept = nms(boxes, scores, OVERLAP)
        return Detections(boxes[kept], scores[kept], landmarks[kept])

    def _maps(self, pixels: Tensor) -> Tensor:
        """Logits of the heatmap, sizes, offsets, landmarks: (1, 1 + 2 + 2 + 10, H / 4, W / 4)."""
        layers = iter(self.layers)
        features = _convolved(pixels, next(layers), stride=2).relu()
        features = _convolved(features, next(layers)).relu()
        features = _convolved(features, next(layers))
        levels = []
        for group in GROUPS:
            for channels, stride in group:
                features = _block(features, layers, channels, stride)
            levels.append(features)
        joined = _convolved(levels.pop(), next(layers)).relu()
        while levels:  # section 3.2: upwards, each level added to the next finer one
            weight, bias = next(layers)
            finer = F.conv_transpose2d(joined, weight, bias, stride=2).relu()
            joined = finer + _convolved(levels.pop(), next(layers)).relu()
        joined = _convolved(joined, next(layers)).relu()
        return _convolved(joined, next(layers))


def _block(features: Tensor, layers: Iterator[Layer], channels: int, stride: int) -> Tensor:
    """An inverted residual block: widen, filter each channel by itself, project."""
    inner = _convolved(features, next(layers)).relu()
    inner = _convolved(inner, next(layers), stride).relu()
    out = _convolved(inner, next(layers))
    return features + out if stride == 1 and features.shape[1] == channels else out


def _convolved(features: Tensor, layer: Layer, stride: int = 1) -> Tensor:
    weight, bias = layer
    groups = features.shape[1] // weight.shape[1]  # as many as channels where filtered singly
    return F.conv2d(features, weight, bias, stride, weight.shape[-1] // 2, groups=groups)


def _load_layers() -> list[Layer]:
    """Kernels from their 8-bit codes, and biases, in the order of the network."""
    hint = "install the program again: its file of weights is missing or damaged"
    try:
        content = read_verified(FILE)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error}", where=str(FILE), hint=hint) from None
    if (digest := hashlib.sha256(content).hexdigest()) != SHA256:
        raise WeightsError(f"wrong SHA-256 {digest}", where=str(FILE), hint=hint)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return [_layer(arrays, f"{index:02}") for index in range(len(arrays.files) // 3)]


def _layer(arrays: "np.lib.npyio.NpzFile", name: str) -> Layer:
    kernel = arrays[f"{name}.codes"].astype(np.float32) * arrays[f"{name}.scale"]
    return torch.from_numpy(kernel), torch.from_numpy(arrays[f"{name}.bias"])
