"""A device slot as the daemon sees it: a process, the jobs it was given, and its signs of life."""

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
from pipeline.system.interpreter import child_environment, python_command
from pipeline.workers.messages import (
    AHEAD,
    Begun,
    Event,
    GivenBack,
    Place,
    Ready,
    Refused,
    Stop,
    Take,
)
from pipeline.workers.stall_watch import Silence
from pipeline.workers.worker_process import STOP_SECONDS, STOPS

log = logging.getLogger("pipeline.slots")  # the name operators see

_PROGRAM = "from pipeline.workers.worker_process import main; main()"
TOGETHER_SIDE = 2048  # px; larger pictures have the memory of a process to themselves
WARM_STYLES = 8  # paintings that a process remembers (see worker)

REFUSED_SECONDS = 300.0  # after which a device that could not be used is tried again


@dataclass(slots=True)
class Given:
    """A job in a slot."""

    job: Job
    staging: Path
    sent: bool = False  # to the process
    begun: bool = False  # it has, or has had, the device
    moving: bool = False  # asked back, for a slot that has nothing to do


class Slot:
    """One process bound to a device; started when first needed, and again after a crash."""

    def __init__(
        self, number: int, device: str, threads: int, place: Place, clock: Callable[[], float]
    ) -> None:
        self.number, self.device, self.threads, self.place = number, device, threads, place
        self.given: list[Given] = []  # oldest first
        self.refused = ""  # why its device cannot be used, when it was last tried
        self._refused_at = 0.0
        self.found: tuple[tuple[str, int], ...] = ()  # what its process found its device to be
        self.photo = ""  # SHA-256 of the last photo
        self.styles: deque[str] = deque(maxlen=WARM_STYLES)
        self.pipe: Connection[Any, Any] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._clock = clock
        self.silence = Silence(clock)

    # --- giving -------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many jobs it would take."""
        return 0 if self.left_out else AHEAD - len(self.given)

    @property
    def left_out(self) -> bool:
        """Whether its device could not be used, and is not tried again yet."""
        return bool(self.refused) and self._clock() < self._refused_at + REFUSED_SECONDS

    def renew(self) -> None:
        """Try its device again with the next job."""
        self.refused = ""

    def warmth(self, job: Job) -> int:
        """0 where the photo is remembered, 1 where only the painting is, 2 where neither is."""
        return 0 if job.sha256 == self.photo else 1 if job.style in self.styles else 2

    def take(self, job: Job, staging: Path) -> None:
        """Take a job, now or after the one it has."""
        self.photo = job.sha256
        self.styles.append(job.style)
        self.given.append(Given(job, staging))
        self._send()

    def start(self) -> None:
        """Start the process, if it is not there."""
        if self.process is not None and self.process.poll() is None:
            return
        self.pipe, theirs = Pipe()
        log = self.place.state and self.place.state / "logs" / f"worker-{self.number}.log"
        self.found = ()
        # Never a fork of this process: CUDA cannot be used after one.
        try:
            with theirs, _signals_later(), limit_threads(self.threads):
                self.process = subprocess.Popen(  # noqa: S603  # ourselves
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
        with suppress(OSError):  # died at once: drain() finds the pipe closed and says so
            self.pipe.send((self.device, self.threads, self.place, log))

    def _send(self) -> None:
        """Send what may be sent: a job that needs all memory waits until it is alone."""
        sent = [given for given in self.given if given.sent]
        for given in self.given[len(sent) :]:
            if sent and (_apart(given.job) or any(_apart(other.job) for other in sent)):
                return
            if not sent:
                if given.job.caution:
                    self.close(force=True)  # after a failure: fresh memory and a fresh device
                self.start()
                self.silence.look()
                self.silence.heard(None)
                self.silence.new_job()
            if self.pipe is None:
                return  # it could not be started: drain() gives the jobs back
            with suppress(OSError):  # died meanwhile: drain() finds the pipe closed and says so
                self.pipe.send(Take(given.job, given.staging))
            given.sent = True
            sent.append(given)

    # --- hearing ------------------------------------------------------------------------

    def drain(self) -> list[Event]:
        """What the process has said."""
        events: list[Event] = []
        if self.pipe is None and self.refused and self.given:
            return self._cannot(self.refused)
        try:
            while self.pipe is not None and self.pipe.poll():
                events += self._heard(self.pipe.recv())
        except (EOFError, OSError):
            events += self._crashed()
        return events

    def _heard(self, word: Any) -> list[Event]:
        self.silence.heard(word)
        if isinstance(word, Ready):
            self.found, self.refused = word.devices, ""
        elif isinstance(word, Refused):
            return self._cannot(word.why)
        elif isinstance(word, Begun):
            self.silence.new_job()
            for given in self.given:
                given.begun = given.begun or given.job.id == word.job
        elif isinstance(word, JobResult | GivenBack):
            self.given = [given for given in self.given if given.job.id != word.job.id]
            self._send()
            return [word]
        return [word] if isinstance(word, Progress) else []

    def watch(self) -> list[Event]:
        """What becomes of jobs whose process is silent for too long: it is ended."""
        self.silence.look()
        if not self.found:
            self.silence.beat = 0.0  # still starting: libraries load without a word
        wrong = self.silence.too_long(self.place.limits.stall_seconds)
        if not wrong or not any(given.sent for given in self.given):
            return []
        self.close(force=True)
        why = f"the worker on {self.device} {wrong} and was ended"
        return self._lost(Failure(Reason.STALLED, why))

    def _crashed(self) -> list[Event]:
        assert self.process is not None  # noqa: S101  # its pipe was there
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(STOP_SECONDS)
        cause = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit {code}"
        self.close(force=True)
        if not self.found:  # it never came to any job
            return self._cannot(f"the worker process on {self.device} ended at its start ({cause})")
        why = f"the worker process on {self.device} ended ({cause})"
        return self._lost(Failure(Reason.WORKER_CRASHED, why))

    def _lost(self, failure: Failure) -> list[Event]:
        """Jobs that had begun have failed, the others come back; one must answer for the loss."""
        given, self.given = self.given, []
        jobs = [one.job.id for one in given]
        facts = {"code": failure.code, "slot": self.number, "jobs": jobs, "what": failure.message}
        log.warning("worker_lost", extra={"facts": facts})
        if given and not any(one.begun for one in given):
            given[0].begun = True
        return [
            JobResult(one.job, "failed", device=self.device, error=failure)
            if one.begun
            else GivenBack(one.job)
            for one in given
        ]

    def _cannot(self, why: str) -> list[Event]:
        self._refuse(why)
        self.close(force=True)
        given, self.given = self.given, []
        return [GivenBack(one.job) for one in given]

    def _refuse(self, why: str) -> None:
        self.refused, self._refused_at = why, self._clock()

    # --- stopping -----------------------------------------------------------------------

    def interrupt(self) -> list[Event]:
        """Ask for all jobs back; those that the process does not have yet come at once."""
        unsent = [given.job for given in self.given if not given.sent]
        self.given = [given for given in self.given if given.sent]
        if self.given:
            self._say(Stop())
        return [GivenBack(job) for job in unsent]

    def ask_back(self) -> Given | None:
        """Something that has not begun, for another slot: it comes as GivenBack, or is begun."""
        waiting = [given for given in self.given[1:] if not given.begun and not given.moving]
        if not waiting:
            return None
        if waiting[0].sent:
            self._say(Stop(waiting[0].job.id))
        waiting[0].moving = True
        return waiting[0]

    def _say(self, word: object) -> None:
        with suppress(OSError):  # already gone; drain() says so
            if self.pipe is not None:
                self.pipe.send(word)

    def close(self, force: bool) -> None:
        """End the process; with ``force`` at once."""
        if self.process is None:
            return
        if force:
            self.process.kill()
        if self.pipe is not None:
            self.pipe.close()  # the child ends when it finds nobody at the other end
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = self.pipe = None


def _apart(job: Job) -> bool:
    """Whether a job needs its process to itself: a large picture, or one that failed before."""
    size = job.recipe.transfer.size
    return bool(job.caution) or size == "source" or size > TOGETHER_SIDE


@contextmanager
def _signals_later() -> Iterator[None]:
    """Ctrl-C reaches the whole group: a child still starting up would end in a traceback.

    (And a service manager sends SIGTERM to the whole group.)

    It inherits what is blocked here; the parent is told of the signal right after.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
