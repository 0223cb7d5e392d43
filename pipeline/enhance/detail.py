"""Steps that make detail clearer: the picture's own, and the photo's."""

from torch import Tensor
from torch.nn import functional

from pipeline.enhance.filters import box, guided_filter, luma, with_luma


def sharpen(rgb: Tensor, strength: float) -> Tensor:
    """Luma sharpened, (3, H, W) -> (3, H, W)."""
    plane = luma(rgb)
    return with_luma(rgb, plane, sharpen_plane(plane, strength))


def sharpen_plane(plane: Tensor, strength: float) -> Tensor:
    """Unsharp masking within the range of each pixel's 3 x 3 neighbourhood: no halo can arise."""
    padded = functional.pad(plane, (1, 1, 1, 1), mode="replicate")[None]
    top = functional.max_pool2d(padded, 3, stride=1)[0]
    bottom = -functional.max_pool2d(-padded, 3, stride=1)[0]
    blurred = box(box(plane, 1), 1)
    return (plane + 1.5 * strength * (plane - blurred)).clamp(bottom, top)


def detail(rgb: Tensor, photo: Tensor, strength: float, radius: int) -> Tensor:
    """The photo's fine detail in place of the picture's, where it has more of it.

    Fine detail is what a guided filter removes (He, Sun and Tang 2013, section 4.2). Their local
    energies decide which of the two counts where (Burt and Kolczynski 1993): brushwork on a plain
    wall stays, an eye comes back.

    Args:
        rgb: (3, H, W) in [0, 1].
        photo: (3, H, W), the photo at the same size.
        strength: In (0, 1].
        radius: In px; what is coarser stays the picture's.
    """
    plane = luma(rgb)
    own, theirs = _fine_detail(plane, radius), _fine_detail(luma(photo), radius)
    energy = box(theirs.square(), 2)
    share = energy / (energy + box(own.square(), 2) + 1e-4)
    return with_luma(rgb, plane, plane + strength * share * (theirs - own))


def _fine_detail(plane: Tensor, radius: int) -> Tensor:
    return plane - guided_filter(plane, plane, radius, deviation=0.15)
