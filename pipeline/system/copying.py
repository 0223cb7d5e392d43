"""Copying a file to another disk: a whole copy under a hidden name first, then one rename."""

import hashlib
import os
import re
from contextlib import suppress

from pipeline.system.safe_files import new_file, opened

PART_NAME = re.compile(r"\.[0-9a-f]{16}\.part")

_BLOCK = 1 << 20


def part_name(name: str) -> str:
    """The hidden name under which a copy is written before it gets its name; it always fits."""
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.part"


def remove_part(name: str, folder: int) -> None:
    """Remove what a crash or a full disk left of a copy. A link in its place is removed too."""
    with suppress(FileNotFoundError):
        os.unlink(part_name(name), dir_fd=folder)


def copy_to_part(source: str, name: str, *, home: int | None, folder: int) -> str:
    """Copy a regular file to the hidden name of ``name``; the copy is synced to the disk.

    Args:
        source: Relative to the open folder ``home``, or a path where that is None.
        name: The name that the copy will get.
        home: Descriptor of the source's folder.
        folder: Descriptor of the target's folder.

    Returns:
        SHA-256 of what was copied.

    Raises:
        OSError: No copy is left, so that a full disk has the space again.
    """
    digest = hashlib.sha256()
    remove_part(name, folder)
    try:
        with opened(source, folder=home) as whole, new_file(part_name(name), folder=folder) as file:
            while block := whole.read(_BLOCK):
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            remove_part(name, folder)
        raise
    return digest.hexdigest()


def copy_over(source: str, name: str, *, home: int, folder: int, sha256: str = "") -> bool:
    """Copy a file from one open folder into another, over whatever has the name there, in one step.

    Args:
        source: Its name in ``home``.
        name: Its name in ``folder``.
        home: Descriptor of the source's folder.
        folder: Descriptor of the target's folder.
        sha256: What the copy must hold; "" if that is not known.

    Returns:
        False where the file held something else; nothing has changed then.
    """
    found = copy_to_part(source, name, home=home, folder=folder)
    if sha256 and found != sha256:
        remove_part(name, folder)
        return False
    os.replace(part_name(name), name, src_dir_fd=folder, dst_dir_fd=folder)
    return True
