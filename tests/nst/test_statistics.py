"""Style statistics: closed forms, references, additivity, gradients."""

import math
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import get_args

import pytest
import torch
from torch import Tensor

from pipeline import nst
from pipeline.config.transfer import Transfer
from pipeline.nst import wasserstein
from pipeline.nst.distributions import Histogram, SlicedWasserstein
from pipeline.nst.objective import STATISTICS
from pipeline.nst.statistics import Moments, MomentStatistic, MomentSums
from pipeline.nst.wasserstein import Wasserstein, by_eigenvalues, by_newton_schulz

NAMES = sorted(STATISTICS)
MOMENTS = [name for name in NAMES if issubclass(STATISTICS[name], MomentSums)]
TRANSPORT = [name for name in NAMES if name not in MOMENTS]  # these bin the values


def features(
    seed: int, channels: int = 6, positions: int = 400, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(C, N), rectified and correlated as a network's are."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator, dtype=dtype)
    noise = torch.randn(channels, positions, generator=generator, dtype=dtype)
    return (mixing @ noise + 1).relu()


def evaluated(name: str, picture: Tensor, painting: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient at the picture's features."""
    statistic = STATISTICS[name]()
    target = statistic.measure(painting)
    value, pull = statistic.loss(target)(statistic.measure(picture, like=target))
    return value, pull(picture, 1.0)


# --- closed form ----------------------------------------------------------------------------


def test_the_gram_matrix_of_ones_is_ones() -> None:
    moments = Moments.of(torch.ones(3, 20)).normalised()
    assert torch.equal(moments.second, torch.ones(3, 3))
    assert torch.equal(moments.first, torch.ones(3))


def test_the_bures_distance_of_diagonal_gaussians_is_that_of_their_deviations() -> None:
    """W2^2 = |m - m*|^2 + sum (s - s*)^2 where both covariances are diagonal."""
    mean, deviation = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 2.0])
    mean2, deviation2 = torch.tensor([0.0, 2.5, 3.5]), torch.tensor([1.0, 1.0, 1.0])

    def gaussian(m: Tensor, s: Tensor) -> Moments:
        return Moments(torch.tensor(1.0), m, torch.diag(s**2) + torch.outer(m, m))

    value, _ = Wasserstein().loss(gaussian(mean2, deviation2))(gaussian(mean, deviation))
    expected = (mean - mean2).square().sum() + (deviation - deviation2).square().sum()
    size = mean2.square().sum() + deviation2.square().sum()
    torch.testing.assert_close(value, expected / size, rtol=1e-4, atol=1e-5)


def test_a_shift_moves_every_direction_by_its_length() -> None:
    """Histograms of a shifted picture are off by the shift, bin width aside."""
    painting = torch.rand(1, 5000, generator=torch.Generator().manual_seed(0)) + 1
    value, _ = evaluated("histogram", painting + 0.05, painting)
    assert float(value) == pytest.approx(0.05**2 / float(painting.square().mean()), rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_between_two_styles_goes_from_the_one_to_the_other(name: str) -> None:
    statistic = STATISTICS[name]()
    one = statistic.measure(features(1))
    other = statistic.measure(features(2, positions=900), like=one)
    to_other, to_one = statistic.loss(other), statistic.loss(one)
    between = [one.between(other, share) for share in (0.0, 0.3, 0.6, 1.0)]
    left = [float(to_other(each)[0]) for each in between]
    gone = [float(to_one(each)[0]) for each in between]
    assert left == sorted(left, reverse=True)
    assert gone == sorted(gone)
    whole = float(to_other(one)[0])
    assert left[0] == pytest.approx(whole, rel=0.02)
    assert left[-1] < 3e-3 * whole
    assert gone[0] < 3e-3 * whole


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_in_its_own_style_has_no_loss_and_no_gradient(name: str) -> None:
    f = features(1)
    value, gradient = evaluated(name, f, f)
    assert float(value) < 1e-4
    _, far = evaluated(name, features(2), f)
    assert gradient.norm() < 1e-2 * far.norm()


# --- reference ------------------------------------------------------------------------------


def test_the_gram_loss_is_the_papers_formula() -> None:
    f, p = features(1), features(2)
    g, a = f @ f.T / 400, p @ p.T / 400
    value, gradient = evaluated("gram", f, p)
    torch.testing.assert_close(value, (g - a).square().sum() / a.square().sum())
    torch.testing.assert_close(gradient, 4 * (g - a) @ f / (400 * a.square().sum()))


def test_the_sliced_distance_agrees_with_sorting() -> None:
    f, p = features(1, positions=3000), features(2, positions=3000)
    statistic = SlicedWasserstein()
    target = statistic.measure(p)
    assert target.directions is not None
    x, y = (target.directions @ z for z in (f, p))
    expected = (x.sort(1).values - y.sort(1).values).square().mean() / y.square().mean()
    value, _ = evaluated("sliced", f, p)
    assert float(value) == pytest.approx(float(expected), rel=0.05)


def test_the_histogram_gradient_takes_every_value_to_its_quantile() -> None:
    f, p = features(3, 1, 4000), features(4, 1, 4000)
    statistic = Histogram()
    target = statistic.measure(p)
    _, pull = statistic.loss(target)(statistic.measure(f, like=target))
    size = float(p.square().mean())
    moved = f - pull(f, 1.0) * 4000 * size / 2
    spread = float(p.max() - p.min())
    assert (moved.sort(1).values - p.sort(1).values).abs().mean() < 0.01 * spread


def test_deviations_are_the_channels_own() -> None:
    f, p = features(1), features(2)
    value, _ = evaluated("mean_std", f, p)
    off = (f.mean(1) - p.mean(1)).square().sum()
    off += (f.std(1, correction=0) - p.std(1, correction=0)).square().sum()
    size = p.mean(1).square().sum() + p.var(1, correction=0).sum()
    torch.testing.assert_close(value, off / size, rtol=1e-3, atol=1e-5)


def test_the_covariance_loss_is_blind_to_nothing_that_the_gram_loss_sees() -> None:
    f = features(1)
    shifted = f + 0.5
    assert evaluated("covariance", shifted, f)[0] > 0.01
    assert evaluated("gram", shifted, f)[0] > 0.01


@pytest.mark.parametrize("way", [by_eigenvalues, by_newton_schulz])
def test_the_inverse_root_is_that_of_the_eigenvalues(way: Callable[[Tensor], Tensor]) -> None:
    """Over five decades, in fp32."""
    generator = torch.Generator().manual_seed(0)
    vectors, _ = torch.linalg.qr(torch.randn(128, 128, generator=generator))
    values = torch.logspace(-5, 0, 128)
    found = way((vectors * values) @ vectors.T)
    expected = (vectors / values.sqrt()) @ vectors.T
    assert (found - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("way", [by_eigenvalues, by_newton_schulz])
def test_the_inverse_root_is_exact_down_to_the_least_eigenvalue(
    way: Callable[[Tensor], Tensor],
) -> None:
    """In fp64, where only the method can be at fault."""
    generator = torch.Generator().manual_seed(0)
    vectors, _ = torch.linalg.qr(torch.randn(32, 32, generator=generator, dtype=torch.float64))
    values = torch.logspace(math.log10(wasserstein.FLOOR / 2), 0, 32, dtype=torch.float64)
    found = way((vectors * values) @ vectors.T)
    torch.testing.assert_close(found, (vectors / values.sqrt()) @ vectors.T, atol=1e-4, rtol=1e-6)


def test_both_methods_for_the_root_give_one_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    f, p = features(1, 64, 5000), features(2, 64, 5000)
    value, gradient = evaluated("wasserstein", f, p)
    monkeypatch.setattr(wasserstein, "by_eigenvalues", by_newton_schulz)
    other, other_gradient = evaluated("wasserstein", f, p)
    assert float(other) == pytest.approx(float(value), rel=1e-3)
    assert (other_gradient - gradient).norm() < 0.01 * gradient.norm()


def test_eigenvalues_that_are_not_found_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    f, p = features(1, 64, 5000), features(2, 64, 5000)
    with monkeypatch.context() as no_end:
        loss = Wasserstein().loss(Moments.of(p))
        value, _ = loss(Moments.of(f))

        def fail(_: Tensor) -> None:
            raise RuntimeError("failed to converge")

        no_end.setattr(torch.linalg, "eigh", fail)
        again, _ = loss(Moments.of(f))
    assert float(again) == pytest.approx(float(value), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("way", [by_eigenvalues, by_newton_schulz])
@pytest.mark.parametrize("spread", [0.0, 1e-5, 1e-3])
def test_features_that_hardly_vary_have_a_finite_distance(
    spread: float, way: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their covariance is what rounding has left, with negative eigenvalues among it."""
    monkeypatch.setattr(wasserstein, "by_eigenvalues", way)
    flat = 100 + spread * features(1, 64, 512 * 512)
    across = 100 + features(2, 64) * torch.tensor([1.0, -1.0]).repeat(32)[:, None]
    for picture, painting in (
        (flat, features(2, 64)),
        (flat, across),
        (across, flat),
        (flat, flat),
    ):
        value, gradient = evaluated("wasserstein", picture, painting)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("spread", [0.01, 0.1, 1.0])
def test_both_methods_for_the_root_give_a_flat_photo_the_same_gradient(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels of unlike means: what rounding leaves of their products is not symmetric."""
    generator = torch.Generator().manual_seed(0)
    means = 50 + 100 * torch.rand(64, 1, generator=generator)
    flat = means + spread * torch.randn(64, 4096, generator=generator)
    painting = means + 100 * torch.randn(64, 300, generator=generator)
    value, gradient = evaluated("wasserstein", flat, painting)
    monkeypatch.setattr(wasserstein, "by_eigenvalues", by_newton_schulz)
    other, other_gradient = evaluated("wasserstein", flat, painting)
    assert float(other) == pytest.approx(float(value), rel=1e-3)
    assert (other_gradient - gradient).norm() < 0.02 * gradient.norm()


@pytest.mark.parametrize("factor", [0.9, 0.99, 1.0, 1.01, 1.1])
def test_the_wasserstein_distance_is_never_negative(factor: float) -> None:
    """Near the painting, where the floor under its square root is largest beside it."""
    painting = features(1, 64, 5000)
    value, _ = evaluated("wasserstein", factor * painting, painting)
    assert 0 <= float(value) < (factor - 1) ** 2 + 1e-3


# --- additivity -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_sums_over_blocks_and_weighted_regions_are_sums_over_the_whole(name: str) -> None:
    f, p = features(1), features(2)
    statistic = STATISTICS[name]()
    target = statistic.measure(p)
    left, right = f[:, :150], f[:, 150:]
    blocks = statistic.measure(left, like=target) + statistic.measure(right, like=target)
    inside = torch.cat([torch.ones(150), torch.zeros(250)])
    for sums, whole in (
        (blocks, f),
        (statistic.measure(f, inside, like=target), left),
    ):
        value, _ = statistic.loss(target)(sums)
        expected, _ = evaluated(name, whole, p)
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5)


# --- gradients ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOMENTS)
def test_the_gradient_of_a_moment_statistic_is_exact(name: str) -> None:
    """Central differences in float64."""
    f, p = features(1, 4, 30, torch.float64), features(2, 4, 50, torch.float64)
    _, gradient = evaluated(name, f, p)
    for index in ((0, 0), (1, 7), (3, 29)):
        step = torch.zeros_like(f)
        step[index] = 1e-5
        slope = (evaluated(name, f + step, p)[0] - evaluated(name, f - step, p)[0]) / 2e-5
        assert float(gradient[index]) == pytest.approx(float(slope), rel=1e-3, abs=1e-8)


def test_the_gradient_of_wasserstein_is_exact_where_channels_are_many() -> None:
    """Many more than directions: two thin products stand for one (C, C) matrix."""
    f, p = (features(seed, 24, 40, torch.float64) for seed in (1, 2))
    few = p[:, :6]
    value, pull = STATISTICS["wasserstein"]().loss(Moments.of(few))(Moments.of(f))
    assert float(value) > 0
    towards = torch.randn(f.shape, dtype=f.dtype, generator=torch.Generator().manual_seed(3))
    there, back = (evaluated("wasserstein", f + step * towards, few)[0] for step in (1e-6, -1e-6))
    along = float((pull(f, 1.0) * towards).sum())
    assert along == pytest.approx(float(there - back) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("positions", [6, 400])
def test_a_gradient_is_in_proportion_to_the_strength_that_is_asked_for(
    name: str, positions: int
) -> None:
    """Also that of a painting with few directions, which Wasserstein computes in another way."""
    f, p, statistic = features(1, 24), features(2, 24, positions), STATISTICS[name]()
    target = statistic.measure(p)
    _, pull = statistic.loss(target)(statistic.measure(f, like=target))
    once, strength = pull(f, 1.0), torch.tensor(0.25)
    torch.testing.assert_close(
        pull(f, strength), once / 4, atol=float(once.abs().max()) * 1e-5, rtol=1e-4
    )


def test_a_painting_has_no_distance_from_itself_and_no_gradient() -> None:
    painting = features(2, 24, 400)
    value, gradient = evaluated("wasserstein", painting, painting)
    assert float(value) == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", TRANSPORT)
def test_the_gradient_of_transport_points_downhill_by_its_length(name: str) -> None:
    """Values are binned, so the slope is taken over a way of many bins."""
    f, p = features(1, 4, 3000), features(2, 4, 3000)
    value, gradient = evaluated(name, f, p)
    step = 0.02 * float(value) / float(gradient.square().sum())
    lower, _ = evaluated(name, f - step * gradient, p)
    assert float(value - lower) == pytest.approx(0.02 * float(value), rel=0.15)


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["black", "flat", "one position", "huge"])
def test_degenerate_features_give_finite_numbers(name: str, kind: str) -> None:
    painting = {
        "black": torch.zeros(5, 40),
        "flat": torch.full((5, 40), 3.0),
        "one position": torch.rand(5, 1),
        "huge": features(5, 5, 40) * 1e4,
    }[kind]
    for picture in (features(1, 5, 40), painting, torch.zeros(5, 1)):
        value, gradient = evaluated(name, picture, painting)
        assert math.isfinite(float(value))
        assert gradient.isfinite().all()


def statistic_classes() -> set[type]:
    """Every class of the package that has what the protocol `Statistic` asks for."""
    names = [f"{nst.__name__}.{module.name}" for module in iter_modules(nst.__path__)]
    found = (each for name in names for each in vars(import_module(name)).values())
    classes = {each for each in found if isinstance(each, type)}
    parts = ("sums", "measure", "loss")
    return {each for each in classes if all(hasattr(each, part) for part in parts)}


def test_every_statistic_can_be_chosen_by_its_name() -> None:
    choices = get_args(Transfer.model_fields["statistic"].annotation)
    assert set(choices) ^ set(NAMES) == set()  # in one of the two only
    assert len(set(STATISTICS.values())) == len(NAMES)
    assert statistic_classes() - {MomentStatistic} == set(STATISTICS.values())


def test_every_statistic_differs_from_the_others() -> None:
    f, p = features(1), features(2)
    values = {round(float(evaluated(name, f, p)[0]), 6) for name in NAMES}
    assert len(values) == len(NAMES)
