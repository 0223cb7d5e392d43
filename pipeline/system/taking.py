"""Takes a file away from its name first, then looks at what was taken: another version goes back.

Code that looks at a file and then removes or moves it by its name may meet another file: the name
may have been given to a new one in between. So the file gets a private name beside its own, under
which no other program replaces it. What the caller does not remove or move from there gets its name
back, also after a crash: `pipeline.inbox.tree` and `pipeline.inbox.quarantine` find what was left.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

from pipeline.system.file_names import MAX_NAMES, fit_name
from pipeline.system.safe_files import NO_LINKS

_PREFIX = ".leaving-"
_PRIVATE = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{8}}~(.+)", re.DOTALL)


@contextmanager
def taken(folder: int, name: str) -> Iterator[str]:
    """Give a file a private name; at the end it gets its own again, if it is still there.

    Args:
        folder: Descriptor of its folder.
        name: Its name. Whatever has it, a folder too, is taken.

    Yields:
        The private name. Look at the file, then remove it, move it, or leave it.

    Raises:
        FileNotFoundError: Nothing has the name.
        OSError: The file cannot be renamed.
    """
    private = _private_name(name)
    os.rename(name, private, src_dir_fd=folder, dst_dir_fd=folder)
    try:
        yield private
    except Exception:
        with suppress(OSError):
            put_back(private, folder)
        raise
    put_back(private, folder)


def original_name(name: str) -> str:
    """The name that a file with this private name had; "" where the name is not a private one."""
    found = _PRIVATE.fullmatch(name) if name.startswith(_PREFIX) else None
    return found[1] if found else ""


def put_back(private: str, folder: int) -> None:
    """Give a file its own name again, or a free one beside it; nothing where it is gone."""
    if _exists(private, folder):
        move_to_free_name(private, numbered_names(original_name(private)), folder, folder)
        os.fsync(folder)


def put_back_after_crash(private: str, folder: int) -> None:
    """The same for what a crash left: a second name shows that the file was moved already."""
    with suppress(FileNotFoundError):
        status = os.stat(private, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            os.unlink(private, dir_fd=folder)
    put_back(private, folder)


def move_to_free_name(source: str, names: Iterable[str], home: int, folder: int) -> str:
    """Move a file to the first name that is free; nothing is overwritten. Returns the name.

    Args:
        source: Its name in ``home``; a private one, so that it is still the same file.
        names: To be tried in order.
        home: Descriptor of its folder.
        folder: Descriptor of the other folder, on the same disk.

    Raises:
        OSError: EXDEV for another disk, or what else the system says. It has its old name then.
    """
    for name in names:
        try:
            os.link(source, name, src_dir_fd=home, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # A folder, or a disk without second names (FAT, some network shares).
            if _exists(name, folder):
                continue
            os.rename(source, name, src_dir_fd=home, dst_dir_fd=folder)
        else:
            os.unlink(source, dir_fd=home)
        return name
    raise FileExistsError(errno.EEXIST, "every name is taken", source)


def numbered_names(name: str) -> Iterator[str]:
    """A file name, then others of its kind."""
    path = PurePosixPath(name)
    yield name
    for number in range(2, MAX_NAMES):
        yield fit_name(f"{path.stem}~{number}", path.suffix)


def _private_name(name: str) -> str:
    path = PurePosixPath(name)
    return fit_name(f"{_PREFIX}{secrets.token_hex(4)}~{path.stem}", path.suffix)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
