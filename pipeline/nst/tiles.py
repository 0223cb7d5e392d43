"""The exact gradient of a picture too large for memory, block by block.

Statistics are sums over positions (Galerne et al. 2024, SPST, section 3): a first pass adds them
up over blocks without a gradient; then the loss's gradient at every feature is known in closed
form, and a second pass sends it back through one block after another. Each block is computed
with MARGIN around it, of which only the inner part is kept: the result is the gradient of the
whole picture, and memory is set by the block.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.nst.backward import backpropagate
from pipeline.nst.guidance.regions import RegionalGradient, Window, add_sums
from pipeline.nst.losses import ContentLoss, total_variation
from pipeline.nst.objective import (
    Evaluation,
    Extract,
    Objective,
    WindowOf,
    flatten_positions,
)
from pipeline.nst.pyramid import stride_of
from pipeline.nst.statistics import Sums
from pipeline.nst.vgg import Vgg19

# relu5_1 sees 156 px: rounded up to the grid of stride 16 on which all layers' positions meet.
MARGIN = 160
GRID = 16


class Span(NamedTuple):
    """Along one axis: the inner part of a block, and the part that is computed around it."""

    start: int
    end: int
    outer_start: int
    outer_end: int

    def inner(self, stride: int = 1) -> slice:
        """The inner part, counted from the outer one's start, in positions of a stride."""
        first, last = self.start - self.outer_start, self.end - self.outer_start
        return slice(first // stride, -(-last // stride))

    def within(self, stride: int) -> slice:
        """The inner part in the whole picture's positions of a stride."""
        return slice(self.start // stride, -(-self.end // stride))

    def around(self, stride: int = 1) -> slice:
        """The outer part in the whole picture's positions of a stride."""
        return slice(self.outer_start // stride, -(-self.outer_end // stride))


def spans(length: int, side: int) -> list[Span]:
    """Blocks of about ``side`` px along an axis of ``length`` px, cut on the grid."""
    step = max(GRID, side // GRID * GRID)
    return [
        Span(at, min(at + step, length), max(0, at - MARGIN), min(at + step + MARGIN, length))
        for at in range(0, length, step)
    ]


def blocks(image: Tensor, side: int) -> Iterator[tuple[Span, Span]]:
    """Rows and columns of each block of an image (1, 3, H, W)."""
    for rows in spans(image.shape[-2], side):
        for columns in spans(image.shape[-1], side):
            yield rows, columns


LayersOf = Callable[[Span, Span], list[str]]  # the layers needed in a block


def features_by_block(
    network: Vgg19, image: Tensor, layers_of: LayersOf, side: int
) -> Iterator[tuple[Span, Span, dict[str, Tensor]]]:
    """Each block's own features (1, C, h, w), those of its margin cut off."""
    for rows, columns in blocks(image, side):
        with torch.no_grad():
            found = network(image[..., rows.around(), columns.around()], layers_of(rows, columns))
        yield (
            rows,
            columns,
            {
                name: f[..., rows.inner(stride_of(name)), columns.inner(stride_of(name))]
                for name, f in found.items()
            },
        )


def extract_in_blocks(side: int) -> Extract:
    """Extracts features block by block, in blocks of ``side`` px; for `measure_style`."""

    def extract(
        network: Vgg19, image: Tensor, layers: list[str]
    ) -> Iterable[tuple[WindowOf, dict[str, Tensor]]]:
        for rows, columns, features in features_by_block(network, image, lambda *_: layers, side):
            yield partial(window_within, rows, columns), features

    return extract


def window_within(rows: Span, columns: Span, stride: int) -> Window:
    """A block's inner part in the whole picture's positions of a stride."""
    return Window(rows.within(stride), columns.within(stride))


def window_around(rows: Span, columns: Span, stride: int) -> Window:
    """A block's outer part in the whole picture's positions of a stride."""
    return Window(rows.around(stride), columns.around(stride))


class TiledObjective(Objective):
    """The same objective, evaluated block by block.

    Args:
        side: Of a block, in px.
        arguments: Those of `Objective`, but for the photo's features: those of a whole picture
            are what there is no memory for.
    """

    def __init__(self, side: int, *arguments: Any, **keywords: Any) -> None:
        self.side = side  # before the photo is measured in blocks of it
        super().__init__(*arguments, **keywords)

    def _measure(
        self,
        image: Tensor,
        content: Iterable[str],
        style: Iterable[str],
        known: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, list[Sums]]]:
        del known
        kept: dict[str, Tensor] = {}
        sums: dict[str, list[Sums]] = {}
        layers = list({*content, *style})
        found = features_by_block(self.network, image, lambda *_: layers, self.side)
        for rows, columns, features in found:
            self._add(sums, features, style, rows, columns)
            for layer in content:
                stride = stride_of(layer)
                if layer not in kept:
                    height, width = (-(-size // stride) for size in image.shape[-2:])
                    kept[layer] = image.new_zeros(1, features[layer].shape[1], height, width)
                place = (..., rows.within(stride), columns.within(stride))
                kept[layer][place] = features[layer]
        return kept, sums

    def _layers_in(self, rows: Span, columns: Span) -> list[str]:
        """The layers needed in a block: deep ones only where the cutout is."""
        if self.cutout is None:
            return self.layers
        stride = stride_of(self.cutout.base)
        near = self.cutout.meets(rows.around(stride), columns.around(stride))
        return [*self.layers, *self.cutout.layers] if near else self.layers

    def _within_cutout(self, loss: ContentLoss, window: Window) -> ContentLoss:
        del window  # weights alone keep it to the cutout: its parts are those of blocks
        return loss

    def _add(
        self,
        sums: dict[str, list[Sums]],
        features: Mapping[str, Tensor],
        style: Iterable[str],
        rows: Span,
        columns: Span,
    ) -> None:
        for layer in style:
            window = window_within(rows, columns, stride_of(layer))
            of_block = self._sums(layer, features[layer], window)
            sums[layer] = add_sums(sums[layer], of_block) if layer in sums else of_block

    def _terms(self, image: Tensor) -> tuple[dict[str, Tensor], dict[str, list[Sums]]]:
        """First pass: the values of all terms, and the sums for the gradients of the second."""
        sums: dict[str, list[Sums]] = {}
        terms = {"content": image.new_zeros(()), "style": image.new_zeros(())}
        found = features_by_block(self.network, image, self._layers_in, self.side)
        for rows, columns, features in found:
            self._add(sums, features, self.style_shares, rows, columns)
            for layer in self.content_shares.keys() & features.keys():
                share = self.content_shares[layer]
                stride, loss = stride_of(layer), self.content[layer]
                part = loss.part(rows.within(stride), columns.within(stride))
                terms["content"] = terms["content"] + share * part(features[layer])[0]
        for layer, share in self.style_shares.items():
            terms["style"] = terms["style"] + share * self.style[layer](sums[layer])[0]
        return terms | {"tv": total_variation(image)}, sums

    @torch.no_grad()
    def value(self, image: Tensor) -> Tensor:
        """The loss alone."""
        return self._total(self._terms(image)[0])

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Evaluation:
        """Evaluate at image (1, 3, H, W), in two passes over its blocks."""
        terms, sums = self._terms(image)
        gradients = {layer: self.style[layer](sums[layer])[1] for layer in self.style_shares}
        gradient = torch.empty_like(image)
        for rows, columns in blocks(image, self.side):
            block = self._block_gradient(image, rows, columns, gradients)
            gradient[..., rows.start : rows.end, columns.start : columns.end] = block[
                ..., rows.inner(), columns.inner()
            ]
        with torch.enable_grad():
            leaf = image.detach().requires_grad_()
            (by_tv,) = torch.autograd.grad(total_variation(leaf), leaf)
        gradient += self.options.tv_weight * by_tv
        return Evaluation(self._total(terms), gradient, terms)

    def _block_gradient(
        self, image: Tensor, rows: Span, columns: Span, gradients: Mapping[str, RegionalGradient]
    ) -> Tensor:
        """Second pass: gradient at one block and its margin, (1, 3, h, w)."""
        with torch.enable_grad():
            leaf = image[..., rows.around(), columns.around()].detach().requires_grad_()
            features = self.network(leaf, self._layers_in(rows, columns))
            at = [
                self._at_block(name, f.detach(), rows, columns, gradients)
                for name, f in features.items()
            ]
            return backpropagate(list(features.values()), at, leaf)

    def _at_block(
        self,
        layer: str,
        features: Tensor,
        rows: Span,
        columns: Span,
        gradients: Mapping[str, RegionalGradient],
    ) -> Tensor:
        gradient = None
        if layer in gradients:
            strength = self.style_strength(layer)
            window = window_around(rows, columns, stride_of(layer))
            found = gradients[layer](flatten_positions(features), strength, window)
            gradient = found.view_as(features)
        if layer in self.content_shares:
            stride, loss = stride_of(layer), self.content[layer]
            part = loss.part(rows.around(stride), columns.around(stride))
            at_features = part(features)[1].mul_(self.content_strength(layer))
            gradient = at_features if gradient is None else gradient.add_(at_features)
        return torch.zeros_like(features) if gradient is None else gradient
