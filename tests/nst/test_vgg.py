"""The network is VGG-19: torchvision's module agrees with every layer of it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.transfer import LAYERS
from pipeline.nst import Vgg19


@pytest.fixture(scope="module")
def reference(weights: dict[str, Tensor]) -> torch.nn.Module:
    """torchvision's module with our weights; made without storage, since drawing random ones takes
    seconds."""
    from torchvision.models import vgg19

    with torch.device("meta"):
        layers = vgg19(weights=None).features.eval()
    ours = {name.removeprefix("features."): tensor for name, tensor in weights.items()}
    layers.load_state_dict(ours, assign=True)
    return layers


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("max", lambda x: F.max_pool2d(x, 2)),
        ("average", lambda x: F.avg_pool2d(x, 2)),
        ("l2", lambda x: F.lp_pool2d(x, 2, 2) / 2),  # torch's is the root of the sum
    ],
)
def test_the_network_agrees_with_torchvisions_module(
    pooling: str,
    pool: Callable[[Tensor], Tensor],
    weights: dict[str, Tensor],
    reference: torch.nn.Module,
) -> None:
    """Fed the same numbers and edges, every layer from relu1_1 to relu5_4 agrees."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    expected = {}
    names = iter(LAYERS)
    with torch.no_grad():
        for layer in reference:
            if isinstance(layer, torch.nn.Conv2d):
                # torchvision pads with zeros; give it the edge that ours makes for itself.
                x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), layer.weight, layer.bias)
                continue
            x = pool(x) if isinstance(layer, torch.nn.MaxPool2d) else layer(x)
            if isinstance(layer, torch.nn.ReLU):
                expected[next(names)] = x.clone()
        found = Vgg19(weights, pooling)(image, expected)
    for name, features in found.items():
        scale = expected[name].abs().max()
        assert (features - expected[name]).abs().max() / scale < 1e-4, name


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_the_last_odd_row_and_column_are_pooled_like_any_other(
    pooling: str, weights: dict[str, Tensor]
) -> None:
    even = torch.full((1, 3, 9, 13), 0.6)
    with torch.no_grad():
        found = Vgg19(weights, pooling)(even, ["relu2_1", "relu3_1", "relu4_1"])
    sizes = {name: tuple(features.shape[-2:]) for name, features in found.items()}
    assert sizes == {"relu2_1": (5, 7), "relu3_1": (3, 4), "relu4_1": (2, 2)}
    for features in found.values():
        torch.testing.assert_close(features, features[..., :1, :1].expand_as(features))


@pytest.mark.slow
def test_what_one_network_has_measured_is_not_taken_for_another_ones(
    weights: dict[str, Tensor],
) -> None:
    other = weights | {"features.28.bias": weights["features.28.bias"] + 1}
    networks = [Vgg19(weights, pooling) for pooling in ("max", "average", "l2")]
    assert len({each.identity for each in [*networks, Vgg19(other)]}) == 4
    assert Vgg19(weights).identity == networks[0].identity
