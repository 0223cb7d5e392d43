"""Scales, from coarse to fine: their sizes, options, costs, and how pictures are resized."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.imaging.resampling import antialiased
from pipeline.nst.weights import CONVS

# Shares of the content weight where only shallow layers are used for style. A shallow content
# layer keeps the photo far more tightly than relu4_2: the same weight would undo strokes. A deep
# one would too, a little: strokes are made against it there.
SHALLOW = 0.03
DEEP = 0.15
# A shallow content layer counts so many times as much where a deep one would and is left out: it
# then keeps as much of the photo's structure as both.
ALONE = 3.0
COARSEST = 96  # px: what coarser scales settle is too coarse for finer ones to undo
EDGE = 0.015  # of a painting's height and width, at each side


def target_size(height: int, width: int, long_side: int | str) -> tuple[int, int]:
    """(height, width) of the result, the aspect ratio kept as well as whole pixels allow."""
    if long_side == "source":
        return height, width
    factor = int(long_side) / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def scale_sides(options: Transfer, long_side: int) -> list[int]:
    """Long sides in px, coarse to fine; the last is ``long_side``."""
    if options.scales is not None:
        sides = sorted({side for side in options.scales if side < long_side})
        return [*sides, long_side]
    halvings = max(0, math.floor(math.log2(long_side / COARSEST)))
    return [round(long_side / 2**k) for k in range(halvings, -1, -1)]


def per_scale(values: Sequence[int], scales: int) -> list[int]:
    """One value for each of ``scales``, coarse to fine; the finest of several has the last one.

    The last serves finer scales too where values are too few; those before it are left out where
    they are too many. All pictures begin at about the same side, so the first means the same in
    all, and a large one has no more steps of deep layers of style.
    """
    if scales == 1:
        return [values[0]]
    coarser = list(values[: scales - 1])
    return coarser + [values[-1]] * (scales - len(coarser))


def step_cost(area: int, layers: Iterable[str]) -> float:
    """What a step costs, in units of one pixel down to relu5_1; for estimates of time left.

    By the convolutions' operations down to the deepest layer, and a little for every step. A
    whole number, so that what is left after the last step is nothing.
    """
    share = max(map(_operations, layers), default=0.0) / _operations("relu5_1")
    return float(round(area * share) + 3000)


def _operations(layer: str) -> float:
    """Of all convolutions down to a layer, for a pixel of the picture, in units of their kernel."""
    names = list(CONVS)
    down_to = names[: names.index(f"conv{layer[4:]}") + 1]
    return sum(CONVS[name][1] * CONVS[name][2] * 0.25 ** (int(name[4]) - 1) for name in down_to)


def options_by_scale(options: Transfer, scales: int) -> list[Transfer]:
    """The options at each of so many scales, coarse to fine: with the layers used there."""
    depths = per_scale(options.depths, scales), per_scale(options.content_depths, scales)
    return [limit_depth(options, *both) for both in zip(*depths, strict=True)]


def limit_depth(options: Transfer, depth: int, content_depth: int = 1) -> Transfer:
    """The options with no style layer deeper than VGG block ``depth``, and no content layer.

    Where that takes all content layers, the first layer of the deepest block left stands in for
    them; and beside it that of the deepest block they use, but none beyond ``content_depth``.
    """
    content, style = (
        _layers_down_to(options.content_layers, depth),
        _layers_down_to(options.style_layers, depth),
    )
    changed: dict[str, object] = {"content_layers": content, "style_layers": style}
    if not style:
        changed["style_layers"] = {f"relu{depth}_1": 1.0}
    if not content:
        deep = min(content_depth, deepest_block(options.content_layers))
        standing_in = {f"relu{deep}_1": DEEP} if deep > depth else {}
        standing_in[f"relu{depth}_1"] = SHALLOW
        changed["content_layers"] = standing_in
        changed["content_weight"] = options.content_weight * sum(standing_in.values())
    return options.model_copy(update=changed)


def without_deep_content(options: Transfer) -> Transfer:
    """The options without content layers deeper than the style's, unless all would go."""
    deepest = deepest_block(options.style_layers)
    kept = _layers_down_to(options.content_layers, deepest)
    if not kept or len(kept) == sum(map(bool, options.content_layers.values())):
        return options
    share = sum(kept.values()) / sum(options.content_layers.values())
    weight = options.content_weight * share * ALONE  # of each layer left
    return options.model_copy(update={"content_layers": kept, "content_weight": weight})


def _layers_down_to(layers: dict[str, float], depth: int) -> dict[str, float]:
    """Those that count: a layer of weight 0 measures nothing, so it stands in for none."""
    return {name: weight for name, weight in layers.items() if weight and int(name[4]) <= depth}


def deepest_block(layers: Iterable[str]) -> int:
    """The deepest VGG block among layers; 1 when there are none."""
    return max((int(name[4]) for name in layers), default=1)


def stride_of(layer: str) -> int:
    """Pixels between two positions of a layer: 1, 2, 4, 8, 16 for blocks 1 to 5."""
    return 1 << (int(layer[4]) - 1)


def grid_size(image: Tensor, layer: str) -> tuple[int, int]:
    """(height, width) of a layer's features of an image (1, 3, H, W)."""
    stride = stride_of(layer)
    return -(-image.shape[-2] // stride), -(-image.shape[-1] // stride)


def resize(image: Tensor, size: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """(1, C, H, W) -> (1, C, *size); antialiased when it shrinks."""
    if tuple(image.shape[-2:]) == size:
        return image
    return antialiased(image, size, mode)


def enlarge(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, 3, H, W) -> (1, 3, *size) by its cosine series: what a finer scale starts from.

    Bicubic enlarging blurs every other pixel, more so the finer the detail, and a few steps at
    the finer scale leave a visible grid of 2 px.
    """
    across = _enlarge_last_axis(picture, size[1])
    return _enlarge_last_axis(across.mT, size[0]).mT


def _enlarge_last_axis(picture: Tensor, size: int) -> Tensor:
    """(..., n) -> (..., size) at the middles of as many equal parts of the same side."""
    length = picture.shape[-1]
    if length == size:
        return picture
    # A cosine series is the Fourier series of the picture and its mirror image.
    spectrum = torch.fft.rfft(torch.cat([picture, picture.flip(-1)], -1))
    waves = torch.arange(min(length, size))  # frequencies kept, in half waves a side
    # The middle of the first part is now half of another width from the edge.
    moved = torch.polar(
        torch.full(waves.shape, size / length), math.pi * waves * (0.5 / size - 0.5 / length)
    )
    spectrum = spectrum[..., : len(waves)] * moved.to(picture.device)
    enlarged: Tensor = torch.fft.irfft(spectrum, n=2 * size)
    return enlarged[..., :size]


def trim_edges(painting: Tensor) -> Tensor:
    """A painting (1, 3, h, w) without its outermost edge.

    Not the paper. Scans end in bare canvas, a frame or its shadow, and these would be painted along
    the edges of the picture as faithfully as any stroke.
    """
    height, width = painting.shape[-2:]
    down, across = round(EDGE * height), round(EDGE * width)
    return painting[..., down : height - down, across : width - across]


def style_size(style: Tensor, area: int, style_scale: float) -> tuple[int, int]:
    """(height, width) at which a painting is measured for a picture of ``area`` px.

    Equal areas keep strokes comparable across aspect ratios. A painting is never enlarged:
    it has no brushwork beyond its own resolution.
    """
    height, width = style.shape[-2:]
    factor = min(1.0, style_scale * math.sqrt(area / (height * width)))
    return max(1, round(height * factor)), max(1, round(width * factor))


def cover(image: Tensor, size: tuple[int, int]) -> Tensor:
    """``image`` (1, 3, h, w) enlarged or shrunk to cover ``size``, its middle cut out."""
    height, width = image.shape[-2:]
    factor = max(size[0] / height, size[1] / width)
    around = (max(size[0], round(height * factor)), max(size[1], round(width * factor)))
    top, left = (around[0] - size[0]) // 2, (around[1] - size[1]) // 2
    return resize(image, around)[..., top : top + size[0], left : left + size[1]]
