"""The objective at one scale: content + style + total variation, and its gradient.

The table of style statistics is here; how to add one: `pipeline.nst.statistics`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst.backward import backpropagate
from pipeline.nst.content_focus import focus_weights
from pipeline.nst.distributions import Histogram, SlicedWasserstein
from pipeline.nst.losses import ContentLoss, adapt_features, total_variation
from pipeline.nst.pyramid import resize, style_size
from pipeline.nst.statistics import (
    Covariance,
    FeatureGradient,
    Gram,
    MeanStd,
    Moments,
    Statistic,
    StyleLoss,
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


class Objective:
    """L = content_weight * content + style_weight * style + tv_weight * tv (Gatys 2015, eq. 7).

    Args:
        network: VGG-19 on the device of the pictures.
        content: (1, 3, H, W) at this scale.
        target: The style's sums by layer, as `measure_style` gives them.
        options: Weights and layers.
        features: The content image's features by layer, if they are known.
        style_moments: The style's moments at the content layers, as `measure_style_moments` gives
            them: the content target is adapted to them. Absent: it is the content image's own
            features (the paper).
        recolored: The content image in the style's hues; its features are then the content
            target.
    """

    def __init__(
        self,
        network: Vgg19,
        content: Tensor,
        target: Mapping[str, Sums],
        options: Transfer,
        features: Mapping[str, Tensor] | None = None,
        style_moments: Mapping[str, Moments] | None = None,
        recolored: Tensor | None = None,
    ) -> None:
        self.network, self.options, self.target = network, options, target
        self.statistic: Statistic = STATISTICS[options.statistic]()
        self.content_shares = layer_shares(options.content_layers) if options.content_weight else {}
        self.style_shares = layer_shares(options.style_layers) if target else {}
        self.layers = layers_used(options)
        with torch.no_grad():
            if recolored is None or not self.content_shares:
                kept, sums = self._measure(
                    content, self.content_shares, self.style_shares, features
                )
            else:
                # Not the paper: with the photo's own colours as the target, a pink house would stay
                # pink in a painting of blue and yellow.
                _, sums = self._measure(content, (), self.style_shares, features)
                kept, _ = self._measure(recolored, self.content_shares, ())
            for layer, moments in (style_moments or {}).items():
                kept[layer] = adapt_features(kept[layer], moments)
            focused = self.content_shares and options.content_focus == "detail"
            weights = focus_weights(content) if focused else None
            self.content = {
                layer: ContentLoss(kept[layer], weights) for layer in self.content_shares
            }
            self.style = {
                layer: _relative_to_photo(self.statistic.loss(target[layer]), sums[layer])
                for layer in self.style_shares
            }

    def _measure(
        self,
        image: Tensor,
        content: Iterable[str],
        style: Iterable[str],
        known: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Sums]]:
        """An image's features at content layers and its sums at style layers."""
        features = known or self.network(image, list({*content, *style}))
        kept = {layer: features[layer] for layer in content}
        return kept, {layer: self._sums(layer, features) for layer in style}

    def _sums(self, layer: str, features: Mapping[str, Tensor]) -> Sums:
        return self.statistic.measure(flatten_positions(features[layer]), like=self.target[layer])

    @torch.enable_grad()
    def __call__(self, image: Tensor) -> Evaluation:
        """Evaluate at image (1, 3, H, W)."""
        leaf = image.detach().requires_grad_()
        features = self.network(leaf, self.layers)
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
        features = self.network(image, self.layers)
        terms = {"content": image.new_zeros(()), "style": image.new_zeros(())}
        for layer, share in self.content_shares.items():
            terms["content"] += share * self.content[layer](features[layer])[0]
        for layer, share in self.style_shares.items():
            terms["style"] += share * self.style[layer](self._sums(layer, features))[0]
        return self._total(terms | {"tv": total_variation(image)})

    def _at_layer(self, layer: str, features: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Gradient of all losses at one layer's features (1, C, H, W); adds values to terms."""
        gradient = None
        if layer in self.style:
            f = flatten_positions(features)
            value, gradient_of = self.style[layer](
                self.statistic.measure(f, like=self.target[layer])
            )
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


def layers_used(options: Transfer) -> list[str]:
    """All layers whose features an objective with these options needs."""
    content = layer_shares(options.content_layers) if options.content_weight else {}
    style = layer_shares(options.style_layers) if options.style_weight else {}
    return list(dict.fromkeys([*content, *style]))


# Features (1, C, h, w) by layer of an image (1, 3, H, W): once, or once for each of its blocks.
Extract = Callable[[Vgg19, Tensor, list[str]], Iterable[Mapping[str, Tensor]]]


def extract_whole(
    network: Vgg19, image: Tensor, layers: list[str]
) -> Iterable[Mapping[str, Tensor]]:
    """Features of the whole image at once; `pipeline.nst.tiles` extracts them in blocks."""
    yield network(image, layers)


def measure_style(
    network: Vgg19,
    styles: Sequence[Tensor],
    shares: Sequence[float],
    area: int,
    options: Transfer,
    extract: Extract = extract_whole,
) -> dict[str, Sums]:
    """The style by layer: the mixture of all paintings' sums by their shares.

    Args:
        network: VGG-19.
        styles: Paintings (1, 3, h, w) at their own size.
        shares: Their shares of the blend, summing to 1.
        area: Pixels of the picture at this scale.
        options: Layers, statistic and style_scale.
        extract: Gives a painting's features: whole, or block by block.
    """
    if not options.style_weight:
        return {}
    statistic: Statistic = STATISTICS[options.statistic]()
    layers = list(layer_shares(options.style_layers))
    blend: dict[str, Sums] = {}
    for style, share in zip(styles, shares, strict=True):
        small = resize(style, style_size(style, area, options.style_scale)).clamp(0, 1)
        own: dict[str, Sums] = {}
        with torch.no_grad():
            for features in extract(network, small, layers):
                for layer, value in features.items():
                    like = blend.get(layer) or own.get(layer)
                    sums = statistic.measure(flatten_positions(value), like=like)
                    own[layer] = own[layer] + sums if layer in own else sums
        for layer, sums in own.items():
            # Sums are mixed, not losses and not covariances: the blend is the mixture.
            part = sums.normalised().scaled(share)
            blend[layer] = blend[layer] + part if layer in blend else part
    return blend


def measure_style_moments(
    network: Vgg19,
    styles: Sequence[Tensor],
    shares: Sequence[float],
    area: int,
    options: Transfer,
    extract: Extract = extract_whole,
) -> dict[str, Any]:
    """The style's `Moments` at the content layers; see `measure_style` for the arguments."""
    kept = options.content_weight and layer_shares(options.content_layers)
    if options.content_target != "adapted" or not kept:
        return {}
    at_content = {"style_layers": options.content_layers, "statistic": "mean_std"}
    return measure_style(
        network, styles, shares, area, options.model_copy(update=at_content), extract
    )


def _relative_to_photo(loss: StyleLoss, photo: Sums) -> StyleLoss:
    """The loss relative to that of the photo: 1 at the start, 0 in the painting's style.

    Not the paper, whose weights must be chosen again for each photo, style, layer and statistic.
    """
    # A photo that already has the style would make every other step look enormous.
    whole = loss(photo)[0].clamp_min(NEAREST)
    # Divided by infinity a layer would count for nothing, without any error.
    whole = torch.where(whole.isfinite(), whole, torch.nan)

    def relative(sums: Sums) -> tuple[Tensor, FeatureGradient]:
        value, gradient_of = loss(sums)
        return value / whole, lambda features, strength: gradient_of(features, strength / whole)

    return relative


def layer_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Layer weights as shares of one; layers of weight 0 are not computed at all."""
    used = {layer: weight for layer, weight in weights.items() if weight > 0}
    total = sum(used.values())
    return {layer: weight / total for layer, weight in used.items()}


def flatten_positions(features: Tensor) -> Tensor:
    """(1, C, H, W) -> (C, H * W) in fp32: sums of squares overflow in half precision."""
    return features.squeeze(0).flatten(1).float()
