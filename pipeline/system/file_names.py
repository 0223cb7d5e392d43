"""File names that every file system takes: portable, cut to length, compared without case."""

import hashlib
import os
import unicodedata

MAX_NAME_BYTES = 255  # of one file name, on every file system that matters here


MAX_NAMES = 10_000  # that are tried for one pair


_REFUSED = frozenset('<>:"|?*\\')


_NO_CHARACTERS = frozenset({"Cc", "Cs"})  # control characters, and bytes that are no UTF-8


_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"]
)


def portable_name(name: str) -> str:
    """A file or folder name as every usual file system takes it; most names stay as they are.

    What is refused becomes ``_``; so does a full stop or a space at the end.
    """
    name = "".join("_" if _is_refused(sign) else sign for sign in name)
    ended = name.rstrip(". ")
    name = ended + "_" * (len(name) - len(ended))
    base = name.partition(".")[0]
    return f"{base}_{name[len(base) :]}" if base.rstrip(" ").upper() in _DEVICES else name


def fit_name(name: str, suffix: str = "") -> str:
    """A name cut so that a file system takes it with its suffix; a digest keeps cut names apart.

    Without a suffix there is room for each that a result may get.
    """
    return cut(name, MAX_NAME_BYTES - len(os.fsencode(suffix or LONGEST_SUFFIX))) + suffix


def fold_name(stem: str) -> bytes:
    """A name as file systems see it that ignore case and Unicode spelling (NFC, NFD)."""
    plain = unicodedata.normalize("NFC", stem).casefold()
    return os.fsencode(unicodedata.normalize("NFC", plain))


def cut(name: str, room: int) -> str:
    """A name of at most so many bytes; a digest keeps names apart that are cut."""
    raw = os.fsencode(name)
    if len(raw) <= room:
        return name
    mark = "~" + hashlib.sha256(raw).hexdigest()[:8]
    while len(os.fsencode(name + mark)) > room:
        name = name[:-1]
    return name + mark


def _is_refused(sign: str) -> bool:
    return sign in _REFUSED or unicodedata.category(sign) in _NO_CHARACTERS


def comparable(name: str) -> str:
    """A name without what some file system ignores: case, spelling, invisible characters."""
    kept = (sign for sign in name if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFKC", "".join(kept)).casefold().rstrip(". ")


LONGEST_SUFFIX = ".timelapse.webp"
