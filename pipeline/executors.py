"""Where jobs run: one spawned process per device slot.

A process of its own keeps a crash of the engine, a leak or a hang away from the daemon, and lets
the dashboard move while torch computes. Talk goes over a pipe: jobs down, Progress and JobResult
up. A child whose parent is gone ends by itself.
"""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pipeline.errors import Reason
from pipeline.jobs import Failure, Job, JobResult, Progress

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A job that was stopped before its end, on request."""

    job: Job


Event = Progress | JobResult | GivenBack


class LocalExecutor:
    """Slots on this machine, each a process bound to a device; started when first needed."""

    def __init__(self, devices: Sequence[str]) -> None:
        threads = max(1, (os.cpu_count() or 1) // max(1, len(devices)))
        self._slots = [_Slot(device, threads) for device in devices]

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
        return [event for pipe in ready for event in busy[pipe].drain()]  # type: ignore[index]

    def interrupt(self) -> None:
        """Ask running jobs to stop; each comes back as GivenBack."""
        for slot in self._slots:
            slot.interrupt()

    def close(self, force: bool = False) -> None:
        """End all processes; with ``force`` at once."""
        for slot in self._slots:
            slot.close(force)


class _Slot:
    def __init__(self, device: str, threads: int) -> None:
        self.device, self.threads = device, threads
        self.job: Job | None = None
        self.pipe: Connection[Any, Any] | None = None
        self.process: Any = None

    def begin(self, job: Job, staging: Path) -> None:
        self._start_process()
        self.job = job
        assert self.pipe is not None  # noqa: S101  # set by _start_process, for the type checker
        with suppress(OSError):  # died meanwhile: drain() finds the pipe closed and says so
            self.pipe.send((job, staging))

    def _start_process(self) -> None:
        if self.process is not None and self.process.is_alive():
            return
        context = multiprocessing.get_context("spawn")  # CUDA cannot be used after a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, self.device, self.threads), daemon=True
        )
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
        if not isinstance(event, Progress):
            self.job = None
        return event

    def _crashed(self) -> JobResult:
        job, self.job = self.job, None
        assert job is not None  # noqa: S101  # drained only while a job runs
        self.process.join(STOP_SECONDS)
        code = self.process.exitcode
        cause = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit {code}"
        self.process = None
        message = f"the worker process on {self.device} ended ({cause})"
        failure = Failure(Reason.WORKER_CRASHED, message)
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


def _serve(pipe: "Connection[Any, Any]", device: str, threads: int) -> None:
    """Run the child: jobs from the pipe until it closes."""
    # Ctrl-C reaches the whole process group; stopping is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    from pipeline.worker import Bench, Interrupted, run_job

    torch.set_num_threads(threads)
    while True:
        try:
            message = pipe.recv()
            if message is None:
                continue  # a request to stop that came after the end of its job
            job, staging = message
            try:
                result: Any = run_job(job, Bench(device, staging), pipe.send, lambda: _asked(pipe))
            except Interrupted:
                result = GivenBack(job)
            pipe.send(result)
        except (EOFError, OSError):
            return  # the parent is gone


def _asked(pipe: "Connection[Any, Any]") -> bool:
    """Whether the parent wants this job stopped. Raises EOFError when it is gone."""
    return pipe.poll() and pipe.recv() is None
