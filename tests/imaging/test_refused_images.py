"""Whatever cannot be used is refused, with its reason, and the next file is read."""

import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.picture_stock import KINDS, NEWER, Load, encoded, loader, photo, tensor

from pipeline.config import sections as config
from pipeline.errors import EngineError, InputError, Reason
from pipeline.imaging import decode as decoding
from pipeline.imaging.sandbox import Decoder
from pipeline.imaging.tensors import DecodeLimits, load_image

pytestmark = pytest.mark.slow


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return loader(tmp_path)


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
    "a film of a telephone": (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", Reason.UNSUPPORTED_FORMAT),
    "a box of no size": (b"\0\0\0\0ftypheic" + bytes(100), Reason.TRUNCATED),
    "Photoshop": (b"8BPS\0\1" + bytes(40), Reason.UNSUPPORTED_FORMAT),
    "nothing": (b"", Reason.TRUNCATED),
    "half a JPEG": (encoded(photo(), **KINDS["jpeg"])[:600], Reason.TRUNCATED),
    "a JPEG's first bytes": (encoded(photo(), **KINDS["jpeg"])[:30], Reason.TRUNCATED),
    "a bomb": (bomb(), Reason.TOO_MANY_PIXELS),
}


FOREIGN_BYTES = {
    "PDF": b"%PDF-1.7\n%",
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
    "layers": b"8BPS\0\1" + bytes(40),
    "RAW": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "web page": b"\n<!DOCTYPE html>\n<html>",
    "archive": b"PK\x03\x04" + bytes(40),
}


@pytest.mark.parametrize("word", FOREIGN_BYTES)
def test_a_file_with_a_wrong_suffix_is_named_by_its_content(tmp_path, word):
    path = tmp_path / "a.jpg"
    path.write_bytes(FOREIGN_BYTES[word])
    with pytest.raises(InputError, match=word) as caught:
        load_image(path)
    assert caught.value.code is Reason.UNSUPPORTED_FORMAT
    assert caught.value.hint


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
    assert caught.value.hint
    assert torch.equal(load(photo(), format="PNG").rgb, tensor(photo()))


@pytest.mark.parametrize("kind", KINDS | NEWER)
def test_a_file_cut_off_anywhere_is_truncated(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    whole = encoded(Image.fromarray(noise), **(KINDS | NEWER)[kind])
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
        rgb = load_image(path, long_side=side, limits=DecodeLimits(max_pixels=500_000)).rgb
    except (InputError, EngineError):
        return  # refused with a reason; any other error fails the test
    assert rgb.isfinite().all()


def test_more_pixels_than_allowed_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo(24, 32).save(path)
    assert load_image(path, limits=DecodeLimits(max_pixels=768)).rgb.shape == (3, 24, 32)
    with pytest.raises(InputError, match=r"0\.000767 million") as caught:
        load_image(path, limits=DecodeLimits(max_pixels=767))
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


# ---- Films, and formats that need more -------------------------------------------------------


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "avif"])
def test_an_animation_is_refused_where_the_config_says_so(kind: str, tmp_path: Path) -> None:
    path, frames = tmp_path / "a", [Image.new("RGB", (16, 16), c) for c in ("red", "blue")]
    options = (KINDS | NEWER)[kind]
    strict = DecodeLimits(animation="refuse")
    frames[0].save(path, **options, save_all=True, append_images=frames[1:], duration=50)
    with pytest.raises(InputError, match="animation") as caught:
        load_image(path, limits=strict)
    assert caught.value.code is Reason.ANIMATED
    assert "limits.animation" in caught.value.hint
    assert load_image(path).rgb.shape == (3, 16, 16)
    frames[0].save(path, **options)
    assert load_image(path, limits=strict).rgb.shape == (3, 16, 16)


def test_pages_of_a_tiff_are_no_film(tmp_path: Path) -> None:
    path, page = tmp_path / "a", photo()
    page.save(path, format="TIFF", save_all=True, append_images=[page])
    assert load_image(path, limits=DecodeLimits(animation="refuse")).rgb.shape == (3, 24, 32)


def test_heic_without_its_extra_is_refused_with_the_install_line(
    tmp_path: Path, monkeypatch, load: Load
) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    photo().save(path, **NEWER["heic"])
    monkeypatch.setattr(decoding, "_formats", lambda: decoding.FORMATS)
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert caught.value.code is Reason.UNSUPPORTED_FORMAT
    assert "pip install" in caught.value.hint
    assert "[heif]" in caught.value.hint
    assert load(photo(), **NEWER["avif"]).rgb.shape == (3, 24, 32)  # needs nothing


@pytest.mark.parametrize("kind", NEWER)
def test_telephones_pictures_are_decoded_within_the_limits_of_the_decoder(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    photo(480, 640).save(path, **NEWER[kind])
    decoder = Decoder(config.Limits(decode_bytes=10**9))
    assert decoder.decode(path, None).rgb.shape == (480, 640, 3)
    decoder.close()
    decoder = Decoder(config.Limits(pixels=100_000))
    with pytest.raises(InputError) as caught:
        decoder.probe(path)
    assert caught.value.code is Reason.TOO_MANY_PIXELS
    decoder.close()


@pytest.mark.parametrize("kind", NEWER)
def test_damaged_telephones_pictures_harm_nothing(kind: str, tmp_path: Path) -> None:
    """In the decoder process, where they may crash what they like."""
    good, path = tmp_path / "good", tmp_path / "damaged"
    photo().save(good, **NEWER[kind])
    whole, random = good.read_bytes(), np.random.default_rng(5)
    decoder = Decoder(config.Limits())
    try:
        for _ in range(60):
            damaged = bytearray(whole)
            for place in random.integers(12, len(whole), random.integers(1, 6)):
                damaged[place] = random.integers(256)
            path.write_bytes(damaged)
            with suppress(InputError):
                decoder.decode(path, 64)
        assert decoder.decode(good, None).rgb.shape == (24, 32, 3)
    finally:
        decoder.close()
