"""Finds what Pillow does not report before it decodes a file: damage, page, colours, HDR."""

from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from pipeline.imaging.decode_errors import damaged, unsupported
from pipeline.imaging.survey import heif as boxes
from pipeline.imaging.survey import jpeg as jpegs
from pipeline.imaging.survey import png as pngs
from pipeline.imaging.survey import tiff as tiffs
from pipeline.imaging.survey.stated_colors import NOTHING, Stated

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(slots=True)
class Survey:
    """A file that may be decoded, and what was found in it.

    Attributes:
        file: What Pillow is to read.
        notes: What is not used; for the run log.
        colours: As stated in numbers.
        before_profile: Whether they count before a profile.
        page: Of a TIFF.
        tiff: How its samples are meant.
        load_truncated: The file is damaged, and wanted all the same.
        transparent: Of a PNG, the grey that is, where Pillow gets it wrong.
    """

    file: BinaryIO
    notes: list[str] = field(default_factory=list)
    colours: Stated = NOTHING
    before_profile: bool = False
    tiff: tiffs.Tiff = field(default_factory=tiffs.Tiff)
    load_truncated: bool = False
    transparent: int | None = None


def survey_file(file: BinaryIO, max_exif: int, max_icc: int, max_pages: int) -> Survey:
    """Check a file.

    Raises:
        InputError: It is damaged, of a kind that would not be decoded right, or HDR.
    """
    head = file.read(12)
    file.seek(0)
    found = Survey(file)
    if head.startswith(pngs.SIGNATURE):
        png = pngs.survey(file, max_exif, max_icc)
        found.file, found.notes, found.colours = png.file, png.notes, png.colours
        found.before_profile, found.transparent = png.first, png.transparent
    elif head.startswith(TIFF):
        found.tiff = tiffs.survey(file, max_pages)
        found.colours = found.tiff.colours
        _note(found)
    elif head[4:8] == b"ftyp":
        found.colours = boxes.colours(file)
        _note(found)
    if found.colours.hdr:
        what = (
            f"an HDR picture ({found.colours.hdr}): its brightness range does not fit into 8 bits"
        )
        raise unsupported(what)
    return found


def _note(found: Survey) -> None:
    if found.colours.note:
        found.notes.append(f"{found.colours.note}: read as sRGB")


def check_jpeg(found: Survey, on_damage: Literal["refuse", "take"]) -> None:
    """Decode a JPEG, whose size is known to be within its limit, for libjpeg's warnings.

    Raises:
        InputError: It is damaged, and damaged ones are refused; or it cannot be decoded.
    """
    before = found.file.tell()
    found.file.seek(0)
    warning, is_damage = jpegs.warning_of(found.file.read())
    found.file.seek(before)
    if warning and not is_damage:
        raise unsupported(f"a kind of JPEG that is not supported: {warning}")
    if warning and on_damage == "refuse":
        raise damaged(f"the JPEG is cut off or damaged ({warning})")
    if warning:
        found.load_truncated = True
        found.notes.append(f"damaged, and taken as it is ({warning})")
