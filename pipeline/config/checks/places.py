"""The one table of all places that config.yaml names: which of them may not overlap, and why.

Two keys may name the same file, or a folder may lie in another one that the program empties: then
one part of the program would remove or overwrite what belongs to another part, or to the user. This
is refused when the config is loaded. A new key that holds a path is entered in `Config.places`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Literal

from pipeline.system.file_names import comparable
from pipeline.system.paths import real_path

# "source": a painting, a start image, weights or a model, which are only read.
# "paintings": a folder in which each picture is a style.
Folder = Literal["inbox", "outbox", "state", "archive", "quarantine"]
Role = Folder | Literal["log.file", "metrics.file", "source", "paintings", "config"]
FOLDERS: tuple[Folder, ...] = ("inbox", "outbox", "state", "archive", "quarantine")
WRITTEN = ("log.file", "metrics.file")

# Which place may not be inside, or the same as, which other one.
_PAINTED = "so its files would be painted as new photos"
_WAKES = "so each line in it would wake the scan"
_SEPARATE = "which must be a separate folder"
_STATE = "which holds only files of the program and may be removed"
NOT_INSIDE: dict[tuple[Role, Role], str] = {
    ("outbox", "inbox"): "so pictures would be painted again",
    ("inbox", "outbox"): "so photos would stand among pictures; choose a folder outside it",
    ("state", "inbox"): "which must be a separate folder outside it",
    ("archive", "inbox"): _PAINTED,
    ("quarantine", "inbox"): _PAINTED,
    ("log.file", "inbox"): _WAKES,
    ("metrics.file", "inbox"): _WAKES,
    ("archive", "state"): _STATE,
    ("quarantine", "state"): _STATE,
    ("state", "archive"): "so an archived photo could get the name of a file of the program",
    # Photos return from the quarantine to the inbox.
    ("inbox", "quarantine"): _SEPARATE,
    ("outbox", "quarantine"): _SEPARATE,
    ("state", "quarantine"): _SEPARATE,
    ("archive", "quarantine"): _SEPARATE,
    ("source", "quarantine"): _SEPARATE,
    ("paintings", "inbox"): "so each painting would be painted as a photo",
    ("paintings", "outbox"): "so finished pictures could become styles",
    ("paintings", "archive"): "so archived photos could become styles",
    ("paintings", "quarantine"): "so failed photos could become styles",
}
# These may be inside each other, but not the same folder.
NOT_THE_SAME: tuple[tuple[Role, Role], ...] = (
    *(("outbox", "state"), ("archive", "outbox"), ("archive", "state")),
)
# With `state: .`, these defaults lie in the state folder, which harms nothing.
ONLY_IF_CHOSEN = {("archive", "state"), ("quarantine", "state")}

# What the program makes, replaces and removes in two of its folders, as patterns of names: no other
# place may lie there. `tests/config/test_places.py` compares them with the modules that do it.
OWN_NAMES: dict[Role, tuple[str, ...]] = {
    "outbox": (".staging", "runs.jsonl", ".gallery", "index.html", ".versions"),
    "state": (
        *("jobs.sqlite3*", "instance.lock", "instance.json", "live.wanted", "live.json"),
        *("paused.json", "bulk-runs.json", "checkpoints", "styles", "logs"),
    ),
}
# The log and the metrics may stand among the logs, but not in place of one of the others.
OWN_LOGS = ("hooks.log*", "worker-*", "launchd.log*")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or file that the config names: by which key, and for what."""

    key: str
    path: Path
    role: Role
    chosen: bool = True  # False: the default
    rotated: int = 0  # how many rotated files a log has beside it: NAME.1, NAME.2, ...


class _Located:
    """A place as it is on the disk: without links, and known by its inode whatever its spelling."""

    def __init__(self, place: Place, path: Path) -> None:
        self.key, self.role, self.chosen = place.key, place.role, place.chosen
        self.path = real_path(path)
        self.inode = _inode(self.path)
        self._depths: dict[object, int] = {}  # of this place and the folders above, by path, inode
        for folder in (self.path, *self.path.parents):
            for key in (folder, _inode(folder)):
                self._depths.setdefault(key, len(folder.parts))

    def below(self, other: "_Located") -> tuple[str, ...] | None:
        """The names that lead from another place to this one; None where it is not inside it."""
        depth = self._depths.get(other.path)
        if depth is None and other.inode is not None:
            depth = self._depths.get(other.inode)
        return None if depth is None else self.path.parts[depth:]


def find_clash(places: Sequence[Place]) -> str:
    """Which two places overlap that must not, and why; "" where all may be as they are."""
    located = [_Located(place, path) for place in places for path in _files_of(place)]
    wider = [place for place in located if place.role not in ("source", "paintings", "config")]
    clashes = (_clash(inner, outer) for inner, outer in product(located, wider))
    return next(filter(None, clashes), "")


def _clash(inner: _Located, outer: _Located) -> str:
    if inner.key == outer.key:  # itself, or a log and its rotated files
        return ""
    parts = inner.below(outer)
    if parts is None:
        return ""
    if outer.role in WRITTEN:
        return f"{outer.key} and {inner.key} name the same file: {outer.path} would be overwritten"
    roles = inner.role, outer.role
    why = NOT_INSIDE.get(roles)
    if why is not None and not _is_harmless(inner, roles, parts):
        return f"{inner.key} is inside the {outer.key}, {why}"
    if not parts:
        same = {roles, roles[::-1]}.intersection(NOT_THE_SAME)
        return f"{inner.key} and {outer.key} must be separate folders" if same else ""
    if _is_own(inner, outer, [comparable(part) for part in parts]):
        what = f"{inner.key} is inside the {outer.key}, in place of the program's own {parts[0]}"
        return f"{what}, which it replaces and removes; choose another place"
    return ""


def _is_harmless(inner: _Located, roles: tuple[Role, Role], parts: Sequence[str]) -> bool:
    """Whether a rule of NOT_INSIDE does not matter for these two."""
    # Photos of hidden folders are ignored, so none is ever archived into a hidden state folder.
    hidden = roles == ("state", "archive") and any(part.startswith(".") for part in parts)
    return hidden or (roles in ONLY_IF_CHOSEN and not inner.chosen)


def _is_own(inner: _Located, outer: _Located, parts: Sequence[str]) -> bool:
    """Whether the program makes and removes what has this name in one of its folders."""
    if outer.role == "state" and inner.role in WRITTEN and parts[0] == "logs" and parts[1:]:
        return any(fnmatchcase(parts[1], pattern) for pattern in OWN_LOGS)
    return any(fnmatchcase(parts[0], pattern) for pattern in OWN_NAMES.get(outer.role, ()))


def _files_of(place: Place) -> Iterator[Path]:
    yield place.path
    for number in range(1, place.rotated + 1):
        yield place.path.with_name(f"{place.path.name}.{number}")


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def is_source(sources: Sequence[Path], status: os.stat_result) -> bool:
    """Whether a file is one of those that the config names to be read, also through links."""
    return (status.st_dev, status.st_ino) in map(_inode, sources)


def find_doubtful(places: Sequence[Place]) -> list[str]:
    """What is allowed but hardly meant: files that are only read, but lie in the inbox."""
    located = [_Located(place, place.path) for place in places]
    (inbox,) = (place for place in located if place.role == "inbox")
    return [
        f"{place.key}: {place.path} lies in the inbox, so it is painted as a photo, too; "
        "it stays there whatever `after` and `failed` say"
        for place in located
        if place.role == "source" and place.below(inbox)
    ]
