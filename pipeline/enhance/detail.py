"""What makes details clearer: those there are, and those of the photo."""

from torch import Tensor
from torch.nn import functional

from pipeline.enhance.filters import box, guided_filter, luma, relit


def sharpen(rgb: Tensor, strength: float) -> Tensor:
    """Luma sharpened, (3, H, W) -> (3, H, W)."""
    plane = luma(rgb)
    return relit(rgb, plane, sharpened(plane, strength))


def sharpened(plane: Tensor, strength: float) -> Tensor:
    """Unsharp masking within the range of each pixel's 3 x 3 neighbourhood: no halo can arise."""
    padded = functional.pad(plane, (1, 1, 1, 1), mode="replicate")[None]
    top = functional.max_pool2d(padded, 3, stride=1)[0]
    bottom = -functional.max_pool2d(-padded, 3, stride=1)[0]
    blurred = box(box(plane, 1), 1)
    return (plane + 1.5 * strength * (plane - blurred)).clamp(bottom, top)


def detail(rgb: Tensor, photo: Tensor, strength: float, radius: int) -> Tensor:
    """The photo's fine detail in place of the picture's, where it has more of it.

    Fine is what a guided filter takes away (He, Sun and Tang 2013, section 4.2). Which of the two
    counts where is told by their local energies (Burt and Kolczynski 1993): brushwork on a plain
    wall stays, an eye comes back.

    Args:
        rgb: (3, H, W) in [0, 1].
        photo: (3, H, W), the photo at the same size.
        strength: In (0, 1].
        radius: In px; what is coarser stays the picture's.
    """
    plane = luma(rgb)
    own, theirs = _fine(plane, radius), _fine(luma(photo), radius)
    energy = box(theirs.square(), 2)
    share = energy / (energy + box(own.square(), 2) + 1e-4)
    return relit(rgb, plane, plane + strength * share * (theirs - own))


def _fine(plane: Tensor, radius: int) -> Tensor:
    return plane - guided_filter(plane, plane, radius, deviation=0.15)
