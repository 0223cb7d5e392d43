"""One backward pass that starts with given gradients at several outputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _Carrier(torch.autograd.Function):
    """A scalar from which the backward pass goes to outputs with gradients given beforehand."""

    @staticmethod
    def forward(ctx: Any, gradients: Sequence[Tensor], *outputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return outputs[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Any:
        return None, *ctx.gradients


def backpropagate(outputs: Sequence[Tensor], gradients: Sequence[Tensor], leaf: Tensor) -> Tensor:
    """The gradient at leaf, from the gradients at the outputs; each has its output's shape.

    `torch.autograd.grad(outputs, leaf, gradients)` finds the same, bit for bit, but loads sympy to
    compare the shapes: a fifth of the time from the start of a process to its first iterate.
    """
    (found,) = torch.autograd.grad(_Carrier.apply(gradients, *outputs), leaf)
    return found
