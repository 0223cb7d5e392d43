"""Values that a step made black or white."""

from torch import Tensor


def eight_bit(rgb: Tensor) -> Tensor:
    return (rgb * 255).round()


def newly_extreme(out: Tensor, rgb: Tensor) -> Tensor:
    old, new = eight_bit(rgb), eight_bit(out)
    return ((new == 0) & (old != 0)) | ((new == 255) & (old != 255))
