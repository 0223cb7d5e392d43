"""Pictures of every kind come in upright, whole, and as large as they are wanted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.picture_stock import EXACT, KINDS, NEWER, Load, loader, photo, tensor
from support.profiles import profile_bytes

from pipeline.config.file_kinds import is_photo_name
from pipeline.imaging.tensors import DecodeLimits, load_image, preview, resize


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return loader(tmp_path)


# ---- Formats and modes ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS | NEWER)
def test_each_format_is_read_by_what_it_holds_not_by_its_name(kind: str, load: Load) -> None:
    rgb = load(photo(), **(KINDS | NEWER)[kind]).rgb
    assert rgb.shape == (3, 24, 32)
    assert rgb.dtype == torch.float32
    assert rgb.is_contiguous()
    error = (rgb - tensor(photo())).abs()
    assert error.max() < 1e-6 if kind in EXACT else error.mean() < 0.03


@pytest.mark.parametrize(
    ("name", "taken"),
    [("a.jpg", 1), ("A.JPEG", 1), ("b.c.webp", 1), ("x.tif", 1), ("notes.txt", 0), (".jpg", 0)],
)
def test_a_picture_is_known_by_its_ending(name: str, taken: int) -> None:
    assert is_photo_name(name) == bool(taken)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_each_mode_becomes_opaque_rgb(mode: str, load: Load) -> None:
    grey = mode in ("1", "L")
    image = Image.new("LAB", (32, 24), (200, 128, 128)) if mode == "LAB" else photo().convert(mode)
    picture = load(image, format="TIFF")
    assert picture.rgb.shape == (3, 24, 32)
    assert picture.alpha is None
    if mode == "LAB":
        neutral = picture.rgb.mean((1, 2))
        assert (neutral - neutral.mean()).abs().max() < 0.02
    else:
        assert torch.allclose(picture.rgb, tensor(image), atol=0.02)
        assert torch.equal(picture.rgb[0], picture.rgb[2]) == grey


def test_cmyk_jpegs_are_not_inverted(load: Load) -> None:
    paper = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    assert load(paper, format="JPEG").rgb.min() > 0.98


@pytest.mark.parametrize("big_endian", [False, True])
def test_16_bit_grey_spans_black_to_white_without_clipping(big_endian: bool, load: Load) -> None:
    values = np.linspace(0, 65535, 512).astype(">u2" if big_endian else "<u2").reshape(16, 32)
    image = Image.frombytes("I;16B" if big_endian else "I;16", (32, 16), values.tobytes())
    rgb = load(image, format="TIFF").rgb
    exact = torch.from_numpy(values.astype(np.float32)) / 65535
    assert (rgb - exact).abs().max() <= 0.5 / 255 + 1e-6


def test_16_bit_png_is_read_like_16_bit_tiff(load: Load) -> None:
    image = Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8))
    assert torch.equal(load(image, format="PNG").rgb, load(image, format="TIFF").rgb)


def test_16_bit_grey_stored_as_ink_comes_in_as_light(load: Load, tmp_path: Path) -> None:
    """Scanners write TIFFs in which 0 is white."""
    light = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    tifffile.imwrite(tmp_path / "ink.tif", 65535 - light, photometric="miniswhite")
    rgb = load((tmp_path / "ink.tif").read_bytes()).rgb
    assert (rgb - torch.from_numpy(light.astype(np.float32)) / 65535).abs().max() <= 0.51 / 255


def test_float_pictures_survive_values_that_are_no_numbers(load: Load) -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[0] = (np.nan, np.inf, -np.inf, 1.0)
    rgb = load(Image.fromarray(values), format="TIFF").rgb
    assert rgb[0, 0].tolist() == pytest.approx([0, 1, 0, 1])
    assert rgb[0, 1:] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("top", [255.0, 4e4, 3e38])
def test_float_pictures_beyond_one_are_stretched_not_clipped(top: float, load: Load) -> None:
    values = np.linspace(-top, top, 16, dtype=np.float64).astype(np.float32).reshape(4, 4)
    rgb = load(Image.fromarray(values), format="TIFF").rgb
    assert rgb[0].flatten().tolist() == pytest.approx(np.linspace(0, 1, 16).tolist(), abs=0.01)


def test_a_float_picture_without_any_number_is_black(load: Load) -> None:
    assert load(Image.fromarray(np.full((2, 2), np.nan, np.float32)), format="TIFF").rgb.max() == 0


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_taken(kind: str, load: Load) -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    rgb = load(red, **KINDS[kind], save_all=True, append_images=[blue], duration=50).rgb
    assert rgb.mean((1, 2)).tolist() == pytest.approx([1, 0, 0], abs=0.02)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_the_smallest_pictures_work(size: tuple[int, int], load: Load) -> None:
    rgb = load(Image.new("RGB", size, (10, 20, 30)), format="PNG", long_side=16).rgb
    assert rgb.shape == (3, min(size[1], 16), min(size[0], 16))
    assert rgb[:, 0, 0].tolist() == pytest.approx([10 / 255, 20 / 255, 30 / 255])


# ---- Upright -------------------------------------------------------------------------------

# EXIF 2.3: where the 0th row and the 0th column of the stored picture lie on the upright one.
STORED: dict[int, Callable[[Any], Any]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda upright: upright[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif", "heic"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_in_upright(orientation: int, kind: str, load: Load) -> None:
    upright = np.array(photo())
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb = load(stored, **(KINDS | NEWER)[kind], exif=exif.tobytes()).rgb
    assert rgb.shape == (3, 24, 32)
    assert (rgb - tensor(photo())).abs().mean() < 0.02


@pytest.mark.parametrize("exif", [b"Exif\0\0junk", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_unreadable_exif_turns_nothing(exif: bytes, load: Load) -> None:
    assert load(photo(), format="PNG", exif=exif).rgb.shape == (3, 24, 32)


def test_metadata_is_carried_within_its_limits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a" * 200
    path = tmp_path / "a.jpg"
    photo().save(path, exif=exif, xmp=b"<x/>", icc_profile=profile_bytes(b"RGB "))
    whole, bare = load_image(path), load_image(path, limits=DecodeLimits(max_exif=2, max_icc=2))
    assert b"a" * 200 in whole.exif
    assert whole.xmp == b"<x/>"
    assert whole.icc == profile_bytes(b"RGB ")
    assert (bare.exif, bare.xmp, bare.icc) == (b"", b"", b"")


# ---- Size ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_picture_is_reduced_to_its_long_side_and_never_enlarged(kind: str, load: Load) -> None:
    image = photo(480, 640)
    assert load(image, **KINDS[kind], long_side=100).rgb.shape == (3, 75, 100)
    assert load(image, **KINDS[kind], long_side=9000).rgb.shape == (3, 480, 640)


def test_a_jpeg_decoded_small_equals_one_decoded_whole(load: Load) -> None:
    image = photo(480, 640)
    small = load(image, **KINDS["jpeg"], long_side=80).rgb
    assert (small - resize(tensor(image), (60, 80))).abs().mean() < 0.02


def test_reducing_a_fine_checkerboard_gives_grey_not_moire(load: Load) -> None:
    board = Image.fromarray(np.indices((256, 256)).sum(0).astype(np.uint8) % 2 * 255)
    rgb = load(board, format="PNG", long_side=30).rgb
    assert (rgb - 0.5).abs().max() < 0.03


# ---- Resizing ------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(*(st.integers(1, 40) for _ in range(4)))
def test_resizing_gives_the_size_asked_and_stays_in_range(h: int, w: int, high: int, wide: int):
    rgb = (torch.rand(3, h, w, generator=torch.Generator().manual_seed(h)) > 0.5).float()
    resized = resize(rgb, (high, wide))
    assert resized.shape == (3, high, wide)
    assert 0 <= resized.min() <= resized.max() <= 1


def test_resizing_keeps_a_flat_colour() -> None:
    flat = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 9, 13)
    assert torch.allclose(resize(flat, (5, 40)), flat[:, :1, :1].expand(3, 5, 40), atol=1e-6)


def test_a_preview_is_small_bytes_of_srgb() -> None:
    rgb = torch.full((3, 60, 90), 0.5, requires_grad=True)
    height, width, pixels = preview(rgb, 30)
    assert (height, width) == (20, 30)
    assert pixels == bytes([128]) * (20 * 30 * 3)


def test_a_preview_never_enlarges_and_survives_nan() -> None:
    height, width, pixels = preview(torch.full((3, 2, 3), torch.nan), 30)
    assert (height, width, pixels) == (2, 3, bytes(18))
