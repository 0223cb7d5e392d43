"""Which kind of file system a folder is on, as the kernel reports it."""

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pipeline.system.safe_files import read_bounded

MOUNTINFO = Path("/proc/self/mountinfo")  # Linux only
MOST_BYTES = 64 << 20  # of that table: 100 bytes for each mounted file system

# File systems that do not report, or not reliably, what other machines change in them.
UNREPORTED = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "9p",
        "virtiofs",
        "vboxsf",
        "prl_fs",
        "fuse",
        "overlay",
        "davfs",
        "ncpfs",
        "drvfs",
    }
)
# Not fit for the database: SQLite's write-ahead log needs shared memory, which two machines lack.
SHARED = UNREPORTED - {"overlay"}


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system."""

    point: str
    kind: str  # as in /proc/filesystems: ext4, nfs4, fuse.sshfs
    part: str = field(default="", compare=False)  # of that file system, where not all is mounted

    @property
    def reports_changes(self) -> bool:
        """Whether it reports every change to its files, whichever machine makes it."""
        return not _is_one_of(self.kind, UNREPORTED)

    @property
    def shared(self) -> bool:
        """Whether other machines may have it mounted, too."""
        return _is_one_of(self.kind, SHARED)


def find_mount(path: Path, table: Path = MOUNTINFO) -> Mount | None:
    """The file system that holds a path (which need not exist yet); None where that is unknown."""
    full = os.path.realpath(path)
    try:
        text = read_bounded(table, MOST_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    return _innermost(text, full)


@lru_cache(maxsize=8)
def _innermost(text: str, full: str) -> Mount | None:
    best = None
    for line in text.splitlines():
        # 36 35 98:0 /root /point options [optional fields] - type source options
        left, _, right = line.partition(" - ")
        part, point = map(_decode, left.split(" ")[3:5])
        kind = right.split(" ")[0]
        inside = full == point or full.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.point)):  # the last covers the others
            best = Mount(point, kind, part)
    return best


def _decode(word: str) -> str:
    """Decode the octal codes that the table has for spaces and the like."""
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, letter)
    return word


def _is_one_of(kind: str, kinds: frozenset[str]) -> bool:
    return kind in kinds or kind.startswith("fuse.")
