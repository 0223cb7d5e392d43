"""Counts pairs and files by state, for all that show them: each word means the same everywhere.

Dashboard, plain lines, live page and the service manager's line count the results of this run
(`View.counts`). `status` and metrics count all pairs of the studio (`count_all`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.jobs.job import JobState
from pipeline.system.text import format_count


@dataclass(frozen=True, slots=True)
class Counts:
    """Each pair is counted once; a file that became no pair is a file not taken."""

    queued: int = 0  # not begun, taken in advance by an executor, or with a draft only
    running: int = 0  # being rendered, enhanced or written
    done: int = 0  # the full picture is in the outbox
    failed: int = 0
    skipped: int = 0
    settling: int = 0  # files that are still being written
    not_taken: int = 0  # files that were refused, with or without a failure

    def parts(self) -> list[tuple[int, str]]:
        """Numbers with their words; queued, running and done always, others if not zero."""
        always = [(self.queued, "queued"), (self.running, "running"), (self.done, "done")]
        return [*always, *self._more(), *[(self.settling, "settling")] * (self.settling > 0)]

    def words(self) -> str:
        """All of them in one line."""
        return ", ".join(f"{number} {word}" for number, word in self.parts())

    def results(self) -> str:
        """Those that have ended, in one line; "" where none has."""
        ended = [*[(self.done, "done")] * (self.done > 0), *self._more()]
        return ", ".join(f"{number} {word}" for number, word in ended)

    def _more(self) -> list[tuple[int, str]]:
        files = format_count(self.not_taken, "file").partition(" ")[2]
        more = [
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.not_taken, f"{files} not taken"),
        ]
        return [part for part in more if part[0]]


def count_all(
    states: Mapping[JobState, int], not_taken: int, record: Mapping[str, Any] | None
) -> Counts:
    """Count all pairs.

    Args:
        states: The pairs in the ledger.
        not_taken: Files refused so far.
        record: Of the running instance, which knows pairs that are not in the ledger yet, and which
            of those that have begun wait for their device.
    """
    running = states[JobState.RUNNING] + states[JobState.STAGED]
    queued, now = states[JobState.QUEUED], record or {}
    if isinstance(now.get("queued"), int) and isinstance(now.get("busy"), int):
        queued, running = now["queued"], now["busy"]
    return Counts(
        queued=queued,
        running=running,
        done=states[JobState.DONE],
        failed=states[JobState.FAILED],
        skipped=states[JobState.SKIPPED],
        settling=now.get("settling") or 0,
        not_taken=not_taken,
    )
