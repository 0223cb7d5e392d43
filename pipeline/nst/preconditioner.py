"""The preconditioner of L-BFGS: a metric in which large forms change as easily as fine detail."""

import math

import torch
from torch import Tensor

FINER = 4  # than the stride of the deepest layer of style: coarser scales have settled the rest
POWER = 0.75  # of the filter; 1 is the H1 metric, which leaves fine detail unfinished
MARGIN = 32  # px between opposite edges: so far from a point the filter is below 3e-4 of its peak
MULTIPLE = 16  # padded sides are multiples of it: transforms of prime lengths are slow


class Smoothing:
    """P = (1 + (2 pi length f)^2)^-POWER at spatial frequency f, in cycles per px.

    Not the paper. The losses' gradient is mostly fine detail, since the network's first layers
    see little else; a few dozen steps along it leave areas of the photo's colours and short,
    noisy strokes. The gradient in a Sobolev metric (Neuberger 1997, "Sobolev gradients and
    differential equations") has the same zeros, and reaches them by way of the large forms.

    Args:
        image: (1, 3, H, W), for size and device.
        depth: Deepest VGG block used for style. Block 5 has a stride of 16 px, so length
            is 4 px, and waves longer than 2 pi * 4 = 25 px move about equally easily; for block
            3, 6 px.
    """

    def __init__(self, image: Tensor, depth: int) -> None:
        length = 2 ** (depth - 1) / FINER  # px
        # Zeros around it, or the left edge would be smoothed into the right one. So large forms
        # move half as easily at an edge; mirrored instead, fine detail would move twice as easily
        # there, and shows it.
        self.padded = [-(-(side + MARGIN) // MULTIPLE) * MULTIPLE for side in image.shape[-2:]]
        down = torch.fft.fftfreq(self.padded[0])[:, None]
        across = torch.fft.rfftfreq(self.padded[1])[None]
        squared = (2 * math.pi * length) ** 2 * (down.square() + across.square())
        self.filter = ((1 + squared) ** -POWER).to(image.device)  # (H', W' // 2 + 1)

    def __call__(self, image: Tensor) -> Tensor:
        """P applied to an image (1, 3, H, W)."""
        height, width = image.shape[-2:]
        spectrum = torch.fft.rfft2(image, s=self.padded).mul_(self.filter)
        smooth: Tensor = torch.fft.irfft2(spectrum, s=self.padded)
        return smooth[..., :height, :width]
