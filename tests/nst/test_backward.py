"""The backward pass with given gradients: as torch's own, without what torch loads for it."""

import sys

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Vgg19, stylize
from pipeline.nst.backward import backpropagate

LAYERS = ["relu1_1", "relu2_1", "relu4_2"]


def test_the_gradient_is_the_one_of_torch_bit_for_bit(network: Vgg19) -> None:
    torch.manual_seed(5)
    leaf = torch.rand(1, 3, 32, 40, requires_grad=True)
    outputs = [*network(leaf, LAYERS).values(), leaf.square().sum()]
    gradients = [torch.randn_like(output) for output in outputs]
    (expected,) = torch.autograd.grad(outputs, leaf, gradients, retain_graph=True)
    assert torch.equal(backpropagate(outputs, gradients, leaf), expected)


def test_painting_loads_no_symbolic_algebra(
    network: Vgg19, photo: Tensor, painting: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch compares shapes with it: a fifth of the time from a start to the first iterate."""
    for name in ("sympy", "torch.fx.experimental.symbolic_shapes"):
        monkeypatch.setitem(sys.modules, name, None)  # so its import fails
    stylize(photo, painting, Transfer(size=32, scales=(32,), steps=(2,)), network=network)
