"""Names in the outbox: which ones a pair may have, on whatever disk the outbox lies or goes to.

A name is made of the photo's and the style's, without what exFAT, NTFS or a Windows share refuses,
and never one that the outbox uses itself. It is decided once, when a pair gets its first picture;
the ledger keeps it, so names given by an earlier version stay.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.system.file_names import LONGEST_SUFFIX

STAGING = ".staging"
RUN_LOG = "runs.jsonl"
GALLERY = ".gallery"
PAGE = "index.html"
VERSIONS = ".versions"
# All that the root of the outbox may hold besides pictures and their folders.
OWN_NAMES = (STAGING, RUN_LOG, GALLERY, PAGE, VERSIONS)

MAX_NAME_BYTES = 255  # of one file name, on every file system that matters here
MAX_NAMES = 10_000  # that are tried for one pair

_REFUSED = frozenset('<>:"|?*\\')
_NO_CHARACTERS = frozenset({"Cc", "Cs"})  # control characters, and bytes that are no UTF-8
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"]
)


def stems(content: str, style: str, lives: int = 0, folder: str | None = None) -> Iterator[str]:
    """Names without suffix that a pair may have in the outbox, best first.

    For ``b/a.jpg`` and ``mosaic`` these are ``b/a--mosaic``, ``b/a~2--mosaic``, ...

    Args:
        content: The photo, relative to the inbox.
        style: The style's name.
        lives: How many photos had this name before: so many numbers need not be tried.
        folder: In the outbox; absent: :func:`folders` says it.
    """
    above, _, name = content.rpartition("/")
    inside = "/".join(folders(above)) if folder is None else folder
    stem = PurePosixPath(name).stem
    for number in (1, *range(max(2, lives + 1), lives + MAX_NAMES)):
        mark = f"~{number}" if number > 1 else ""
        place = fitting(portable(f"{stem}{mark}--{style}"))
        yield f"{inside}/{place}" if inside else place


def folders(above: str) -> list[str]:
    """The folders of the outbox for a folder of the inbox; none for the inbox itself."""
    parts = [_cut(portable(part), MAX_NAME_BYTES) for part in above.split("/") if part]
    if parts and is_own(parts[0]):
        parts[0] = numbered(parts[0], 2)
    return parts


def numbered(folder: str, number: int) -> str:
    """A folder's name beside one that is taken."""
    return _cut(f"{folder}~{number}", MAX_NAME_BYTES)


def is_own(name: str) -> bool:
    """Whether a name at the outbox's root means one of its own files on some file system."""
    return _plain(name) in map(_plain, OWN_NAMES)


def portable(name: str) -> str:
    """A file or folder name as every usual file system takes it; most names stay as they are.

    What is refused becomes ``_``; so does a full stop or a space at the end.
    """
    name = "".join("_" if _is_refused(sign) else sign for sign in name)
    ended = name.rstrip(". ")
    name = ended + "_" * (len(name) - len(ended))
    base = name.partition(".")[0]
    return f"{base}_{name[len(base) :]}" if base.rstrip(" ").upper() in _DEVICES else name


def fitting(name: str, suffix: str = "") -> str:
    """A name cut so that a file system takes it with its suffix; a digest keeps cut names apart.

    Without a suffix there is room for each that a result may get.
    """
    return _cut(name, MAX_NAME_BYTES - len(os.fsencode(suffix or LONGEST_SUFFIX))) + suffix


def folded(stem: str) -> bytes:
    """A name as file systems see it that ignore case and Unicode spelling (NFC, NFD)."""
    plain = unicodedata.normalize("NFC", stem).casefold()
    return os.fsencode(unicodedata.normalize("NFC", plain))


def _cut(name: str, room: int) -> str:
    raw = os.fsencode(name)
    if len(raw) <= room:
        return name
    mark = "~" + hashlib.sha256(raw).hexdigest()[:8]
    while len(os.fsencode(name + mark)) > room:
        name = name[:-1]
    return name + mark


def _is_refused(sign: str) -> bool:
    return sign in _REFUSED or unicodedata.category(sign) in _NO_CHARACTERS


def _plain(name: str) -> str:
    """A name without all that some file system passes over: case, spelling, invisible signs."""
    kept = (sign for sign in name if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFKC", "".join(kept)).casefold().rstrip(". ")
