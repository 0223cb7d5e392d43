"""Keeps the photo's colours (Gatys et al. 2016, "Preserving color"), or maps to the paintings'."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.nst.pyramid import resize, target_size
from pipeline.nst.statistics import Moments

# ITU-R BT.601 luma and colour differences, full range.
LUMA = (0.299, 0.587, 0.114)
_TO_YCC = (LUMA, (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
SIDE = 256  # px, long side at which colours are measured
# Least variances, of values in [0, 1]: of a photo's colours in any direction (else the noise of a
# grey one would be made into colours), and of a painting's light and dark.
MIN_VARIANCE, MIN_SHADE = 1e-4, 2.5e-3
# Least standard deviations of luma: below the first a painting counts as even; an even photo gets
# strokes of the second.
EVEN, FAINT = 0.02, 0.03
BINS = 12  # along each of R, G, B: a painting has some 200 to 600 colours then
NEAR = 0.05  # of values in [0, 1]: paintings' colours so near are mixed,
WIDER = 0.5  # or this share of the distance to the nearest one
MIN_SHARE = 1e-9  # of a painting in a blend: less is none
BLOCK = 1 << 20  # pairs of a photo's and a painting's colour computed at once: 4 MB, in the cache
SAMPLES = 33  # along each of R, G, B, of a table

ColorMap = Callable[[Tensor], Tensor]


def combine_luma_and_color(image: Tensor, other: Tensor) -> Tensor:
    """Luma of an image with the colour differences of another; all (1, 3, H, W) in [0, 1]."""
    to_ycc = torch.tensor(_TO_YCC, device=image.device)  # (3, 3)
    own = torch.einsum("ij,njhw->nihw", to_ycc, image.clamp(0, 1))
    theirs = torch.einsum("ij,njhw->nihw", to_ycc, other.clamp(0, 1))
    mixed = torch.cat([own[:, :1], theirs[:, 1:]], 1)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), mixed).clamp(0, 1)


def grey_of(image: Tensor) -> Tensor:
    """The luma of an image (1, 3, H, W), in all three channels."""
    luma = torch.einsum("j,njhw->nhw", image.new_tensor(LUMA), image)
    return luma.unsqueeze(1).expand(-1, 3, -1, -1)


def match_luma(painting: Tensor, photo: Tensor) -> Tensor:
    """A painting in grey, with the mean and deviation of the photo's luma.

    Gatys et al. 2016, "Preserving color in neural artistic style transfer". Not the paper: both
    deviations have a floor. The noise of an even painting must not become strokes, and an even
    photo must get some.

    Args:
        painting: (1, 3, h, w).
        photo: (1, 3, H, W).

    Returns:
        (1, 3, h, w) in [0, 1].
    """
    (own_mean, own), (mean, wanted) = _luma_spread(painting), _luma_spread(photo)
    gain = max(wanted, FAINT) / max(own, EVEN)
    return ((grey_of(painting) - own_mean) * gain + mean).clamp(0, 1)


def _luma_spread(image: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of an image's luma."""
    luma = grey_of(_small(image))[:, 0]
    return float(luma.mean()), float(luma.std(correction=0))


def map_to_palette(photo: Tensor, styles: Sequence[Tensor], shares: Sequence[float]) -> ColorMap:
    """A map that gives a photo the paintings' colours.

    Mean and covariance are matched, and then hues that no painting has become the nearest that
    one has. That mixes colours: what it takes away from the paintings' own mean and covariance is
    given back to the result.

    Args:
        photo: (1, 3, H, W).
        styles: Paintings (1, 3, h, w), mixed by shares that sum to 1.
        shares: One for each painting.

    Returns:
        A function of the photo at any size, (1, 3, h, w) -> (1, 3, h, w) in [0, 1].
    """
    painted = _mixture(styles, shares)
    palette = _palette(painted)
    nearest = tabulate(_nearest(palette))
    mixed = Colors(nearest(palette.values[None, ..., None]).squeeze(0, 3), palette.weights)
    linear = _matching(_gaussian(_mixture([photo], [1.0])), _shaded(_gaussian(painted)))
    unmixed = _matching(_softened(_gaussian(mixed)), _softened(_gaussian(palette)))
    return lambda image: unmixed(nearest(linear(image)))


class Colors(NamedTuple):
    """Colours and the share of each; fp64 on the CPU."""

    values: Tensor  # (3, N)
    weights: Tensor  # (N,), 1 in all


class Gaussian(NamedTuple):
    """Mean and covariance of colours."""

    mean: Tensor  # (3,)
    covariance: Tensor  # (3, 3)


def _matching(own: Gaussian, goal: Gaussian) -> ColorMap:
    """The symmetric linear map between two Gaussians, which moves colours as little as possible.

    Pitie & Kokaram 2007, "The linear Monge-Kantorovitch colour mapping".
    """
    root, inverse = _roots(own.covariance, MIN_VARIANCE)
    middle, _ = _roots(root @ goal.covariance @ root, 0.0)
    matrix = inverse @ middle @ inverse  # (3, 3)
    offset = goal.mean - matrix @ own.mean  # (3,)

    def matched(image: Tensor) -> Tensor:
        moved = torch.einsum("ij,njhw->nihw", matrix.to(image), image)
        return moved.add_(offset.to(image).view(1, 3, 1, 1)).clamp_(0, 1)

    return matched


def _nearest(palette: Colors) -> ColorMap:
    """The map to the nearest of the paintings' colours, luma kept.

    Kernel regression (Nadaraya 1964): x becomes the mean of colours c weighted by
    w exp(-|x - c|^2 / (2 h^2)). A linear map alone makes colours that the painting lacks: red
    roofs in blue and yellow. The width h grows with the distance of x from all of them, so that
    a painting of few colours makes no hard edges where the photo has none.
    """

    def nearest(image: Tensor) -> Tensor:
        colors = palette.values.to(image)  # (3, K)
        log_weights, half = palette.weights.log().to(image), colors.square().sum(0) / 2
        parts = []
        pixels = image.squeeze(0).flatten(1).T  # (H * W, 3)
        for part in torch.split(pixels, max(1, BLOCK // len(half))):
            near = part @ colors - half  # (|x|^2 - |x - c|^2) / 2
            squared = (part.square().sum(1, True) - 2 * near.amax(1, True)).clamp_min(0)
            width = NEAR**2 + WIDER**2 * squared
            parts.append((near / width + log_weights).softmax(1) @ colors.T)
        moved = torch.cat(parts).T.view_as(image)
        luma = torch.tensor(_TO_YCC[0]).to(image)
        return moved + torch.einsum("j,njhw->nhw", luma, image - moved).unsqueeze(1)

    return nearest


def tabulate(recolor: ColorMap) -> ColorMap:
    """A colour map as a table, with linear interpolation: fast however large the image.

    It differs from the map itself by 0.1 / 255 on average; 6 / 255 was the most with any starter
    style, 14 with any painting of a handful of colours. At 512 px the lookup takes 10 ms, and the
    table 20 to 160; the map itself would take a fiftieth of the whole run.
    """
    along = torch.linspace(0, 1, SAMPLES)
    blue, green, red = torch.meshgrid(along, along, along, indexing="ij")
    samples = torch.stack([red, green, blue]).view(1, 3, SAMPLES**2, SAMPLES)
    table = recolor(samples).view(1, 3, SAMPLES, SAMPLES, SAMPLES)  # by blue, green, red

    def look_up(image: Tensor) -> Tensor:
        # On the CPU: not every accelerator has it, and it is needed once a scale.
        places = image.cpu().mul(2).sub(1).permute(0, 2, 3, 1).unsqueeze(1)  # (1, 1, H, W, 3)
        moved = F.grid_sample(
            table.to(places), places, padding_mode="border", align_corners=True
        )  # (1, 3, 1, H, W)
        return moved.squeeze(2).to(image)

    return look_up


def _mixture(images: Sequence[Tensor], shares: Sequence[float]) -> Colors:
    """All colours of images (1, 3, H, W), weighted by the images' shares."""
    used = [
        (image, share) for image, share in zip(images, shares, strict=True) if share > MIN_SHARE
    ]
    values = [_small(image).squeeze(0).flatten(1) for image, _ in used]  # (3, N) each
    weights = [
        torch.full_like(part[0], share / part.shape[1])
        for part, (_, share) in zip(values, used, strict=True)
    ]
    return Colors(torch.cat(values, 1), torch.cat(weights))


def _palette(colors: Colors) -> Colors:
    """The means of colours by bins of RGB: a few hundred."""
    red, green, blue = (colors.values * BINS).long().clamp_max(BINS - 1)  # (N,) each
    _, index = torch.unique((red * BINS + green) * BINS + blue, return_inverse=True)
    weights = colors.weights.new_zeros(int(index.max()) + 1).index_add_(0, index, colors.weights)
    sums = colors.values.new_zeros(3, len(weights))
    sums.index_add_(1, index, colors.values * colors.weights)
    return Colors(sums / weights, weights)


def _gaussian(colors: Colors) -> Gaussian:
    moments = Moments.of(*colors).normalised()
    return Gaussian(moments.first, moments.second - torch.outer(moments.first, moments.first))


def _shaded(painted: Gaussian) -> Gaussian:
    """A painting's Gaussian, with light and dark if it has none.

    Where its colours do not vary the photo's should not either, except for light and dark: a
    painting of one colour leaves the photo its shapes.
    """
    grey = torch.full((3, 1), 3**-0.5, dtype=torch.float64)
    lacking = (MIN_SHADE - grey.T @ painted.covariance @ grey).clamp_min(0)
    return Gaussian(painted.mean, painted.covariance + lacking * (grey @ grey.T))


def _softened(mixed: Gaussian) -> Gaussian:
    """With MIN_VARIANCE added in all directions, so that a trace of colour is not amplified."""
    return Gaussian(mixed.mean, mixed.covariance + MIN_VARIANCE * torch.eye(3, dtype=torch.float64))


def _small(image: Tensor) -> Tensor:
    """An image (1, 3, H, W) no larger than SIDE, in fp64: in fp32 a large one's sums cancel."""
    height, width = image.shape[-2:]
    size = target_size(height, width, min(SIDE, max(height, width)))
    return resize(image, size).clamp(0, 1).cpu().double()


def _roots(matrix: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Square root and inverse square root of a symmetric (3, 3) with eigenvalues ``least`` up."""
    values, vectors = torch.linalg.eigh(matrix)
    root = values.clamp_min(max(least, 1e-16)).sqrt()
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
