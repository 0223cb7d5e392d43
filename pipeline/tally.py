"""How one run goes: its throughput, what was slow, what failed, how busy the devices were."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from pipeline.jobs.job import JobResult

LATEST = 50  # results that the throughput is taken from
SLOWEST = 3


class Tally:
    """How one run goes. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._began: float | None = None  # the first job
        self._ends: deque[float] = deque(maxlen=LATEST)
        self._slowest: list[tuple[float, str, str]] = []
        self._busy = 0.0
        self.codes: Counter[str] = Counter()

    def begin(self, now: float) -> None:
        """A job is begun."""
        if self._began is None:
            self._began = now
            self._ends.append(now)

    def end(self, result: JobResult, now: float) -> None:
        """A job has ended."""
        self._busy += result.seconds
        if result.status == "done":
            self._ends.append(now)
            job = result.job
            slowest = [*self._slowest, (result.seconds, job.content, job.style)]
            self._slowest = sorted(slowest, reverse=True)[:SLOWEST]

    def per_hour(self, now: float | None = None) -> float | None:
        """Pairs an hour of late; ``now`` is None while nothing runs, so that rest counts not."""
        if len(self._ends) < 2:
            return None
        lasted = max(self._ends[-1], now or 0.0) - self._ends[0]
        return (len(self._ends) - 1) * 3600 / lasted if lasted > 0 else None

    def busy(self, slots: int) -> float | None:
        """Share of the time from the first job's begin to the last one's end, 0 to 1."""
        if self._began is None or self._ends[-1] <= self._began:
            return None
        return min(1.0, self._busy / (self._ends[-1] - self._began) / max(1, slots))

    def summary(self, slots: int) -> dict[str, Any]:
        """The run in figures, for ``--json`` and :func:`words`."""
        rate, busy = self.per_hour(), self.busy(slots)
        return {
            "per_hour": rate and round(rate, 1),
            "busy": busy and round(busy, 3),
            "slowest": [
                {"content": content, "style": style, "seconds": round(seconds, 3)}
                for seconds, content, style in self._slowest
            ],
            "failures": dict(self.codes.most_common()),
        }


def words(summary: Mapping[str, Any]) -> list[str]:
    """A summary in a few lines; none where nothing was made."""
    lines = []
    if summary["per_hour"]:
        busy = f", devices busy {summary['busy']:.0%}" if summary["busy"] else ""
        lines.append(f"{summary['per_hour']:.0f} pairs an hour{busy}")
    if len(summary["slowest"]) > 1:
        slow = (f"{s['content']} x {s['style']} {s['seconds']:.1f} s" for s in summary["slowest"])
        lines.append(f"slowest: {', '.join(slow)}")
    if summary["failures"]:
        counts = (f"{count} {code}" for code, count in summary["failures"].items())
        lines.append(f"failures: {', '.join(counts)}")
    return lines
