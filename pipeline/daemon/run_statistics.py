"""Figures of one bulk run or one session of watching: estimate, throughput, summary."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from pipeline.jobs.job import Job, JobResult, Progress
from pipeline.jobs.rates import Rates, Work, work_of, works_of
from pipeline.monitoring.counts import Counts, count_codes, count_ended
from pipeline.monitoring.estimate import Estimate, Works, estimate_work, pairs_per_hour
from pipeline.monitoring.view import View

Line = dict[str, Any]
SAVE_SECONDS = 60.0  # between two writes of the rates


class RunStatistics:
    """Measures a run, and updates throughput and time left in the dashboard's view.

    Args:
        view: The dashboard's.
        rates: Rates measured on this machine.
        devices: Where jobs will run, as configured.
        slots: Returns how many jobs run at a time: devices come and go.
        on_run: Called with the estimate before the first job, and with a scheduled run's summary.
    """

    def __init__(
        self,
        view: View,
        rates: Rates,
        devices: Collection[str],
        slots: Callable[[], int],
        on_run: Callable[[Line], None],
    ) -> None:
        self.view, self.rates, self.devices, self.slots = view, rates, devices, slots
        self.on_run = on_run
        self._saved_at = float("-inf")
        self._seconds_per_unit: float | None = None  # of the running jobs
        self.renew()

    def renew(self) -> None:
        """Start again for another bulk run."""
        self.figures = RunFigures()
        self.started = False
        self._mark = self.view.tally.mark

    def start(self, works: Works) -> None:
        """Report the estimate, unless that was done before."""
        if not self.started:
            self.started = True
            self.on_run({"event": "run_started", **asdict(self._estimate(works))})

    def end(self, result: JobResult, now: float) -> None:
        """Count a job that has ended."""
        self.figures.end(result, now)
        self.rates.add_result(result)
        if result.status == "done" and now >= self._saved_at + SAVE_SECONDS:
            self._saved_at = now
            self.rates.save()

    def update_view(self, works: Works, running: Collection[tuple[str, Job]], now: float) -> None:
        """Update the view's throughput and the time left for the whole queue."""
        rate = self.figures.per_hour(now if running else None)
        self.view.per_hour = rate
        reports = {lane.job: lane.progress for lane in self.view.running if lane.progress}
        self._note_pace(running, reports)
        # Of a job that reports its time left, only the full picture after a draft is still waiting.
        rest = (works_of(job)[job.id in reports :] for _, job in running)
        waiting = self._estimate(Counter(works) + Counter(filter(None, rest)))
        begun = sum(report.seconds_left for report in reports.values()) / max(1, self.slots())
        left = waiting.seconds
        if left is None and rate:
            left = waiting.pairs * 3600 / rate
        busy = running or waiting.pairs
        self.view.seconds_left = left + begun if busy and left is not None else None

    def finish(self) -> None:
        """Report the summary of a scheduled run."""
        self.on_run({"event": "bulk_ended", **self.summary()})

    def summary(self) -> dict[str, Any]:
        """The results, each pair and file once, and the figures of :class:`RunFigures`."""
        ends = self.view.tally.since(self._mark)
        return count_ended(ends).ended() | self.figures.summary(self.slots(), count_codes(ends))

    def _note_pace(
        self, running: Collection[tuple[str, Job]], reports: Mapping[str, Progress]
    ) -> None:
        """Note the pace of jobs that run, for the time before anything was measured."""
        reported = [(job, reports[job.id]) for _, job in running if job.id in reports]
        works = [(work_of(job.recipe.transfer), report) for job, report in reported]
        measured = [(work, report) for work, report in works if work.seconds is None]
        units = sum(work.units for work, _ in measured)
        seconds = sum(report.seconds + report.seconds_left for _, report in measured)
        if units and seconds > 0:
            self._seconds_per_unit = seconds / units

    def _seconds_of(self, work: Work) -> float | None:
        measured = self.rates.seconds(self.devices, work)
        if measured is None and self._seconds_per_unit is not None:
            return work.units * self._seconds_per_unit
        return measured

    def _estimate(self, works: Works) -> Estimate:
        return estimate_work(works, self._seconds_of, self.slots())


NONE: Mapping[str, int] = MappingProxyType({})
LATEST = 50  # the throughput is that of this many results
SLOWEST = 3  # jobs listed in the summary


class RunFigures:
    """Throughput and load of one run. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._began: float | None = None  # when the first job began
        self._ends: deque[float] = deque(maxlen=LATEST)
        self._slowest: list[tuple[float, str, str]] = []
        self._busy = 0.0

    def begin(self, now: float) -> None:
        """Note when the first job begins."""
        if self._began is None:
            self._began = now
            self._ends.append(now)

    def end(self, result: JobResult, now: float) -> None:
        """Count a job that has ended."""
        self._busy += result.seconds
        if result.status == "done" and not result.job.draft:
            self._ends.append(now)
            job = result.job
            slowest = [*self._slowest, (result.seconds, job.content, job.style)]
            self._slowest = sorted(slowest, reverse=True)[:SLOWEST]

    def per_hour(self, now: float | None = None) -> float | None:
        """Recent pairs an hour; ``now`` is None while nothing runs: idle time does not count."""
        if len(self._ends) < 2:
            return None
        lasted = max(self._ends[-1], now or 0.0) - self._ends[0]
        return pairs_per_hour(len(self._ends) - 1, lasted)

    def busy(self, slots: int) -> float | None:
        """The share of time in which slots were busy, from the first job to the last, 0 to 1."""
        if self._began is None or self._ends[-1] <= self._began:
            return None
        return min(1.0, self._busy / (self._ends[-1] - self._began) / max(1, slots))

    def summary(self, slots: int, failures: Mapping[str, int] = NONE) -> dict[str, Any]:
        """The run in figures, for ``--json`` and :func:`describe_summary`.

        Args:
            slots: How many jobs run at a time.
            failures: How many pairs and files have failed, by reason code.
        """
        rate, busy = self.per_hour(), self.busy(slots)
        return {
            "per_hour": rate and round(rate, 1),
            "busy": busy and round(busy, 3),
            "slowest": [
                {"content": content, "style": style, "seconds": round(seconds, 3)}
                for seconds, content, style in self._slowest
            ],
            "failures": dict(failures),
        }


def describe_results(summary: Mapping[str, Any]) -> str:
    """How the pairs and files of a run have ended, in one line."""
    names = ("done", "failed", "skipped", "not_taken")
    return Counts(**{name: summary[name] for name in names}).results() or "0 done"


def describe_summary(summary: Mapping[str, Any]) -> list[str]:
    """A summary in a few lines; none where nothing was rendered."""
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
