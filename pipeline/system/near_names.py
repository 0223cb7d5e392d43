"""Finds the name that was probably meant: the most similar of the valid ones."""

import difflib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipeline.system.paths import is_folder

SIMILAR = 0.5  # ratio of equal characters from which a name is worth a question
MOST_LISTED = 32  # names; a longer list is no help in one line
MOST_ENTRIES = 5000  # of a folder: an error message must not take seconds


def nearest_name(name: str, valid: Iterable[str], cutoff: float = SIMILAR) -> str | None:
    """The most similar of the valid names, without regard to case; None: none is similar."""
    folded: dict[str, str] = {}
    for each in valid:
        folded.setdefault(each.lower(), each)
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint: the most similar of the valid names, or all of them; "" where there are none."""
    names = list(valid)
    close = nearest_name(name, names)
    if close is not None:
        return f"did you mean {close!r}?"
    more = ", ..." if len(names) > MOST_LISTED else ""
    return f"valid: {', '.join(names[:MOST_LISTED])}{more}" if names else ""


def nearest_path(path: Path, *, folder: bool = False) -> Path | None:
    """An existing file (or folder) whose path differs from a missing one in few characters.

    The first part of the path that is missing is replaced by the most similar name beside it, and
    so on downwards.
    """
    if os.path.exists(path):  # noqa: PTH110  # unlike `Path.exists` it never raises, for a name too long say
        return None
    found, *missing = _existing_part(path)
    for depth, name in enumerate(missing):
        last = depth == len(missing) - 1
        below = found / name
        if not os.path.exists(below):  # noqa: PTH110  # as above
            near = nearest_name(name, _names_in(found, folders=folder or not last), cutoff=0.6)
            if near is None:
                return None
            below = found / near
        found = below
    return found if missing and is_folder(found) == folder else None


def _existing_part(path: Path) -> tuple[Path, *tuple[str, ...]]:
    """The deepest folder of a path that exists, and the names below it."""
    names: list[str] = []
    while not is_folder(path) and path.name:
        names.insert(0, path.name)
        path = path.parent
    return path, *names


def _names_in(folder: Path, *, folders: bool) -> list[str]:
    """Names of the files (or folders) in a folder, hidden ones left out."""
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry, _ in zip(entries, range(MOST_ENTRIES), strict=False):
            if entry.is_dir() == folders and not entry.name.startswith("."):
                names.append(entry.name)
    return sorted(names)
