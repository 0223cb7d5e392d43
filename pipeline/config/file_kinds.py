"""The one table of file kinds: suffixes, media types, and who can show or write them.

Inbox, uploads, decoder, output formats, gallery and server all use it, so that no two of them
disagree about what `.jfif` is. It imports nothing else, because decoder processes use it too.
"""

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    Attributes:
        name: As in ``output.format`` and ``timelapse.format``.
        media: Its media type (IANA).
        suffixes: All of its suffixes, in lower case. New files get the first.
        photo: Accepted in the inbox.
        written: Pictures can be written in it.
        browser: Browsers can show it.
        film: A timelapse can be written in it.
    """

    name: str
    media: str
    suffixes: tuple[str, ...]
    photo: bool = True
    written: bool = True
    browser: bool = True
    film: bool = False


KINDS = (
    Kind("png", "image/png", (".png", ".apng")),
    # .jfif is what some browsers save, .jif and .pjp come with it; .pjpeg is Internet Explorer's.
    Kind("jpeg", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp")),
    Kind("webp", "image/webp", (".webp",), film=True),
    Kind("tiff", "image/tiff", (".tif", ".tiff"), browser=False),
    Kind("avif", "image/avif", (".avif", ".avifs")),
    # .hif is what Canon, Fujifilm and Sony write.
    Kind("heif", "image/heic", (".heic", ".heif", ".hif", ".heics", ".heifs"), browser=False),
    Kind("gif", "image/gif", (".gif",), written=False, film=True),
    Kind("bmp", "image/bmp", (".bmp", ".dib"), written=False),
    Kind("mp4", "video/mp4", (".mp4",), photo=False, written=False, browser=False, film=True),
)

OF_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}
PHOTOS = frozenset(suffix for suffix, kind in OF_SUFFIX.items() if kind.photo)
BROWSERS_SHOW = frozenset(suffix for suffix, kind in OF_SUFFIX.items() if kind.browser)
FILMS = frozenset(suffix for suffix, kind in OF_SUFFIX.items() if kind.film)
FILMS_LISTED = " ".join(sorted(FILMS))
PHOTOS_LISTED = " ".join(sorted(PHOTOS))  # for messages


def kind_of(name: str) -> Kind | None:
    """The kind that a file name's suffix stands for; None when it is not in the table."""
    return OF_SUFFIX.get(PurePath(name).suffix.lower())


def is_photo_name(name: str) -> bool:
    """Whether a file of this name in the inbox is a photo."""
    return PurePath(name).suffix.lower() in PHOTOS
