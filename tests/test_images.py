"""Pictures of every kind come in upright and in sRGB; whatever cannot be used says why."""

import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import EngineError, InputError, OutputError, Reason
from pipeline.images import (
    Limits,
    Picture,
    is_picture_name,
    load_image,
    preview,
    resize,
    save_png,
)

KINDS: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    "progressive": {"format": "JPEG", "quality": 95, "progressive": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "lossless": True},
    "tiff": {"format": "TIFF"},
    "lzw": {"format": "TIFF", "compression": "tiff_lzw"},
    "bmp": {"format": "BMP"},
    "gif": {"format": "GIF"},
}
EXACT = ("png", "webp", "tiff", "lzw", "bmp")


def photo(height: int = 24, width: int = 32) -> Image.Image:
    """A small picture without symmetry: smooth ramps and one bright corner."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 // width, y * 200 // height, (x + y) * 2 % 256], -1)
    pixels[: height // 4, : width // 4] = (250, 240, 30)
    return Image.fromarray(pixels.astype(np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


Load = Callable[..., Picture]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads bytes, or an image saved with the given options, by way of a file."""

    def load(source: bytes | Image.Image, *, long_side: int | None = None, **save: Any) -> Picture:
        path = tmp_path / "picture"
        path.write_bytes(source if isinstance(source, bytes) else encoded(source, **save))
        return load_image(path, long_side=long_side)

    return load


# ---- Formats and modes ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_format_is_read_by_what_it_holds_not_by_its_name(kind: str, load: Load) -> None:
    rgb = load(photo(), **KINDS[kind]).rgb
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
    assert is_picture_name(name) == bool(taken)


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


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_in_upright(orientation: int, kind: str, load: Load) -> None:
    upright = np.array(photo())
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb = load(stored, **KINDS[kind], exif=exif).rgb
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
    whole, bare = load_image(path), load_image(path, limits=Limits(max_exif=2, max_icc=2))
    assert b"a" * 200 in whole.exif
    assert whole.xmp == b"<x/>"
    assert whole.icc == profile_bytes(b"RGB ")
    assert (bare.exif, bare.xmp, bare.icc) == (b"", b"", b"")


# ---- Colour --------------------------------------------------------------------------------

ADOBE = np.array(  # Adobe RGB (1998) primaries on D50, columns R, G, B
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
SRGB = np.array(  # IEC 61966-2-1 primaries on D50
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def profile_bytes(space: bytes, gamma: float = 2.19921875) -> bytes:
    """A version 2 ICC profile: Adobe RGB's primaries, or a grey of the given gamma."""
    curve = b"curv" + struct.pack(">4xIH2x", 1, round(gamma * 256))
    tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for name, column in zip(b"rgb", ADOBE.T, strict=True):
            tags[bytes([name]) + b"XYZ"] = xyz(*column)
            tags[bytes([name]) + b"TRC"] = curve
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    header = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"", 0x02100000, b"mntr", space, b"XYZ "
    )
    header = header.ljust(36, b"\0") + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


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


# ---- What is refused, and why --------------------------------------------------------------


def bomb() -> bytes:
    """A PNG of 70 bytes that declares 50,000 x 50,000 px."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    content = encoded(Image.new("RGB", (1, 1)), format="PNG")
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return content[:16] + header + crc + content[33:]


BAD_BYTES = {
    "text": (b"not a picture at all, though it is named .jpg", Reason.UNSUPPORTED_FORMAT),
    "words that begin like a BMP": (b"BMW builds cars, and much else.", Reason.UNSUPPORTED_FORMAT),
    "sound in a RIFF": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), Reason.UNSUPPORTED_FORMAT),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", Reason.UNSUPPORTED_FORMAT),
    "Photoshop": (b"8BPS\0\1" + bytes(40), Reason.UNSUPPORTED_FORMAT),
    "nothing": (b"", Reason.TRUNCATED),
    "half a JPEG": (encoded(photo(), **KINDS["jpeg"])[:600], Reason.TRUNCATED),
    "a JPEG's first bytes": (encoded(photo(), **KINDS["jpeg"])[:30], Reason.TRUNCATED),
    "a bomb": (bomb(), Reason.TOO_MANY_PIXELS),
}


@pytest.mark.parametrize(("content", "code"), BAD_BYTES.values(), ids=BAD_BYTES)
def test_bad_bytes_are_refused_with_their_reason_and_the_next_file_is_read(
    content: bytes, code: Reason, tmp_path: Path, load: Load
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert caught.value.code is code
    assert caught.value.where == str(path)
    assert caught.value.mend
    assert torch.equal(load(photo(), format="PNG").rgb, tensor(photo()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_anywhere_is_truncated(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    whole = encoded(Image.fromarray(noise), **KINDS[kind])
    path = tmp_path / "cut"
    for share in range(1, 64):
        path.write_bytes(whole[: len(whole) * share // 64])
        with pytest.raises(InputError) as caught:
            load_image(path)
        assert caught.value.code is Reason.TRUNCATED


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    flips=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=5),
    side=st.none() | st.integers(1, 64),
)
def test_a_damaged_file_is_read_or_refused_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    flips: list[tuple[int, int]],
    side: int | None,
) -> None:
    content = bytearray(encoded(photo(), **KINDS[kind]))
    for place, value in flips:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        rgb = load_image(path, long_side=side, limits=Limits(max_pixels=500_000)).rgb
    except (InputError, EngineError):
        return  # refused with a reason; any other error fails the test
    assert rgb.isfinite().all()


def test_more_pixels_than_allowed_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo(24, 32).save(path)
    assert load_image(path, limits=Limits(max_pixels=768)).rgb.shape == (3, 24, 32)
    with pytest.raises(InputError, match=r"0\.000767 million") as caught:
        load_image(path, limits=Limits(max_pixels=767))
    assert caught.value.code is Reason.TOO_MANY_PIXELS


def test_more_bytes_than_allowed_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(600_000_000)  # sparse: takes no room
    with pytest.raises(InputError, match="600") as caught:
        load_image(path)
    assert caught.value.code is Reason.TOO_LARGE


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _link(path: Path) -> Path:
    photo().save(path.with_name("real.png"))
    path.symlink_to("real.png")
    return path


@pytest.mark.parametrize("made", [_folder, _pipe, _link, lambda path: Path(os.devnull)])
def test_what_is_no_regular_file_is_refused_at_once(
    made: Callable[[Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        load_image(made(tmp_path / "x.png"))
    assert caught.value.code is Reason.NOT_REGULAR_FILE


def test_a_file_that_is_gone_has_vanished(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_image(tmp_path / "gone.jpg")
    assert caught.value.code is Reason.VANISHED


@contextmanager
def _without_privileges() -> Iterator[None]:
    """Root may read everything: be nobody for a moment."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_file_without_read_permission_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    photo().save(path)
    path.chmod(0)
    with _without_privileges(), pytest.raises(InputError) as caught:
        load_image(path)
    path.chmod(stat.S_IRUSR)
    assert caught.value.code is Reason.UNREADABLE
    assert load_image(path).rgb.shape == (3, 24, 32)


def test_a_file_name_that_is_no_utf_8_works_and_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        path.write_bytes(encoded(photo(), format="PNG"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert load_image(path).rgb.shape == (3, 24, 32)
    path.write_bytes(b"no picture")
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert r"caf\xe9.png" in str(caught.value).encode().decode()


def test_loading_leaves_the_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    photo().save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12_345)
    filters = list(warnings.filters)
    load_image(path)
    assert Image.MAX_IMAGE_PIXELS == 12_345
    assert list(warnings.filters) == filters


# ---- Out -----------------------------------------------------------------------------------


def test_a_saved_picture_comes_back_the_same(tmp_path: Path) -> None:
    rgb = torch.rand(3, 7, 5, generator=torch.Generator().manual_seed(0))
    assert save_png(rgb, tmp_path / "a.png") == (5, 7)
    back = load_image(tmp_path / "a.png")
    assert back.alpha is None
    assert (back.rgb - rgb).abs().max() <= 0.5 / 255 + 1e-6


def test_a_saved_picture_is_clamped_and_tagged_and_keeps_its_texts(tmp_path: Path) -> None:
    text = {"style": "Meer Großwetter 海", "content": os.fsdecode(b"caf\xe9.jpg")}
    save_png(torch.tensor([-1.0, 0.5, 2.0])[:, None, None], tmp_path / "a.png", text=text)
    with Image.open(tmp_path / "a.png") as image:
        assert image.getpixel((0, 0)) == (0, 128, 255)
        assert image.info["srgb"] == 0
        assert image.info["style"] == text["style"]
        assert image.info["content"] == r"caf\xe9.jpg"


def test_alpha_is_saved_with_the_picture(tmp_path: Path, load: Load) -> None:
    picture = load(cut_out(), format="PNG")
    save_png(picture.rgb, tmp_path / "a.png", alpha=picture.alpha)
    back = load_image(tmp_path / "a.png")
    assert back.alpha is not None
    assert torch.equal(back.alpha, picture.alpha)


def test_a_picture_with_nan_is_never_written(tmp_path: Path) -> None:
    rgb = torch.zeros(3, 4, 4)
    rgb[1, 2, 3] = torch.nan
    with pytest.raises(OutputError) as caught:
        save_png(rgb, tmp_path / "a.png")
    assert caught.value.code is Reason.OUTPUT_INVALID
    assert not (tmp_path / "a.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told_from_other_failures(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as full:
        save_png(torch.zeros(3, 4, 4), Path("/dev/full"))
    with pytest.raises(OutputError) as missing:
        save_png(torch.zeros(3, 4, 4), tmp_path / "no" / "folder.png")
    assert full.value.code is Reason.DISK_FULL
    assert missing.value.code is Reason.OUTPUT_INVALID


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
