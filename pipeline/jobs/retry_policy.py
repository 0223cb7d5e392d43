"""Which failures are tried again, how often and when. Pure functions; time is an argument."""

import zlib
from enum import StrEnum

from pipeline.errors import Reason

# How often in a row a job may fail for one reason. Whatever is not here fails at once: the same
# file and the same numbers would fail again. Two crashes of a kind stop a poison file.
TRIES = {
    Reason.OUT_OF_MEMORY: 3,  # as asked, with smaller blocks, on the CPU
    Reason.IO_ERROR: 5,
    Reason.UNREADABLE: 4,
    Reason.OUTPUT_INVALID: 2,
    Reason.STALLED: 2,
    Reason.DECODE_CRASH: 2,
    Reason.DECODE_TIMEOUT: 2,
    Reason.WORKER_CRASHED: 2,
}
# Attempts of all kinds at one job, also those that ended with the whole program (power cuts, an
# out-of-memory killer that chose the parent): the last resort against a job that ends the program.
# Far more than chance brings: at eight, half an hour of kill -9 every four seconds on an overloaded
# machine failed 5 of 7,395 good pairs.
MAX_ATTEMPTS = 24

FIRST_SECONDS = 5.0
FACTOR = 3.0
LONGEST_SECONDS = 600.0


# While a style or the machine is at fault it is tried again; the first wait, and the longest.
FIRST_REPAIR_WAIT, LONGEST_REPAIR_WAIT = 5.0, 60.0


class Blame(StrEnum):
    """What a failure is blamed on, and so what has to wait or to fail."""

    PHOTO = "photo"  # this file fails, with all its styles
    PAIR = "pair"  # this photo with this style fails, once the same style works with another photo
    STYLE = "style"  # all pairs of this style wait until its images are repaired
    MACHINE = "machine"  # everything waits: work pauses, and no attempt is counted
    NOBODY = "nobody"  # not a fault


_BLAMED = {
    Blame.PHOTO: (
        *(Reason.UNSUPPORTED_FORMAT, Reason.TRUNCATED, Reason.TOO_MANY_PIXELS),
        *(Reason.TOO_MANY_FRAMES, Reason.TOO_LARGE, Reason.ANIMATED, Reason.DECODE_CRASH),
        *(Reason.DECODE_TIMEOUT, Reason.NOT_REGULAR_FILE, Reason.HARDLINKED, Reason.UNREADABLE),
        *(Reason.VANISHED, Reason.SIDECAR_INVALID),
    ),
    Blame.PAIR: (
        *(Reason.ENGINE_ERROR, Reason.OUT_OF_MEMORY, Reason.WORKER_CRASHED, Reason.STALLED),
        *(Reason.IO_ERROR, Reason.OUTPUT_INVALID, Reason.PUBLISH_CONFLICT),
    ),
    Blame.STYLE: (Reason.STYLE_INVALID,),
    Blame.MACHINE: (
        *(Reason.DISK_FULL, Reason.DECODER_UNAVAILABLE, Reason.ENGINE_UNAVAILABLE),
        Reason.WEIGHTS_INVALID,
    ),
    Blame.NOBODY: (Reason.IGNORED, Reason.NO_MATCH, Reason.DUPLICATE, Reason.INTERRUPTED),
}
BLAME = {code: blame for blame, codes in _BLAMED.items() for code in codes}
MACHINE_REASONS = frozenset(_BLAMED[Blame.MACHINE])


def wait_seconds(code: Reason, times: int, job: str) -> float | None:
    """How long a job waits before it is tried again; None: it has failed for good.

    Args:
        code: Why it failed.
        times: How often in a row it has failed for that, this time included.
        job: Its id, which spreads the waits of many jobs that failed together.
    """
    if times >= TRIES.get(code, 1):
        return None
    spread = zlib.crc32(job.encode()) / 2**32 / 4
    return min(FIRST_SECONDS * FACTOR ** (times - 1), LONGEST_SECONDS) * (1 + spread)


def repair_wait_seconds(times: int) -> float:
    """How long to wait for a repair after so many failed tries: twice as long each time."""
    return min(FIRST_REPAIR_WAIT * 2.0 ** min(times - 1, 10), LONGEST_REPAIR_WAIT)


def is_due(next_at: float, wall: float) -> bool:
    """Whether a wait is over. A clock that was set back must not make it last for ever."""
    return not wall < next_at <= wall + 2 * LONGEST_SECONDS
