"""Signs that a file is not complete yet: a program has it open for writing, or its end is missing.

`pipeline.inbox.scanner` asks for them; all rules for taking a photo are in `pipeline.inbox.intake`.
"""

import errno
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from pipeline.system.safe_files import open_regular

if sys.platform == "linux":
    import fcntl


JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_TAIL = 4096


def being_written(path: Path | str, *, folder: int | None = None) -> bool:
    """Whether a process on this machine has the file open for writing.

    Linux grants a read lease only while no process has. Where there are no leases (other systems,
    network file systems, files of other users) the answer is no, and the settling time decides.
    """
    fd = open_regular(path, folder=folder)
    try:
        return sys.platform == "linux" and _lease_refused(fd)
    finally:
        os.close(fd)


def lacks_end(path: Path) -> bool:
    """Whether the end marker of a JPEG or PNG is missing: it is still being copied, or damaged.

    Only a hint: cameras append videos to JPEGs, and a file without the marker may be readable.
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
            # If a program opens the file for writing while we hold the lease, the kernel sends a
            # signal. The default, SIGIO, would end this process; SIGURG is ignored by default.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
