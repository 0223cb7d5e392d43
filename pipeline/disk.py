"""Files reached step by step through no symbolic link, and the disk's errors made ours."""

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ChangedError, OutputError, Reason

# Never a symbolic link, never a wait for the other end of a FIFO.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 1 << 17  # smaller than what a C library takes from the system anew for each read
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A symbolic link, a file of somebody else, a socket: something stands there, and it is not ours.
_NOT_A_PICTURE = {errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO}
# The disk or its mount, not the name: waited out like a full disk.
_DISK_FAILED = {
    *(errno.EIO, errno.EROFS, errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTCONN),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EMFILE),
}
_DENIED = {errno.EACCES, errno.EPERM}
_MEND = {
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached",
    errno.EROFS: "mount it writable, or set outbox: to another folder",
    errno.EACCES: "make the outbox writable",
    errno.ENOTDIR: "only plain folders may stand here: no files, no symbolic links",
    errno.ELOOP: "symbolic links are not followed inside the outbox",
    errno.ENOENT: "is the outbox folder still there, and its disk mounted?",
}


@contextmanager
def disk_errors(where: Path, denied: Reason = Reason.OUTPUT_INVALID) -> Iterator[None]:
    """Errors of writing to the outbox become OutputError; full and failed disks have own codes.

    ``denied`` is the code where we are not let in: IO_ERROR, which is waited out, where that
    concerns the whole outbox and not one pair's place in it.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        code = Reason.IO_ERROR if number in _DISK_FAILED else Reason.OUTPUT_INVALID
        code = Reason.DISK_FULL if number in _FULL else code
        code = denied if number in _DENIED else code
        what = f"cannot be written: {os.strerror(number).lower()}"
        mend = _MEND.get(number, "")
        raise OutputError(what, where=str(where), mend=mend, code=code) from error


@contextmanager
def opened_folder(root: Path, parts: Sequence[str] = (), *, create: bool = False) -> Iterator[int]:
    """File descriptor of the folder ``parts`` below ``root``; links are followed in root only."""
    fd = os.open(root, _FOLDER)
    try:
        for part in parts:
            below = _step(fd, part, create=create)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _step(above: int, part: str, *, create: bool) -> int:
    if part in ("..", "/"):
        raise NotADirectoryError(errno.ENOTDIR, "leaves the folder", part)
    if create:
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=above)
            os.fsync(above)
    return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=above)


def digest_of(fd: int, size: int = sys.maxsize) -> str:
    """SHA-256 of an open file, from where it is read on; of at most about so many bytes.

    A file that grows as fast as it is read would otherwise be read for ever.
    """
    digest = hashlib.sha256()
    while size >= 0 and (block := os.read(fd, _BLOCK)):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def read_verified(path: Path, sha256: str = "") -> bytes:
    """All bytes of a regular file, read once; links on the way to it are followed.

    Whoever uses these bytes has used what ``sha256`` names, whatever becomes of the file.

    Raises:
        ChangedError: ``sha256`` is given, and there is no file that holds this.
        OSError: It cannot be read, or is no regular file.
    """
    try:
        fd = os.open(path, READ & ~os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise IsADirectoryError(errno.EISDIR, "not a regular file", str(path))
            content = file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if sha256:
            raise ChangedError(path) from None
        raise
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ChangedError(path)
    return content


def digest_at(folder: int | None, name: str) -> str | None:
    """SHA-256 of a regular file; None where nothing stands; a word that is no digest otherwise.

    Without a folder ``name`` is a path, of which the folders may be links.
    """
    try:
        fd = os.open(name, READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _NOT_A_PICTURE:
            raise
        return "not readable as a file"
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "not a file"
        return digest_of(fd)
    finally:
        os.close(fd)


def digest_and_size(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    with disk_errors(path):
        fd = os.open(path, READ)
        try:
            return digest_of(fd), os.fstat(fd).st_size
        finally:
            os.close(fd)
