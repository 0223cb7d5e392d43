"""The log of what hooks print: a file and its predecessor, both bounded whatever a hook writes."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from pipeline.system.safe_files import open_regular

MAX_BYTES = 1 << 20  # of each of the two files
KEPT_BYTES = 1 << 16  # of a file that a running hook has filled: its end
_CUT = b"(earlier output was removed)\n"


class HookOutput:
    """Opens the file for the output of hooks, and bounds it.

    Args:
        path: The file; None: output is discarded.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._earlier = path and path.with_name(f"{path.name}.1")

    def open_log(self) -> int:
        """A descriptor for the output of a hook; the caller closes it."""
        if self._path is not None and self._earlier is not None:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    if self._path.lstat().st_size > MAX_BYTES // 2:
                        self._path.replace(self._earlier)
                return open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return subprocess.DEVNULL

    def bound(self) -> None:
        """Cut both files to their ends if they are too large: hooks, or their children, write."""
        for path in filter(None, (self._path, self._earlier)):
            with suppress(OSError):
                if path.lstat().st_size > MAX_BYTES:
                    _keep_end(path)


def _keep_end(path: Path) -> None:
    fd = open_regular(
        path, os.O_RDWR | os.O_APPEND
    )  # as hooks do: no process writes beyond the end
    try:
        end = os.pread(fd, KEPT_BYTES, os.fstat(fd).st_size - KEPT_BYTES)
        os.ftruncate(fd, 0)
        os.write(fd, _CUT + end)
    finally:
        os.close(fd)
