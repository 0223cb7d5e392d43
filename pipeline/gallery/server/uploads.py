"""Saves untrusted uploads as new files in the inbox, whole or not at all.

Until the last byte is on the disk the file has no name, so neither the scanner of the inbox nor any
other program sees half of it, and a lost connection or a crash leaves nothing behind. On systems
without nameless files, it gets a hidden name that the scanner ignores. A lock shows that its server
lives: another one on the same inbox removes only what has no lock.
"""

import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from pipeline.config.file_kinds import PHOTOS, PHOTOS_LISTED, foreign_kind
from pipeline.config.regions.mask_files import mask_name
from pipeline.config.sections import Limits
from pipeline.errors import InputError, OutputError, Reason
from pipeline.system.safe_files import (
    NO_LINKS,
    disk_errors,
    new_file,
    open_regular,
    opened_folder,
    try_lock,
)

BLOCK = 1 << 16
LONGEST_STEM = 120  # bytes; leaves room for the style's name in the outbox
MAX_NUMBER = 10_000  # tried for a name that is taken
HIDDEN, PART = ".upload-", ".part"
_OWN = re.compile(re.escape(HIDDEN) + "[0-9a-f]{16}" + re.escape(PART))  # others are the user's

NAMELESS = getattr(os, "O_TMPFILE", 0)
_WRITE = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW

Read = Callable[[int], bytes]  # returns at most this many bytes; none at the end


def receive(inbox: Path, name: str, length: int, read: Read, limits: Limits) -> str:
    """Save an uploaded picture in the inbox; return the name it got there.

    Args:
        inbox: The folder.
        name: As the visitor gave it: any text.
        length: How many bytes were announced.
        read: Reads the next bytes.
        limits: How large a file may be, and how much of the disk stays free.

    Raises:
        InputError: Its name is not that of a picture, or it is too large or ends early.
        OutputError: The disk is full, or the file cannot be written.
    """
    wanted = clean_name(name)
    if length > limits.bytes:
        what = f"the file is larger than the {limits.bytes / 1e6:.0f} MB allowed"
        raise InputError(what, where=wanted, code=Reason.TOO_LARGE)
    with disk_errors(inbox), opened_folder(inbox) as folder:
        free = os.fstatvfs(folder)
        if free.f_bavail * free.f_frsize < length + limits.free_bytes:
            raise OutputError("the disk is full", where=wanted, code=Reason.DISK_FULL)
        with _open_unnamed(folder) as (fd, place):
            _write_all(fd, wanted, length, read)
            return _link_free_name(place, folder, wanted)


def clean_name(name: str) -> str:
    """Turn a name that may hold anything into a file name that is valid on any system.

    Raises:
        InputError: It is not the name of a picture.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    # Remove control characters, direction marks and surrogates; replace what Windows reserves.
    plain = "".join(char for char in last if not unicodedata.category(char).startswith("C"))
    plain = "".join("_" if char in '<>:"|?*' else char for char in plain)
    path = PurePath(plain.strip())
    if path.suffix.lower() not in PHOTOS:
        if (kind := foreign_kind(path.name)) is not None:
            raise InputError(f"is {kind.what}", where=plain, hint=kind.hint)
        hint = f"accepted: {PHOTOS_LISTED}"
        raise InputError("the name is not that of a picture", where=plain, hint=hint)
    stem = path.stem.strip(" .~")
    while len(stem.encode()) > LONGEST_STEM:
        stem = stem[:-1]
    clean = (stem.rstrip(" .~") or "photo") + path.suffix
    # Asked of the name that the file gets: what was removed or cut may have hidden a mask's name.
    if (mask := mask_name(clean)) is not None:
        what = f"is {mask.words}"
        raise InputError(what, where=plain, hint="put it beside the photo in the inbox folder")
    return clean


def remove_partial_uploads(inbox: Path) -> None:
    """Remove unfinished files that a killed server left behind; not those of a living one."""
    with suppress(OSError), opened_folder(inbox) as folder:
        for name in filter(_OWN.fullmatch, [path.name for path in inbox.iterdir()]):
            with suppress(OSError):  # another server was faster, or something else has the name
                _remove_unless_locked(name, folder)


def _remove_unless_locked(name: str, folder: int) -> None:
    fd = open_regular(name, os.O_WRONLY, folder=folder)  # NFS locks only what may be written to
    try:
        if try_lock(fd):  # None: without locks its owner is unknown: it stays
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(fd)


@contextmanager
def _open_unnamed(folder: int) -> Iterator[tuple[int, str]]:
    """A new file without a visible name: its descriptor, and the path by which it can be linked."""
    try:
        fd = os.open(".", _WRITE | NAMELESS, 0o644, dir_fd=folder) if NAMELESS else -1
    except OSError:  # not supported by this file system or kernel
        fd = -1
    if fd >= 0:
        try:
            yield fd, f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    fd, name = _open_hidden(folder)
    try:
        yield fd, name
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _open_hidden(folder: int) -> tuple[int, str]:
    """A new file with a hidden name, locked: its descriptor, and the name."""
    while True:
        name = f"{HIDDEN}{secrets.token_hex(8)}{PART}"
        fd = os.open(name, _WRITE | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
        if try_lock(fd) is not False:
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=folder, follow_symlinks=False)
                return fd, name
        os.close(fd)  # a server that has just started removes it: it had no lock yet


def _write_all(fd: int, name: str, length: int, read: Read) -> None:
    left = length
    while left and (block := read(min(BLOCK, left))):
        left -= len(block)
        view = memoryview(block)
        while view:
            view = view[os.write(fd, view) :]
    if left or not length:
        what = "the upload is incomplete" if left else "the upload is empty"
        raise InputError(what, where=name, code=Reason.TRUNCATED)
    os.fsync(fd)


def _link_free_name(place: str, folder: int, wanted: str) -> str:
    """Give the finished file a name that is free; return it."""
    path = PurePath(wanted)
    for number in range(1, MAX_NUMBER):
        name = f"{path.stem}-{number}{path.suffix}" if number > 1 else wanted
        with suppress(FileExistsError):
            _link(place, folder, name)
            os.fsync(folder)
            return name
    raise OutputError(
        "all names of this form are taken", where=wanted, code=Reason.PUBLISH_CONFLICT
    )


def _link(place: str, folder: int, name: str) -> None:
    try:
        if place.startswith("/proc/"):
            os.link(place, name, dst_dir_fd=folder, follow_symlinks=True)
        else:
            os.link(place, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS or place.startswith("/proc/"):
            raise
        # No hard links here (FAT, some shares): reserve the name, then move the file there.
        new_file(name, folder=folder).close()
        os.replace(place, name, src_dir_fd=folder, dst_dir_fd=folder)
