"""Finds why a write to the jobs database has failed, because SQLite reports few causes.

Only "no space left" is SQLITE_FULL. A quota or a file size limit that is reached is SQLITE_IOERR,
as a broken disk is, and no room for another file may be SQLITE_CANTOPEN. So the write is tried
again, on a file of its own beside the database.
"""

import os
from contextlib import suppress
from pathlib import Path

from pipeline.system.safe_files import is_disk_full, new_file

_BYTES = 1 << 18  # more than a transaction; what a quota has left is less than that


def refuses_more(path: Path) -> bool:
    """Whether there is no room for a longer file, or for another one, in the place of a file.

    Args:
        path: The file that could not be written; those that belong to it begin with its name.
    """
    beside = [Path(f"{path}{end}") for end in ("", "-wal", "-shm")]
    probe = path.with_name(f".{path.name}.probe")
    try:
        probe.unlink(missing_ok=True)  # a crash left it
        with new_file(probe) as file:
            file.seek(max(_size(one) for one in beside))  # a hole, and then what limits refuse
            file.write(bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())  # some disks report a quota only then
    except OSError as error:
        return is_disk_full(error)
    finally:
        with suppress(OSError):
            probe.unlink()
    return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
