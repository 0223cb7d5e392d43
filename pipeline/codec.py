"""Strangers' files -> plain arrays, decoded safely; plain arrays -> PNG.

The only module that knows Pillow. It knows no torch, so that a small child process can run it.
Eight bits a channel are kept: the transfer only starts from these values, then moves each of them.
"""

import errno
import io
import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, ImageDraw, ImageFile, PngImagePlugin

from pipeline.errors import EngineError, InputError, OutputError, Reason

Bytes = npt.NDArray[np.uint8]

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".gif")
)
# Pillow would otherwise try its other 37 decoders too, PostScript among them.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    *(b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF and BigTIFF, in both byte orders
)
# EXIF 2.3, tag 0x0112: what turns the stored picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask of us. Metadata beyond its limit is left out, not refused."""

    max_pixels: int = 120_000_000
    max_bytes: int = 512_000_000
    max_exif: int = 1_000_000  # EXIF and XMP, each
    max_icc: int = 8_000_000  # profiles of printing presses run to 3 MB


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture as plain arrays, upright, with the file's own metadata within its limits."""

    rgb: Bytes  # (H, W, 3) sRGB
    alpha: Bytes | None  # (H, W), None when opaque
    exif: bytes
    xmp: bytes
    icc: bytes


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture at all."""
    return PurePath(name).suffix.lower() in SUFFIXES


# ---- In ------------------------------------------------------------------------------------


def load_decoders() -> None:
    """Load now what Pillow would load with the first picture."""
    Image.init()


def decode_file(path: Path, long_side: int | None, limits: Limits) -> Decoded:
    """``decode`` for the regular file at ``path``; every error names it.

    Raises:
        InputError: The file cannot be used; ``code`` says why.
        EngineError: There is not memory enough to decode it.
    """
    with _errors_naming(path), open(path, "rb", opener=_open_safely) as file:
        _check_file(file, limits)
        return decode(file, long_side, limits)


def decode(file: BinaryIO, long_side: int | None, limits: Limits) -> Decoded:
    """The first picture in an open, seekable file; of an animation the first frame.

    ``long_side`` reduces to that many px and never enlarges. Raises InputError, or whatever
    Pillow raises on bytes that it does not like.
    """
    with _guarded_pillow(limits), Image.open(file, formats=FORMATS) as image:
        if long_side is not None:
            # JPEG only: decodes at 1/2, 1/4 or 1/8 size, at least twice the size wanted.
            image.draft(None, _fitted(image.size, 2 * long_side))
        image.load()
        exif = _metadata(image, "exif", limits.max_exif)
        xmp = _metadata(image, "xmp", limits.max_exif)
        icc = _metadata(image, "icc_profile", limits.max_icc)
        picture = _reduced(_plain(_upright(image)), long_side)
        return Decoded(np.array(_to_srgb(picture, icc)), _alpha(picture), exif, xmp, icc)


def _open_safely(path: str, flags: int) -> int:
    # No link is followed, and a pipe without a writer does not block. Windows has neither flag.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _check_file(file: BinaryIO, limits: Limits) -> None:
    """Refuses what is no regular file, empty, too large or of a format we do not decode."""
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular()
    if found.st_size > limits.max_bytes:
        sizes = f"{found.st_size / 1e6:.1f} MB are more than the {limits.max_bytes / 1e6:.1f}"
        raise InputError(f"{sizes} allowed", mend="save it smaller, as JPEG", code=Reason.TOO_LARGE)
    if found.st_size == 0:
        raise _damaged("the file is empty")
    if not _known_format(file.read(18)):
        raise _unsupported("this is not a JPEG, PNG, WebP, TIFF, BMP or GIF picture")
    file.seek(0)


def _known_format(head: bytes) -> bool:
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":  # words begin so too; here a header length below 256 follows
        return head[15:18] == b"\0\0\0"
    return head.startswith(SIGNATURES)


@contextmanager
def _guarded_pillow(limits: Limits) -> Iterator[None]:
    """Pillow's process-wide settings as we need them: no bombs, no half files, no chatter.

    Pillow checks the size that the header declares, before it decodes.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; what matters is raised
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        what = f"it has more pixels than the {limits.max_pixels / 1e6:g} million allowed"
        raise InputError(what, mend="scale it down", code=Reason.TOO_MANY_PIXELS) from error
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _metadata(image: Image.Image, key: str, limit: int) -> bytes:
    """Metadata as bytes; beyond its limit it is dropped from the picture too, so never parsed."""
    value = image.info.get(key)
    if isinstance(value, bytes) and len(value) <= limit:
        return value
    image.info.pop(key, None)
    return b""


def _upright(image: Image.Image) -> Image.Image:
    orientation = 1
    with suppress(Exception):  # unreadable EXIF turns nothing
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    turn = UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _plain(image: Image.Image) -> Image.Image:
    """The same picture as L, LA, RGB, RGBA or CMYK: 8 bits a channel, no palette."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_deep_grey(image)
    if image.mode == "LAB":
        return _through(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    mode = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    if image.has_transparency_data:  # an alpha channel, or one colour declared transparent
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, whole or float, to 8 bits without clipping.

    16-bit whole numbers span 0..65535 and floats 0..1, as is usual. Numbers beyond that have no
    agreed meaning: their own range is stretched. NaN is black, infinity an extreme.
    """
    grey = np.array(image, dtype=np.float32)
    finite = grey[np.isfinite(grey)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    nominal = 1.0 if image.mode == "F" else 65535.0
    if low >= 0 and high <= nominal:
        low, high = 0.0, nominal
    # Halved first: the difference of two floats may be too large for a float.
    share = np.nan_to_num(grey, nan=low, posinf=high, neginf=low) / 2 - low / 2
    share /= max(high / 2 - low / 2, np.finfo(np.float32).tiny)
    return Image.fromarray(np.rint(share * 255).astype(np.uint8))


def _fitted(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    ratio = min(1.0, long_side / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _reduced(image: Image.Image, long_side: int | None) -> Image.Image:
    if long_side is None or max(image.size) <= long_side:
        return image
    # Pillow weighs colours by their alpha here, so hidden colours do not bleed in.
    return image.resize(_fitted(image.size, long_side), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """RGB by way of the profile; without one, or with a useless one, numbers are sRGB already."""
    colour = image.convert(image.mode.removesuffix("A"))
    if icc:
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return _through(colour, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    return colour.convert("RGB")


def _through(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    transform = ImageCms.buildTransform(
        profile,
        srgb,
        image.mode,
        "RGB",
        ImageCms.Intent.PERCEPTUAL,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return transform.apply(image)


def _alpha(image: Image.Image) -> Bytes | None:
    if not image.mode.endswith("A"):
        return None
    alpha = np.array(image.getchannel("A"))
    return None if alpha.min() == 255 else alpha


# ---- Out -----------------------------------------------------------------------------------


def encode_png(pixels: Bytes, path: Path, text: Mapping[str, str]) -> None:
    """Writes (H, W, 3 or 4) to exactly ``path``, tagged as sRGB, and makes it last (fsync).

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """
    fields = PngImagePlugin.PngInfo()
    fields.add(b"sRGB", b"\0")
    for key, value in text.items():
        fields.add_text(key, _printable(value).replace("\0", " "))
    with _write_errors(path), path.open("wb") as file:
        Image.fromarray(pixels).save(file, "PNG", pnginfo=fields)
        file.flush()
        os.fsync(file.fileno())


def encode_small(pixels: Bytes, path: Path, long_side: int) -> None:
    """Writes a small copy of (H, W, 3) sRGB as JPEG, reduced to ``long_side`` px at most.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """
    small = _reduced(Image.fromarray(pixels), long_side)
    with _write_errors(path):
        small.save(path, "JPEG", quality=82)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=shown(path),
            mend="make room on the disk" if full else "make its folder writable",
            code=Reason.DISK_FULL if full else Reason.OUTPUT_INVALID,
        ) from error


# ---- Errors --------------------------------------------------------------------------------


def caption(pixels: Bytes, text: str) -> Bytes:
    """Pixels (H, W, 3) with a line of text on a white band above."""
    height, width, _ = pixels.shape
    band = max(12, width // 18)
    labelled = Image.new("RGB", (width, height + band), "white")
    labelled.paste(Image.fromarray(pixels), (0, band))
    draw = ImageDraw.Draw(labelled)
    draw.text((0, 0), text, fill="black", font_size=band * 0.7)
    return np.asarray(labelled)


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes one of our errors, naming the file."""
    try:
        yield
    except InputError as error:
        error.where = shown(path)
        raise
    except Exception as error:  # decoders raise anything at all on hostile bytes
        ours = _translated(error)
        ours.where = shown(path)
        raise ours from error


def _translated(error: Exception) -> InputError | EngineError:
    if isinstance(error, MemoryError):
        mend = "make it smaller, or close other programs"
        return EngineError("too little memory to decode it", mend=mend, code=Reason.OUT_OF_MEMORY)
    if isinstance(error, OSError) and error.errno:  # Pillow's own, on bad bytes, have no number
        return _of_system(error)
    if "not supported" in str(error) or "not available" in str(error):
        return _unsupported(f"this kind of picture cannot be decoded: {error}")
    return _damaged("the file is cut off or damaged")


def _of_system(error: OSError) -> InputError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return InputError("no such file", mend="put it back", code=Reason.VANISHED)
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
        return _not_regular()
    what = f"the file cannot be read: {error.strerror}"
    mend = "give this account permission to read it"
    return InputError(what, mend=mend, code=Reason.UNREADABLE)


def _not_regular() -> InputError:
    what = "this is not a regular file but a folder, link, pipe or device"
    return InputError(what, mend="put the picture itself there", code=Reason.NOT_REGULAR_FILE)


def _unsupported(what: str) -> InputError:
    return InputError(what, mend="export it as JPEG or PNG", code=Reason.UNSUPPORTED_FORMAT)


def _damaged(what: str) -> InputError:
    return InputError(what, mend="copy or download it again", code=Reason.TRUNCATED)


def shown(path: Path) -> str:
    """The path as text that can be printed, whatever bytes its name holds."""
    return _printable(os.fspath(path))


def _printable(text: str) -> str:
    # A byte of a file name that is no UTF-8 stands in a str as a surrogate; no encoder takes it.
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
