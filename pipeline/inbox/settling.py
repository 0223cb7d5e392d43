"""Which version of a file this is, what it holds, and whether somebody is writing to it."""

import errno
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.system.safe_files import NotRegularError, digest_of, open_regular
from pipeline.errors import InputError, Reason
from pipeline.errors import Failure
from pipeline.system.file_version import too_large

if sys.platform == "linux":
    import fcntl


@dataclass(frozen=True, slots=True)
class Stamp:
    """A version of a file: any writing to it changes at least one of these."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The stamp of a file as the system describes it."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """The stamp of the file that a path leads to, through links; None where there is none."""
        try:
            return cls.of(path.stat())
        except (OSError, ValueError):
            return None

    def __str__(self) -> str:
        """One word, for the ledger."""
        return f"{self.size}.{self.mtime_ns}.{self.ctime_ns}.{self.inode}"


def hash_file(path: Path, stamp: Stamp | None = None, most: int | None = None) -> str | None:
    """SHA-256 of a file, read without following a link.

    Args:
        path: The file.
        stamp: The version that is meant; absent: the one that lies there.
        most: Bytes; a larger file, which may be a hole of any size, is not read through.

    Returns:
        64 hexadecimal digits; None if the file is gone, changed while it was read, or is not the
        version ``stamp`` any more: look again later.

    Raises:
        InputError: It cannot be read (``unreadable``), is no regular file or is ``too_large``.
    """
    try:
        fd = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotRegularError:
        code = Reason.NOT_REGULAR_FILE
        raise InputError("not a regular file", where=str(path), code=code) from None
    except OSError as error:
        raise _input_error(error, path) from error
    try:
        before = os.fstat(fd)
        if most is not None and before.st_size > most:
            raise too_large(before.st_size, most)
        digest = digest_of(fd, before.st_size)
        after = Stamp.of(os.fstat(fd))
    except OSError as error:
        raise _input_error(error, path) from error
    finally:
        os.close(fd)
    return digest if after == Stamp.of(before) == (stamp or after) else None


def unreadable(error: OSError) -> Failure:
    """The failure of a file or folder that the system does not let us read."""
    return Failure(Reason.UNREADABLE, f"cannot be read: {os.strerror(error.errno or 0).lower()}")


def _input_error(error: OSError, path: Path) -> InputError:
    link = error.errno == errno.ELOOP
    code = Reason.NOT_REGULAR_FILE if link else Reason.UNREADABLE
    what = "is a symbolic link" if link else unreadable(error).message
    return InputError(what, where=str(path), code=code)


JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_TAIL = 4096


def being_written(path: Path) -> bool:
    """Whether some process on this machine has the file open for writing.

    A read lease is granted only while nobody has. Where leases are unknown (not Linux, network
    file systems, files of other users) the answer is no, and quiet time alone decides.
    """
    fd = open_regular(path)
    try:
        return sys.platform == "linux" and _lease_refused(fd)
    finally:
        os.close(fd)


def lacks_end(path: Path) -> bool:
    """Whether a JPEG or PNG does not end as one: a copy that pauses, perhaps, or a broken file.

    A hint and no verdict: cameras append films to JPEGs, and what does not end may be readable.
    """
    fd = open_regular(path)
    try:
        head = os.pread(fd, len(PNG), 0)
        size = os.fstat(fd).st_size
        tail = os.pread(fd, _TAIL, max(0, size - _TAIL))
    finally:
        os.close(fd)
    if head == PNG:
        return b"IEND" not in tail
    return head.startswith(JPEG) and b"\xff\xd9" not in tail


if sys.platform == "linux":

    def _lease_refused(fd: int) -> bool:
        try:
            # A writer that comes while we hold the lease has a signal sent to us. The standard one
            # (SIGIO) would end this process; SIGURG is ignored unless somebody asked for it.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
