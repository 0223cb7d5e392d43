"""Kills child processes, and never waits without a bound for one that cannot be killed.

A hook that runs `sudo` belongs to another account, which this one may not kill. A process that
waits for a disk that hangs ends only when the disk answers, whatever kills it.
"""

import logging
import os
import signal
import subprocess
import threading
from contextlib import suppress

log = logging.getLogger("pipeline.processes")  # the name operators see

REAP_SECONDS = 5.0  # a killed process has ended long before, also on a busy machine

_left: list[subprocess.Popen[bytes]] = []  # still running; kept, so that their ends are noticed
_lock = threading.Lock()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group of its own, and its children with it. Does not wait."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def await_killed(process: subprocess.Popen[bytes], seconds: float | None = None) -> int | None:
    """Wait for the end of a killed process; None where it goes on: then it is left alone."""
    try:
        return process.wait(REAP_SECONDS if seconds is None else seconds)
    except subprocess.TimeoutExpired:
        leave_alone(process)
        return None


def leave_alone(process: subprocess.Popen[bytes]) -> None:
    """Go on without a process that cannot be killed."""
    with _lock:
        _left[:] = [one for one in _left if one.poll() is None]
        _left.append(process)
    log.warning("process_left", extra={"facts": {"process": process.pid}})
