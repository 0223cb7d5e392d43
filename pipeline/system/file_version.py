"""Which version of a file this is, and its SHA-256."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.errors import Failure, InputError, Reason
from pipeline.system.safe_files import NotRegularError, digest_at, digest_of, open_regular


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

    @classmethod
    def of_name(cls, name: str, folder: int) -> Self | None:
        """The stamp of what has a name in an open folder; None where nothing has it."""
        try:
            return cls.of(os.stat(name, dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError:
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
            raise too_large_error(before.st_size, most)
        digest = digest_of(fd, before.st_size)
        after = Stamp.of(os.fstat(fd))
    except OSError as error:
        raise _input_error(error, path) from error
    finally:
        os.close(fd)
    return digest if after == Stamp.of(before) == (stamp or after) else None


def remove_file_with(digest: str, size: int, name: str, folder: int) -> bool:
    """Remove a file if it holds this; one that takes its name while it is read stays.

    Args:
        digest: SHA-256 of what it must hold.
        size: How many bytes that is.
        name: Its name in the open folder.
        folder: Descriptor of the folder.
    """
    before = Stamp.of_name(name, folder)
    if digest_at(folder, name, {size}) != digest or Stamp.of_name(name, folder) != before:
        return False
    os.unlink(name, dir_fd=folder)
    return True


def unreadable_failure(error: OSError) -> Failure:
    """The failure of a file or folder that the system does not let us read."""
    return Failure(Reason.UNREADABLE, f"cannot be read: {os.strerror(error.errno or 0).lower()}")


def _input_error(error: OSError, path: Path) -> InputError:
    link = error.errno == errno.ELOOP
    code = Reason.NOT_REGULAR_FILE if link else Reason.UNREADABLE
    what = "is a symbolic link" if link else unreadable_failure(error).message
    return InputError(what, where=str(path), code=code)


def too_large_error(size: int, most: int) -> InputError:
    what = f"{size / 1e6:.1f} MB are more than the {most / 1e6:.1f} allowed"
    return InputError(what, hint="save it smaller, as JPEG", code=Reason.TOO_LARGE)
