"""Whose colours: the photo's, kept (Gatys et al. 2016, "Preserving color"), or the paintings'."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.nst.pyramid import resize, target_size
from pipeline.nst.statistics import Moments

# ITU-R BT.601 luma and colour differences, full range.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
SEEN = 256  # px, long side at which colours are measured
# Least variances, of values in [0, 1]: of a photo's colours in any direction (else the noise of a
# grey one would be made into colours), and of a painting's light and dark.
NOISE, SHADE = 1e-4, 2.5e-3


def keep_colors(picture: Tensor, photo: Tensor) -> Tensor:
    """Luma of the stylised picture, colour differences of the photo; both (1, 3, H, W)."""
    to_ycc = torch.tensor(_TO_YCC, device=picture.device)  # (3, 3)
    painted = torch.einsum("ij,njhw->nihw", to_ycc, picture.clamp(0, 1))
    original = torch.einsum("ij,njhw->nihw", to_ycc, photo.clamp(0, 1))
    mixed = torch.cat([painted[:, :1], original[:, 1:]], 1)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), mixed).clamp(0, 1)


def recoloring(
    photo: Tensor, styles: Sequence[Tensor], shares: Sequence[float]
) -> Callable[[Tensor], Tensor]:
    """The map that gives a photo the paintings' colours: mean and covariance of RGB matched.

    The symmetric linear map between two Gaussians (Pitie & Kokaram 2007, "The linear
    Monge-Kantorovitch colour mapping"), which moves colours as little as possible.

    Args:
        photo: (1, 3, H, W).
        styles: Paintings (1, 3, h, w), mixed by shares that sum to 1.
        shares: One for each painting.

    Returns:
        A function of the photo at any size, (1, 3, h, w) -> (1, 3, h, w) in [0, 1].
    """
    mean, own = _palette([photo], [1.0])
    goal_mean, goal = _palette(styles, shares)
    # Where the paintings' colours do not vary the photo's shall not either, but for light and dark:
    # a painting of one colour leaves the photo its shapes.
    grey = torch.full((3, 1), 3**-0.5, dtype=torch.float64)
    goal = goal + (SHADE - grey.T @ goal @ grey).clamp_min(0) * (grey @ grey.T)
    root, inverse = _roots(own, NOISE)
    middle, _ = _roots(root @ goal @ root, 0.0)
    matrix = inverse @ middle @ inverse  # (3, 3)
    offset = (goal_mean - matrix @ mean).to(photo)  # (3,)
    matrix = matrix.to(photo)

    def recolored(image: Tensor) -> Tensor:
        moved = torch.einsum("ij,njhw->nihw", matrix, image)
        return moved.add_(offset.view(1, 3, 1, 1)).clamp_(0, 1)

    return recolored


def _palette(images: Sequence[Tensor], shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Mean (3,) and covariance (3, 3) of the images' colours, mixed by shares; fp64 on the CPU."""
    parts = [
        Moments.of(_small(image).reshape(3, -1)).normalised().scaled(share)
        for image, share in zip(images, shares, strict=True)
    ]
    mixed = parts[0]
    for part in parts[1:]:
        mixed = mixed + part
    return mixed.first, mixed.second - torch.outer(mixed.first, mixed.first)


def _small(image: Tensor) -> Tensor:
    """An image (1, 3, H, W) no larger than SEEN, in fp64: in fp32 a large one's sums cancel."""
    height, width = image.shape[-2:]
    size = target_size(height, width, min(SEEN, max(height, width)))
    return resize(image, size).clamp(0, 1).cpu().double()


def _roots(matrix: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Square root and inverse square root of a symmetric (3, 3) with eigenvalues ``least`` up."""
    values, vectors = torch.linalg.eigh(matrix)
    root = values.clamp_min(max(least, 1e-16)).sqrt()
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
