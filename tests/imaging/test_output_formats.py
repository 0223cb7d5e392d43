"""Finished pictures are written in the format, depth and colours that were asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from support.stock import make_job

from pipeline.config.file_kinds import WRITTEN
from pipeline.config.loading import load_config
from pipeline.config.output import QUALITY, SUFFIXES, OutputFormat, format_of
from pipeline.errors import ConfigError, OutputError, Reason
from pipeline.imaging.encode import WRITERS
from pipeline.imaging.icc_profiles import icc_bytes
from pipeline.imaging.tensors import load_image, save, save_png
from pipeline.jobs.job import JobResult
from pipeline.jobs.recipe import PLAIN_OUTPUT
from pipeline.outbox.publisher import Outbox, staged_output

# Of formats that lose something: the mean error of a smooth picture, of 1.
LOSSY = {"jpeg": 0.02, "webp": 0.04, "avif": 0.03, "heif": 0.03}
DEEP = [name for name, how in WRITTEN.items() if how.deep]
OPAQUE = [name for name, how in WRITTEN.items() if not how.alpha]


def ramp(height: int = 40, width: int = 48) -> torch.Tensor:
    """(3, H, W), smooth, without symmetry, three different channels."""
    rows, columns = torch.meshgrid(
        torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij"
    )
    return torch.stack([columns, rows, (rows * columns)])


# --- options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"format": "jpeg", "depth": 16}, "depth"),
        ({"format": "webp", "depth": 16}, "depth"),
        ({"format": "png", "quality": 90}, "quality"),
        ({"format": "tiff", "quality": 90}, "quality"),
        ({"format": "jpeg", "lossless": True}, "lossless"),
        ({"format": "webp", "lossless": True, "quality": 3}, "quality"),
        ({"gps": True, "metadata": "none"}, "gps"),
        ({"format": "bmp"}, "format"),
        ({"format": "jpeg", "quality": 101}, "quality"),
        ({"qualty": 90}, "qualty"),
    ],
)
def test_what_does_not_fit_together_is_a_config_error_that_names_the_key(
    wrong: dict, key: str, tmp_path: Path
) -> None:
    said = ", ".join(f"{k}: {str(v).lower()}" for k, v in wrong.items())
    path = tmp_path / "config.yaml"
    path.write_text(f'styles: {{a: {{image: "builtin:mosaic"}}}}\noutput: {{{said}}}\n')
    with pytest.raises(ConfigError, match="output") as caught:
        load_config(path)
    assert key in str(caught.value)
    assert "config.yaml:2" in str(caught.value)


def test_without_the_extra_heif_is_a_config_error_with_the_install_line(monkeypatch) -> None:
    monkeypatch.setattr("pipeline.config.output.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install .*\[heif\]"):
        OutputFormat(format="heif")


def test_every_suffix_means_the_format_that_has_it() -> None:
    for kind, suffixes in SUFFIXES.items():
        assert {format_of("a" + suffix.upper()) for suffix in suffixes} == {kind}
    assert format_of("a.bmp") is None


def test_another_format_makes_another_recipe_and_the_defaults_make_none() -> None:
    plain = make_job().recipe
    assert plain.output.suffix == ".png"
    assert replace(plain, output=OutputFormat(format="png")).digest == plain.digest
    assert replace(plain, output=OutputFormat(format="jpeg")).digest != plain.digest


def test_every_format_has_its_bound_of_what_may_be_lost() -> None:
    assert set(LOSSY) == set(QUALITY)


def test_every_format_has_a_writer() -> None:
    assert set(WRITERS) == set(WRITTEN)


# --- round trips ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SUFFIXES)
def test_each_format_is_read_as_it_was_written_and_states_its_colours(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    assert save(ramp(), path, OutputFormat(format=kind)) == (48, 40)
    with Image.open(path) as image:
        assert image.format.lower() == kind
        assert image.info.get("icc_profile") == icc_bytes("srgb") or image.info["srgb"] == 0
    error = (load_image(path).rgb - ramp()).abs()
    assert error.mean() < LOSSY.get(kind, 0.5 / 255 + 1e-6)


def test_lossless_loses_nothing(tmp_path: Path) -> None:
    noise = torch.rand(3, 33, 41, generator=torch.Generator().manual_seed(0))
    save(noise, tmp_path / "a", OutputFormat(format="webp", lossless=True))
    assert (load_image(tmp_path / "a").rgb - noise).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("kind", LOSSY)
def test_quality_buys_bytes(kind: str, tmp_path: Path) -> None:
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    sizes = []
    for quality in (20, 95):
        save(noise, tmp_path / "a", OutputFormat(format=kind, quality=quality))
        sizes.append((tmp_path / "a").stat().st_size)
    assert sizes[1] > 1.5 * sizes[0]


@pytest.mark.parametrize("kind", [kind for kind in SUFFIXES if kind not in OPAQUE])
def test_transparency_comes_back(kind: str, tmp_path: Path) -> None:
    alpha = ramp()[:1]
    save(ramp(), tmp_path / "a", OutputFormat(format=kind), alpha)
    back = load_image(tmp_path / "a").alpha
    assert back is not None
    assert (back - alpha).abs().mean() < (0.02 if kind in LOSSY else 0.5 / 255 + 1e-6)


@pytest.mark.parametrize("kind", OPAQUE)
@pytest.mark.parametrize(("ground", "level"), [("white", 1.0), ("grey", 0.5), ("black", 0.0)])
def test_a_format_without_transparency_shows_the_ground(
    kind: str, ground: str, level: float, tmp_path: Path
) -> None:
    alpha = torch.zeros(1, 40, 48)
    alpha[..., :24] = 1
    save(ramp() * 0 + 0.8, tmp_path / "a", OutputFormat(format=kind, ground=ground), alpha)
    rgb = load_image(tmp_path / "a").rgb
    assert rgb[:, :, :20].mean().item() == pytest.approx(0.8, abs=0.02)
    assert rgb[:, :, 28:].mean().item() == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_picture_with_nan_is_never_written(kind: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        save(ramp() * torch.nan, tmp_path / "a", OutputFormat(format=kind))
    assert caught.value.code is Reason.OUTPUT_INVALID
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_full_disk_is_distinguished_from_other_failures(
    kind: str, tmp_path: Path, monkeypatch
) -> None:
    wanted = OutputFormat(format=kind)
    with pytest.raises(OutputError) as missing:
        save(ramp(), tmp_path / "no" / "folder", wanted)
    full_disk = open("/dev/full", "wb")  # noqa: PTH123, SIM115
    monkeypatch.setattr("pipeline.imaging.encode.open_to_overwrite", lambda _: full_disk)
    with pytest.raises(OutputError) as full:
        save(ramp(), tmp_path / "a", wanted)
    assert full.value.code is Reason.DISK_FULL
    assert missing.value.code is Reason.OUTPUT_INVALID


def test_values_beyond_the_range_are_clamped(tmp_path: Path) -> None:
    save_png(torch.tensor([-1.0, 0.5, 2.0])[:, None, None], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.getpixel((0, 0)) == (0, 128, 255)


# --- 16 bits: read by others' readers ---------------------------------------------------------


def read_16_bits(path: Path, kind: str) -> np.ndarray:
    """(H, W, C) as pypng and tifffile read it."""
    if kind == "tiff":
        return tifffile.imread(path)
    width, height, rows, info = png.Reader(bytes=path.read_bytes()).read()
    assert info["bitdepth"] == 16
    return np.array([list(row) for row in rows], np.uint16).reshape(height, width, info["planes"])


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(DEEP),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([3, 4]),
    seed=st.integers(0, 99),
)
def test_all_16_bits_of_every_sample_are_written(
    tmp_path_factory, kind: str, size: tuple[int, int], channels: int, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "deep"
    values = np.random.default_rng(seed).integers(0, 65536, (channels, *size))
    pixels = torch.from_numpy(values).double().div(65535).float()
    alpha = pixels[3:] if channels == 4 else None
    save(pixels[:3], path, OutputFormat(format=kind, depth=16), alpha)
    assert np.array_equal(read_16_bits(path, kind), values.transpose(1, 2, 0))
    with Image.open(path) as image:  # and ordinary readers see the picture, in 8
        assert image.size == size[::-1]
        image.load()


@pytest.mark.parametrize("kind", DEEP)
def test_a_gentle_gradient_has_more_than_256_levels(kind: str, tmp_path: Path) -> None:
    gradient = torch.linspace(0.4, 0.6, 900).expand(3, 4, 900)
    save(gradient, tmp_path / "a", OutputFormat(format=kind, depth=16))
    assert len(np.unique(read_16_bits(tmp_path / "a", kind))) == 900


def test_a_deep_png_is_larger_than_a_plain_one_but_compressed(tmp_path: Path) -> None:
    save(ramp(200, 300), tmp_path / "a", OutputFormat(depth=16))
    assert (tmp_path / "a").stat().st_size < 200 * 300 * 6 * 0.6


def test_a_tiff_of_many_strips_is_whole(tmp_path: Path) -> None:
    rgb = ramp(700, 500)
    save(rgb, tmp_path / "a", OutputFormat(format="tiff"))
    with tifffile.TiffFile(tmp_path / "a") as file:
        page = file.pages[0]
        assert len(page.dataoffsets) > 3
        assert np.array_equal(page.asarray(), (rgb * 255).round().byte().permute(1, 2, 0).numpy())


# --- the outbox -------------------------------------------------------------------------------


def rendered(outbox: Outbox, attempt: int, wanted: OutputFormat) -> JobResult:
    job = replace(make_job(), attempt=attempt)
    folder = outbox.make_staging_folder(job)
    path = folder / f"stylized{wanted.suffix}"
    size = save(ramp(), path, wanted)
    return JobResult(job, "done", outputs=(staged_output("stylized", path, *size),))


def test_a_pair_in_a_new_format_takes_its_old_file_away(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    first = rendered(outbox, 1, PLAIN_OUTPUT)
    before = outbox.publish(first.outputs, "a--mosaic")
    second = rendered(outbox, 2, OutputFormat(format="jpeg"))
    outbox.publish(second.outputs, "a--mosaic", before)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["a--mosaic.jpg"]


def test_an_old_file_that_somebody_changed_since_is_left_alone(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    before = outbox.publish(rendered(outbox, 1, PLAIN_OUTPUT).outputs, "a--mosaic")
    (tmp_path / "a--mosaic.png").write_text("mine now")
    second = rendered(outbox, 2, OutputFormat(format="webp"))
    outbox.publish(second.outputs, "a--mosaic", before)
    assert (tmp_path / "a--mosaic.png").read_text() == "mine now"
    assert (tmp_path / "a--mosaic.webp").exists()
