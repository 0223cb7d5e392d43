"""Large forms move first: the metric of L-BFGS (`pipeline.nst.preconditioner`)."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.enhance import StyleDistance
from pipeline.nst import Vgg19, stylize
from pipeline.nst.objective import Evaluation
from pipeline.nst.optimizers import Lbfgs
from pipeline.nst.preconditioner import FINER, POWER, Smoothing
from pipeline.nst.pyramid import deepest_block, trim_edges


@pytest.mark.parametrize("depth", [3, 5])
@pytest.mark.parametrize("period", [4, 16, 64])
def test_a_wave_is_damped_as_the_formula_says(depth: int, period: int) -> None:
    across = torch.arange(512) * (2 * math.pi / period)
    wave = torch.cos(across).expand(1, 3, 256, 512)
    smooth = Smoothing(wave, depth)(wave)
    middle = slice(128, 384)  # away from the borders, beyond which there is nothing
    ratio = smooth[:, :, 128, middle].norm() / wave[:, :, 128, middle].norm()
    length = 2 ** (depth - 1) / FINER
    expected = (1 + (2 * math.pi * length / period) ** 2) ** -POWER
    assert float(ratio) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 20), (6, 5)])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_it_is_a_metric_at_every_size(size: tuple[int, int], depth: int) -> None:
    """Symmetric and positive, which L-BFGS relies on to go downhill."""
    pixels = size[0] * size[1]
    spots = torch.eye(pixels).view(pixels, 1, *size)
    matrix = Smoothing(spots[:1], depth)(spots).reshape(pixels, pixels)
    assert torch.allclose(matrix, matrix.T, atol=1e-6)
    assert torch.linalg.eigvalsh(matrix).min() > 0.01


def test_edges_are_not_smoothed_into_the_opposite_ones() -> None:
    spot = torch.zeros(1, 3, 64, 64)
    spot[..., :, 0] = 1
    smooth = Smoothing(spot, 5)(spot)
    assert smooth[..., -1].abs().max() < 1e-3 * smooth[..., 0].max()


def test_large_forms_are_painted_in_fewer_steps_where_fine_detail_pulls_harder() -> None:
    """The network's first layers pull at detail a hundred times as hard as at areas of colour."""
    rows = torch.arange(48.0)
    goal = (0.5 + 0.4 * torch.sin(rows / 8)).expand(1, 3, 48, 48)

    @torch.enable_grad()
    def pull(image: Tensor) -> Evaluation:
        leaf = image.detach().requires_grad_()
        off = leaf - goal
        fine = (off[..., 1:] - off[..., :-1]).square().sum()
        fine = fine + (off[..., 1:, :] - off[..., :-1, :]).square().sum()
        loss = fine + 0.01 * off.square().sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return Evaluation(loss.detach(), gradient, {})

    def left(depth: int) -> float:
        noise = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
        optimizer = Lbfgs(noise, 1.0, depth)
        for _ in range(10):
            optimizer.step(pull)
        return float((optimizer.image - goal).square().mean())

    assert left(5) < 0.05 * left(1)


def test_stepping_back_keeps_the_metric_and_halves_the_rate() -> None:
    spot = torch.zeros(1, 3, 8, 8)
    spot[..., 2, 3] = 1

    def pull(image: Tensor) -> Evaluation:
        return Evaluation(image.sum(), spot, {})

    back, fresh = Lbfgs(torch.zeros(1, 3, 8, 8), 1.0, 3), Lbfgs(torch.zeros(1, 3, 8, 8), 0.5, 3)
    back.restart(back.image)
    for optimizer in (back, fresh):
        optimizer.step(pull)
    assert torch.equal(back.image, fresh.image)


def test_a_first_pair_without_curvature_does_not_stop_the_steps() -> None:
    """A ridge: the gradient grows as one goes down, however small it is."""

    def ridge(image: Tensor) -> Evaluation:
        return Evaluation(-image.square().sum(), -2e-6 * image, {})

    start = torch.full((1, 3, 8, 8), 0.5)
    optimizer = Lbfgs(start, 1.0, 5)
    optimizer.step(ridge)
    first = optimizer.image
    optimizer.step(ridge)
    assert (optimizer.image - first).abs().mean() > 0.01


@pytest.mark.parametrize(
    ("layers", "block"), [(["relu4_2", "relu1_1"], 4), (["relu1_1", "relu2_1"], 2), ([], 1)]
)
def test_the_metric_follows_the_deepest_layer_used(layers: list[str], block: int) -> None:
    assert deepest_block(layers) == block


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (200, 1)])
def test_the_smallest_paintings_are_not_cut_away(size: tuple[int, int]) -> None:
    kept = trim_edges(torch.rand(1, 3, *size)).shape[-2:]
    assert tuple(kept) == tuple(side - 2 * round(0.015 * side) for side in size)
    assert 0 not in kept


@pytest.mark.slow
def test_the_edge_of_a_paintings_scan_is_not_painted(network: Vgg19) -> None:
    inside = torch.rand(3, 194, 194, generator=torch.Generator().manual_seed(0))
    photo = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    options = Transfer(size=64, steps=(2,), scales=(64,))
    pictures = []
    for frame in (0.0, 1.0):
        scan = torch.full((3, 200, 200), frame)
        scan[:, 3:-3, 3:-3] = inside
        pictures.append(stylize(photo, scan, options, network=network))
    assert torch.equal(*pictures)


def test_the_edge_of_a_paintings_scan_is_no_part_of_the_style_distance(network: Vgg19) -> None:
    inside, photo = torch.rand(3, 194, 194), torch.rand(3, 64, 64)
    distances = []
    for frame in (0.0, 1.0):
        scan = torch.full((3, 200, 200), frame)
        scan[:, 3:-3, 3:-3] = inside
        distances.append(StyleDistance(network, photo, [scan], [1.0])(photo))
    assert distances[0] == distances[1]
