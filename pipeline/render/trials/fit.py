"""How well a painting fits a photo: a score of a small picture, from parts that can be explained.

Each part is from 0 to 1, more is better, and the score is their mean: weights fitted to one
person's eye were worse for other paintings (see the lab book). The parts: `docs/recipes.md`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.imaging.resampling import antialiased
from pipeline.nst import Vgg19
from pipeline.nst.colors import LUMA
from pipeline.nst.pyramid import target_size, trim_edges
from pipeline.render.trials.quick_painter import Painted

FORMS = 64  # px, long side at which edges are compared: forms, no strokes
STRONG = 0.3  # deviation of luma from its mean: that of a picture of strong light and dark
SHADES = 64  # of a picture, sorted: where its tones are compared
MOTIF_SIDE, MOTIF_LAYER = 96, "relu5_1"  # px
TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a style fits a photo.

    Attributes:
        style: How much of the painting's style the picture has.
        structure: How much of the photo's forms is left in it.
        contrast: How much light and dark it has.
        tones: How alike light, dark and colours of photo and painting are.
        motifs: How alike what they show is, to VGG-19.
    """

    style: float
    structure: float
    contrast: float
    tones: float
    motifs: float

    @property
    def parts(self) -> dict[str, float]:
        """By name."""
        return asdict(self)

    @property
    def score(self) -> float:
        """The mean of the parts, 0 to 1."""
        return sum(self.parts.values()) / len(self.parts)


def average(fits: Sequence[Fit]) -> Fit:
    """The mean of each part."""
    by_part = zip(*(fit.parts.values() for fit in fits), strict=True)
    return Fit(*(sum(part) / len(fits) for part in by_part))


def measure_fit(painted: Painted, shares: Sequence[float], network: Vgg19) -> Fit:
    """Measure how well a style fits a photo, by a small picture of it.

    Args:
        painted: The picture.
        shares: Of the paintings in the blend, summing to 1.
        network: VGG-19.
    """
    photo, left = painted.photo, painted.styles
    alike = [
        (share, _tones(photo, painting), _motifs(photo, painting, network))
        for share, painting in zip(shares, painted.paintings, strict=True)
    ]
    return Fit(
        style=_bounded(1 - sum(left) / len(left)) if left else 0.0,
        structure=_bounded(_structure(painted.picture, photo)),
        contrast=_bounded(float(_luma(painted.picture).std()) / STRONG),
        tones=_bounded(sum(share * tones for share, tones, _ in alike)),
        motifs=_bounded(sum(share * motifs for share, _, motifs in alike)),
    )


def _structure(picture: Tensor, photo: Tensor) -> float:
    """Correlation of the edges of both, in red, green and blue."""
    edges = torch.stack([_edges(picture), _edges(photo)])
    centred = edges - edges.mean(1, keepdim=True)
    return float(functional.cosine_similarity(centred[0], centred[1], dim=0, eps=TINY))


def _edges(picture: Tensor) -> Tensor:
    small = _reduced(picture, FORMS)[0]
    across, down = small.diff(dim=2)[:, 1:], small.diff(dim=1)[:, :, 1:]
    return (across.square() + down.square()).sqrt().flatten()


def _luma(picture: Tensor) -> Tensor:
    return torch.einsum("c,chw->hw", picture.new_tensor(LUMA), picture)


def _tones(photo: Tensor, painting: Tensor) -> float:
    """1 where red, green and blue have the same distributions; 0 where they differ by a half."""
    return 1 - 2 * float((_quantiles(photo) - _quantiles(painting)).abs().mean())


def _quantiles(picture: Tensor) -> Tensor:
    """(3, SHADES): each channel's values, sorted."""
    small = antialiased(picture[None], (SHADES, SHADES), "bilinear")[0]
    return small.flatten(1).sort(1).values.view(3, SHADES, SHADES).mean(2)


@torch.no_grad()
def _motifs(photo: Tensor, painting: Tensor, network: Vgg19) -> float:
    """How alike the places of the photo and the most similar ones of the painting are."""
    ours, theirs = _deep(photo, network), _deep(trim_edges(painting[None])[0], network)
    return float((ours.T @ theirs).max(1).values.mean())


def _deep(picture: Tensor, network: Vgg19) -> Tensor:
    """Deep features (C, N) of length 1."""
    device = next(network.parameters()).device
    small = _reduced(picture, MOTIF_SIDE)
    features = network(small.to(device), [MOTIF_LAYER])[MOTIF_LAYER]
    return functional.normalize(features[0].flatten(1), dim=0, eps=TINY)


def _reduced(picture: Tensor, long_side: int) -> Tensor:
    """(3, H, W) -> (1, 3, h, w)."""
    height, width = picture.shape[1:]
    return antialiased(picture[None], target_size(height, width, long_side), "bilinear")


def _bounded(part: float) -> float:
    return min(1.0, max(0.0, part))
