"""The state that the dashboard shows, as plain data. `terminal.frame` draws it.

The service fills a `View`; dashboard, gallery (`live`), metrics and `status` read it. To change how
the dashboard looks, see `terminal/frame.py`. To show a new value, add it to `View` first.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from itertools import count

from pipeline.jobs.job import JobResult, Progress, Status
from pipeline.monitoring.counts import DRAFT, Counts, Tally
from pipeline.monitoring.estimate import pairs_per_hour
from pipeline.monitoring.terminal.preview import Preview
from pipeline.system.text import format_count, format_duration

MAX_RESULTS = 100  # results kept to be shown; the counts include older ones


@dataclass(slots=True)
class Lane:
    """A running pair of photo and style, and its latest progress."""

    job: str
    content: str
    style: str
    device: str = ""
    progress: Progress | None = None
    preview: Preview | None = None  # the last one sent; most progress messages have none
    rate: float = 0.0  # recent steps/s
    draft: bool = False
    slot: int = 0  # its place among the lanes: the lowest one free when the job starts

    def update(self, progress: Progress) -> None:
        """Store the latest progress of the job."""
        before, self.progress = self.progress, progress
        self.preview = progress.preview or self.preview
        seconds = progress.seconds - (before.seconds if before else 0)
        steps = progress.step - (before.step if before else 0)
        if seconds > 0 and steps >= 0:
            # Smoothed over few values: a step at the next scale costs about four times as much.
            self.rate += (steps / seconds - self.rate) * (0.3 if self.rate else 1.0)

    @property
    def fraction(self) -> float:
        """How much of the job's steps is done, 0 to 1."""
        return min(1.0, self.progress.step / max(1, self.progress.steps)) if self.progress else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The job's own estimate; None before its first progress."""
        return self.progress.seconds_left if self.progress else None

    @property
    def left(self) -> str:
        """Time left, as text; unknown while the picture is enhanced and written."""
        ended = self.progress and self.progress.finishing and not self.progress.seconds_left
        return format_duration(None if ended else self.seconds_left)

    @property
    def phase(self) -> str:
        """What the job does now: `starting`, `finishing`, or the scale that it is at."""
        now = self.progress
        if now is None:
            return "starting"
        return "finishing" if now.finishing else f"scale {now.scale}/{now.scales} ({now.side} px)"

    @property
    def details(self) -> list[str]:
        """Further facts, the most useful first."""
        now, draft = self.progress, ["draft"] * self.draft
        if now is None or (now.finishing and now.step == now.steps):
            return [*draft, self.phase]
        return [
            *draft,
            self.phase,
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
    draft: bool = False  # the full picture follows


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the whole queue is processed; None where that is unknown."""

    per_hour: float | None  # pairs
    seconds_left: float | None


@dataclass(slots=True)
class View:
    """Everything that is shown. Times are seconds since the epoch; None: not known yet."""

    inbox: str = ""
    outbox: str = ""
    device: str = ""
    preset: str = ""
    message: str = ""  # "watching", "nothing to do", "paused until 22:00"
    started_at: float = 0.0
    queued: int = 0
    settling: int = 0  # files that are still being written
    waiting: int = 0  # pairs that wait for their style
    results: int = 0  # all so far, also several of one pair
    drafts: int = 0  # those among them that are drafts
    tally: Tally = field(default_factory=Tally)  # how each pair ended; `add_result` fills it
    per_hour: float | None = None  # pairs
    seconds_left: float | None = None  # for the whole queue
    running: list[Lane] = field(default_factory=list)
    recent: deque[Result] = field(default_factory=lambda: deque(maxlen=MAX_RESULTS))
    failures: deque[Result] = field(default_factory=lambda: deque(maxlen=MAX_RESULTS))
    preview: Preview | None = None  # the last picture, kept until the next one arrives

    @property
    def ended(self) -> int:
        """How many steps of the run have ended: pairs, files, and drafts."""
        return sum(self.tally.counts().ended().values()) + self.drafts

    @property
    def done(self) -> int:
        """How many pairs this run has painted in full."""
        return self.tally.counts().done

    @property
    def counts(self) -> Counts:
        """What waits and runs now, and the results of this run."""
        return replace(
            self.tally.counts(),
            queued=self.queued + len(self.ahead),
            running=len(self.working),
            waiting=self.waiting,
            settling=self.settling,
        )

    @property
    def working(self) -> list[Lane]:
        """Lanes that have the device, or are about to get it, sorted by device.

        Executors take jobs in advance: a job waits while its device reports progress of another.
        """
        busy = {lane.device for lane in self.running if lane.progress}
        lanes = (lane for lane in self.running if lane.progress or lane.device not in busy)
        return sorted(lanes, key=lambda lane: (len(lane.device), lane.device, lane.slot))

    @property
    def ahead(self) -> list[Lane]:
        """Lanes of jobs that an executor has taken in advance."""
        working = {lane.job for lane in self.working}
        return [lane for lane in self.running if lane.job not in working]

    @property
    def pace(self) -> Pace:
        """The service's figures, or else an estimate from last results and running lanes."""
        durations = [result.seconds for result in self.recent if result.status == "done"] or [
            lane.progress.seconds + lane.progress.seconds_left
            for lane in self.working
            if lane.progress
        ]
        lanes = max(1, len(self.working))
        mean = sum(durations) / len(durations) if durations else 0.0
        per_hour, left = self.per_hour, self.seconds_left
        if per_hour is None:
            per_hour = pairs_per_hour(lanes, mean)
        if left is None and mean > 0 and (self.queued or self.running):
            started = sum(lane.seconds_left or mean for lane in self.working)
            left = ((self.queued + len(self.ahead)) * mean + started) / lanes
        return Pace(per_hour, left)

    def begin_job(
        self, job: str, content: str, style: str, device: str = "", *, draft: bool = False
    ) -> None:
        """Add a lane for a job that a device slot has taken, at the lowest free place."""
        taken = {lane.slot for lane in self.running}
        slot = next(number for number in count() if number not in taken)
        self.running.append(Lane(job, content, style, device, draft=draft, slot=slot))
        self.running.sort(key=lambda lane: lane.slot)

    def update_progress(self, progress: Progress) -> None:
        """Store the progress of a running job."""
        for lane in self.running:
            if lane.job == progress.job_id:
                lane.update(progress)
                self.preview = progress.preview or self.preview

    def remove_job(self, job: str) -> None:
        """Remove the lane of a job without result: it was interrupted or is back in the queue."""
        self.running = [lane for lane in self.running if lane.job != job]

    def end_job(self, result: JobResult, at: float) -> None:
        """Remove the lane of a job that ended, and add its result."""
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
        """Store and count a result; a file that never became a job comes straight here."""
        self.recent.append(result)
        if result.status == "failed":
            self.failures.append(result)
        self.results += 1
        is_draft = result.draft and result.status == "done"  # a failed one has no full picture
        self.drafts += is_draft
        status = DRAFT if is_draft else result.status
        self.tally.add(result.content, result.style, status, result.code)


def summarize_run(view: View, now: float) -> str:
    """Summarize the run in one line."""
    results = view.counts.results() or (format_count(view.drafts, "draft") if view.drafts else "")
    if not results:
        return view.message or "nothing was done"
    where = f"; saved to {view.outbox}" if view.done or view.drafts else ""
    return f"{results} in {format_duration(now - view.started_at)}{where}"
