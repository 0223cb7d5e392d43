"""One job given to a real worker process, until it has ended."""

import time
from pathlib import Path

from pipeline.jobs.job import JobResult
from pipeline.workers.executor import GivenBack
from pipeline.workers.local import LocalExecutor


def staging(root: Path, name: str = "staging") -> Path:
    folder = root / name
    folder.mkdir()
    return folder


def outcome(executor: LocalExecutor):
    """What the only running job comes to."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for event in executor.poll(0.2):
            if isinstance(event, JobResult | GivenBack):
                return event
    raise AssertionError("no word of the job")
