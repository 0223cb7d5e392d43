"""The one table of file kinds: suffixes, media types, and who can show or write them.

Inbox, uploads, decoder, output formats, gallery and server all use it, so that no two of them
disagree about what `.jfif` is. It imports nothing else, because decoder processes use it too.
"""

import fnmatch
import re
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Written:
    """How pictures are written in a format.

    Attributes:
        quality: The default quality, at which the loss cannot be seen on painted texture; None
            where nothing is lost.
        may_be_lossless: It has a variant without loss, the option ``lossless``.
        deep: It can have 16 bits per channel.
        alpha: It has transparency.
        module: The module that writes it, where Pillow does not.
        library: The distribution that this module is in.
        extra: The extra of this project that installs that distribution.
    """

    quality: int | None = None
    may_be_lossless: bool = False
    deep: bool = False
    alpha: bool = True
    module: str = ""
    library: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    Attributes:
        name: As in ``output.format`` and ``timelapse.format``, and as Pillow calls it.
        title: What people call it, in messages.
        media: Its media type (IANA).
        suffixes: All of its suffixes, in lower case. New files get the first.
        photo: Accepted in the inbox.
        browser: Browsers can show it.
        film: A timelapse can be written in it.
        written: How pictures are written in it; None where they cannot be.
    """

    name: str
    title: str
    media: str
    suffixes: tuple[str, ...]
    photo: bool
    browser: bool
    film: bool
    written: Written | None


# fmt: off
KINDS = (
    Kind("png", "PNG", "image/png", (".png", ".apng"),
         photo=True, browser=True, film=False, written=Written(deep=True)),
    # .jfif is what some browsers save, .jif and .pjp come with it; .pjpeg is Internet Explorer's.
    Kind("jpeg", "JPEG", "image/jpeg",
         (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp"),
         photo=True, browser=True, film=False, written=Written(quality=92, alpha=False)),
    Kind("webp", "WebP", "image/webp", (".webp",),
         photo=True, browser=True, film=True, written=Written(quality=90, may_be_lossless=True)),
    Kind("tiff", "TIFF", "image/tiff", (".tif", ".tiff"),
         photo=True, browser=False, film=False, written=Written(deep=True)),
    Kind("avif", "AVIF", "image/avif", (".avif", ".avifs"),
         photo=True, browser=True, film=False, written=Written(quality=80)),
    # .hif is what Canon, Fujifilm and Sony write.
    Kind("heif", "HEIC", "image/heic", (".heic", ".heif", ".hif", ".heics", ".heifs"),
         photo=True, browser=False, film=False,
         written=Written(
             quality=80, module="pillow_heif", library="pillow-heif", extra="heif")),
    Kind("gif", "GIF", "image/gif", (".gif",), photo=True, browser=True, film=True, written=None),
    Kind("bmp", "BMP", "image/bmp", (".bmp", ".dib"),
         photo=True, browser=True, film=False, written=None),
    Kind("mp4", "MP4", "video/mp4", (".mp4",), photo=False, browser=False, film=True, written=None),
)
# fmt: on

WRITTEN = {kind.name: kind.written for kind in KINDS if kind.written}
OF_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}
PHOTOS = frozenset(suffix for suffix, kind in OF_SUFFIX.items() if kind.photo)
BROWSERS_SHOW = frozenset(suffix for suffix, kind in OF_SUFFIX.items() if kind.browser)
FILMS = frozenset(suffix for suffix, kind in OF_SUFFIX.items() if kind.film)
FILMS_LISTED = " ".join(sorted(FILMS))
PHOTOS_LISTED = " ".join(sorted(PHOTOS))  # for messages
PHOTO_TITLES = tuple(kind.title for kind in KINDS if kind.photo)
WRITTEN_LISTED = " ".join(kind.suffixes[0] for kind in KINDS if kind.written)


def kind_of(name: str) -> Kind | None:
    """The kind that a file name's suffix stands for; None when it is not in the table."""
    return OF_SUFFIX.get(PurePath(name).suffix.lower())


def is_photo_name(name: str) -> bool:
    """Whether a file of this name in the inbox is a photo."""
    return PurePath(name).suffix.lower() in PHOTOS


# Files and folders that are never photos, whatever they hold; matched without regard to case.
IGNORED = (
    ".*",  # hidden, and so also ._* (macOS), .~lock.* , .syncthing.*.tmp, .stversions, .nfs*
    "~*",  # ~$* of Office, ~syncthing~*
    "*~",  # editors' backups
    "*.part",
    "*.partial",
    "*.crdownload",  # downloads that are not complete
    "*.download",
    "*.opdownload",
    "*.aria2",
    "*.filepart",
    "*.tmp",
    "*.yaml",  # side files with options for a photo
    "*.yml",
    "@eaDir",  # Synology's thumbnails
    "#recycle",
    "#snapshot",
    "Thumbs.db",
    "desktop.ini",
)


_SIDE_FILES = ("*.yaml", "*.yml")
_UNSEEN = re.compile(
    "|".join(fnmatch.translate(p.lower()) for p in IGNORED if p not in _SIDE_FILES)
)


def is_unseen(name: str) -> bool:
    """Whether a file or folder of this name is left alone without a word; side files are not."""
    return _UNSEEN.match(name.lower()) is not None


@dataclass(frozen=True, slots=True)
class ForeignKind:
    """Files that people take for pictures, and what to do with them.

    Attributes:
        what: What such a file is; continues "is".
        hint: How to make a picture of it.
        suffixes: In lower case.
        heads: First bytes, where they say what the file is, whatever its name.
    """

    what: str
    hint: str
    suffixes: tuple[str, ...]
    heads: tuple[bytes, ...] = ()


FOREIGN_KINDS = (
    ForeignKind(
        "a RAW file of a camera, not a finished photo",
        "export it as JPEG or TIFF with a photo program, such as darktable",
        (".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".dng", ".raf", ".orf", ".rw2",
         ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".rwl", ".raw"),
        (b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\0", b"FOVb"),
    ),
    ForeignKind(
        "a PDF document, not a picture",
        "export the page as PNG, for example with `pdftoppm -png`",
        (".pdf",),
        (b"%PDF-",),
    ),
    ForeignKind(
        "a drawing of lines (vector graphics), not of pixels",
        "export it as PNG, in the size that you want to paint",
        (".svg", ".svgz", ".eps", ".ps", ".ai", ".cdr", ".wmf", ".emf"),
        (b"<svg", b"%!PS"),
    ),
    ForeignKind(
        "a video, not a photo",
        "save one frame as JPEG or PNG, for example with `ffmpeg -i VIDEO -frames:v 1 frame.png`",
        (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".mts", ".m2ts",
         ".3gp", ".flv", ".insv"),
        (b"\x1aE\xdf\xa3",),
    ),
    ForeignKind(
        "a document of an image editor, with layers",
        "export it as PNG or TIFF from that program",
        (".psd", ".psb", ".xcf", ".kra", ".ora", ".afphoto", ".procreate", ".clip", ".sketch"),
        (b"8BPS", b"gimp xcf"),
    ),
    ForeignKind(
        "an archive, not a picture",
        "unpack it and use the pictures in it",
        (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2"),
        (b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf"),
    ),
    ForeignKind(
        "a web page or a link to one, not a picture",
        "open it in a browser and save the picture itself",
        (".html", ".htm", ".mhtml", ".url", ".webloc"),
        (b"<!doctype html", b"<html"),
    ),
    ForeignKind(
        "a picture in a format that cannot be read",
        "export it as JPEG or PNG",
        (".jxl", ".jp2", ".j2k", ".jpf", ".exr", ".hdr", ".tga", ".pcx", ".ico", ".dds"),
        (b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP  ", b"\x76\x2f\x31\x01"),
    ),
)  # fmt: skip
_FOREIGN_OF_SUFFIX = {suffix: kind for kind in FOREIGN_KINDS for suffix in kind.suffixes}
_FILM_BRANDS = (b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  ", b"3gp4", b"3gp5")


def foreign_kind(name: str) -> ForeignKind | None:
    """The kind of a file that is no picture, by its name; None when its suffix is not known."""
    return _FOREIGN_OF_SUFFIX.get(PurePath(name).suffix.lower())


def foreign_content(head: bytes) -> ForeignKind | None:
    """The same by the file's first bytes."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        suffix = ".cr3" if brand == b"crx " else ".mp4" if brand in _FILM_BRANDS else ""
        return _FOREIGN_OF_SUFFIX.get(suffix)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _FOREIGN_OF_SUFFIX[".avi"]
    start = head.lstrip().lower()
    heads = ((first, kind) for kind in FOREIGN_KINDS for first in kind.heads)
    return next((k for first, k in heads if start.startswith(first.lower())), None)
