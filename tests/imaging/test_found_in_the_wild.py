"""Pictures as they are found in the wild are painted with the right pixels, or refused by name."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from support import wild_stock as wild
from support.stock import make_job

from pipeline.config.sections import Limits as Section
from pipeline.errors import InputError, Reason
from pipeline.imaging import decode as decoding
from pipeline.imaging import tiff_tags as ifd
from pipeline.imaging.decode import Decoded, DecodeLimits
from pipeline.imaging.icc_profiles import icc_bytes
from pipeline.imaging.sandbox import Decoder
from pipeline.imaging.survey import heif as boxes
from pipeline.jobs.job import JobResult
from pipeline.outbox.run_log import run_log_line

pillow_heif.register_heif_opener()


def decoded(data: bytes, **limits: Any) -> Decoded:
    return decoding.decode(io.BytesIO(data), None, DecodeLimits(**limits))


def refusal(data: bytes, folder: Path) -> InputError:
    path = folder / "a"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        decoding.decode_file(path, None, decoding.DEFAULT_LIMITS)
    return caught.value


def is_the_ramp(found: Decoded, tolerance: int = 1) -> bool:
    return bool(np.abs(found.rgb.astype(int) - wild.ramp()).max() <= tolerance)


# ---- Metadata ------------------------------------------------------------------------------


def test_a_png_with_a_text_of_two_megabytes_is_taken() -> None:
    found = decoded(wild.png_with_text(2_000_000))
    assert is_the_ramp(found)
    assert found.notes == ()  # it would not have been used


def test_a_png_with_many_large_texts_is_taken() -> None:
    texts = [wild.chunk(b"tEXt", b"Comment\0" + b"a" * 900_000)] * 80
    assert is_the_ramp(decoded(wild.png(*texts)))


def test_xmp_beyond_its_limit_is_left_out_and_the_run_log_will_say_so() -> None:
    found = decoded(wild.png_with_text(2_000_000, xmp=True))
    assert is_the_ramp(found)
    assert found.xmp == b""
    assert found.notes == ("its XMP is beyond its limit: ignored",)
    assert decoded(wild.png_with_text(1000, xmp=True)).xmp.startswith(b"<x:xmpmeta>")


def test_exif_beyond_its_limit_is_left_out_of_every_format() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 2000
    for kind in ("PNG", "JPEG", "WEBP"):
        found = decoded(wild.saved(wild.picture(), kind, exif=exif), max_exif=1000)
        assert found.exif == b""
        assert found.notes == ("its EXIF is beyond its limit: ignored",)


def test_a_profile_of_two_megabytes_is_used_in_a_png_as_in_a_jpeg() -> None:
    padded = icc_bytes("display-p3") + bytes(2_000_000)
    found = decoded(wild.saved(wild.picture(), "PNG", icc_profile=padded))
    small = decoded(wild.saved(wild.picture(), "PNG", icc_profile=icc_bytes("display-p3")))
    assert found.icc == padded
    assert np.array_equal(found.rgb, small.rgb)
    assert not is_the_ramp(found, tolerance=10)


def test_a_profile_that_cannot_be_used_is_noted() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        found = decoded(wild.saved(wild.picture(), kind, icc_profile=b"no profile at all"))
        assert found.notes == ("its colour profile cannot be used: read as sRGB",)


# ---- Checksums -----------------------------------------------------------------------------


def test_a_wrong_checksum_of_text_is_no_reason_to_refuse_a_picture() -> None:
    data = wild.png(wild.chunk(b"tEXt", b"Title\0" + b"x" * 30))
    assert is_the_ramp(decoded(wild.with_wrong_sum(data, b"tEXt")))


def test_a_wrong_checksum_of_metadata_that_would_be_used_is_noted() -> None:
    data = wild.png(wild.code_points(12, 13))
    found = decoded(wild.with_wrong_sum(data, b"cICP"))
    assert is_the_ramp(found)
    assert found.notes == ("its cICP is damaged: ignored",)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS", b"IDAT"])
def test_a_wrong_checksum_of_pixels_is_damage(kind: bytes, tmp_path: Path) -> None:
    image = wild.picture().quantize(8)
    data = wild.saved(image, "PNG", transparency=0)
    error = refusal(wild.with_wrong_sum(data, kind), tmp_path)
    assert error.code is Reason.TRUNCATED
    assert kind.decode() in error.what


# ---- Colours stated in numbers -------------------------------------------------------------


def test_linear_light_is_converted() -> None:
    """Middle grey of linear light is 188 in sRGB (IEC 61966-2-1)."""
    grey = Image.new("RGB", (8, 8), (128, 128, 128))
    assert abs(int(decoded(wild.png(wild.gamma(1.0), image=grey)).rgb[0, 0, 0]) - 188) <= 1
    light = Image.new("L", (8, 8), 128)
    assert abs(int(decoded(wild.png(wild.gamma(1.0), image=light)).rgb[0, 0, 0]) - 188) <= 1


@pytest.mark.parametrize(
    "chunks",
    [
        (wild.gamma(0.45455),),
        (wild.gamma(0.45455), wild.chromaticities(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)),
        (wild.code_points(1, 13),),
        (wild.code_points(1, 1),),
        (wild.code_points(2, 2),),
        (wild.chunk(b"sRGB", b"\0"), wild.gamma(1.0)),
    ],
    ids=["gamma", "gamma and chromaticities", "cICP", "television", "unspecified", "sRGB"],
)
def test_files_that_state_srgb_in_any_way_keep_their_exact_pixels(
    chunks: tuple[bytes, ...],
) -> None:
    found = decoded(wild.png(*chunks))
    assert is_the_ramp(found, tolerance=0)
    assert found.notes == ()


P3 = decoded(wild.saved(wild.picture(), "PNG", icc_profile=icc_bytes("display-p3"))).rgb.astype(int)


def test_display_p3_by_code_points_is_display_p3_by_profile() -> None:
    by_numbers = decoded(wild.png(wild.code_points(12, 13))).rgb
    assert np.abs(by_numbers - P3).max() <= 1
    by_chunks = wild.chromaticities(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
    assert np.abs(decoded(wild.png(by_chunks)).rgb - P3).max() <= 1


def test_code_points_count_before_a_profile_in_png_and_a_profile_before_gamma() -> None:
    profile = {"icc_profile": wild.srgb_profile()}
    assert np.abs(decoded(wild.png(wild.code_points(12, 13), **profile)).rgb - P3).max() <= 1
    assert is_the_ramp(decoded(wild.png(wild.gamma(1.0), **profile)), tolerance=1)


@pytest.mark.parametrize(
    "chunks",
    [wild.code_points(77, 13), wild.code_points(1, 9), wild.code_points(1, 13, matrix=1),
     wild.code_points(1, 13, full=0), wild.gamma(0.001), wild.chromaticities(*[0.3] * 8)],
)  # fmt: skip
def test_colours_that_are_not_understood_are_noted(chunks: bytes) -> None:
    found = decoded(wild.png(chunks))
    assert is_the_ramp(found)
    assert len(found.notes) == 1


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_name(transfer: int, name: str, tmp_path: Path) -> None:
    heic = wild.saved(wild.picture(), "HEIF", chroma=444)
    avif = wild.saved(wild.picture(), "AVIF")
    for data in (
        wild.png(wild.code_points(9, transfer)),
        wild.with_colours(heic, 9, transfer),
        wild.with_colours(avif, 9, transfer),
    ):
        error = refusal(data, tmp_path)
        assert error.code is Reason.UNSUPPORTED_FORMAT
        assert f"HDR picture ({name})" in error.what


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_display_p3_of_phones_without_a_profile_is_understood(kind: str) -> None:
    options = {"chroma": 444, "quality": 100} if kind == "HEIF" else {"subsampling": "4:4:4"}
    plain = wild.saved(wild.picture(), kind, **options)
    assert is_the_ramp(decoded(plain), tolerance=12)
    found = decoded(wild.with_colours(plain, 12, 13)).rgb
    assert np.abs(found - P3).mean() < 3
    assert np.abs(found - P3).mean() < np.abs(found.astype(int) - wild.ramp()).mean() / 2


def test_unknown_code_points_are_noted_or_refused_and_never_called_damage(
    tmp_path: Path,
) -> None:
    (note,) = decoded(wild.with_colours(wild.saved(wild.picture(), "AVIF"), 99, 13)).notes
    assert "colour primaries 99" in note
    heic = wild.with_colours(wild.saved(wild.picture(), "HEIF"), 99, 13)  # libheif will not
    assert refusal(heic, tmp_path).code is Reason.UNSUPPORTED_FORMAT


def test_adobe_rgb_stated_by_a_camera_in_exif_is_understood() -> None:
    """Cameras set to Adobe RGB embed no profile: interoperability index R03 says it (DCF 2.0)."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03", 2: b"0100"}
    marked = decoded(wild.jpeg(quality=100, subsampling=0, exif=exif.tobytes())).rgb.astype(int)
    plain = decoded(wild.jpeg(quality=100, subsampling=0)).rgb.astype(int)
    assert plain[32, 24, 0] - marked[32, 24, 0] > 10  # a green that is stronger than sRGB's
    exif.get_ifd(0x8769)[0xA005] = {1: "R98", 2: b"0100"}
    same = decoded(wild.jpeg(quality=100, subsampling=0, exif=exif.tobytes())).rgb
    assert np.array_equal(same, plain)


def test_chromaticities_of_a_tiff_are_understood() -> None:
    pairs = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06]
    values = [part for value in pairs for part in (round(value * 1000), 1000)]
    found = decoded(wild.tiff(wild.ramp(), more={319: (5, values)}))
    assert np.abs(found.rgb - P3).max() <= 1


# ---- TIFF ----------------------------------------------------------------------------------


def test_the_photo_of_a_tiff_is_its_whole_page_not_its_thumbnail() -> None:
    for data in (
        wild.thumbnail_first(),
        wild.thumbnail_first(mark=255),  # as it was said before TIFF 5.0
        wild.thumbnail_first(both=True),  # a program that marks all pages
    ):
        assert is_the_ramp(decoded(data), tolerance=0)


def test_a_tiff_of_one_page_that_is_marked_as_a_small_copy_is_still_a_photo() -> None:
    assert is_the_ramp(decoded(wild.tiff(wild.ramp(), more={254: (4, [1])})))


def test_a_tiff_with_its_photo_in_a_sub_directory_is_refused(tmp_path: Path) -> None:
    data = wild.tiff(wild.ramp(), more={254: (4, [1]), 330: (4, [8])})
    error = refusal(data, tmp_path)
    assert error.code is Reason.UNSUPPORTED_FORMAT
    assert "elsewhere" in error.what


RAMP = wild.ramp()
GREY = RAMP[..., 0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("floats", wild.tiff((RAMP / 255).astype("f4"), kind=3)),
        ("16 bits, floats", wild.tiff((RAMP / 255).astype("f2"), kind=3)),
        ("a plane for each", wild.tiff(RAMP.astype("u2") * 257, planes=True)),
        ("signed", wild.tiff((RAMP.astype(int) - 128).astype("i1"), kind=2)),
        ("64 bits", wild.tiff((GREY / 255).astype("f8"), kind=3, photometric=1)),
        ("YCbCr", wild.tiff(RAMP, photometric=6)),  # subsampled unless it says that it is not
        ("sensor", wild.tiff(GREY, photometric=32803)),
        ("floats", wild.tiff((GREY / 255).astype("f4"), kind=3, photometric=0)),
        ("whole", wild.tiff(np.dstack([GREY.astype("u2")] * 2), photometric=1)),
    ],
)
def test_a_valid_tiff_that_is_not_decoded_is_refused_by_what_it_holds(
    name: str, data: bytes, tmp_path: Path
) -> None:
    error = refusal(data, tmp_path)
    assert error.code is Reason.UNSUPPORTED_FORMAT
    assert name in error.what
    assert error.hint == "export it as JPEG or PNG"


def test_a_tiff_in_an_unknown_compression_is_not_called_damaged(tmp_path: Path) -> None:
    error = refusal(wild.tiff(RAMP, more={259: (3, [34712])}), tmp_path)  # JPEG 2000
    assert error.code is Reason.UNSUPPORTED_FORMAT
    assert "34712" in error.what


def test_a_tiff_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    whole = wild.tiff(RAMP)
    for part in (20, 200, len(whole) // 2, len(whole) - 40):
        assert refusal(whole[:part], tmp_path).code is Reason.TRUNCATED


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (wild.tiff(np.dstack([RAMP, RAMP[..., :2]]), more={338: (3, [0, 0])}), 0),
        (wild.tiff(RAMP.astype("u2") * 257), 0),
        (wild.tiff(RAMP.astype("u2") * 257, order=">"), 0),
        (wild.tiff(RAMP, planes=True), 0),
    ],
    ids=["five channels", "16 bits", "big-endian", "planes of 8 bits"],
)
def test_colour_tiffs_come_in_as_they_are(data: bytes, tolerance: int) -> None:
    assert is_the_ramp(decoded(data), tolerance)


@pytest.mark.parametrize(
    "data",
    [
        wild.tiff(GREY.astype("u4") << 24, photometric=1),
        wild.tiff((GREY.astype(int) - 128).astype("i1"), kind=2, photometric=1),
        wild.tiff(((GREY.astype(int) - 128) * 256).astype("i2"), kind=2, photometric=1),
        wild.tiff(255 - GREY, photometric=0),
        wild.tiff(GREY.astype("f4") / 255, kind=3, photometric=1),
    ],
    ids=["uint32", "int8", "int16", "ink", "float"],
)
def test_a_rising_grey_rises_from_black_to_white(data: bytes) -> None:
    row = decoded(data).rgb[0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] <= 1
    assert row[-1] >= 254


# ---- JPEG ----------------------------------------------------------------------------------


def test_a_jpeg_whose_second_half_is_missing_is_damaged_whatever_its_end_says(
    tmp_path: Path,
) -> None:
    for data in (wild.jpeg()[:-40], wild.cut_and_closed(), wild.jpeg(progressive=True)[:-40]):
        assert refusal(data, tmp_path).code is Reason.TRUNCATED


def test_one_option_takes_damaged_jpegs_as_viewers_show_them_and_notes_it() -> None:
    for data in (wild.jpeg()[:-40], wild.cut_and_closed()):
        found = decoded(data, damaged="take")
        assert np.abs(found.rgb[:8, :8].astype(int) - wild.ramp()[:8, :8]).mean() < 12
        (note,) = found.notes
        assert note.startswith("damaged, and taken as it is (")
    assert decoded(wild.jpeg(), damaged="take").notes == ()


def test_what_libjpeg_complains_of_is_never_painted(tmp_path: Path) -> None:
    """Of 60 bits turned, those that leave a valid stream are not to be known from the file."""
    noise = Image.effect_noise((256, 192), 80).convert("RGB")
    heard = 0
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 4}):
        whole = wild.saved(noise, "JPEG", quality=90, **options)
        decoded(whole)
        for number in range(20):
            try:
                decoded(wild.flipped(whole, number))
            except (InputError, OSError):
                heard += 1
    assert heard >= 15


def test_a_few_zeros_before_the_end_are_padding_and_many_are_a_hole(tmp_path: Path) -> None:
    whole = wild.jpeg()
    assert decoded(whole[:-2] + bytes(8) + whole[-2:]).notes == ()
    assert decoded(whole + b"a film that a camera appended").notes == ()
    assert refusal(whole[:-2] + b"\x5a\x11\x73" + whole[-2:], tmp_path).code is Reason.TRUNCATED
    assert refusal(whole[:-2] + bytes(500) + whole[-2:], tmp_path).code is Reason.TRUNCATED


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_whole_jpegs_of_every_mode_are_checked_without_a_warning(mode: str) -> None:
    image = wild.picture().convert(mode)
    for options in ({}, {"progressive": True}, {"optimize": True}, {"subsampling": 2}):
        found = decoded(wild.saved(image, "JPEG", **options))
        assert found.rgb.shape == (64, 96, 3)
        assert found.notes == (
            ("CMYK without a colour profile: its colours are an estimate",)
            if mode == "CMYK"
            else ()
        )


def test_a_jpeg_of_twelve_bits_is_refused_by_name(tmp_path: Path) -> None:
    data = bytearray(wild.jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12
    error = refusal(bytes(data), tmp_path)
    assert error.code is Reason.UNSUPPORTED_FORMAT
    assert "12" in error.what


# ---- PNG's own transparency, animations, orientation ---------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_animations_are_taken_or_refused_as_configured(kind: str, tmp_path: Path) -> None:
    film = wild.saved(
        wild.picture(), kind, save_all=True, append_images=[wild.picture().rotate(180)]
    )
    assert decoded(film).rgb.shape == (64, 96, 3)
    with pytest.raises(InputError) as caught:
        decoded(film, animation="refuse")
    assert caught.value.code is Reason.ANIMATED


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_heic_as_phones_write_it_is_turned_once(orientation: int) -> None:
    """Its turn stands in `irot` for readers, and again in EXIF, where it is not to be used."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = wild.picture()
    data = wild.saved(stored, "HEIF", chroma=444, quality=100, exif=exif.tobytes())
    assert b"irot" in dict(boxes.properties(io.BytesIO(data)))
    raw = data[data.index(b"Exif\0\0", data.index(b"mdat")) :]
    tags = ifd.read(raw)
    assert tags.main[0x0112][2] == struct.pack(tags.order + "H", orientation)
    upright = np.array(stored.transpose(decoding.UPRIGHT[orientation])).astype(int)
    found = decoded(data).rgb
    assert found.shape == upright.shape
    assert np.abs(found - upright).mean() < 4


# ---- What was found goes to the run log ----------------------------------------------------


def test_notes_cross_from_the_decoder_process(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(wild.cut_and_closed())
    decoder = Decoder(Section(damaged="take"))
    try:
        (note,) = decoder.decode(path, None).notes
        assert note.startswith("damaged, and taken")
    finally:
        decoder.close()
    refusing = Decoder(Section())
    try:
        with pytest.raises(InputError) as caught:
            refusing.probe(path)
        assert caught.value.code is Reason.TRUNCATED
    finally:
        refusing.close()


def test_the_run_log_notes_what_was_not_used_and_nothing_where_all_was_used() -> None:
    said = JobResult(make_job(), "done", notes=("its XMP is beyond its limit: ignored",))
    assert run_log_line(said, "run", "now")["notes"] == ["its XMP is beyond its limit: ignored"]
    assert "notes" not in run_log_line(JobResult(make_job(), "done"), "run", "now")
