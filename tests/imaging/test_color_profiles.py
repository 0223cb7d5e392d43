"""The colours of finished pictures: profiles of our own, against littleCMS and the colorimetry."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from pipeline.config.output import SUFFIXES, OutputFormat
from pipeline.imaging.icc_profiles import PRIMARIES, icc_bytes
from pipeline.imaging.tensors import load_image, save, save_small


def profile(name: str) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes(name)))


def linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_xyz(name: str) -> np.ndarray:
    """Linear RGB to XYZ under D65, from the chromaticities alone."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in PRIMARIES[name]]).T
    white = np.array([0.3127 / 0.3290, 1, 0.3583 / 0.3290])
    return columns * np.linalg.solve(columns, white)


def test_our_srgb_is_littlecms_own() -> None:
    values = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    theirs = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    there = ImageCms.profileToProfile(values, profile("srgb"), theirs)
    assert np.abs(np.array(there).astype(int) - np.array(values)).max() <= 1


def test_our_display_p3_has_the_primaries_of_display_p3() -> None:
    """littleCMS through our profiles, against the colorimetry in double precision."""
    values = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    there = ImageCms.profileToProfile(
        Image.fromarray(values), profile("srgb"), profile("display-p3")
    )
    exact = linear(values / 255) @ (np.linalg.inv(to_xyz("display-p3")) @ to_xyz("srgb")).T
    exact = np.where(exact <= 0.0031308, 12.92 * exact, 1.055 * exact.clip(0) ** (1 / 2.4) - 0.055)
    assert np.abs(np.array(there) / 255 - exact).max() < 1.5 / 255
    assert ImageCms.getProfileDescription(profile("display-p3")).strip() == "Display P3"


def test_profiles_are_the_same_bytes_every_time() -> None:
    icc_bytes.cache_clear()
    first = icc_bytes("display-p3")
    icc_bytes.cache_clear()
    assert icc_bytes("display-p3") == first
    assert len(first) < 600


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_colour_beyond_srgb_survives_from_photo_to_picture(kind: str, tmp_path: Path) -> None:
    """Pure Display P3 red: sRGB clips it, working and writing in Display P3 keeps it."""
    photo = tmp_path / "photo.png"
    red = Image.new("RGB", (32, 32), (255, 20, 20))
    red.save(photo, icc_profile=icc_bytes("display-p3"))
    wide = load_image(photo, profile="display-p3").rgb
    assert wide.mean((1, 2)).tolist() == pytest.approx([1, 20 / 255, 20 / 255], abs=1 / 255)
    assert load_image(photo).rgb[1].max() == 0  # sRGB has no such red
    save(wide, tmp_path / "a", OutputFormat(format=kind, profile="display-p3"))
    with Image.open(tmp_path / "a") as image:
        assert image.info["icc_profile"] == icc_bytes("display-p3")
        assert "srgb" not in image.info
    back = load_image(tmp_path / "a", profile="display-p3").rgb
    assert (back - wide).abs().max() < 0.03


def test_an_untagged_photo_is_srgb_in_display_p3_too(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "a.png")
    rgb = load_image(tmp_path / "a.png", profile="display-p3").rgb
    assert rgb[:, 0, 0].tolist() == pytest.approx([0.9175, 0.2003, 0.1386], abs=0.005)


# --- small copies -----------------------------------------------------------------------------


def test_a_small_copy_of_a_transparent_picture_shows_a_checkerboard(tmp_path: Path) -> None:
    alpha = torch.zeros(1, 40, 48)
    alpha[..., :16] = 1
    save_small(torch.ones(3, 40, 48), tmp_path / "a.jpg", 640, alpha)
    rgb = load_image(tmp_path / "a.jpg").rgb
    assert rgb[:, :, :14].min() > 0.95
    squares = rgb[0, 4::8, 20::8]
    assert squares.unique().numel() > 1
    assert squares.max().item() == pytest.approx(232 / 255, abs=0.03)
    assert squares.min().item() == pytest.approx(208 / 255, abs=0.03)


def test_a_small_copy_is_srgb_whatever_the_picture_is(tmp_path: Path) -> None:
    save_small(torch.tensor([0.9175, 0.2003, 0.1386])[:, None, None].expand(3, 8, 8).clone(),
               tmp_path / "a.jpg", 640, profile="display-p3")  # fmt: skip
    rgb = load_image(tmp_path / "a.jpg").rgb
    assert rgb.mean((1, 2)).tolist() == pytest.approx([1, 0, 0], abs=0.03)
