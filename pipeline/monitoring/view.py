"""The state that the dashboard shows, as plain data: the service fills it, others draw it."""

from collections import deque
from dataclasses import dataclass, field
from itertools import count

from pipeline.jobs.job import JobResult, Progress, Status
from pipeline.monitoring.estimate import pairs_per_hour
from pipeline.monitoring.terminal.preview import Preview
from pipeline.system.text import format_duration

REMEMBERED = 100  # results kept for showing; the counts go on


@dataclass(slots=True)
class Lane:
    """A running pair of photo and style, and its latest progress."""

    job: str
    content: str
    style: str
    device: str = ""
    progress: Progress | None = None
    preview: Preview | None = None  # the last one sent; most looks at a job bring none
    rate: float = 0.0  # steps/s of late
    slot: int = 0  # its place among the lanes: the lowest that is free when it begins

    def update(self, progress: Progress) -> None:
        """Take over the job's progress."""
        before, self.progress = self.progress, progress
        self.preview = progress.preview or self.preview
        seconds = progress.seconds - (before.seconds if before else 0)
        steps = progress.step - (before.step if before else 0)
        if seconds > 0 and steps >= 0:
            # Smoothed, yet forgetful: a step at the next scale costs about four times as much.
            self.rate += (steps / seconds - self.rate) * (0.3 if self.rate else 1.0)

    @property
    def fraction(self) -> float:
        """How much of the job's steps is done, 0 to 1."""
        return min(1.0, self.progress.step / max(1, self.progress.steps)) if self.progress else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What the job itself expects; None before its first word."""
        return self.progress.seconds_left if self.progress else None

    @property
    def left(self) -> str:
        """Time left, in words."""
        return format_duration(self.seconds_left)

    @property
    def details(self) -> list[str]:
        """What else there is to say, the most wanted first."""
        now = self.progress
        if now is None:
            return ["starting"]
        return [
            f"scale {now.scale}/{now.scales} ({now.side} px)",
            f"step {now.step:>{len(str(now.steps))}}/{now.steps}",
            f"{self.rate:.1f} steps/s",
            f"loss {now.loss:.3g}",
        ]


@dataclass(frozen=True, slots=True)
class Result:
    """How a pair, or a file that never became one (its ``style`` is empty), ended."""

    at: float  # seconds since the epoch
    content: str
    style: str
    status: Status
    seconds: float = 0.0
    outputs: tuple[str, ...] = ()
    code: str = ""
    message: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the whole queue is worked off; None where that is unknown."""

    per_hour: float | None  # pairs
    seconds_left: float | None


@dataclass(slots=True)
class View:
    """All that is shown. Times are seconds since the epoch; None: not known yet.

    ``done``, ``failed`` and ``skipped`` count this run's results: see ``add_result``.
    """

    inbox: str = ""
    outbox: str = ""
    device: str = ""
    preset: str = ""
    message: str = ""  # "watching", "nothing to do", "paused until 22:00"
    started_at: float = 0.0
    queued: int = 0
    settling: int = 0  # files that are still being written
    done: int = 0
    failed: int = 0
    skipped: int = 0
    per_hour: float | None = None  # pairs
    seconds_left: float | None = None  # for the whole queue
    running: list[Lane] = field(default_factory=list)
    recent: deque[Result] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    failures: deque[Result] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    preview: Preview | None = None  # the last picture, kept until the next one arrives

    @property
    def ended(self) -> int:
        """How many results this run has had."""
        return self.done + self.failed + self.skipped

    @property
    def working(self) -> list[Lane]:
        """Lanes whose device is at work on them, or will be at once; a row's place is its device's.

        Executors take jobs in advance: those of a device that has reported progress of another job
        wait.
        """
        busy = {lane.device for lane in self.running if lane.progress}
        lanes = (lane for lane in self.running if lane.progress or lane.device not in busy)
        return sorted(lanes, key=lambda lane: (len(lane.device), lane.device, lane.slot))

    @property
    def ahead(self) -> list[Lane]:
        """Lanes of jobs that were taken in advance."""
        working = {lane.job for lane in self.working}
        return [lane for lane in self.running if lane.job not in working]

    @property
    def pace(self) -> Pace:
        """The service's figures; else those of the last results and the running lanes."""
        took = [result.seconds for result in self.recent if result.status == "done"] or [
            lane.progress.seconds + lane.progress.seconds_left
            for lane in self.working
            if lane.progress
        ]
        lanes = max(1, len(self.working))
        mean = sum(took) / len(took) if took else 0.0
        per_hour, left = self.per_hour, self.seconds_left
        if per_hour is None:
            per_hour = pairs_per_hour(lanes, mean)
        if left is None and mean > 0 and (self.queued or self.running):
            begun = sum(lane.seconds_left or mean for lane in self.working)
            left = ((self.queued + len(self.ahead)) * mean + begun) / lanes
        return Pace(per_hour, left)

    def begin_job(self, job: str, content: str, style: str, device: str = "") -> None:
        """A device slot has taken a job: its lane stands where the slot's last one stood."""
        taken = {lane.slot for lane in self.running}
        slot = next(number for number in count() if number not in taken)
        self.running.append(Lane(job, content, style, device, slot=slot))
        self.running.sort(key=lambda lane: lane.slot)

    def update_progress(self, progress: Progress) -> None:
        """A running job has said how far it is."""
        for lane in self.running:
            if lane.job == progress.job_id:
                lane.update(progress)
                self.preview = progress.preview or self.preview

    def remove_job(self, job: str) -> None:
        """A job left its slot without a result: interrupted, or back in the queue."""
        self.running = [lane for lane in self.running if lane.job != job]

    def end_job(self, result: JobResult, at: float) -> None:
        """A job has ended, well or not."""
        job, error = result.job, result.error
        self.remove_job(job.id)
        self.add_result(
            Result(
                at=at,
                content=job.content,
                style=job.style,
                status=result.status,
                seconds=result.seconds,
                outputs=tuple(output.path for output in result.outputs),
                code=error.code if error else "",
                message=error.message if error else "",
                job=job.id,
            )
        )

    def add_result(self, result: Result) -> None:
        """Remembers and counts a result; a file that never became a job comes straight here."""
        self.recent.append(result)
        if result.status == "failed":
            self.failures.append(result)
            self.failed += 1
        elif result.status == "skipped":
            self.skipped += 1
        else:
            self.done += 1


def summary(view: View, now: float) -> str:
    """The run in one line."""
    if not view.ended:
        return view.message or "nothing was done"
    counts = ((view.done, "done"), (view.failed, "failed"), (view.skipped, "skipped"))
    said = ", ".join(f"{count} {status}" for count, status in counts if count)
    where = f"; pictures in {view.outbox}" if view.done else ""
    return f"{said} in {format_duration(now - view.started_at)}{where}"
