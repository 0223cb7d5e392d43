"""Keeping the photo's colours (Gatys et al. 2016, "Preserving color in neural style transfer")."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.nst.statistics import Moments

# ITU-R BT.601 luma and colour differences, full range.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def keep_colors(picture: Tensor, photo: Tensor) -> Tensor:
    """Luma of the stylised picture, colour differences of the photo; both (1, 3, H, W)."""
    to_ycc = torch.tensor(_TO_YCC, device=picture.device)  # (3, 3)
    painted = torch.einsum("ij,njhw->nihw", to_ycc, picture.clamp(0, 1))
    original = torch.einsum("ij,njhw->nihw", to_ycc, photo.clamp(0, 1))
    mixed = torch.cat([painted[:, :1], original[:, 1:]], 1)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), mixed).clamp(0, 1)


def recolored(photo: Tensor, styles: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The photo with the paintings' colours: mean and covariance of RGB matched.

    The symmetric linear map between two Gaussians (Pitie & Kokaram 2007, "The linear
    Monge-Kantorovitch colour mapping"), which moves colours as little as possible.

    Args:
        photo: (1, 3, H, W).
        styles: Paintings (1, 3, h, w), mixed by shares that sum to 1.
        shares: One for each painting.
    """
    now = Moments.of(photo.flatten(1).view(3, -1)).normalised()
    parts = [
        Moments.of(style.reshape(3, -1)).normalised().scaled(share)
        for style, share in zip(styles, shares, strict=True)
    ]
    goal = parts[0]
    for part in parts[1:]:
        goal = goal + part
    root, inverse = _roots(_covariance(now))
    middle, _ = _roots(root @ _covariance(goal) @ root)
    matrix = inverse @ middle @ inverse  # (3, 3)
    shifted = photo - now.first.view(1, 3, 1, 1)
    moved = torch.einsum("ij,njhw->nihw", matrix, shifted)
    return (moved + goal.first.view(1, 3, 1, 1)).clamp(0, 1)


def _covariance(moments: Moments) -> Tensor:
    # A little grey noise keeps a picture of one colour invertible.
    noise = 1e-4 * torch.eye(3, device=moments.first.device)
    return moments.second - torch.outer(moments.first, moments.first) + noise


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root and inverse square root of a symmetric positive (3, 3) matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root = values.clamp_min(1e-8).sqrt()
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
