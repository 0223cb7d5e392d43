"""Opens every file of the program: only regular files, without waiting, in bounded memory.

In a folder that others can write to, any name may be something else by now: a pipe or a device,
whose opening may wait for ever and ignore SIGTERM; a link to a file elsewhere; a sparse file of
terabytes. So no other module opens files (`tests/project/test_file_access.py`), and links are
followed only for files that the user named (``follow``). This module also opens folders step by
step without following links, and translates errors of the disk into the program's own.
"""

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from pipeline.errors import ChangedError, OutputError, Reason

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1 << 17  # smaller than what a C library allocates from the system for each read
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

MOST_VERIFIED = 2 << 30  # bytes of a painting, of weights or a model: all of it is held in memory
_ANOTHER_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EFBIG}

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # EFBIG: the account's limit, or the disk's
# A symbolic link, an unreadable file, a socket: something has the name, and it is not a picture.
_NOT_A_PICTURE = {errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO}
# Something else has the name, and it can never be written.
_IN_THE_WAY = {errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENOTDIR}
# The fault of the disk or its mount, not of one name: work pauses, as for a full disk.
_DISK_FAILED = {
    errno.EIO,
    errno.EROFS,
    errno.ENOENT,
    errno.ENODEV,
    errno.ENXIO,
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EMFILE,
}
# What ``os.link`` says where a file cannot have a second name: FAT, some network shares.
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_DENIED = {errno.EACCES, errno.EPERM}
_HINTS = {
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached",
    errno.EROFS: "mount it writable, or set another folder in config.yaml",
    errno.EACCES: "make this folder writable",
    errno.ENOTDIR: "only plain folders may stand here: no files, no symbolic links",
    errno.ELOOP: "symbolic links are not followed here",
    errno.EISDIR: "move this folder away",
    errno.ENOENT: "is this folder still there, and its disk mounted?",
}


@contextmanager
def disk_errors(where: Path, in_the_way: Reason = Reason.OUTPUT_INVALID) -> Iterator[None]:
    """Turn errors of writing pictures into OutputError, with codes for full and failed disks.

    Denied access is IO_ERROR, for which work pauses: no photo is to blame for it. ``in_the_way`` is
    the code if something else has the name: IO_ERROR where this concerns the whole outbox instead
    of one pair's files.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        failed = number in _DISK_FAILED | _DENIED
        code = Reason.IO_ERROR if failed else Reason.OUTPUT_INVALID
        code = Reason.DISK_FULL if is_disk_full(error) else code
        code = in_the_way if number in _IN_THE_WAY else code
        what = f"cannot be written: {error_text(error)}"
        hint = _HINTS.get(number, "")
        if isinstance(error, NotRegularError):
            hint = "move it away; only a regular file may have this name"
        raise OutputError(what, where=str(where), hint=hint, code=code) from error


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for lack of space: of the disk, a quota or a file size limit.

    Only this function decides it. Then work pauses until there is space, and no photo fails.
    """
    return error.errno in _FULL and not isinstance(error, TooLargeError)


class TooLargeError(OSError):
    """A file is larger than its reader allows; not a fault of the disk."""

    def __init__(self, path: object) -> None:
        super().__init__(errno.EFBIG, os.strerror(errno.EFBIG), str(path))


class NotRegularError(OSError):
    """A pipe, socket, device or folder is in the place of a regular file."""

    def __init__(self, path: object, mode: int) -> None:
        self.kind = next((word for is_it, word in _KINDS if is_it(mode)), "something else")
        super().__init__(errno.EINVAL, f"is a {self.kind}, not a regular file", str(path))


_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def error_text(error: OSError) -> str:
    """The text of an error of the system or of this module."""
    if isinstance(error, NotRegularError):
        return str(error.strerror)
    return os.strerror(error.errno or 0).lower()


def open_regular(
    path: Path | str,
    flags: int = os.O_RDONLY,
    *,
    folder: int | None = None,
    follow: bool = False,
    mode: int = 0o644,
) -> int:
    """A descriptor of a regular file; nothing else is opened, and nothing is waited for.

    Args:
        path: Where; relative to ``folder``, if that is given.
        flags: As for ``os.open``.
        folder: Descriptor of an open folder.
        follow: Whether the last name may be a symbolic link: for files that the user named.
        mode: Permissions of a file that is made.

    Raises:
        NotRegularError: Something else stands there.
        OSError: As ``os.open``.
    """
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    # Checked before opening, because opening some devices has an effect, and after, because the
    # file may have been replaced in between.
    with suppress(FileNotFoundError):
        found = os.stat(path, dir_fd=folder, follow_symlinks=follow).st_mode
        if not stat.S_ISREG(found) and not stat.S_ISLNK(found):
            raise NotRegularError(path, found)
    fd = os.open(path, flags, mode, dir_fd=folder)
    try:
        found = os.fstat(fd).st_mode
        if not stat.S_ISREG(found):
            raise NotRegularError(path, found)
    except BaseException:
        os.close(fd)
        raise
    return fd


def opened(
    path: Path | str, *, folder: int | None = None, follow: bool = False, most: int | None = None
) -> BinaryIO:
    """A regular file to read from.

    Raises:
        OSError: As :func:`open_regular`; TooLargeError where it has more than ``most`` bytes.
    """
    file = os.fdopen(open_regular(path, folder=folder, follow=follow), "rb")
    if most is not None and os.fstat(file.fileno()).st_size > most:
        file.close()
        raise TooLargeError(path)
    return file


def read_bounded(
    path: Path | str, most: int, *, folder: int | None = None, follow: bool = False
) -> bytes:
    """What a regular file of at most ``most`` bytes holds.

    Raises:
        OSError: As :func:`opened`; TooLargeError also where it grows beyond the bound meanwhile.
    """
    with opened(path, folder=folder, follow=follow, most=most) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLargeError(path)
    return content


def new_file(path: Path | str, *, folder: int | None = None) -> BinaryIO:
    """A new file to write to.

    Raises:
        FileExistsError: Something has the name, even a link that leads nowhere.
    """
    return os.fdopen(os.open(path, _NEW, 0o644, dir_fd=folder), "wb")


def open_to_overwrite(path: Path) -> BinaryIO:
    """A regular file to write to, emptied first.

    Raises:
        OSError: As :func:`open_regular`.
    """
    return os.fdopen(open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")


def write_whole(
    path: Path, content: bytes, *, spare: Path | None = None, sync: bool = False
) -> None:
    """Write a file, replacing what has the name in one step; a half-written file is never seen.

    Args:
        path: Where.
        content: All of it.
        spare: Where it is written first, on the same disk; absent: beside it, as a hidden file.
        sync: Whether it is to be on the disk when this returns.

    Raises:
        OSError: It cannot be written; a folder stands there. Nothing is left behind.
    """
    with whole_file(path, spare=spare, sync=sync) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, *, spare: Path | None = None, sync: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that gets the name ``path`` when this context ends without an error.

    As :func:`write_whole`, for contents that a library writes by itself.

    Raises:
        OSError: As :func:`write_whole`. Whatever is raised within, nothing is left behind.
    """
    spare = spare or path.with_name(f".{path.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        spare.unlink()  # a crash left it
    try:
        with new_file(spare) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        spare.replace(path)
    except BaseException:
        with suppress(OSError):
            spare.unlink()
        raise


def try_lock(fd: int) -> bool | None:
    """Lock an open file or folder for as long as it is open: at most until its process ends.

    Returns False where another process has locked it, None where the file system has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def refuse_irregular(path: Path) -> None:
    """Check, for a library that opens the file itself, that it is regular or does not exist.

    Raises:
        OSError: NotRegularError, or an error of the system.
    """
    with suppress(FileNotFoundError):
        found = path.stat().st_mode
        if not stat.S_ISREG(found):
            raise NotRegularError(path, found)


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
    try:
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    except OSError as error:
        if error.errno != errno.ELOOP:  # as some systems call a link here
            raise
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), part) from None


def digest_of(fd: int, size: int = sys.maxsize) -> str:
    """SHA-256 of an open file from its present position, of at most about ``size`` bytes.

    The bound ends the reading of a file that grows as fast as it is read.
    """
    digest = hashlib.sha256()
    while size >= 0 and (block := os.read(fd, _BLOCK)):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def read_verified(path: Path, sha256: str = "") -> bytes:
    """All bytes of a regular file, read once; links on the way to it are followed.

    Code that uses these bytes has used what ``sha256`` names, whatever becomes of the file.

    Raises:
        ChangedError: ``sha256`` is given, and there is no file that holds this.
        OSError: It cannot be read, is no regular file, or is larger than ``MOST_VERIFIED``.
    """
    try:
        content = read_bounded(path, MOST_VERIFIED, follow=True)
    except OSError as error:
        if sha256 and (isinstance(error, NotRegularError) or error.errno in _ANOTHER_FILE):
            raise ChangedError(path) from None
        raise
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ChangedError(path)
    return content


def digest_at(folder: int | None, name: str, sizes: Collection[int] = ()) -> str | None:
    """SHA-256 of a regular file; None where there is none; otherwise a text that is no digest.

    Without a folder ``name`` is a path, whose folders may be links. With ``sizes``, a file of
    another size, such as a sparse file of terabytes, is not read.
    """
    try:
        with opened(name, folder=folder) as file:
            if sizes and os.fstat(file.fileno()).st_size not in sizes:
                return "another size"
            return digest_of(file.fileno())
    except FileNotFoundError:
        return None
    except NotRegularError:
        return "not a file"
    except OSError as error:
        if error.errno not in _NOT_A_PICTURE:
            raise
        return "not readable as a file"


def digest_and_size(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    with disk_errors(path), opened(path) as file:
        return digest_of(file.fileno()), os.fstat(file.fileno()).st_size
