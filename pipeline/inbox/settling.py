"""Which version of a file this is, what it holds, and whether somebody is writing to it."""

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
