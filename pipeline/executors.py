"""Where jobs run: one spawned process per device slot.

A process of its own keeps a crash of the engine, a leak or a hang away from the daemon, and lets
the dashboard move while torch computes. Talk goes over a pipe: jobs down, Progress and JobResult
up. A child whose parent is gone ends by itself; one that says nothing for too long is ended.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pipeline.errors import Reason
from pipeline.jobs import NO_LIMITS_SET, Bench, Failure, Interrupted, Job, JobResult, Progress
from pipeline.sections import Limits

STOP_SECONDS = 10.0
# A worker may be silent ten times as long as it has been before: large pictures have long steps.
STALL_FACTOR = 10.0
MAX_LOG = 1 << 20

# (job, bench, on_progress, should_stop) -> JobResult; `pipeline.worker.run_job` unless told else.
Do = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A job that was stopped before its end, on request."""

    job: Job


Event = Progress | JobResult | GivenBack


@dataclass(frozen=True, slots=True)
class Place:
    """What the worker processes may take, and where they leave what is not a result."""

    limits: Limits = NO_LIMITS_SET
    state: Path | None = None  # logs and checkpoints; absent: neither
    do: Do | None = None

    @property
    def checkpoints(self) -> Path | None:
        """Where jobs keep how far they came."""
        return self.state and self.state / "checkpoints"


class LocalExecutor:
    """Slots on this machine, each a process bound to a device; started when first needed."""

    def __init__(
        self,
        devices: Sequence[str],
        place: Place | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        threads = max(1, (os.cpu_count() or 1) // max(1, len(devices)))
        place = place or Place()
        self._clock = clock
        self._slots = [
            _Slot(number, device, threads, place, clock) for number, device in enumerate(devices)
        ]

    def free(self) -> int:
        """How many jobs can be taken now."""
        return sum(slot.job is None for slot in self._slots)

    def running(self) -> list[tuple[str, Job]]:
        """Device and job of each busy slot."""
        return [(slot.device, slot.job) for slot in self._slots if slot.job is not None]

    def submit(self, job: Job, staging: Path) -> None:
        """Hand a job to a free slot."""
        next(slot for slot in self._slots if slot.job is None).begin(job, staging)

    def poll(self, timeout: float) -> list[Event]:
        """What has happened; waits up to ``timeout`` seconds for something to happen."""
        busy = {slot.pipe: slot for slot in self._slots if slot.job is not None and slot.pipe}
        ready = wait(list(busy), timeout) if busy else []
        events = [event for pipe in ready for event in busy[pipe].drain()]  # type: ignore[index]
        return events + [event for slot in self._slots for event in slot.stalled()]

    def interrupt(self) -> None:
        """Ask running jobs to stop; each comes back as GivenBack."""
        for slot in self._slots:
            slot.interrupt()

    def close(self, force: bool = False) -> None:
        """End all processes; with ``force`` at once."""
        for slot in self._slots:
            slot.close(force)


class _Slot:
    def __init__(
        self, number: int, device: str, threads: int, place: Place, clock: Callable[[], float]
    ) -> None:
        self.number, self.device, self.threads, self.place = number, device, threads, place
        self.job: Job | None = None
        self.pipe: Connection[Any, Any] | None = None
        self.process: Any = None
        self._clock = clock
        self._heard = self._longest = 0.0

    def begin(self, job: Job, staging: Path) -> None:
        if job.caution:
            self.close(force=True)  # after a failure: with fresh memory and a fresh device
        self._start_process()
        self.job = job
        self._heard, self._longest = self._clock(), 0.0
        assert self.pipe is not None  # noqa: S101  # set by _start_process, for the type checker
        with suppress(OSError):  # died meanwhile: drain() finds the pipe closed and says so
            self.pipe.send((job, staging))

    def _start_process(self) -> None:
        if self.process is not None and self.process.is_alive():
            return
        context = multiprocessing.get_context("spawn")  # CUDA cannot be used after a fork
        self.pipe, theirs = context.Pipe()
        log = self.place.state and self.place.state / "logs" / f"worker-{self.number}.log"
        self.process = context.Process(
            target=_serve, args=(theirs, self.device, self.threads, self.place, log), daemon=True
        )
        with _signals_later():
            self.process.start()
        theirs.close()

    def drain(self) -> list[Event]:
        events: list[Event] = []
        try:
            while self.job is not None and self.pipe is not None and self.pipe.poll():
                events.append(self._received(self.pipe.recv()))
        except (EOFError, OSError):
            events.append(self._crashed())
        return events

    def _received(self, event: Event) -> Event:
        now = self._clock()
        self._longest = max(self._longest, now - self._heard)
        self._heard = now
        if not isinstance(event, Progress):
            self.job = None
        return event

    def stalled(self) -> list[Event]:
        """The failure of a job that has said nothing for too long; its process is ended."""
        silent = self._clock() - self._heard
        allowed = max(self.place.limits.stall_seconds, STALL_FACTOR * self._longest)
        if self.job is None or silent <= allowed:
            return []
        job, self.job = self.job, None
        self.close(force=True)
        message = f"the worker on {self.device} said nothing for {silent:.0f} s and was ended"
        return [self._failed(job, Failure(Reason.STALLED, message))]

    def _crashed(self) -> JobResult:
        job, self.job = self.job, None
        assert job is not None  # noqa: S101  # drained only while a job runs
        self.process.join(STOP_SECONDS)
        code = self.process.exitcode
        cause = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit {code}"
        self.process = None
        message = f"the worker process on {self.device} ended ({cause})"
        return self._failed(job, Failure(Reason.WORKER_CRASHED, message))

    def _failed(self, job: Job, failure: Failure) -> JobResult:
        return JobResult(job, "failed", device=self.device, error=failure)

    def interrupt(self) -> None:
        if self.job is not None and self.pipe is not None:
            with suppress(OSError):  # already gone; drain() says so
                self.pipe.send(None)

    def close(self, force: bool) -> None:
        if self.process is None:
            return
        if force:
            self.process.kill()
        elif self.pipe is not None:
            self.pipe.close()  # the child ends when it finds nobody at the other end
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process = None


@contextmanager
def _signals_later() -> Iterator[None]:
    """Ctrl-C reaches the whole group: a child still starting up would end in a traceback.

    (And a service manager sends SIGTERM to the whole group.)

    It inherits what is blocked here; the parent is told of the signal right after.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Its start would lift the block again, before the child's.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    pipe: "Connection[Any, Any]", device: str, threads: int, place: Place, log: Path | None
) -> None:
    """Run the child: jobs from the pipe until it closes."""
    # Ctrl-C reaches the whole process group; stopping is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if log is not None:
        _redirect(log)  # libraries' chatter would tear the dashboard or the JSON apart
    do = place.do or _torch(threads)
    while True:
        try:
            message = pipe.recv()
            if message is None:
                continue  # a request to stop that came after the end of its job
            job, staging = message
            bench = Bench(device, staging, place.limits, place.checkpoints)
            try:
                result: Any = do(job, bench, pipe.send, lambda: _asked(pipe))
            except Interrupted:
                result = GivenBack(job)
            pipe.send(result)
        except (EOFError, OSError):
            return  # the parent is gone


def _torch(threads: int) -> Do:
    from pipeline.worker import run_job, use_threads

    use_threads(threads)
    return run_job


def _redirect(log: Path) -> None:
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        long = log.exists() and log.stat().st_size > MAX_LOG
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if long else os.O_APPEND), 0o644)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)


def _asked(pipe: "Connection[Any, Any]") -> bool:
    """Whether the parent wants this job stopped. Raises EOFError when it is gone."""
    return pipe.poll() and pipe.recv() is None
