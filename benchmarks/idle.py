"""An executor that never works, to measure what is around it."""

from pathlib import Path

from pipeline.jobs.job import Job
from pipeline.workers.executor import Event


class Idle:
    """Never works; with no capacity, all that is planned waits."""

    slots, trouble = 1, ""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def free(self) -> int:
        """How many jobs it would take, if there were any."""
        return self.capacity

    def running(self) -> list[tuple[str, Job]]:
        """Nothing."""
        return []

    def poll(self, _timeout: float) -> list[Event]:
        """Nothing has happened."""
        return []

    def submit(self, _job: Job, _staging: Path) -> None:
        """Must never be called."""
        raise AssertionError

    def interrupt(self) -> None:
        """Nothing runs."""

    def close(self, force: bool = False) -> None:
        """Nothing is open."""
