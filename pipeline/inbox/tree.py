"""Walks the inbox: lists its regular files, and refuses entries for their name or their kind.

A file name may be any bytes except "/" and NUL; surrogateescape keeps those that are not UTF-8.
All rules for taking a photo are listed in `pipeline.inbox.intake`; step 2 is here.
"""

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.file_kinds import IGNORED, PHOTOS, PHOTOS_LISTED, foreign_kind
from pipeline.config.sidecar import is_side_file
from pipeline.errors import Failure, InboxError, Reason, UsageError
from pipeline.system.file_version import unreadable_failure
from pipeline.system.paths import real_path
from pipeline.system.taking import original_name

MAX_DEPTH = 64  # of nested folders: some file systems can show a folder inside itself
_FOUND_BY_FSCK = "lost+found"  # on top of a file system; only root may read it
_GONE = {errno.ENOENT, errno.ENOTDIR}
# Errors that last: a folder that may be listed but not entered, a path that is too long.
_LASTING = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


@dataclass(frozen=True, slots=True)
class Refused:
    """A file or folder that is not taken.

    ``version`` is the file's stamp where another version of the file might be taken, and "" where
    the reason is its name or kind. A refusal is reported once for each content and version.
    """

    content: str
    path: Path
    failure: Failure
    status: Literal["failed", "skipped"]
    version: str = ""


RegularFile = tuple[str, str, os.stat_result]  # a regular file: content, path, status


class InboxTree:
    """The folder tree of the inbox: untrusted files under untrusted names.

    Args:
        root: The folder.
        ignore: Patterns of names to leave alone, besides IGNORED.
        depth: How deep folders are entered; 0: not at all.
    """

    def __init__(self, root: Path, ignore: Sequence[str] = (), depth: int = MAX_DEPTH) -> None:
        self.root, self._depth = root, depth
        patterns = (fnmatch.translate(pattern.lower()) for pattern in (*IGNORED, *ignore))
        self._ignored = re.compile("|".join(patterns))
        # Of the last walk: what could not be read, with all below it, and private names of photos
        # that a crash left.
        self.hidden: list[str] = []
        self.left: list[str] = []

    def walk(self) -> Iterator[RegularFile | Refused]:
        """List every regular file and every refused entry, sorted by name in each folder."""
        root = self.root
        self.hidden, self.left = [], []
        folders = [("", os.fspath(root), 0)]
        while folders:
            prefix, folder, depth = folders.pop()
            try:
                entries = _entries(folder)
            except OSError as error:
                if not prefix:
                    where = str(root)
                    raise InboxError("the inbox cannot be read", where=where) from error
                if error.errno not in _GONE:
                    self.hidden.append(prefix[:-1])
                    yield Refused(prefix[:-1], Path(folder), unreadable_failure(error), "failed")
                continue
            below = []
            for entry in entries:
                content = prefix + entry.name
                if original := original_name(entry.name):
                    self.left.append(content)
                    self.hidden.append(prefix + original)  # it has its own name again soon
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError as error:  # gone since, or out of reach until the next scan
                    if error.errno not in {*_GONE, errno.ENAMETOOLONG}:
                        self.hidden.append(content)
                    if error.errno in _LASTING:
                        yield Refused(
                            content, Path(entry.path), unreadable_failure(error), "failed"
                        )
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield content, entry.path, status
                    continue
                failure = self._check_kind(entry, status.st_mode, depth)
                if failure is not None:
                    yield Refused(content, Path(entry.path), failure, "skipped")
                if stat.S_ISDIR(status.st_mode) and _may_enter(failure):
                    below.append((f"{content}/", entry.path, depth + 1))
            folders.extend(reversed(below))

    def _check_kind(self, entry: os.DirEntry[str], mode: int, depth: int) -> Failure | None:
        """Why an entry that is not a regular file is refused; None for a folder to enter."""
        name = entry.name
        if is_side_file(name) and stat.S_ISDIR(mode):  # not entered, whatever it holds
            return Failure(Reason.IGNORED, "is a folder, not a regular file")
        # The list names side files, too, but it is no reason: they are read if they are regular.
        if self._ignored.match(name.lower()) and not is_side_file(name):
            return Failure(Reason.IGNORED, "its name is on the list of ignored names")
        if not stat.S_ISDIR(mode):
            kind = next(word for test, word in _KINDS if test(mode))
            return Failure(Reason.NOT_REGULAR_FILE, f"is {kind}, not a regular file")
        if name == _FOUND_BY_FSCK and _is_mount(entry.path):
            return Failure(Reason.IGNORED, "is the folder of the disk's file system check")
        if depth >= self._depth:
            return Failure(Reason.IGNORED, f"is more than {self._depth} folders deep")
        if _suffix(name) in PHOTOS:
            # Reported, because it looks like a picture; entered, because it may hold pictures.
            return Failure(Reason.NOT_REGULAR_FILE, "is a folder, not a regular file")
        return None

    def check_name(self, name: str) -> Failure | None:
        """Why a regular file is refused for its name; None where the name is a picture's."""
        if self._ignored.match(name.lower()):
            return Failure(Reason.IGNORED, "its name is on the list of ignored names")
        suffix = _suffix(name)
        if suffix not in PHOTOS:
            if (kind := foreign_kind(name)) is not None:
                return Failure(Reason.UNSUPPORTED_FORMAT, f"is {kind.what}: {kind.hint}")
            found = f"{suffix!a} is not a picture format" if suffix else "the name has no suffix"
            return Failure(Reason.UNSUPPORTED_FORMAT, f"{found}; accepted: {PHOTOS_LISTED}")
        return None


def _is_mount(entry: str) -> bool:
    """Whether an entry lies on top of a file system."""
    return os.path.ismount(os.path.realpath(os.path.dirname(entry)))  # noqa: PTH120  # as it is


def is_below(content: str, hidden: Iterable[str]) -> bool:
    """Whether a name is one of some names, or lies below one of them."""
    return any(content == name or content.startswith(f"{name}/") for name in hidden)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda _mode: True, "a device"),
)


def _may_enter(failure: Failure | None) -> bool:
    return failure is None or failure.code is Reason.NOT_REGULAR_FILE


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path costs ten times as much


def content_of(inbox: Path, file: Path) -> str:
    """The path relative to the inbox, of a path as seen from here or from the inbox.

    Raises:
        UsageError: When it lies outside the inbox.
    """
    root = real_path(inbox)
    # Parents are resolved, the name is not: the question may be about a link in the inbox.
    places = [real_path(place.parent) / place.name for place in (file, root / file)]
    inside = [place for place in places if place.is_relative_to(root) and place != root]
    there = [place for place in inside if os.path.lexists(place)]
    if not inside:
        hint = f"the inbox is {inbox}"
        raise UsageError("is not in the inbox", where=str(file), hint=hint)
    return (there or inside)[0].relative_to(root).as_posix()
