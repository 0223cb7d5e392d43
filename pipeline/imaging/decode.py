"""Decodes untrusted files to plain arrays.

The only module that opens files with Pillow; `encode` is the one that writes them. It loads no
torch, so that a small child process can run it.
Eight bits a channel are kept: more would give other strokes, not better ones
(docs/development/lab-book.md).
"""

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from pipeline.config.file_kinds import PHOTO_TITLES, foreign_content
from pipeline.errors import ChangedError, InputError, MissingExtraError, Reason
from pipeline.imaging.color_management import convert_colors, plain
from pipeline.imaging.decode_errors import damaged, errors_name_file, not_regular, unsupported
from pipeline.imaging.survey.stated_colors import adobe_rgb
from pipeline.imaging.survey.survey import Survey, check_jpeg, survey_file
from pipeline.imaging.survey.tiff import INK, SIGNED, WHOLE, Tiff
from pipeline.system.file_version import too_large_error
from pipeline.system.safe_files import NotRegularError, open_regular, opened_folder

if TYPE_CHECKING:  # a decoder process starts sooner without the models
    from pipeline.config.output import Profile

Bytes = npt.NDArray[np.uint8]

# Pillow would otherwise try its other 36 decoders too, PostScript among them.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
MOVING = ("PNG", "WEBP", "GIF", "AVIF")  # those of which several pictures are a film
# How files of a format may begin: bytes, by their place in the file.
SIGNATURES: dict[str, tuple[dict[int, bytes], ...]] = {
    "JPEG": ({0: b"\xff\xd8\xff"},),
    "PNG": ({0: b"\x89PNG\r\n\x1a\n"},),
    "WEBP": ({0: b"RIFF", 8: b"WEBP"},),
    # TIFF and BigTIFF, in both byte orders.
    "TIFF": ({0: b"II*\0"}, {0: b"MM\0*"}, {0: b"II+\0"}, {0: b"MM\0+"}),
    # Words begin with BM, too; here a header length below 256 follows.
    "BMP": ({0: b"BM", 15: b"\0\0\0"},),
    "GIF": ({0: b"GIF87a"}, {0: b"GIF89a"}),
}
# What an ISO media file (ISO 14496-12, 23008-12) states that it may be read as.
BRANDS = {
    "AVIF": frozenset((b"avif", b"avis")),
    "HEIF": frozenset(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
    ),
}
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
SIDEWAYS = (5, 6, 7, 8)  # of these, the ones that exchange width and height
# In Pillow's messages about a file that is whole, and of a kind that it has no decoder for.
_NOT_DECODED = (
    "unknown pixel mode",
    "unknown data organization",
    "cannot handle",
    "nsupported",
    "not supported",
    "not yet",
)
_CUT = ("Truncated", "truncated", "Corrupt")
_NAMES = {"exif": "EXIF", "xmp": "XMP", "icc_profile": "colour profile"}


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one file may ask of the decoder. Metadata beyond its limit is left out, not refused."""

    max_pixels: int = 120_000_000
    max_bytes: int = 512_000_000
    max_exif: int = 1_000_000  # EXIF and XMP, each
    max_icc: int = 8_000_000  # profiles of printing presses run to 3 MB
    animation: Literal["first", "refuse"] = "first"
    max_frames: int = 10_000
    damaged: Literal["refuse", "take"] = "refuse"  # a JPEG


DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture as plain arrays, upright, with the file's own metadata within its limits."""

    rgb: Bytes  # (H, W, 3) in the colour space that was asked for
    alpha: Bytes | None  # (H, W), None when opaque
    exif: bytes
    xmp: bytes
    icc: bytes
    notes: tuple[str, ...] = ()  # what of the file is not used


def warm_up() -> None:
    """Decode a photo of our own, so that all modules and tables are loaded for the next one.

    In a process just forked, each page that Python writes to is copied at its first touch: 400
    times for the first picture. That happens here, while no file waits.
    """
    Image.init()
    decode(io.BytesIO(_sample_jpeg()), 16, DEFAULT_LIMITS)


@cache
def _sample_jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG")
    return file.getvalue()


@cache
def _formats() -> tuple[str, ...]:
    """What can be decoded here: with HEIF where its extra is installed."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.options.DECODE_THREADS = 1  # each would cost address space, which is bounded
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return (*FORMATS, "HEIF")


def decode_file(
    path: Path,
    long_side: int | None,
    limits: DecodeLimits,
    profile: "Profile" = "srgb",
    below: int = 1,
    sha256: str = "",
) -> Decoded:
    """``decode`` for the regular file at ``path``; every error names it.

    Of the path's last ``below`` names no link is followed: they are untrusted, and a folder could
    be replaced by a link that leads out of the inbox.

    With ``sha256`` the file is read into memory once, and decoded only if its content has that.

    Raises:
        ChangedError: Its SHA-256 is another one.
        InputError: The file cannot be used; ``code`` says why.
        EngineError: There is not memory enough to decode it.
    """
    with errors_name_file(path), os.fdopen(_open_file(path, below), "rb") as file:
        _check_size(file, limits)
        source = _verified(file, sha256, path) if sha256 else file
        _check_format(source)
        return decode(source, long_side, limits, profile)


def measure_file(path: Path, limits: DecodeLimits, below: int = 1) -> tuple[int, int]:
    """Height and width of the picture in a file, upright, from its header alone.

    Raises:
        InputError: As `decode_file`, as far as the header tells.
    """
    with errors_name_file(path), os.fdopen(_open_file(path, below), "rb") as file:
        _check_size(file, limits)
        _check_format(file)
        found = survey_file(file, limits.max_exif, limits.max_icc, limits.max_frames)
        with _guarded_pillow(limits), _open_with_pillow(found) as image:
            if found.tiff.page:
                image.seek(found.tiff.page)
            width, height = image.size
            return (width, height) if _orientation(image) in SIDEWAYS else (height, width)


def decode(
    file: BinaryIO, long_side: int | None, limits: DecodeLimits, profile: "Profile" = "srgb"
) -> Decoded:
    """The first picture in an open, seekable file; of an animation the first frame.

    ``long_side`` reduces to that many px and never enlarges. Raises InputError, or whatever
    Pillow raises on damaged bytes.
    """
    found = survey_file(file, limits.max_exif, limits.max_icc, limits.max_frames)
    with _guarded_pillow(limits), _open_with_pillow(found) as image:
        if limits.animation == "refuse" and image.format in MOVING:
            _refuse_film(image)
        _check_frames(image, limits)
        if image.format in ("JPEG", "MPO"):
            check_jpeg(found, limits.damaged)
            ImageFile.LOAD_TRUNCATED_IMAGES = found.load_truncated
        if found.tiff.page:
            image.seek(found.tiff.page)
        if long_side is not None:
            # JPEG only: decodes at 1/2, 1/4 or 1/8 size, at least twice the size wanted.
            image.draft(None, _fit_size(image.size, 2 * long_side))
        image.load()
        if found.transparent is not None:
            image.info["transparency"] = found.transparent
        if image.format == "TIFF":  # there the file's own tags are what is EXIF elsewhere
            image.info["exif"] = _tags(image)
        notes = found.notes
        exif = _metadata(image, "exif", limits.max_exif, notes)
        xmp = _metadata(image, "xmp", limits.max_exif, notes)
        icc = _metadata(image, "icc_profile", limits.max_icc, notes)
        stated = _stated(found, image, icc)
        picture = reduced(plain(_interpret_samples(_upright(image), found.tiff)), long_side)
        rgb = np.array(convert_colors(picture, icc, profile, notes, stated))
        return Decoded(rgb, _alpha(picture), exif, xmp, icc, tuple(notes))


def _open_with_pillow(found: Survey) -> Image.Image:
    """Pillow's image; where no decoder takes the file, their messages decide which error it is."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.WARN_POSSIBLE_FORMATS = True
        try:
            return Image.open(found.file, formats=_formats())
        except UnidentifiedImageError:
            messages = " ".join(str(warning.message) for warning in caught)
            whole = not any(phrase in messages for phrase in _CUT)
            if found.colours.note or (whole and any(phrase in messages for phrase in _NOT_DECODED)):
                kind = found.tiff.described or found.colours.note or messages
                raise unsupported(f"a kind of picture that is not supported: {kind}") from None
            raise
        finally:
            Image.WARN_POSSIBLE_FORMATS = False


def _stated(found: Survey, image: Image.Image, icc: bytes) -> bytes:
    """A profile of the colours that the file states in numbers, where they come first."""
    if icc and not found.before_profile:
        return b""
    if not found.colours.icc and not icc and image.format in ("JPEG", "MPO"):
        return adobe_rgb().icc if _is_adobe_rgb(image) else b""
    return found.colours.icc


def _is_adobe_rgb(image: Image.Image) -> bool:
    with suppress(Exception):  # unreadable EXIF states nothing
        return bool(image.getexif().get_ifd(ExifTags.IFD.Interop).get(1) == "R03")
    return False


def _verified(file: BinaryIO, sha256: str, path: Path) -> BinaryIO:
    content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ChangedError(path)
    return io.BytesIO(content)


def _open_file(path: Path, below: int) -> int:
    with opened_folder(path.parents[below - 1], path.parts[-below:-1]) as folder:
        try:
            return open_regular(path.name, folder=folder)
        except NotRegularError:
            raise not_regular() from None


def _check_size(file: BinaryIO, limits: DecodeLimits) -> None:
    """Refuses what is no regular file, or too large."""
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise not_regular()
    if found.st_size > limits.max_bytes:
        raise too_large_error(found.st_size, limits.max_bytes)


def _check_format(file: BinaryIO) -> None:
    """Refuses what is empty, or of a format that is not decoded."""
    head = file.read(128)
    if not head:
        raise damaged("the file is empty")
    if not has_known_format(head):
        if (kind := foreign_content(head)) is not None:
            what = f"this is {kind.what}"
            raise InputError(what, hint=kind.hint, code=Reason.UNSUPPORTED_FORMAT)
        kinds = f"{', '.join(PHOTO_TITLES[:-1])} or {PHOTO_TITLES[-1]}"
        raise unsupported(f"this is not a {kinds} picture")
    if _brands(head) and _brands(head).isdisjoint(BRANDS["AVIF"]) and "HEIF" not in _formats():
        missing = MissingExtraError.of("pillow-heif", "heif")
        code = Reason.UNSUPPORTED_FORMAT
        raise InputError(f"a HEIC picture: {missing.what}", hint=missing.hint, code=code)
    file.seek(0)


def _brands(head: bytes) -> frozenset[bytes]:
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset(head[at : at + 4] for at in (8, *range(16, end, 4)))


def has_known_format(head: bytes) -> bool:
    """Whether a file's first bytes are those of a format that can be decoded."""
    if brands := _brands(head):
        return not all(brands.isdisjoint(known) for known in BRANDS.values())
    starts = (start for starts in SIGNATURES.values() for start in starts)
    return any(all(head.startswith(b, at) for at, b in start.items()) for start in starts)


@contextmanager
def _guarded_pillow(limits: DecodeLimits) -> Iterator[None]:
    """Pillow's process-wide settings as we need them: no bombs, no half files, no warnings.

    Pillow checks the size that the header declares, before it decodes.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    # Of PNGs, in which larger ones were left out before.
    PngImagePlugin.MAX_TEXT_CHUNK = max(limits.max_exif, limits.max_icc)
    PngImagePlugin.MAX_TEXT_MEMORY = 4 * PngImagePlugin.MAX_TEXT_CHUNK
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; what matters is raised
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        what = f"it has more pixels than the {limits.max_pixels / 1e6:g} million allowed"
        raise InputError(what, hint="scale it down", code=Reason.TOO_MANY_PIXELS) from error
    finally:
        Image.MAX_IMAGE_PIXELS = before
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _refuse_film(image: Image.Image) -> None:
    if getattr(image, "is_animated", False):
        hint = "save the picture you want as a file, or set limits.animation: first"
        raise InputError("it is an animation", hint=hint, code=Reason.ANIMATED)


def _check_frames(image: Image.Image, limits: DecodeLimits) -> None:
    """Counts pictures or pages, and decodes none of them."""
    if getattr(image, "is_animated", False) and getattr(image, "n_frames", 1) > limits.max_frames:
        what = f"it contains more than the {limits.max_frames} pictures allowed"
        hint = "save the picture you want as a file"
        raise InputError(what, hint=hint, code=Reason.TOO_MANY_FRAMES)


def _tags(image: Image.Image) -> bytes:
    with suppress(Exception):  # unreadable tags are none
        return image.getexif().tobytes()
    return b""


def _metadata(image: Image.Image, key: str, limit: int, notes: list[str]) -> bytes:
    """Metadata as bytes; beyond its limit it is dropped from the picture too, so never parsed."""
    value = image.info.get(key)
    if isinstance(value, bytes) and len(value) <= limit:
        return value
    if isinstance(value, bytes):
        notes.append(f"its {_NAMES[key]} is beyond its limit: ignored")
    image.info.pop(key, None)
    return b""


def _orientation(image: Image.Image) -> int:
    if image.format == "AVIF":
        image.info.pop("xmp", None)  # its boxes alone count; Pillow would read XMP as well
    with suppress(Exception):  # unreadable EXIF turns nothing
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _upright(image: Image.Image) -> Image.Image:
    turn = UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _interpret_samples(image: Image.Image, tiff: Tiff) -> Image.Image:
    """Samples of a TIFF by its tags, where Pillow ignores them."""
    if image.mode == "I;16" and tiff.photometric == INK:
        return Image.fromarray(65535 - np.array(image))
    if image.mode == "L" and tiff.format == SIGNED:
        return Image.fromarray(np.array(image) ^ 128)
    if image.mode == "I" and (tiff.format, tiff.bits) == (WHOLE, 32):
        values = np.array(image).view(np.uint32)
        if values.max() >= 1 << 31:  # the smaller ones are right as they are
            return Image.fromarray((values / np.float64(2**32 - 1)).astype(np.float32))
    return image


def _fit_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    ratio = min(1.0, long_side / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def reduced(image: Image.Image, long_side: int | None) -> Image.Image:
    """The image with its long side at most so many px."""
    if long_side is None or max(image.size) <= long_side:
        return image
    # Pillow weighs colours by their alpha here, so hidden colours do not bleed in.
    return image.resize(
        _fit_size(image.size, long_side), Image.Resampling.LANCZOS, reducing_gap=3.0
    )


def _alpha(image: Image.Image) -> Bytes | None:
    if not image.mode.endswith("A"):
        return None
    alpha = np.array(image.getchannel("A"))
    return None if alpha.min() == 255 else alpha
