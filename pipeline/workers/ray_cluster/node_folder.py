"""The folder that one run's workers share on a node; it is removed when the last of them ends.

Each worker holds a shared lock on it, which the system takes back however a process ends. So what
nobody holds belongs to nobody: a crashed worker's or a lost node's folder is removed by the next
worker on that machine.
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
_RUN = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")  # what `run` looks like


class NodeFolder:
    """A folder of this user's own, locked while it is in use.

    Args:
        run: The node and the run: two nodes of one machine have two.
        parent: Where; absent: the system's folder for temporary files.

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
        self._lock = _enter(self.path)

    def leave(self) -> None:
        """Not needed any more here; the last one to leave removes it."""
        os.close(self._lock)
        _remove_unless_locked(self.path)

    def trim(self) -> None:
        """Keep the files that were used last."""
        files = sorted((path for path in self.path.iterdir() if path.is_file()), key=_last_used)
        for path in files[:-MAX_FILES]:
            path.unlink(missing_ok=True)


def _enter(folder: Path) -> int:
    """A descriptor that holds the folder; made where it is not there."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder_fd = _open(folder)
        if stat.S_IMODE(os.fstat(folder_fd).st_mode) & 0o077:
            os.close(folder_fd)
            raise _not_ours(folder)
        fcntl.flock(folder_fd, fcntl.LOCK_SH)
        if _is_in_place(folder, folder_fd):
            return folder_fd
        os.close(folder_fd)  # the last one in it was just leaving


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
        raise _not_ours(folder) from None
    if os.fstat(folder_fd).st_uid != os.getuid():
        os.close(folder_fd)
        raise _not_ours(folder)
    return folder_fd


def _not_ours(folder: Path) -> RuntimeError:
    return RuntimeError(f"{folder}: somebody else's; remove it or set TMPDIR")


def _is_in_place(folder: Path, folder_fd: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(folder_fd))
    except FileNotFoundError:
        return False


def _last_used(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
