"""Content at layers deeper than the style's, computed only where small forms need it.

At the finest scale style is compared in shallow layers, and a deeper one is there for content
alone: it keeps eyes and mouths whole. It takes half of the step. So it is computed from a cutout of
the shallow features around them, wide enough that the part which is used is exactly what the whole
picture would give.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.nst.content_focus import resize_to_size
from pipeline.nst.guidance.regions import Window
from pipeline.nst.pyramid import grid_size, stride_of
from pipeline.nst.vgg import Vgg19, reach


@dataclass(frozen=True, slots=True)
class Cutout:
    """Where deep features are computed from shallower ones.

    Attributes:
        base: The layer from which they are computed.
        layers: The deep layers.
        outer: The cutout of the base layer's features.
        inner: By layer, the part of the result that is used.
        within: By layer, the same part in the whole picture's features.
    """

    base: str
    layers: Sequence[str]
    outer: Window
    inner: dict[str, Window]
    within: dict[str, Window]

    def features(self, network: Vgg19, base: Tensor) -> dict[str, Tensor]:
        """Deep features (1, C, h, w) within it, of the base layer's features (1, C, H, W)."""
        around = base[..., self.outer.rows, self.outer.columns]
        found = network.deeper(around, self.base, self.layers)
        return {
            layer: found[layer][..., window.rows, window.columns]
            for layer, window in self.inner.items()
        }

    def meets(self, rows: slice, columns: slice) -> bool:
        """Whether a part of the base layer's features holds any place of it."""
        stride = {layer: stride_of(layer) // stride_of(self.base) for layer in self.layers}
        return any(
            window.rows.start * stride[layer] < rows.stop
            and rows.start < window.rows.stop * stride[layer]
            and window.columns.start * stride[layer] < columns.stop
            and columns.start < window.columns.stop * stride[layer]
            for layer, window in self.within.items()
        )


def cutout_around(mask: Tensor, image: Tensor, base: str, layers: Sequence[str]) -> Cutout:
    """The cutout that holds all places of a mask (1, 1, h, w) which is not empty."""
    rows, columns = _bounds(mask, 2, image, base, layers), _bounds(mask, 3, image, base, layers)
    outer = Window(rows[0], columns[0])
    inner = {layer: Window(rows[1][layer], columns[1][layer]) for layer in layers}
    within = {layer: Window(rows[2][layer], columns[2][layer]) for layer in layers}
    return Cutout(base, layers, outer, inner, within)


def is_empty(mask: Tensor) -> bool:
    """Whether a mask has no place inside."""
    return not bool(mask.any())


def _places(mask: Tensor, image: Tensor, layer: str, axis: int) -> tuple[int, int]:
    """The first and last place inside along an axis, on a layer's grid."""
    inside = resize_to_size(mask, grid_size(image, layer)).any(5 - axis).flatten().nonzero()
    return (int(inside[0]), int(inside[-1])) if len(inside) else (0, 0)


def _bounds(
    mask: Tensor, axis: int, image: Tensor, base: str, layers: Sequence[str]
) -> tuple[slice, dict[str, slice], dict[str, slice]]:
    """Along one axis: the outer part at the base; the inner one, in the cutout and the whole."""
    deepest = max(layers, key=stride_of)
    factor, length = stride_of(deepest) // stride_of(base), grid_size(image, base)[axis - 2]
    # On the deepest layer's grid, where pooling meets the same positions as in the whole picture.
    places = [_places(mask, image, layer, axis) for layer in layers]
    scale = [stride_of(layer) / stride_of(deepest) for layer in layers]
    ends = [(first * s, (last + 1) * s) for (first, last), s in zip(places, scale, strict=True)]
    first = factor * math.floor(min(first for first, _ in ends))
    last = factor * math.ceil(max(last for _, last in ends))
    margin = -(-max(reach(base, layer) for layer in layers) // factor) * factor
    outer = slice(max(0, first - margin), min(length, last + margin))
    inner, within = {}, {}
    for layer in layers:
        step = stride_of(layer) // stride_of(base)
        end = min(last, length)
        within[layer] = slice(first // step, -(-end // step))
        inner[layer] = slice((first - outer.start) // step, -(-(end - outer.start) // step))
    return outer, inner, within
