"""Keeping the photo's colours (Gatys et al. 2016, "Preserving color in neural style transfer")."""

import torch
from torch import Tensor

# ITU-R BT.601 luma and colour differences, full range.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def keep_colors(picture: Tensor, photo: Tensor) -> Tensor:
    """Luma of the stylised picture, colour differences of the photo; both (1, 3, H, W)."""
    to_ycc = torch.tensor(_TO_YCC, device=picture.device)  # (3, 3)
    painted = torch.einsum("ij,njhw->nihw", to_ycc, picture.clamp(0, 1))
    original = torch.einsum("ij,njhw->nihw", to_ycc, photo.clamp(0, 1))
    mixed = torch.cat([painted[:, :1], original[:, 1:]], 1)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), mixed).clamp(0, 1)
