"""A device slot as the daemon sees it: its process, its jobs, and the watch over its heartbeat."""

import logging
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from pipeline.errors import Failure, Reason
from pipeline.jobs.job import Job, JobResult, Progress
from pipeline.system.cores import limit_threads
from pipeline.system.ending import await_killed
from pipeline.system.interpreter import child_environment, python_command
from pipeline.system.interrupt import STOP_SIGNALS
from pipeline.workers.messages import (
    AHEAD,
    DeviceTaken,
    DoJob,
    Event,
    GivenBack,
    Ready,
    Refused,
    Stop,
    WorkerSettings,
)
from pipeline.workers.stall_watch import StallWatch
from pipeline.workers.worker_process import STOP_SECONDS

log = logging.getLogger("pipeline.slots")  # the name operators see

_PROGRAM = "from pipeline.workers.worker_process import main; main()"
TOGETHER_SIDE = 2048  # px; larger pictures have the memory of a process to themselves
CACHED_STYLES = 8  # paintings that a process keeps decoded (`pipeline.render.run_job`)

# A stop takes at most 10 s, whatever hangs: a process with jobs that sends no heartbeat, then those
# without jobs that do not end by themselves. Killing either loses nothing that is not a checkpoint.
DEAF_SECONDS = 5.0
END_SECONDS = 2.0
REFUSED_SECONDS = 300.0  # after which a device that could not be used is tried again


@dataclass(slots=True)
class SlotJob:
    """A job in a slot."""

    job: Job
    staging: Path
    sent: bool = False  # to the process
    started: bool = False  # it has or had the device
    recalled: bool = False  # requested back, for an idle slot


class Slot:
    """One process bound to a device; started when first needed, and again after a crash."""

    def __init__(
        self,
        number: int,
        device: str,
        threads: int,
        place: WorkerSettings,
        clock: Callable[[], float],
    ) -> None:
        self.number, self.device, self.threads, self.place = number, device, threads, place
        self.jobs: list[SlotJob] = []  # oldest first
        self.refused = ""  # why its device could not be used at the last try
        self._refused_at = 0.0
        self.found: tuple[tuple[str, int], ...] = ()  # devices that its process found
        self.photo = ""  # SHA-256 of the last photo
        self.styles: deque[str] = deque(maxlen=CACHED_STYLES)
        self.pipe: Connection[Any, Any] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._clock = clock
        self.stall_watch = StallWatch(clock)
        self._interrupted = False  # whether its jobs were requested back

    # --- sending jobs -------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """How many more jobs it can take."""
        return 0 if self.unavailable else AHEAD - len(self.jobs)

    @property
    def unavailable(self) -> bool:
        """Whether its device could not be used and is not due for another try."""
        return bool(self.refused) and self._clock() < self._refused_at + REFUSED_SECONDS

    def renew(self) -> None:
        """Try its device again with the next job."""
        self.refused = ""

    def cache_rank(self, job: Job) -> int:
        """0 if the process has the photo in memory, 1 if only the painting, 2 if neither."""
        return 0 if job.sha256 == self.photo else 1 if job.style in self.styles else 2

    def take(self, job: Job, staging: Path) -> None:
        """Take a job, to run now or after the present one."""
        self.photo = job.sha256
        self.styles.append(job.style)
        self._interrupted = False
        self.jobs.append(SlotJob(job, staging))
        self._send_jobs()

    def start(self) -> None:
        """Start the process, unless it is running."""
        if self.process is not None and self.process.poll() is None:
            return
        self.pipe, theirs = Pipe()
        log = self.place.state and self.place.state / "logs" / f"worker-{self.number}.log"
        self.found = ()
        # Never a fork of this process: CUDA cannot be used after a fork.
        try:
            with theirs, _signals_blocked(), limit_threads(self.threads):
                self.process = subprocess.Popen(  # noqa: S603  # our own program
                    python_command(_PROGRAM, str(theirs.fileno())),
                    env=child_environment(),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
        except OSError as error:
            self.pipe.close()
            self.process = self.pipe = None
            self._refuse(f"no worker process can be started: {error.strerror or error}")
            return
        with suppress(OSError):  # it died at once: drain() finds the closed pipe and reports it
            self.pipe.send((self.device, self.threads, self.place, log))

    def _send_jobs(self) -> None:
        """Send jobs to the process; a job that needs all memory waits until it is alone."""
        sent = [slot_job for slot_job in self.jobs if slot_job.sent]
        for slot_job in self.jobs[len(sent) :]:
            if sent and (
                _needs_process_alone(slot_job.job)
                or any(_needs_process_alone(other.job) for other in sent)
            ):
                return
            if not sent:
                if slot_job.job.caution:
                    self.close(force=True)  # after a failure: fresh memory and a fresh device
                self.start()
                self.stall_watch.tick()
                self.stall_watch.message_received(None)
                self.stall_watch.job_started()
            if self.pipe is None:
                return  # it could not be started: drain() gives the jobs back
            with suppress(OSError):  # it died: drain() finds the closed pipe and reports it
                self.pipe.send(DoJob(slot_job.job, slot_job.staging))
            slot_job.sent = True
            sent.append(slot_job)

    # --- receiving messages -------------------------------------------------------------------

    def drain(self) -> list[Event]:
        """Handle the messages that have arrived; return their events."""
        events: list[Event] = []
        if self.pipe is None and self.refused and self.jobs:
            return self._give_up_device(self.refused)
        try:
            while self.pipe is not None and self.pipe.poll():
                events += self._handle_message(self.pipe.recv())
        except (EOFError, OSError):
            events += self._handle_crash()
        return events

    def _handle_message(self, message: Any) -> list[Event]:
        self.stall_watch.message_received(message)
        if isinstance(message, Ready):
            self.found, self.refused = message.devices, ""
        elif isinstance(message, Refused):
            return self._give_up_device(message.why)
        elif isinstance(message, DeviceTaken):
            self.stall_watch.job_started()
            for slot_job in self.jobs:
                slot_job.started = slot_job.started or slot_job.job.id == message.job
        elif isinstance(message, JobResult | GivenBack):
            self.jobs = [slot_job for slot_job in self.jobs if slot_job.job.id != message.job.id]
            self._send_jobs()
            return [message]
        return [message] if isinstance(message, Progress) else []

    def watch(self) -> list[Event]:
        """Kill a process that is silent for too long; return the events of its jobs."""
        self.stall_watch.tick()
        if not self.found:
            self.stall_watch.since_heartbeat = 0.0  # still starting: loading sends no message
        if self._interrupted and self.stall_watch.since_heartbeat > DEAF_SECONDS:
            self.close(force=True)
            return self._give_back_all()
        problem = self.stall_watch.diagnose(self.place.limits.stall_seconds)
        if not problem or not any(slot_job.sent for slot_job in self.jobs):
            return []
        self.close(force=True)
        why = f"the worker on {self.device} {problem} and was killed"
        return self._fail_started_jobs(Failure(Reason.STALLED, why))

    def _handle_crash(self) -> list[Event]:
        assert self.process is not None  # noqa: S101  # it had a pipe
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(STOP_SECONDS)
        cause = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit {code}"
        self.close(force=True)
        if not self.found:  # it crashed before its first job
            return self._give_up_device(
                f"the worker process on {self.device} ended while starting ({cause})"
            )
        why = f"the worker process on {self.device} ended ({cause})"
        return self._fail_started_jobs(Failure(Reason.WORKER_CRASHED, why))

    def _fail_started_jobs(self, failure: Failure) -> list[Event]:
        """Fail the started jobs and give the others back; at least one job counts as failed."""
        lost, self.jobs = self.jobs, []
        jobs = [lost_job.job.id for lost_job in lost]
        facts = {"code": failure.code, "slot": self.number, "jobs": jobs, "what": failure.message}
        log.warning("worker_lost", extra={"facts": facts})
        if lost and not any(lost_job.started for lost_job in lost):
            lost[0].started = True
        return [
            JobResult(lost_job.job, "failed", device=self.device, error=failure)
            if lost_job.started
            else GivenBack(lost_job.job)
            for lost_job in lost
        ]

    def _give_up_device(self, why: str) -> list[Event]:
        self._refuse(why)
        self.close(force=True)
        return self._give_back_all()

    def _give_back_all(self) -> list[Event]:
        returned, self.jobs = self.jobs, []
        return [GivenBack(lost_job.job) for lost_job in returned]

    def _refuse(self, why: str) -> None:
        self.refused, self._refused_at = why, self._clock()

    # --- stopping -----------------------------------------------------------------------------

    def interrupt(self) -> list[Event]:
        """Request all jobs back; those not sent yet are returned at once."""
        if self.jobs and not self.found:  # still loading, or hung in it: nothing has begun
            self.close(force=True)
            return self._give_back_all()
        unsent = [slot_job.job for slot_job in self.jobs if not slot_job.sent]
        self.jobs = [slot_job for slot_job in self.jobs if slot_job.sent]
        self._interrupted = bool(self.jobs)
        if self.jobs:
            self._send_message(Stop())
        return [GivenBack(job) for job in unsent]

    def recall_waiting_job(self) -> SlotJob | None:
        """Request a waiting job back, for another slot: it comes as GivenBack, or starts here."""
        waiting = [
            slot_job for slot_job in self.jobs[1:] if not slot_job.started and not slot_job.recalled
        ]
        if not waiting:
            return None
        if waiting[0].sent:
            self._send_message(Stop(waiting[0].job.id))
        waiting[0].recalled = True
        return waiting[0]

    def _send_message(self, message: object) -> None:
        with suppress(OSError):  # the process is gone; drain() reports it
            if self.pipe is not None:
                self.pipe.send(message)

    def close(self, force: bool) -> None:
        """End the process; with ``force``, kill it at once."""
        self.request_end(force)
        self.await_end(END_SECONDS)

    def request_end(self, force: bool) -> None:
        """Ask the process to end; with ``force``, kill it."""
        if self.process is not None and force:
            self.process.kill()
        if self.pipe is not None:
            self.pipe.close()  # the child ends when it finds the pipe closed

    def await_end(self, seconds: float) -> None:
        """Wait for a process that was asked to end; kill it after this time."""
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await_killed(self.process)
        self.process = self.pipe = None


def _needs_process_alone(job: Job) -> bool:
    """Whether a job needs its process to itself: a large picture, or one that failed before."""
    size, within = job.recipe.transfer.size, job.recipe.transfer.within
    return bool(job.caution or within) or size == "source" or size > TOGETHER_SIDE


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block stop signals while a child starts.

    Ctrl-C, and SIGTERM from a service manager, reach the whole process group: a child that is still
    starting would end with a traceback. It inherits the blocked signals; the parent gets a signal
    right after this block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
