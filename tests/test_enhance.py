"""The enhanced picture is cleaner, deeper and crisper, and never clipped, haloed or recoloured."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.chain import Enhance
from pipeline.enhance import LUMA, denoise, enhance, guided_filter, sharpen

OFF = Enhance(denoise=0.0, contrast=0.0, sharpen=0.0)
FULL = Enhance(denoise=1.0, contrast=1.0, sharpen=1.0)
STRENGTHS = st.sampled_from([0.0, 0.2, 0.5, 1.0])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On pictures this small threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def luma(rgb: Tensor) -> Tensor:
    return (rgb * torch.tensor(LUMA)[:, None, None]).sum(0)


def step(low: float, high: float) -> Tensor:
    """A grey picture, dark on the left and light on the right, over a soft edge of 4 px."""
    ramp = (torch.arange(64.0) - 29.5).div(4).clamp(0, 1).mul(high - low).add(low)
    return ramp.expand(3, 48, 64).contiguous()


def eight_bit(rgb: Tensor) -> Tensor:
    return (rgb * 255).round()


def kinds_of_picture(kind: str, seed: int, height: int, width: int) -> Tensor:
    """Pictures that provoke: extremes, near-extremes, saturated colours, faint noise."""
    values = noise(seed, 3, height, width)
    rgb = {
        "noise": values.sigmoid(),
        "black and white": (values[:1] > 0).float().expand(3, -1, -1),
        "pure colours": (values > 0).float(),
        "nearly clipped": (values > 0) * (252 / 255) + 1.5 / 255,
        "faint on white": 0.97 + 0.01 * values,
        "dark": 0.02 + 0.02 * values,
        "mostly one side": (values > 1.5).float(),
    }[kind]
    return eight_bit(rgb.clamp(0, 1)) / 255


KINDS = (
    "noise",
    "black and white",
    "pure colours",
    "nearly clipped",
    "faint on white",
    "dark",
    "mostly one side",
)


# ---- Whatever the picture ------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    strengths=st.tuples(STRENGTHS, STRENGTHS, STRENGTHS),
)
def test_any_picture_of_any_size_stays_within_the_bounds(
    kind: str, seed: int, height: int, width: int, strengths: tuple[float, float, float]
) -> None:
    rgb = kinds_of_picture(kind, seed, height, width)
    before = rgb.clone()
    denoised, contrast, sharpened = strengths
    out = enhance(rgb, Enhance(denoise=denoised, contrast=contrast, sharpen=sharpened))
    assert torch.equal(rgb, before)
    assert out.shape == rgb.shape
    assert 0 <= out.min() <= out.max() <= 1
    old, new = eight_bit(rgb), eight_bit(out)
    for end in (0, 255):
        assert not ((new == end) & (old != end)).any()
    assert (new - old).mean((1, 2)).abs().max() / 255 <= 0.01


@given(
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=20, deadline=None)
def test_a_flat_picture_stays_flat(colour: tuple[int, int, int], size: tuple[int, int]) -> None:
    flat = (torch.tensor(colour) / 255)[:, None, None].expand(3, *size)
    assert torch.allclose(enhance(flat, FULL), flat, atol=1e-4)


def test_all_strengths_at_zero_change_nothing_at_all() -> None:
    rgb = noise(0, 3, 33, 47).sigmoid()
    assert torch.equal(enhance(rgb, OFF), rgb)


@pytest.mark.parametrize("name", ["denoise", "contrast", "sharpen"])
def test_a_step_starts_gently_and_grows_with_its_strength(name: str) -> None:
    rgb = 0.5 + 0.05 * noise(1, 3, 48, 48)
    changes = [
        (enhance(rgb, OFF.model_copy(update={name: strength})) - rgb).abs().mean().item()
        for strength in (0.01, 0.2, 0.5, 1.0)
    ]
    assert changes[0] < 0.004
    assert changes == sorted(changes)
    assert changes[-1] > 2 * changes[0]


@pytest.mark.parametrize(
    "turn", [lambda rgb: rgb.flip(1), lambda rgb: rgb.flip(2), lambda rgb: rgb.mT]
)
def test_a_turned_picture_is_enhanced_alike(turn: Callable[[Tensor], Tensor]) -> None:
    rgb = noise(2, 3, 40, 64).sigmoid()
    assert torch.allclose(enhance(turn(rgb), Enhance()), turn(enhance(rgb, Enhance())), atol=1e-4)


def test_a_picture_being_optimised_is_enhanced_without_a_gradient() -> None:
    rgb = noise(3, 3, 16, 16).sigmoid().requires_grad_()
    assert not enhance(rgb, Enhance()).requires_grad


# ---- Denoise -------------------------------------------------------------------------------


def test_denoise_removes_colour_noise_and_keeps_luma_texture() -> None:
    clean = step(0.25, 0.75) + 0.06 * noise(4, 1, 48, 64)  # canvas: luma texture
    speckle = 0.05 * noise(5, 3, 48, 64)
    speckle = speckle - luma(speckle)  # no luma
    out = denoise(clean + speckle, 0.5)
    left = out - luma(out)
    assert left.square().mean() < 0.25 * speckle.square().mean()  # -6 dB
    kept = torch.corrcoef(torch.stack((luma(out).flatten(), luma(clean).flatten())))[0, 1]
    assert kept > 0.99


def test_denoise_keeps_an_edge_between_colours_of_equal_luma() -> None:
    left, right = torch.tensor([0.7, 0.4, 0.4]), torch.tensor([0.3, 0.5, 0.6])
    right = right + luma(left[:, None, None]) - luma(right[:, None, None]).squeeze()
    rgb = torch.stack([left] * 20 + [right.flatten()] * 20, 1)[:, None].expand(3, 20, 40)
    assert luma(rgb).std() < 1e-6
    assert (denoise(rgb, 0.3) - rgb).abs().max() < 0.04  # a tenth of the step in red


def test_the_guided_filter_is_a_line_in_its_guide() -> None:
    """Closed form: planes that are a line in the guide come back unchanged without smoothing."""
    guide = noise(6, 1, 20, 20)
    planes = torch.cat((2 * guide + 1, -guide))
    assert torch.allclose(guided_filter(guide, planes, 2, 1e-4), planes, atol=1e-3)
    flat = guided_filter(guide, planes, 2, 1e4)
    assert flat.std() < planes.std()


# ---- Contrast ------------------------------------------------------------------------------


def test_contrast_raises_faint_modelling() -> None:
    waves = 0.5 + 0.04 * torch.sin(torch.arange(96.0) / 3).expand(3, 96, 96)
    out = enhance(waves, OFF.model_copy(update={"contrast": 1.0}))
    assert out.std() > 1.4 * waves.std()
    assert out.mean() == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("half", [0.02, 0.1, 0.2, 0.3])
def test_contrast_draws_no_halo_beside_an_edge(half: float) -> None:
    """Plain unsharp masking of this width and strength would overshoot by 0.35 * half."""
    rgb = step(0.5 - half, 0.5 + half)
    out = enhance(rgb, Enhance(denoise=0.0, contrast=0.35, sharpen=0.0))
    assert out.max() - rgb.max() < 0.015
    assert rgb.min() - out.min() < 0.015


def test_contrast_keeps_the_hue() -> None:
    rgb = torch.tensor([0.6, 0.3, 0.15])[:, None, None] * (1 + 0.1 * noise(7, 1, 32, 32).tanh())
    out = enhance(rgb, OFF.model_copy(update={"contrast": 1.0}))
    assert torch.allclose(out / out.sum(0), rgb / rgb.sum(0), atol=1e-3)


# ---- Sharpen -------------------------------------------------------------------------------


def test_sharpen_steepens_an_edge_without_overshoot() -> None:
    edge = step(0.2, 0.8)
    out = enhance(edge, OFF.model_copy(update={"sharpen": 1.0}))
    assert out[0, 24].diff().max() > 1.3 * edge[0, 24].diff().max()
    assert out.min() >= edge.min() - 1e-6
    assert out.max() <= edge.max() + 1e-6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.1, 0.5, 1.0]))
def test_sharpening_never_leaves_the_range_of_the_neighbourhood(seed: int, strength: float) -> None:
    plane = noise(seed, 1, 9, 11).sigmoid()
    out = sharpen(plane, strength)[0]
    for y in range(9):
        for x in range(11):
            near = plane[0, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            assert near.min() <= out[y, x] <= near.max()
