"""Whether the service works: its loop ticks, its workers report progress, its jobs succeed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Reason
from pipeline.monitoring.view import Lane

TICK_SECONDS = 60.0  # a loop silent for so long hangs; a tick takes at most a second
# An executor ends a worker that is silent for ten times its limit or its longest silence. Has that
# not happened within this time, the executor itself is stuck: only a new start helps.
GRACE_SECONDS = 60.0
PATIENCE = 10.0
FAILING = 5  # so many failures in a row that are no photo's fault
_OF_THE_MACHINE = frozenset(
    {Reason.ENGINE_ERROR, Reason.OUT_OF_MEMORY, Reason.WORKER_CRASHED, Reason.STALLED}
    | {Reason.IO_ERROR, Reason.OUTPUT_INVALID}
)


@dataclass(slots=True)
class _Reports:
    """Of one device: when it last reported, and its longest silence so far."""

    progress: frozenset[tuple[str, float]]  # its jobs, and how far each has come
    at: float
    longest: float = 0.0


class HealthMonitor:
    """Follows lanes and results. Times are monotonic seconds.

    Args:
        stall_seconds: For how long a worker may be silent (``limits.stall_seconds``).
    """

    def __init__(self, stall_seconds: float) -> None:
        self.stall_seconds = stall_seconds
        self._reports: dict[str, _Reports] = {}
        self._codes: list[str] = []

    def observe(self, lanes: Iterable[Lane], now: float) -> None:
        """Note which devices have reported progress since the last call."""
        reported: dict[str, set[tuple[str, float]]] = {}
        for lane in lanes:
            seconds = lane.progress.seconds if lane.progress else -1.0
            reported.setdefault(lane.device, set()).add((lane.job, seconds))
        self._reports = {
            device: self._after(self._reports.get(device), frozenset(progress), now)
            for device, progress in reported.items()
        }

    def _after(
        self, before: _Reports | None, progress: frozenset[tuple[str, float]], now: float
    ) -> _Reports:
        if before is None:
            return _Reports(progress, now)
        if before.progress == progress:
            return before
        return _Reports(progress, now, max(before.longest, now - before.at))

    def add_line(self, line: Mapping[str, Any]) -> None:
        """A line of the run log."""
        code = (line["error"] or {}).get("code", "")
        if line["status"] == "done":
            self._codes.clear()
        elif line["status"] == "failed" and code in _OF_THE_MACHINE:
            self._codes = [*self._codes, code][-FAILING:]

    def stuck(self, now: float) -> str:
        """What hangs and will not recover by itself; "" when nothing does."""
        for device, reports in self._reports.items():
            allowed = PATIENCE * max(self.stall_seconds, reports.longest) + GRACE_SECONDS
            if now - reports.at > allowed:
                return f"no report from {device or 'a device'} for {now - reports.at:.0f} s"
        return ""

    def failing(self) -> str:
        """What keeps failing, photo after photo; "" when nothing does."""
        if len(self._codes) < FAILING:
            return ""
        return f"the last {FAILING} jobs failed: {', '.join(sorted(set(self._codes)))}"


def find_trouble(card: Mapping[str, Any] | None, wall: float, within: float = TICK_SECONDS) -> str:
    """What is wrong with the instance that wrote a card (`lock.holder`); "" when it is well.

    A pause (a full disk, hours of the schedule) is no trouble: a restart would not end it.

    Args:
        card: None when nobody holds the state folder.
        wall: Seconds since 1970.
        within: How long ago its loop may have ticked last.
    """
    if card is None:
        return "nobody works on it"
    ticked = card.get("ticked")
    if not isinstance(ticked, int | float):
        return "it has not begun to work"
    if abs(wall - ticked) > within:
        return f"its loop has not ticked for {wall - ticked:.0f} s"
    return str(card.get("stuck") or card.get("failing") or "")
