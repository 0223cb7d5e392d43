"""The enhanced picture is cleaner, deeper and crisper, and never clipped, haloed or recoloured."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import color, filters
from support.extremes import eight_bit, newly_extreme
from torch import Tensor

from pipeline.config.enhancement import ORDER, Enhance
from pipeline.enhance import enhance
from pipeline.enhance.cleanup import clean, denoise
from pipeline.enhance.detail import sharpen_plane
from pipeline.enhance.filters import LUMA, guided_filter
from pipeline.enhance.step_limits import ALLOWED_SHIFT, MAX_MEAN_SHIFT
from pipeline.enhance.texture import canvas, grain
from pipeline.enhance.tone import skin, tone, vibrance, white_balance

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTURES = ("grain", "canvas")  # steps that make a flat picture uneven


def only(**strengths: float) -> Enhance:
    return Enhance(preset="none", **strengths)


def enhanced(rgb: Tensor, options: Enhance, photo: Tensor | None = None) -> Tensor:
    return enhance(rgb, options, photo).picture


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def luma(rgb: Tensor) -> Tensor:
    return (rgb * torch.tensor(LUMA)[:, None, None]).sum(0)


def step(low: float, high: float) -> Tensor:
    """A grey picture, dark on the left and light on the right, over a soft edge of 4 px."""
    ramp = (torch.arange(64.0) - 29.5).div(4).clamp(0, 1).mul(high - low).add(low)
    return ramp.expand(3, 48, 64).contiguous()


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


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    name=st.sampled_from(ORDER),
    strength=st.sampled_from([0.05, 0.5, 1.0]),
)
def test_any_step_on_any_picture_of_any_size_stays_within_its_bounds(
    kind: str, seed: int, height: int, width: int, name: str, strength: float
) -> None:
    rgb = kinds_of_picture(kind, seed, height, width)
    photo = kinds_of_picture(KINDS[seed % len(KINDS)], seed + 1, 2 * height, 2 * width)
    before = rgb.clone()
    out, (said,) = enhance(rgb, only(**{name: strength}), photo)
    assert torch.equal(rgb, before)
    assert out.shape == rgb.shape
    assert 0 <= out.min() <= out.max() <= 1
    assert not newly_extreme(out, rgb).any()
    shift = (out - rgb).mean((1, 2)).abs().max().item()
    assert shift <= ALLOWED_SHIFT.get(name, MAX_MEAN_SHIFT) + 1e-5
    assert said["mean_shift"] == pytest.approx(shift, abs=1e-4)
    assert said["clipped"] == 0


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    preset=st.sampled_from(["natural", "vivid", "print"]),
)
def test_a_whole_chain_makes_nothing_black_or_white(
    kind: str, size: tuple[int, int], preset: str
) -> None:
    rgb = kinds_of_picture(kind, 7, *size)
    out = enhanced(rgb, Enhance(preset=preset))
    assert out.isfinite().all()
    assert not newly_extreme(out, rgb).any()


@given(
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=20, deadline=None)
def test_what_a_flat_picture_holds_is_not_made_uneven(
    colour: tuple[int, int, int], size: tuple[int, int]
) -> None:
    flat = (torch.tensor(colour) / 255)[:, None, None].expand(3, *size)
    smooth = [name for name in ORDER if name not in TEXTURES]
    out = enhanced(flat, only(**dict.fromkeys(smooth, 1.0)))
    assert (out.amax((1, 2)) - out.amin((1, 2))).max() < 1e-4


def test_the_preset_none_gives_the_stylised_picture() -> None:
    rgb = noise(0, 3, 33, 47).sigmoid()
    out, steps = enhance(rgb, Enhance(preset="none"))
    assert torch.equal(out, rgb)
    assert steps == ()


@pytest.mark.parametrize("name", ORDER)
def test_a_step_of_strength_zero_is_not_taken(name: str) -> None:
    rgb = noise(0, 3, 33, 47).sigmoid()
    out, steps = enhance(rgb, only(**{name: 0.0}), rgb)
    assert torch.equal(out, rgb)
    assert steps == ()


@pytest.mark.parametrize("name", ORDER)
def test_a_step_starts_gently_and_grows_with_its_strength(name: str) -> None:
    rgb = (torch.tensor([0.5, 0.45, 0.35])[:, None, None] + 0.08 * noise(1, 3, 48, 48)).clamp(0, 1)
    photo = step(0.2, 0.8)
    changes = [
        (enhanced(rgb, only(**{name: strength}), photo) - rgb).abs().mean().item()
        for strength in (0.01, 0.2, 0.5, 1.0)
    ]
    assert changes[0] < 0.004
    assert changes == sorted(changes)
    assert changes[-1] > 2 * changes[0]


def test_each_step_reports_what_it_did_in_the_order_of_the_chain() -> None:
    options = Enhance(steps=({"step": "sharpen", "strength": 1.0}, "denoise"))  # type: ignore[arg-type]
    first, second = enhance(noise(1, 3, 40, 40).sigmoid(), options).steps
    assert (first["step"], first["strength"], second["step"]) == ("sharpen", 1.0, "denoise")
    assert first["detail"] > 1 > second["detail"]
    assert set(first) == {"step", "strength", "clipped", "mean_shift", "detail", "seconds"}


@pytest.mark.parametrize(
    "turn", [lambda rgb: rgb.flip(1), lambda rgb: rgb.flip(2), lambda rgb: rgb.mT]
)
def test_a_turned_picture_is_enhanced_alike(turn: Callable[[Tensor], Tensor]) -> None:
    rgb = noise(2, 3, 40, 64).sigmoid()
    once, again = enhanced(turn(rgb), Enhance()), turn(enhanced(rgb, Enhance()))
    assert torch.allclose(once, again, atol=1e-4)


def test_a_picture_being_optimised_is_enhanced_without_a_gradient() -> None:
    rgb = noise(3, 3, 16, 16).sigmoid().requires_grad_()
    assert not enhanced(rgb, Enhance()).requires_grad


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


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(1, 4))
def test_the_guided_filter_is_the_papers_formula(seed: int, radius: int) -> None:
    """He, Sun and Tang 2013, equations 5, 6 and 8, window by window, in plain numpy."""
    guide, plane = (noise(seed + k, 1, 14, 17).sigmoid() for k in (0, 1))
    side, epsilon = 2 * radius + 1, 0.1**2

    def windows(values: Tensor) -> np.ndarray:
        padded = np.pad(values[0].numpy().astype(np.float64), radius, mode="edge")
        return np.lib.stride_tricks.sliding_window_view(padded, (side, side))

    i, p = windows(guide), windows(plane)
    mean_i, mean_p = i.mean((2, 3)), p.mean((2, 3))
    a = ((i * p).mean((2, 3)) - mean_i * mean_p) / (i.var((2, 3)) + epsilon)
    b = mean_p - a * mean_i
    a, b = (windows(torch.from_numpy(x)[None]).mean((2, 3)) for x in (a, b))
    expected = a * guide[0].numpy() + b
    assert np.allclose(guided_filter(guide, plane, radius, 0.1)[0].numpy(), expected, atol=1e-4)


# ---- Clean ---------------------------------------------------------------------------------


def test_specks_go_and_strokes_stay() -> None:
    strokes = (0.5 + 0.3 * torch.sin(torch.arange(48.0) / 2)).expand(3, 40, 48)
    specked = strokes.clone()
    specked[:, 10, 11], specked[:, 30, 20] = 1.0, 0.0
    out = clean(specked, 1.0, 0)
    assert (out - strokes).abs().max() < 0.3 + 0.04
    assert (out[:, 10, 11] - strokes[:, 10, 11]).abs().max() < 0.2
    assert torch.equal(clean(strokes.contiguous(), 1.0, 0), strokes)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_a_speck_is_what_lies_outside_its_eight_neighbours(seed: int) -> None:
    """Against scipy's rank filters over the ring around each pixel."""
    plane = noise(seed, 1, 12, 13).sigmoid()
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    values = plane[0].numpy()
    low = ndimage.minimum_filter(values, footprint=ring, mode="nearest")
    high = ndimage.maximum_filter(values, footprint=ring, mode="nearest")
    beyond = values - values.clip(low, high)
    expected = values - np.sign(beyond) * (abs(beyond) - 0.04).clip(0)
    assert np.allclose(clean(plane.expand(3, -1, -1), 1.0, 0)[0].numpy(), expected, atol=1e-6)


def test_cleaning_what_is_clean_changes_nothing() -> None:
    once = clean(kinds_of_picture("noise", 3, 40, 40), 1.0, 0)
    again = clean(once, 1.0, 0)
    assert (again - once).abs().mean() < 0.1 * (
        once - kinds_of_picture("noise", 3, 40, 40)
    ).abs().mean()


@pytest.mark.parametrize("side", range(4))
def test_a_stripe_along_the_border_goes_and_a_slope_stays(side: int) -> None:
    slope = torch.linspace(0.2, 0.6, 64).expand(3, 48, 64).contiguous()
    striped = slope.rot90(side, (1, 2)).clone()
    striped[:, :2] -= 0.15
    out = clean(striped.rot90(-side, (1, 2)), 1.0, 3)
    assert (out - slope).abs().max() < 0.5 * 0.15
    assert (clean(slope, 1.0, 3) - slope).abs().max() < 0.005


# ---- Tone and colour -----------------------------------------------------------------------


def test_white_balance_divides_by_shades_of_grey() -> None:
    """Finlayson and Trezzi 2004, p = 6, in linear light, with the gain bounded."""
    rgb = torch.tensor([0.55, 0.5, 0.42])[:, None, None] + 0.1 * noise(8, 1, 40, 40).tanh()
    values = rgb.numpy().astype(np.float64)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = (linear**6).mean((1, 2)) ** (1 / 6)
    gain = (np.dot(LUMA, light) / light).clip(1 / 1.25, 1.25)
    linear = linear * gain[:, None, None]
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.allclose(white_balance(rgb, 1.0).numpy(), expected, atol=1e-4)


def test_white_balance_leaves_grey_alone() -> None:
    grey = noise(9, 1, 30, 30).sigmoid().expand(3, -1, -1)
    assert torch.allclose(white_balance(grey, 1.0), grey, atol=1e-5)


def test_tone_widens_a_dull_picture_and_leaves_a_full_one() -> None:
    dull = 0.35 + 0.2 * kinds_of_picture("noise", 1, 60, 60)
    assert luma(tone(dull, 1.0)).std() > 1.3 * luma(dull).std()
    full = torch.linspace(0, 1, 64).expand(3, 64, 64)
    assert (tone(full, 1.0) - full).abs().max() < 0.06


def test_tone_keeps_the_order_of_tones() -> None:
    ramp = torch.linspace(0.2, 0.7, 64).expand(3, 20, 64)
    assert (luma(tone(ramp, 1.0)).diff() >= 0).all()


def test_vibrance_deepens_muted_colours_more_than_strong_ones() -> None:
    muted, strong = torch.tensor([0.45, 0.55, 0.5]), torch.tensor([0.1, 0.9, 0.5])
    gains = []
    for colour in (muted, strong):
        rgb = colour[:, None, None].expand(3, 8, 8)
        out = vibrance(rgb, 1.0, 1.0)
        gains.append(((out.amax(0) - out.amin(0)) / (rgb.amax(0) - rgb.amin(0))).mean().item())
    assert gains[0] > gains[1] > 1


def test_vibrance_spares_skin() -> None:
    pale, dark = torch.tensor([0.9, 0.7, 0.6]), torch.tensor([0.45, 0.3, 0.22])
    for colour in (pale, dark):
        rgb = colour[:, None, None].expand(3, 8, 8)
        assert skin(rgb).min() > 0.9
        assert (vibrance(rgb, 1.0, 1.0) - rgb).abs().max() < 0.01
        assert (vibrance(rgb, 1.0, 0.0) - rgb).abs().max() > 0.02
    sky = torch.tensor([0.4, 0.6, 0.9])[:, None, None].expand(3, 8, 8)
    assert skin(sky).max() == 0


def test_the_colours_of_skin_are_those_of_ycbcr() -> None:
    """Against scikit-image's conversion: the middle of the box is skin, far outside nothing is."""
    rgb = noise(10, 3, 40, 40).sigmoid()
    cb, cr = ((color.rgb2ycbcr(rgb.movedim(0, 2).numpy())[..., k] - 128) / 112 / 2 for k in (1, 2))
    away = np.hypot((cb + 26 / 255) / (25 / 255), (cr - 25 / 255) / (20 / 255))
    assert np.allclose(skin(rgb)[0].numpy(), (2 - away).clip(0, 1), atol=2e-3)


# ---- Contrast ------------------------------------------------------------------------------


def test_contrast_raises_faint_modelling() -> None:
    waves = 0.5 + 0.04 * torch.sin(torch.arange(96.0) / 3).expand(3, 96, 96)
    out = enhanced(waves, only(contrast=1.0))
    assert out.std() > 1.4 * waves.std()
    assert out.mean() == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("half", [0.02, 0.1, 0.2, 0.3])
def test_contrast_draws_no_halo_beside_an_edge(half: float) -> None:
    """Plain unsharp masking of this width and strength would overshoot by 0.35 * half."""
    rgb = step(0.5 - half, 0.5 + half)
    out = enhanced(rgb, only(contrast=0.35))
    assert out.max() - rgb.max() < 0.015
    assert rgb.min() - out.min() < 0.015


def test_contrast_keeps_the_hue() -> None:
    rgb = torch.tensor([0.6, 0.3, 0.15])[:, None, None] * (1 + 0.1 * noise(7, 1, 32, 32).tanh())
    out = enhanced(rgb, only(contrast=1.0))
    assert torch.allclose(out / out.sum(0), rgb / rgb.sum(0), atol=1e-3)


# ---- Sharpen -------------------------------------------------------------------------------


def test_sharpen_steepens_an_edge_without_overshoot() -> None:
    edge = step(0.2, 0.8)
    out = enhanced(edge, only(sharpen=1.0))
    assert out[0, 24].diff().max() > 1.3 * edge[0, 24].diff().max()
    assert out.min() >= edge.min() - 1e-6
    assert out.max() <= edge.max() + 1e-6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.1, 0.5, 1.0]))
def test_sharpening_never_leaves_the_range_of_the_neighbourhood(seed: int, strength: float) -> None:
    plane = noise(seed, 1, 9, 11).sigmoid()
    out = sharpen_plane(plane, strength)[0]
    for y in range(9):
        for x in range(11):
            near = plane[0, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            assert near.min() <= out[y, x] <= near.max()


def test_sharpening_within_the_range_is_unsharp_masking() -> None:
    """Against scikit-image's, and scipy's range; two boxes of 3 px are a Gaussian's sigma 1.15."""
    plane = (0.5 + 0.2 * torch.sin(torch.arange(60.0) / 3)).expand(1, 40, 60).contiguous()
    values = plane[0].numpy()
    theirs = filters.unsharp_mask(values, radius=(4 / 3) ** 0.5, amount=0.75)
    theirs = theirs.clip(ndimage.minimum_filter(values, 3), ndimage.maximum_filter(values, 3))
    middle = (slice(8, -8), slice(8, -8))
    assert np.allclose(sharpen_plane(plane, 0.5)[0].numpy()[middle], theirs[middle], atol=1e-3)
    assert abs(theirs - values)[middle].max() > 0.005


# ---- Detail --------------------------------------------------------------------------------


def test_detail_of_the_photo_comes_back_where_the_painting_has_none() -> None:
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    photo = (0.5 + 0.1 * torch.sin(columns * 1.5) * (rows < 32)).expand(3, 64, 64)
    painting = (0.5 + 0.1 * torch.sin(rows * 1.5) * (rows >= 32)).expand(3, 64, 64)
    out = enhanced(painting, only(detail=1.0), photo)
    like = torch.corrcoef(torch.stack((luma(out)[4:28].flatten(), luma(photo)[4:28].flatten())))
    assert like[0, 1] > 0.95
    assert (out - painting)[:, 40:].abs().max() < 0.02


def test_detail_without_a_photo_changes_nothing() -> None:
    rgb = noise(4, 3, 20, 20).sigmoid()
    assert torch.allclose(enhanced(rgb, only(detail=1.0)), rgb)


# ---- Grain and canvas ----------------------------------------------------------------------


@pytest.mark.parametrize("texture", [grain, canvas])
def test_a_texture_is_the_same_for_the_same_seed_only(texture: Callable[..., Tensor]) -> None:
    rgb = torch.full((3, 50, 60), 0.5)
    first, again, other = (texture(rgb, 0.5, 3.0, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 1e-3


def test_grain_is_grey_strongest_in_the_middle_and_absent_in_black_and_white() -> None:
    added = {v: grain(torch.full((3, 64, 64), v), 1.0, 1.0, 0) - v for v in (0.0, 0.2, 0.5, 1.0)}
    assert added[0.0].abs().max() == added[1.0].abs().max() == 0
    assert 0 < added[0.2].std() < added[0.5].std()
    assert added[0.5].std() == pytest.approx(0.08, rel=0.01)
    assert torch.allclose(added[0.5][0], added[0.5][1])


def test_coarser_grain_has_larger_grains() -> None:
    def likeness(size: float) -> float:
        added = grain(torch.full((3, 96, 96), 0.5), 1.0, size, 0)[0] - 0.5
        return ((added[:, 1:] * added[:, :-1]).mean() / added.square().mean()).item()

    assert likeness(1.0) < 0.1 < likeness(2.0) < likeness(6.0)


def test_the_weave_repeats_over_two_threads() -> None:
    cloth = canvas(torch.full((3, 128, 128), 0.5), 1.0, 8.0, 0)[0] - 0.5
    spectrum = torch.fft.rfft2(cloth).abs().square()
    strongest = divmod(int(spectrum.argmax()), spectrum.shape[1])
    # 128 px hold 16 threads, eight times over and under.
    assert max(min(strongest[0], 128 - strongest[0]), strongest[1]) in range(7, 18)
