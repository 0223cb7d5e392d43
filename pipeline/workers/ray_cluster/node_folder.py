"""The folder that the workers of one run share on a node; the last of them removes it.

Each worker holds a shared lock on it, which the system releases however the process ends. A folder
without a lock was left by a crash, and the next worker on that machine removes it.
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

MAX_FILES = 500
_RUN = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")  # the form of `run`


class NodeFolder:
    """A folder that belongs to this user, locked while it is in use.

    Args:
        run: Identifies node and run: two nodes on one machine have two folders.
        parent: The parent folder; None: the system's folder for temporary files.

    Raises:
        RuntimeError: It belongs to another user.
    """

    def __init__(self, run: str, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        prefix = f"pipeline-{os.getuid()}-"
        self.path = parent / f"{prefix}{run}"
        for other in parent.glob(f"{prefix}*"):
            if _RUN.fullmatch(other.name.removeprefix(prefix)) and other != self.path:
                _remove_unless_locked(other)
        self._lock = _lock_folder(self.path)

    def leave(self) -> None:
        """Release the folder; the last worker that leaves removes it."""
        os.close(self._lock)
        _remove_unless_locked(self.path)

    def trim(self) -> None:
        """Remove the least recently used files beyond MAX_FILES."""
        files = sorted((path for path in self.path.iterdir() if path.is_file()), key=_last_used)
        for path in files[:-MAX_FILES]:
            path.unlink(missing_ok=True)


def _lock_folder(folder: Path) -> int:
    """Create the folder if needed; return a descriptor that holds its lock."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder_fd = _open(folder)
        if stat.S_IMODE(os.fstat(folder_fd).st_mode) & 0o077:
            os.close(folder_fd)
            raise _foreign_folder_error(folder)
        fcntl.flock(folder_fd, fcntl.LOCK_SH)
        if _is_in_place(folder, folder_fd):
            return folder_fd
        os.close(folder_fd)  # the last worker has just removed it


def _remove_unless_locked(folder: Path) -> None:
    with suppress(OSError, RuntimeError):  # locked, gone already, or not ours
        folder_fd = _open(folder)
        try:
            fcntl.flock(folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(folder_fd)


def _open(folder: Path) -> int:
    try:
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise _foreign_folder_error(folder) from None
    if os.fstat(folder_fd).st_uid != os.getuid():
        os.close(folder_fd)
        raise _foreign_folder_error(folder)
    return folder_fd


def _foreign_folder_error(folder: Path) -> RuntimeError:
    return RuntimeError(f"{folder}: belongs to another user; remove it or set TMPDIR")


def _is_in_place(folder: Path, folder_fd: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(folder_fd))
    except FileNotFoundError:
        return False


def _last_used(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
