"""Finds downloads in progress: a partial file beside the name that the photo has, or will have."""

import os
from contextlib import suppress
from pathlib import Path

from pipeline.system.file_version import Stamp

# Suffixes that browsers and download managers append to a file's name while they download it. A
# file with the final name may already exist, empty or incomplete.
_BESIDE = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".aria2", ".filepart")
DOWNLOAD_SECONDS = 600.0  # a download that has not changed for this long counts as abandoned
_MOST_REMEMBERED = 10_000  # partial files with a time to come


class Downloads:
    """Finds downloads. Remembers when it first saw a partial file whose time is yet to come."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[Stamp, float]] = {}

    def find(self, path: Path, now: float, wall: float) -> str:
        """The name of a download in progress, beside its target ``path``; "" where there is none.

        Args:
            path: The file.
            now: Monotonic seconds.
            wall: Seconds since 1970.
        """
        stem, suffix = path.stem, path.suffix
        for name in (path.name + mark for mark in _BESIDE):
            if self._is_fresh(path.with_name(name), now, wall):
                return name
        with suppress(OSError):
            if path.lstat().st_size == 0:  # Firefox: photo.jpg, empty, and photo.XyZ123.jpg.part
                with os.scandir(path.parent) as entries:
                    names = sorted(entry.name for entry in entries)
                return next(
                    (
                        name
                        for name in names
                        if name.startswith(f"{stem}.")
                        and name.endswith(f"{suffix}.part")
                        and self._is_fresh(path.with_name(name), now, wall)
                    ),
                    "",
                )
        return ""

    def _is_fresh(self, path: Path, now: float, wall: float) -> bool:
        """Whether a partial file has changed lately. A time to come counts as of its first sight.

        Such times come from a server whose clock is wrong, from a program that sets them, or from
        this machine's clock, when it is set back.
        """
        try:
            stamp = Stamp.of(path.lstat())
        except OSError:
            self._seen.pop(path, None)
            return False
        age = wall - stamp.mtime_ns / 1e9
        if age >= 0:
            self._seen.pop(path, None)
            return age < DOWNLOAD_SECONDS
        before, since = self._seen.get(path, (None, now))
        if before != stamp:
            while len(self._seen) >= _MOST_REMEMBERED:
                del self._seen[next(iter(self._seen))]
            since = now
            self._seen[path] = stamp, since
        return now < since + DOWNLOAD_SECONDS
