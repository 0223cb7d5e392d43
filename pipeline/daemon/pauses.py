"""Why nothing is begun just now, and when that ends by itself."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import OutputError, PlaceError, Reason
from pipeline.jobs.retry_policy import repair_wait_seconds

HYSTERESIS = 1.25  # that much more than is needed must be free, or a nearly full disk flickers
AGAIN_SECONDS = 15.0  # a quota frees nothing that could be seen: it is simply tried again
LOOK_SECONDS = 1.0
_SHARE = 20  # the reserve is never more than this part of a disk


@dataclass(frozen=True, slots=True)
class Pause:
    """A reason to wait.

    ``need`` is how many bytes must be free (0: no matter); ``again`` the monotonic second at which
    to try in any case.
    """

    cause: Literal["disk", "inbox", "outbox", "database", "machine"]
    why: str
    again: float
    folder: Path | None = None
    need: int = 0


Space = Callable[[Path], tuple[int, int]]  # free and all bytes of a disk


def space(folder: Path) -> tuple[int, int]:
    """Free and all bytes of the disk that a folder lies on.

    Raises:
        OSError: The folder is not there.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def reserve(total: int, free_bytes: int) -> int:
    """The free bytes below which work pauses, on a disk of this size."""
    return min(free_bytes, total // _SHARE)


def too_full(folders: list[Path], free_bytes: int, look: Space = space) -> Pause | None:
    """The pause that a disk with too little space is worth; None where there is enough."""
    for folder in folders:
        free, total = look(folder)
        need = reserve(total, free_bytes)
        if free < need:
            return _disk(folder, int(need * HYSTERESIS), free, float("inf"))
    return None


def unusable(cause: Literal["inbox", "outbox", "database"], why: str, now: float) -> Pause:
    """The pause while a folder, or the disk or share under it, or the database is out of reach."""
    return Pause(cause, why, now + LOOK_SECONDS)


def broken(error: PlaceError, times: int, now: float) -> Pause:
    """The pause while the machine is at fault; seldomer tried again the more often in vain."""
    return Pause("machine", str(error), now + repair_wait_seconds(times))


def full(folder: Path, free_bytes: int, now: float, look: Space = space) -> Pause:
    """The pause after a disk has refused to take something."""
    free, total = look(folder)
    need = int(max(reserve(total, free_bytes), free + 1) * HYSTERESIS)
    return _disk(folder, need, free, now + AGAIN_SECONDS)


def after(error: OutputError, outbox: Path, free_bytes: int, now: float) -> Pause | None:
    """The pause after a write to the outbox has failed; None where waiting is no use."""
    if error.code is Reason.DISK_FULL:
        return full(outbox, free_bytes, now)
    return unusable("outbox", str(error), now) if error.code is Reason.IO_ERROR else None


def is_over(pause: Pause, now: float, look: Space = space) -> bool:
    """Whether there is space again, or time to try."""
    if now >= pause.again or pause.folder is None:
        return now >= pause.again
    try:
        return look(pause.folder)[0] >= pause.need
    except OSError:
        return False


def _disk(folder: Path, need: int, free: int, again: float) -> Pause:
    why = f"the disk of {folder} is full: {free / 1e6:.1f} MB free, goes on at {need / 1e6:.1f} MB"
    return Pause("disk", why, again, folder, need)
