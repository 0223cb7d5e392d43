"""Which failures are tried again, how often and when. Pure functions; time is an argument."""

import zlib

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
# out-of-memory killer that chose the parent): the last wall against a job that takes all down.
# Far more than chance brings: at eight, half an hour of kill -9 every four seconds on an overloaded
# machine failed 5 of 7,395 good pairs.
MAX_ATTEMPTS = 24

FIRST_SECONDS = 5.0
FACTOR = 3.0
LONGEST_SECONDS = 600.0
# The fault lies with the place, not with the job: work pauses, and no attempt is counted.
OF_THE_PLACE = frozenset({Reason.DISK_FULL})


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


def is_due(next_at: float, wall: float) -> bool:
    """Whether a wait is over. A clock that was set back must not make it last for ever."""
    return not wall < next_at <= wall + 2 * LONGEST_SECONDS
