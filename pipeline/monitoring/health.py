"""Checks whether the service is healthy: it ticks, workers report progress, jobs succeed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Reason
from pipeline.monitoring.view import Lane
from pipeline.system.state_file import read_number

TICK_SECONDS = 60.0  # a loop that has not ticked for this long hangs; a tick takes about a second
# An executor ends a worker that is silent for ten times its limit or its longest silence. If that
# has not happened this much later, the executor itself is stuck, and only a restart helps.
GRACE_SECONDS = 60.0
PATIENCE = 10.0
FAILING = 5  # this many failures in a row that no photo caused
_MACHINE_REASONS = frozenset(
    {
        Reason.ENGINE_ERROR,
        Reason.OUT_OF_MEMORY,
        Reason.WORKER_CRASHED,
        Reason.STALLED,
        Reason.IO_ERROR,
        Reason.OUTPUT_INVALID,
    }
)


@dataclass(slots=True)
class _Reports:
    """The reports of one device: when the last one came, and its longest silence so far."""

    progress: frozenset[tuple[str, float]]  # its jobs and the progress of each
    at: float
    longest: float = 0.0


class HealthMonitor:
    """Watches running jobs and results. Times are monotonic seconds.

    Args:
        stall_seconds: How long a worker may be silent (``limits.stall_seconds``).
    """

    def __init__(self, stall_seconds: float) -> None:
        self.stall_seconds = stall_seconds
        self._reports: dict[str, _Reports] = {}
        self._codes: list[str] = []

    def observe(self, lanes: Iterable[Lane], now: float) -> None:
        """Record which devices have reported progress since the last call."""
        reported: dict[str, set[tuple[str, float]]] = {}
        for lane in lanes:
            seconds = lane.progress.seconds if lane.progress else -1.0
            reported.setdefault(lane.device, set()).add((lane.job, seconds))
        self._reports = {
            device: self._update(self._reports.get(device), frozenset(progress), now)
            for device, progress in reported.items()
        }

    def _update(
        self, before: _Reports | None, progress: frozenset[tuple[str, float]], now: float
    ) -> _Reports:
        if before is None:
            return _Reports(progress, now)
        if before.progress == progress:
            return before
        return _Reports(progress, now, max(before.longest, now - before.at))

    def add_line(self, line: Mapping[str, Any]) -> None:
        """Add a line of the run log."""
        code = (line["error"] or {}).get("code", "")
        if line["status"] == "done":
            self._codes.clear()
        elif line["status"] == "failed" and code in _MACHINE_REASONS:
            self._codes = [*self._codes, code][-FAILING:]

    def find_stuck(self, now: float) -> str:
        """What hangs and will not recover by itself; "" when nothing does."""
        for device, reports in self._reports.items():
            allowed = PATIENCE * max(self.stall_seconds, reports.longest) + GRACE_SECONDS
            if now - reports.at > allowed:
                return f"no report from {device or 'a device'} for {now - reports.at:.0f} s"
        return ""

    def find_failing(self) -> str:
        """What keeps failing, photo after photo; "" when nothing does."""
        if len(self._codes) < FAILING:
            return ""
        return f"the last {FAILING} jobs failed: {', '.join(sorted(set(self._codes)))}"


def find_trouble(
    record: Mapping[str, Any] | None, wall: float, within: float = TICK_SECONDS
) -> str:
    """What is wrong with a running instance, by its record; "" when it works.

    A pause (a full disk, hours of the schedule) is no trouble: a restart would not end it.

    Args:
        record: The record that the instance writes; None when no instance is running.
        wall: Seconds since 1970.
        within: The most seconds since its loop last ticked.
    """
    if record is None:
        return "no `run` or `watch` is running"
    ticked = read_number(record, "ticked")
    if ticked is None:
        return "it has not started to work"
    if abs(wall - ticked) > within:
        return f"its loop has not run for {wall - ticked:.0f} s"
    return str(record.get("stuck") or record.get("failing") or "")
