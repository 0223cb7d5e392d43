"""Encodes plain arrays as files, each format with its colour profile, metadata and quality.

The only module that writes pictures with Pillow; `deep_formats` writes what Pillow cannot: 16 bits
a channel, and TIFF with its EXIF in the right place.

How to add a format: see *Add an output format* in CONTRIBUTING.md.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, PngImagePlugin

from pipeline.config.output import QUALITY, Ground, OutputFormat, Profile
from pipeline.errors import OutputError, Reason
from pipeline.imaging import deep_formats as deep
from pipeline.imaging import tiff_tags as ifd
from pipeline.imaging.color_management import between
from pipeline.imaging.decode import Bytes, reduced
from pipeline.imaging.icc_profiles import icc_bytes
from pipeline.system.safe_files import is_disk_full, open_to_overwrite

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]  # (H, W, 3 or 4)

GROUND_VALUES: dict[Ground, int] = {"white": 255, "grey": 128, "black": 0}
CHECKER = (232, 208)  # greys of the squares behind a small copy of a transparent picture
SQUARE = 8  # px


@dataclass(frozen=True, slots=True)
class Labels:
    """Metadata that is written into a file; empty where there is none."""

    exif: ifd.Directories | None = None
    xmp: bytes = b""
    software: str = ""


NO_LABELS = Labels()


def encode(pixels: Samples, path: Path, wanted: OutputFormat, labels: Labels = NO_LABELS) -> None:
    """Writes (H, W, 3 or 4) of 8 or 16 bits to exactly ``path`` and syncs it to disk.

    Transparency is composited on ``wanted.ground`` where the format knows none.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """
    if pixels.shape[2] == 4 and not wanted.how.alpha:
        pixels = _composite_on_ground(pixels, wanted.ground)
    with _write_errors(path), open_to_overwrite(path) as file:
        WRITERS[wanted.format](file, pixels, wanted, labels)
        file.flush()
        os.fsync(file.fileno())


def _png(file: IO[bytes], pixels: Samples, wanted: OutputFormat, labels: Labels) -> None:
    if pixels.dtype == np.uint16:
        exif = ifd.write(labels.exif) if labels.exif else b""
        texts = {"Software": labels.software} if labels.software else {}
        icc = None if wanted.profile == "srgb" else icc_bytes(wanted.profile)
        deep.write_png(file, pixels, icc=icc, exif=exif, xmp=labels.xmp, texts=texts)
        return
    fields = PngImagePlugin.PngInfo()
    if wanted.profile == "srgb":  # four bytes are enough; a profile beside it is not allowed
        fields.add(b"sRGB", b"\0")
    if labels.software:
        fields.add_text("Software", labels.software)
    if labels.xmp:
        fields.add_itxt("XML:com.adobe.xmp", labels.xmp.decode())
    options = _profile_and_metadata(wanted, labels)
    options.pop("xmp", None)
    if wanted.profile == "srgb":
        del options["icc_profile"]
    Image.fromarray(pixels).save(file, "PNG", pnginfo=fields, **options)


def _jpeg(file: IO[bytes], pixels: Samples, wanted: OutputFormat, labels: Labels) -> None:
    options = _profile_and_metadata(wanted, labels) | {
        "quality": _quality(wanted),
        "subsampling": 0,
    }
    # Progressive is some 5 % smaller on painted texture.
    Image.fromarray(pixels).save(file, "JPEG", progressive=True, optimize=True, **options)


def _webp(file: IO[bytes], pixels: Samples, wanted: OutputFormat, labels: Labels) -> None:
    # exact: colours under full transparency are kept, as in every other format here.
    options = _profile_and_metadata(wanted, labels) | {"lossless": wanted.lossless, "exact": True}
    quality = 60 if wanted.lossless else _quality(wanted)  # of lossless it is the effort
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, **options)


def _avif(file: IO[bytes], pixels: Samples, wanted: OutputFormat, labels: Labels) -> None:
    # One thread: the same bytes on every machine.
    options = _profile_and_metadata(wanted, labels) | {"subsampling": "4:4:4", "max_threads": 1}
    Image.fromarray(pixels).save(file, "AVIF", quality=_quality(wanted), **options)


def _heif(file: IO[bytes], pixels: Samples, wanted: OutputFormat, labels: Labels) -> None:
    import pillow_heif  # the extra: that it is there was checked with the options

    pillow_heif.register_heif_opener()
    options = _profile_and_metadata(wanted, labels) | {"quality": _quality(wanted), "chroma": 444}
    Image.fromarray(pixels).save(file, "HEIF", **options)


def _tiff(file: IO[bytes], pixels: Samples, wanted: OutputFormat, labels: Labels) -> None:
    directories = labels.exif or ifd.Directories()
    deep.write_tiff(file, pixels, directories, icc=icc_bytes(wanted.profile), xmp=labels.xmp)


WRITERS: dict[str, Callable[[IO[bytes], Samples, OutputFormat, Labels], None]] = {
    "png": _png,
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "heif": _heif,
    "tiff": _tiff,
}


def _profile_and_metadata(wanted: OutputFormat, labels: Labels) -> dict[str, Any]:
    """Pillow's options for the profile and the metadata."""
    options: dict[str, Any] = {"icc_profile": icc_bytes(wanted.profile)}
    if labels.exif:
        options["exif"] = b"Exif\0\0" + ifd.write(labels.exif)
    if labels.xmp:
        options["xmp"] = labels.xmp
    return options


def _quality(wanted: OutputFormat) -> int:
    return QUALITY[wanted.format] if wanted.quality is None else wanted.quality


def _composite_on_ground(pixels: Samples, ground: Ground) -> Bytes:
    colour = np.float32(GROUND_VALUES[ground])
    alpha = pixels[..., 3:].astype(np.float32) / 255
    blended: Bytes = np.rint(colour + (pixels[..., :3] - colour) * alpha).astype(np.uint8)
    return blended


def png_bytes(pixels: Bytes) -> bytes:
    """Pixels (H, W, 3) as a plain PNG in memory."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# ---- Small copies --------------------------------------------------------------------------


def encode_small(pixels: Bytes, path: Path, long_side: int, profile: Profile = "srgb") -> None:
    """Writes a small copy of (H, W, 3 or 4) as JPEG in sRGB, at most ``long_side`` px.

    A transparent picture is shown on a checkerboard.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """
    small = reduced(Image.fromarray(pixels), long_side)
    if small.mode == "RGBA":
        small = Image.alpha_composite(_checkerboard(small.size), small).convert("RGB")
    with _write_errors(path), open_to_overwrite(path) as file:
        between(small, profile, "srgb").save(file, "JPEG", quality=82)


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    rows, columns = np.indices((size[1], size[0])) // SQUARE
    grey = np.where((rows + columns) % 2, *CHECKER).astype(np.uint8)
    return Image.fromarray(grey).convert("RGBA")


def caption(pixels: Bytes, text: str) -> Bytes:
    """Pixels (H, W, 3) with lines of text on a white band above, each cut to the width."""
    height, width, _ = pixels.shape
    size = max(9.0, width / 25)  # px; smaller letters cannot be read
    lines, pitch = text.split("\n"), round(size * 1.4)
    band = pitch * len(lines)
    labelled = Image.new("RGB", (width, height + band), "white")
    labelled.paste(Image.fromarray(pixels), (0, band))
    draw = ImageDraw.Draw(labelled)
    for number, line in enumerate(lines):
        fitted = _cut_to_width(line, width - 2, lambda part: draw.textlength(part, font_size=size))
        draw.text((0, number * pitch), fitted, fill="black", font_size=size)
    return np.asarray(labelled)


def _cut_to_width(line: str, width: int, measure: Callable[[str], float]) -> str:
    """The line, or as much of its beginning as is at most ``width`` long, and dots."""
    if measure(line) <= width:
        return line
    while line and measure(f"{line}...") > width:
        line = line[:-1]
    return f"{line.rstrip()}..."


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = is_disk_full(error)
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="make room on the disk" if full else "make its folder writable",
            code=Reason.DISK_FULL if full else Reason.OUTPUT_INVALID,
        ) from error
