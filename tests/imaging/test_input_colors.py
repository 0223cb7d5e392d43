"""Pictures come in in the colours that are wanted, and transparent ones fit for computing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.picture_stock import Load, loader, photo, tensor
from support.profiles import ADOBE, profile_bytes


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return loader(tmp_path)


# ---- Colour --------------------------------------------------------------------------------

SRGB = np.array(  # IEC 61966-2-1 primaries on D50
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def srgb_curve(linear: Any) -> Any:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_colours_are_brought_to_srgb_by_the_pictures_own_profile(load: Load) -> None:
    """Against the colorimetry, worked out in double precision from the profile's primaries."""
    colours = np.random.default_rng(0).integers(60, 200, (8, 8, 3)).astype(np.uint8)
    linear = (colours / 255) ** 2.19921875
    exact = srgb_curve(linear @ (np.linalg.inv(SRGB) @ ADOBE).T)
    rgb = load(Image.fromarray(colours), format="PNG", icc_profile=profile_bytes(b"RGB ")).rgb
    assert np.abs(rgb.permute(1, 2, 0).numpy() - exact).max() < 2 / 255
    assert np.abs(colours / 255 - exact).max() > 10 / 255  # the profile does matter


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_profiles_are_honoured(mode: str, load: Load) -> None:
    image = Image.new("L", (4, 4), 128).convert(mode)
    rgb = load(image, format="PNG", icc_profile=profile_bytes(b"GRAY", gamma=1.0)).rgb
    assert rgb.mean().item() == pytest.approx(float(srgb_curve(128 / 255)), abs=2 / 255)


@pytest.mark.parametrize(
    "profile", [b"junk", profile_bytes(b"RGB ")[:200], profile_bytes(b"GRAY")], ids=len
)
def test_a_useless_profile_is_ignored(profile: bytes, load: Load) -> None:
    assert torch.equal(load(photo(), format="PNG", icc_profile=profile).rgb, tensor(photo()))


# ---- Transparency --------------------------------------------------------------------------


def cut_out() -> Image.Image:
    """The left half visible and two-coloured, the right half hidden over a garish magenta."""
    image = Image.new("RGBA", (16, 16), (255, 0, 255, 0))
    image.paste((0, 102, 0, 255), (0, 0, 8, 8))
    image.paste((204, 102, 0, 255), (0, 8, 8, 16))
    return image


def test_hidden_pixels_get_the_mean_colour_of_the_visible_ones(load: Load) -> None:
    picture = load(cut_out(), format="PNG")
    assert picture.alpha is not None
    assert picture.alpha.shape == (1, 16, 16)
    assert picture.alpha[0, 0].tolist() == [1.0] * 8 + [0.0] * 8
    assert picture.rgb[:, 3, 12].tolist() == pytest.approx([0.4, 0.4, 0.0], abs=1e-5)
    assert picture.rgb[:, 3, 3].tolist() == pytest.approx([0.0, 0.4, 0.0])


@pytest.mark.parametrize(("ink", "ground"), [((0, 0, 0), 1.0), ((255, 255, 255), 0.0)])
def test_a_one_coloured_logo_stays_visible(
    ink: tuple[int, int, int], ground: float, load: Load
) -> None:
    image = Image.new("RGBA", (16, 16), (*ink, 0))
    image.paste((*ink, 255), (4, 4, 12, 12))
    rgb = load(image, format="PNG").rgb
    assert rgb[:, 0, 0].tolist() == [ground] * 3
    assert rgb[:, 8, 8].tolist() == [1 - ground] * 3


def test_reducing_lets_no_hidden_colour_bleed_in(load: Load) -> None:
    assert load(cut_out(), format="PNG", long_side=5).rgb[2].max() < 0.02


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_other_kinds_of_transparency_are_alpha_too(mode: str, load: Load) -> None:
    image = cut_out().convert("LA") if mode == "LA" else cut_out().quantize(4)
    alpha = load(image, format="PNG").alpha
    assert alpha is not None
    assert alpha.mean().item() == pytest.approx(0.5)


def test_one_colour_declared_transparent_is_alpha_too(load: Load) -> None:
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    image.paste((200, 100, 50), (0, 0, 4, 8))
    alpha = load(image, format="PNG", transparency=(1, 2, 3)).alpha
    assert alpha is not None
    assert alpha[0, 0].tolist() == [1.0] * 4 + [0.0] * 4


def test_an_opaque_alpha_channel_is_no_alpha(load: Load) -> None:
    assert load(photo().convert("RGBA"), format="PNG").alpha is None


def test_a_wholly_transparent_picture_is_still_a_picture(load: Load) -> None:
    picture = load(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), format="PNG")
    assert picture.rgb.isfinite().all()
