"""Which failures are tried again, how often and when. Pure functions; time is an argument."""

import zlib
from enum import StrEnum

from pipeline.errors import Reason

# How often in a row a job may fail for one reason before it is not simply tried again. A reason
# that is not listed counts once: the same file and the same numbers would fail again. Where the
# pair is to blame (`Blame.PAIR`) a check follows, and one more try if the check succeeds: so three
# crashes of the worker end a job.
TRIES = {
    Reason.OUT_OF_MEMORY: 3,  # as configured, with smaller blocks, on the CPU
    Reason.IO_ERROR: 5,
    Reason.UNREADABLE: 4,
    Reason.OUTPUT_INVALID: 2,
    Reason.STALLED: 2,
    Reason.DECODE_CRASH: 2,
    Reason.DECODE_TIMEOUT: 2,
    Reason.WORKER_CRASHED: 2,
}
# At most this many attempts at one job, also those that ended together with the whole program
# (power cuts, an out-of-memory killer that chose the parent): the last resort against a job that
# ends the program. Chance must not reach it: with a limit of 8, half an hour of kill -9 every four
# seconds on an overloaded machine failed 5 of 7,395 good pairs.
MAX_ATTEMPTS = 24

# Waits between the tries of a job: the first, the factor of each further one, the longest.
FIRST_SECONDS = 5.0
FACTOR = 3.0
LONGEST_SECONDS = 600.0

# The first and the longest wait while a style or the machine is at fault.
FIRST_REPAIR_WAIT, LONGEST_REPAIR_WAIT = 5.0, 60.0


class Blame(StrEnum):
    """What a failure is blamed on, which decides what waits or fails."""

    PHOTO = "photo"  # this file fails, with all its styles
    PAIR = "pair"  # this photo with this style fails, if the same recipe works with another photo
    STYLE = "style"  # all pairs of this style wait until its paintings are repaired
    MACHINE = "machine"  # work pauses, and no attempt is counted: `PlaceError`
    NOBODY = "nobody"  # not a fault


BLAME = {
    Reason.UNSUPPORTED_FORMAT: Blame.PHOTO,
    Reason.TRUNCATED: Blame.PHOTO,
    Reason.TOO_MANY_PIXELS: Blame.PHOTO,
    Reason.TOO_MANY_FRAMES: Blame.PHOTO,
    Reason.TOO_LARGE: Blame.PHOTO,
    Reason.ANIMATED: Blame.PHOTO,
    Reason.DECODE_CRASH: Blame.PHOTO,
    Reason.DECODE_TIMEOUT: Blame.PHOTO,
    Reason.NOT_REGULAR_FILE: Blame.PHOTO,
    Reason.HARDLINKED: Blame.PHOTO,
    Reason.UNREADABLE: Blame.PHOTO,
    Reason.VANISHED: Blame.PHOTO,
    Reason.SIDECAR_INVALID: Blame.PHOTO,
    Reason.ENGINE_ERROR: Blame.PAIR,
    Reason.OUT_OF_MEMORY: Blame.PAIR,
    Reason.WORKER_CRASHED: Blame.PAIR,
    Reason.STALLED: Blame.PAIR,
    Reason.IO_ERROR: Blame.PAIR,
    Reason.OUTPUT_INVALID: Blame.PAIR,
    Reason.PUBLISH_CONFLICT: Blame.PAIR,
    Reason.STYLE_INVALID: Blame.STYLE,
    Reason.DISK_FULL: Blame.MACHINE,
    Reason.DECODER_UNAVAILABLE: Blame.MACHINE,
    Reason.ENGINE_UNAVAILABLE: Blame.MACHINE,
    Reason.WEIGHTS_INVALID: Blame.MACHINE,
    Reason.IGNORED: Blame.NOBODY,
    Reason.NO_MATCH: Blame.NOBODY,
    Reason.DUPLICATE: Blame.NOBODY,
    Reason.INTERRUPTED: Blame.NOBODY,
}
MACHINE_REASONS = frozenset(code for code, blame in BLAME.items() if blame is Blame.MACHINE)


def wait_seconds(code: Reason, times: int, job: str) -> float | None:
    """How long a job waits before it is tried again; None: it has had all its tries.

    Args:
        code: Why it failed.
        times: How often in a row it has failed for this reason, including this time.
        job: Its id, which spreads the waits of many jobs that failed together.
    """
    if times >= TRIES.get(code, 1):
        return None
    spread = zlib.crc32(job.encode()) / 2**32 / 4
    return min(FIRST_SECONDS * FACTOR ** (times - 1), LONGEST_SECONDS) * (1 + spread)


def repair_wait_seconds(times: int) -> float:
    """How long to wait for a repair after this many failed tries: twice as long each time."""
    return min(FIRST_REPAIR_WAIT * 2.0 ** min(times - 1, 10), LONGEST_REPAIR_WAIT)


def is_due(next_at: float, wall: float) -> bool:
    """Whether a wait is over; also if it seems so long that the clock must have been set back."""
    return not wall < next_at <= wall + 2 * LONGEST_SECONDS
