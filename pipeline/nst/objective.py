"""The objective at one scale: content + style + total variation, and its gradient.

The table of style statistics is here; how to add one: `pipeline.nst.statistics`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst.backward import backpropagate
from pipeline.nst.content_focus import focus_weights, guided_weights, lerp_to, resize_to_size
from pipeline.nst.distributions import Histogram, SlicedWasserstein
from pipeline.nst.guidance.detail import Cutout, cutout_around
from pipeline.nst.guidance.regions import (
    EVERYWHERE,
    MIN_POSITIONS,
    NO_GUIDE,
    Guide,
    RegionalLoss,
    StyleTarget,
    Window,
    adapt_by_region,
)
from pipeline.nst.losses import ContentLoss, total_variation
from pipeline.nst.pyramid import ALONE, deepest_block, grid_size, resize, stride_of, style_size
from pipeline.nst.statistics import (
    Covariance,
    Gram,
    MeanStd,
    Statistic,
    Sums,
)
from pipeline.nst.vgg import Vgg19
from pipeline.nst.wasserstein import Wasserstein

# By the names that `transfer.statistic` may have.
STATISTICS: dict[str, type[Any]] = {
    "gram": Gram,
    "covariance": Covariance,
    "mean_std": MeanStd,
    "wasserstein": Wasserstein,
    "sliced": SlicedWasserstein,
    "histogram": Histogram,
}

NEAREST = 0.01  # least distance of photo and painting, as a share of the painting's own size


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Value and gradient of the objective at one picture. Scalars stay on the device."""

    loss: Tensor
    gradient: Tensor  # (1, 3, H, W)
    terms: Mapping[str, Tensor]  # unweighted: content, style, tv


# A layer's name and the photo's features there (1, C, H, W) -> the content target.
Adapt = Callable[[str, Tensor], Tensor]


class Objective:
    """L = content_weight * content + style_weight * style + tv_weight * tv (Gatys 2015, eq. 7).

    Args:
        network: VGG-19 on the device of the pictures.
        content: (1, 3, H, W) at this scale.
        targets: The style of each region. Where they have moments at the content layers, the
            content target is adapted to them. Where not, it is the content image's own features
            (the paper).
        options: Weights and layers.
        features: The content image's features by layer, if they are known.
        recolored: The content image in the style's hues; its features are then the content
            target.
        guide: Where content counts more or less than its detail says.
        adapt: Gives the content target of a layer's features; absent: that of ``targets``.
    """

    def __init__(
        self,
        network: Vgg19,
        content: Tensor,
        targets: Sequence[StyleTarget],
        options: Transfer,
        features: Mapping[str, Tensor] | None = None,
        recolored: Tensor | None = None,
        guide: Guide = NO_GUIDE,
        adapt: Adapt | None = None,
    ) -> None:
        self.network, self.options = network, options
        self.statistic: Statistic = STATISTICS[options.statistic]()
        self.content_shares = layer_shares(options.content_layers) if options.content_weight else {}
        styled = any(target.sums for target in targets)
        self.style_shares = layer_shares(options.style_layers) if styled else {}
        self.content: dict[str, ContentLoss] = {}
        weights = self._content_weights(content, guide)
        # Of layers deeper than the style's.
        detailed = None if guide.detail is None else guided_weights(weights, guide.detail, None)
        self.layers, self.cutout = self._split_layers(content, detailed)
        if self.cutout is not None and guide.detail is not None:
            weights = guided_weights(weights, ALONE - (ALONE - 1) * guide.detail, None)
        with torch.no_grad():
            self.style = {
                layer: self._regional_loss(layer, targets, content) for layer in self.style_shares
            }
            if recolored is None or not self.content_shares:
                kept, sums = self._measure(
                    content, self.content_shares, self.style_shares, features
                )
            else:
                # Not the paper: with the photo's own colours as the target, a pink house would stay
                # pink in a painting of blue and yellow.
                _, sums = self._measure(content, (), self.style_shares, features)
                kept, _ = self._measure(recolored, self.content_shares, ())
            for layer, loss in self.style.items():
                _make_relative(loss, sums[layer])
                loss.mix_in(sums[layer])
            for layer in self.content_shares:
                target = (adapt or partial(_adapted, targets))(layer, kept[layer])
                target = lerp_to(target, kept[layer], guide.keep)
                self.content[layer] = self._content_loss(layer, target, weights, detailed)

    def _regional_loss(
        self, layer: str, targets: Sequence[StyleTarget], content: Tensor
    ) -> RegionalLoss:
        here = [target for target in targets if layer in target.sums]
        sums, masks = [target.sums[layer] for target in here], [target.mask for target in here]
        keeps = [target.keep for target in here]
        return RegionalLoss(self.statistic, sums, masks, keeps, grid_size(content, layer))

    def _split_layers(
        self, content: Tensor, detail: Tensor | None
    ) -> tuple[list[str], Cutout | None]:
        """The layers computed everywhere, and those only where ``detail`` (1, 1, h, w) is not 0."""
        used, deepest = layers_used(self.options), deepest_block(self.style_shares)
        deep = [layer for layer in used if int(layer[4]) > deepest]
        if detail is None or not deep or not self.style_shares:
            return used, None
        base = f"relu{deepest}_1"
        everywhere = list(dict.fromkeys([layer for layer in used if layer not in deep] + [base]))
        return everywhere, cutout_around(detail, content, base, deep)

    def _content_loss(
        self, layer: str, target: Tensor, weights: Tensor | None, detailed: Tensor | None
    ) -> ContentLoss:
        if self.cutout is None or layer not in self.cutout.layers:
            return ContentLoss(target, weights)
        loss = ContentLoss(target, detailed)
        return self._within_cutout(loss, self.cutout.within[layer])

    def _within_cutout(self, loss: ContentLoss, window: Window) -> ContentLoss:
        return loss.part(*window)

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        """Features by layer; those deeper than the style's only within the cutout."""
        features: dict[str, Tensor] = self.network(image, self.layers)
        if self.cutout is not None:
            features |= self.cutout.features(self.network, features[self.cutout.base])
        return features

    def _content_weights(self, content: Tensor, guide: Guide) -> Tensor | None:
        """The weight of the content loss at each place, (1, 1, h, w); None: 1."""
        focused = self.content_shares and self.options.content_focus == "detail"
        return guided_weights(focus_weights(content) if focused else None, guide.hold, guide.cap)

    def _measure(
        self,
        image: Tensor,
        content: Iterable[str],
        style: Iterable[str],
        known: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, list[Sums]]]:
        """An image's features at content layers and its sums at style layers."""
        features = known or self.network(image, list({*content, *style}))
        kept = {layer: features[layer] for layer in content}
        return kept, {layer: self._sums(layer, features[layer]) for layer in style}

    def _sums(self, layer: str, features: Tensor, window: Window = EVERYWHERE) -> list[Sums]:
        return self.style[layer].measure(flatten_positions(features), window)

    @torch.enable_grad()
    def __call__(self, image: Tensor) -> Evaluation:
        """Evaluate at image (1, 3, H, W)."""
        leaf = image.detach().requires_grad_()
        features = self._features(leaf)
        terms = {"content": image.new_zeros(()), "style": image.new_zeros(())}
        with torch.no_grad():
            gradients = [self._at_layer(name, features[name].detach(), terms) for name in features]
        # The smallest term needs no network; autograd differentiates it.
        terms["tv"] = total_variation(leaf)
        strength = torch.full_like(terms["tv"], self.options.tv_weight)
        # One backward pass through the network carries all the losses' gradients at once.
        outputs = [*features.values(), terms["tv"]]
        gradient = backpropagate(outputs, [*gradients, strength], leaf)
        terms["tv"] = terms["tv"].detach()
        return Evaluation(self._total(terms), gradient, terms)

    @torch.no_grad()
    def value(self, image: Tensor) -> Tensor:
        """The loss alone, at a third of the cost."""
        features = self._features(image)
        terms = {"content": image.new_zeros(()), "style": image.new_zeros(())}
        for layer, share in self.content_shares.items():
            terms["content"] += share * self.content[layer](features[layer])[0]
        for layer, share in self.style_shares.items():
            terms["style"] += share * self.style[layer](self._sums(layer, features[layer]))[0]
        return self._total(terms | {"tv": total_variation(image)})

    def _at_layer(self, layer: str, features: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Gradient of all losses at one layer's features (1, C, H, W); adds values to terms."""
        gradient = None
        if layer in self.style:
            f = flatten_positions(features)
            value, gradient_of = self.style[layer](self.style[layer].measure(f))
            gradient = gradient_of(f, self.style_strength(layer)).view_as(features)
            terms["style"] = terms["style"] + self.style_shares[layer] * value
        if layer in self.content:
            value, at_features = self.content[layer](features)
            at_features = at_features.mul_(self.content_strength(layer))
            gradient = at_features if gradient is None else gradient.add_(at_features)
            terms["content"] = terms["content"] + self.content_shares[layer] * value
        return torch.zeros_like(features) if gradient is None else gradient

    def content_strength(self, layer: str) -> float:
        """The factor of the content loss at a layer in L."""
        return self.options.content_weight * self.content_shares[layer]

    def style_strength(self, layer: str) -> float:
        """The factor of the style loss at a layer in L."""
        return self.options.style_weight * self.style_shares[layer]

    def _total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """L of the unweighted terms."""
        weighted = (
            self.options.content_weight * terms["content"],
            self.options.style_weight * terms["style"],
            self.options.tv_weight * terms["tv"],
        )
        return torch.stack(weighted).sum()


def _adapted(targets: Sequence[StyleTarget], layer: str, features: Tensor) -> Tensor:
    """The content target: features (1, C, H, W) adapted to the style of each region."""
    here = [target for target in targets if layer in target.moments]
    if not here:
        return features
    moments, masks = [target.moments[layer] for target in here], [target.mask for target in here]
    return adapt_by_region(features, moments, masks)


def _make_relative(loss: RegionalLoss, photo: Sequence[Sums]) -> None:
    """Make a loss relative to that of the photo: 1 at the start, 0 in the painting's style.

    Not the paper, whose weights must be chosen again for each photo, style, layer and statistic.
    """
    # A photo that already has the style would make every other step look enormous.
    whole = loss(photo)[0].clamp_min(NEAREST)
    # Divided by infinity a layer would count for nothing, without any error.
    loss.whole = torch.where(whole.isfinite(), whole, torch.nan)


def layers_used(options: Transfer) -> list[str]:
    """All layers whose features an objective with these options needs."""
    content = layer_shares(options.content_layers) if options.content_weight else {}
    style = layer_shares(options.style_layers) if options.style_weight else {}
    return list(dict.fromkeys([*content, *style]))


# Features (1, C, h, w) by layer of an image (1, 3, H, W), and which window of a layer they fill, by
# its stride: once, or once for each of the image's blocks.
WindowOf = Callable[[int], Window]
Extract = Callable[[Vgg19, Tensor, list[str]], Iterable[tuple[WindowOf, Mapping[str, Tensor]]]]


def extract_whole(
    network: Vgg19, image: Tensor, layers: list[str]
) -> Iterable[tuple[WindowOf, Mapping[str, Tensor]]]:
    """Features of the whole image at once; `pipeline.nst.tiles` extracts them in blocks."""
    yield lambda _: EVERYWHERE, network(image, layers)


def measure_style(
    network: Vgg19,
    styles: Sequence[Tensor],
    shares: Sequence[float],
    area: int,
    options: Transfer,
    extract: Extract = extract_whole,
    sources: Sequence[Tensor | None] | None = None,
) -> dict[str, Sums]:
    """The style by layer: the mixture of all paintings' sums by their shares.

    Args:
        network: VGG-19.
        styles: Paintings (1, 3, h, w) at their own size.
        shares: Their shares of the blend, summing to 1.
        area: Pixels of the picture at this scale.
        options: Layers, statistic and style_scale.
        extract: Gives a painting's features: whole, or block by block.
        sources: How much each place of each painting counts, (1, 1, h, w); None: all alike.
    """
    if not options.style_weight:
        return {}
    statistic: Statistic = STATISTICS[options.statistic]()
    layers = list(layer_shares(options.style_layers))
    blend: dict[str, Sums] = {}
    masks = sources or [None] * len(styles)
    for style, share, mask in zip(styles, shares, masks, strict=True):
        if not share:
            continue
        small = resize(style, style_size(style, area, options.style_scale)).clamp(0, 1)
        own: dict[str, Sums] = {}
        with torch.no_grad():
            grids = {layer: _source_at(mask, small, layer) for layer in layers}
            for window_of, features in extract(network, small, layers):
                for layer, value in features.items():
                    like, grid = blend.get(layer) or own.get(layer), grids[layer]
                    counts = None if grid is None else window_of(stride_of(layer)).of(grid)
                    sums = statistic.measure(flatten_positions(value), counts, like)
                    own[layer] = own[layer] + sums if layer in own else sums
        for layer, sums in own.items():
            # Sums are mixed, not losses and not covariances: the blend is the mixture.
            part = sums.normalised().scaled(share)
            blend[layer] = blend[layer] + part if layer in blend else part
    return blend


def _source_at(mask: Tensor | None, painting: Tensor, layer: str) -> Tensor | None:
    """A painting's mask on a layer's grid; None: all places count alike, or too few would."""
    if mask is None:
        return None
    grid = resize_to_size(mask, grid_size(painting, layer)).clamp(0, 1)
    # So few positions at a coarse scale would make one eye the whole style.
    return grid if grid.sum() >= MIN_POSITIONS else None


def style_features(
    network: Vgg19,
    style: Tensor,
    layers: list[str],
    area: int,
    style_scale: float,
    extract: Extract = extract_whole,
) -> dict[str, Tensor]:
    """A painting's features (1, C, h, w) by layer, for a picture of ``area`` px."""
    small = resize(style, style_size(style, area, style_scale)).clamp(0, 1)
    whole: dict[str, Tensor] = {}
    with torch.no_grad():
        for window_of, features in extract(network, small, layers):
            for layer, value in features.items():
                if layer not in whole:
                    whole[layer] = value.new_zeros(1, value.shape[1], *grid_size(small, layer))
                rows, columns = window_of(stride_of(layer))
                whole[layer][..., rows, columns] = value
    return whole


def measure_style_moments(
    network: Vgg19,
    styles: Sequence[Tensor],
    shares: Sequence[float],
    area: int,
    options: Transfer,
    extract: Extract = extract_whole,
    sources: Sequence[Tensor | None] | None = None,
) -> dict[str, Any]:
    """The style's `Moments` at the content layers; see `measure_style` for the arguments."""
    kept = options.content_weight and layer_shares(options.content_layers)
    if options.content_target != "adapted" or not kept:
        return {}
    at_content = {"style_layers": options.content_layers, "statistic": "mean_std"}
    return measure_style(
        network, styles, shares, area, options.model_copy(update=at_content), extract, sources
    )


def layer_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Layer weights as shares of one; layers of weight 0 are not computed at all."""
    used = {layer: weight for layer, weight in weights.items() if weight > 0}
    total = sum(used.values())
    return {layer: weight / total for layer, weight in used.items()}


def flatten_positions(features: Tensor) -> Tensor:
    """(1, C, H, W) -> (C, H * W) in fp32: sums of squares overflow in half precision."""
    return features.squeeze(0).flatten(1).float()
