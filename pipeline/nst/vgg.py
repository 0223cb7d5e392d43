"""VGG-19's features by name: relu1_1 ... relu5_4 (Simonyan & Zisserman 2014)."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.nst.cache import fingerprint
from pipeline.nst.weights import CONVS, IMAGENET_MEAN, IMAGENET_STD, Weights

TINY = 1e-12  # under a root, whose slope at 0 is infinite


def reach(base: str, layer: str) -> int:
    """How far a position of a deeper layer sees, in positions of the layer ``base``."""
    names = list(CONVS)
    first, last = (names.index(f"conv{each[4:]}") for each in (base, layer))
    found, step = 0, 1
    for name in names[first + 1 : last + 1]:
        if name.endswith("_1"):  # pooling comes first
            found, step = found + step, 2 * step
        found += step
    return found


class Vgg19(nn.Module):
    """The convolutional part of VGG-19, frozen.

    Differs from the paper in three places, each marked below: edges are replicated, pooling keeps
    the last odd row and column, and may be averaging.

    Args:
        weights: As `load_weights` gives them.
        pooling: ``max`` (the network as trained), ``average`` (Gatys et al. 2015, section 2) or
            ``l2``, the root mean square (Henaff & Simoncelli 2016, "Geodesics of learned
            representations"): it moves all pixels, where a maximum moves one of four.
    """

    def __init__(self, weights: Weights, pooling: str = "max") -> None:
        super().__init__()
        self.pooling = pooling
        self.convs = nn.ModuleDict()
        for name, (index, channels_in, channels_out) in CONVS.items():
            conv = nn.Conv2d(channels_in, channels_out, 3)
            conv.weight.data = weights[f"features.{index}.weight"].clone()
            conv.bias.data = weights[f"features.{index}.bias"].clone()  # type: ignore[union-attr]
            self.convs[name] = conv
        # Identifies these weights in caches: all of them, for two trainings may share any part.
        indices = [index for index, _, _ in CONVS.values()]
        parts = [weights[f"features.{i}.{part}"] for i in indices for part in ("weight", "bias")]
        self.identity = fingerprint(*parts, pooling)
        self._fold_normalisation()
        self.requires_grad_(False)
        # channels_last is 1.3 to 1.5 times as fast on CPU and on tensor cores.
        self.to(memory_format=torch.channels_last)

    def _fold_normalisation(self) -> None:
        """Let conv1_1 take RGB in [0, 1]: W (x - mean) / std + b is W' x + b'."""
        first = self.convs["conv1_1"]
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        kernel = first.get_parameter("weight").data / std.view(1, 3, 1, 1)
        first.get_parameter("weight").data = kernel
        first.get_parameter("bias").data -= kernel.sum((2, 3)) @ mean

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features after the named rectifiers; nothing deeper than the deepest is computed.

        Args:
            image: (1, 3, H, W) RGB in [0, 1], H and W at least 1.
            layers: Names such as ``relu4_2``.

        Returns:
            By name (1, C, ceil(H / s), ceil(W / s)), s = 1, 2, 4, 8, 16 for blocks 1 to 5.
        """
        return self._features(image, list(self.convs), layers)

    def deeper(self, features: Tensor, base: str, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of deeper layers, from those of a layer ``base`` (1, C, h, w) or a part."""
        names = list(self.convs)
        return self._features(features, names[names.index(f"conv{base[4:]}") + 1 :], layers)

    def _features(
        self, x: Tensor, names: Sequence[str], layers: Iterable[str]
    ) -> dict[str, Tensor]:
        """Features after the named rectifiers, by the named convolutions."""
        wanted = set(layers)
        features: dict[str, Tensor] = {}
        x = x.contiguous(memory_format=torch.channels_last)
        for name in names:
            if name.endswith("_1") and name != "conv1_1":
                x = self._pool(x)
            # Not the paper: zeros around the picture are an edge that no photo has, and show as
            # border marks; the outermost values repeated are not. Costs a tenth of the step.
            x = F.pad(x, (1, 1, 1, 1), mode="replicate")
            x = F.relu_(
                self.convs[name](x)
            )  # in place: the convolution's output is not needed elsewhere
            layer = f"relu{name[4:]}"
            if layer in wanted:
                features[layer] = x
                if len(features) == len(wanted):
                    return features
        raise KeyError(f"no such layers: {sorted(wanted - set(features))}")

    def _pool(self, x: Tensor) -> Tensor:
        # Not the paper: ceil_mode keeps the odd last row and column, which would otherwise reach
        # no deep layer and stay as a glitch at the right and bottom edge.
        if self.pooling == "max":
            return F.max_pool2d(x, 2, ceil_mode=True)
        if self.pooling == "average":
            return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        squares = F.avg_pool2d(x.square(), 2, ceil_mode=True, count_include_pad=False)
        return squares.add_(TINY).sqrt()
