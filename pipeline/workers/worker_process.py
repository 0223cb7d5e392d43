"""The process of a device slot: jobs come down a pipe, one at a time has the device.

Two jobs may be here at once. While one has the device, the next one's photo is decoded; as soon as
the device is free the next one takes it, and the last one's pictures are written meanwhile. So the
device never waits for a disk, nor for the daemon.

    main thread   hears: jobs, requests to stop, the end of the daemon
    two threads   do the jobs; `Ticket` lets one at a time have the device
    one thread    says: what the jobs have to tell, and every second that the process is alive
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.errors import ChangedError, PipelineError
from pipeline.jobs.job import (
    Interrupted,
    Job,
    JobResult,
    Progress,
    Workspace,
)
from pipeline.system.malloc import use_one_arena
from pipeline.system.safe_files import open_regular
from pipeline.workers.messages import Beat, Begun, Do, GivenBack, Place, Ready, Refused, Stop, Take

STOP_SECONDS = 10.0
YIELD_SECONDS = 0.001  # for the next job's thread to take over
LOOK_SECONDS = 0.1  # how often a job that waits for the device asks whether it is still wanted
MAX_LOG = 1 << 20


# --- what goes down the pipe, and what comes up besides events ------------------------------


# What a terminal or a service manager sends to the whole group.
STOPS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])


# --- the process ----------------------------------------------------------------------------


def main() -> None:
    """Run the process that `device_slot` starts; its argument is the descriptor of its pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with suppress(EOFError, OSError):  # the daemon is gone again
        device, threads, place, log = pipe.recv()
        serve(pipe, device, threads, place, log)


def serve(
    pipe: "Connection[Any, Any]", device: str, threads: int, place: Place, log: Path | None
) -> None:
    """Run the process: jobs from the pipe until it closes."""
    use_one_arena()
    # Ctrl-C reaches the whole process group; stopping is the parent's decision.
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    if log is not None:
        _redirect(log)  # libraries' chatter would tear the dashboard or the JSON apart
    voice = Voice(pipe)
    voice.start()
    try:
        do, devices = set_up(device, threads, place)
    except Exception as error:  # whatever a broken torch raises while it is loaded
        if not isinstance(error, PipelineError):
            traceback.print_exc()  # into the log
        voice.say(Refused(in_words(error)))
        with suppress(EOFError, OSError):
            while True:  # until the parent has read it; it may have sent a job before
                pipe.recv()
        return
    voice.say(Ready(devices))
    room = Room(do, devices[0][0], place, voice.say)
    try:
        while True:
            room.hear(pipe.recv())
    except (EOFError, OSError):  # the parent is gone
        if not room.leave(STOP_SECONDS):
            os._exit(1)


def in_words(error: Exception) -> str:
    """Why no worker can work here: the same words in `doctor` and while work pauses."""
    if isinstance(error, PipelineError | OSError):
        return str(error)
    line = " ".join(str(error).split())[:300]
    return f"no worker can work: {type(error).__name__}: {line} (install the package again)"


def set_up(device: str, threads: int, place: Place) -> tuple[Do, tuple[tuple[str, int], ...]]:
    """What does the jobs, and the devices there are.

    Raises:
        EngineError: The device is not there.
    """
    if place.do is not None:
        do = place.do if getattr(place.do, "takes_turns", False) else _in_turn(place.do)
        return do, place.find(device) if place.find else ((device, 0),)
    from pipeline.render.machine import find_devices
    from pipeline.render.run_job import run_job, use_threads

    use_threads(threads)
    return run_job, (place.find or find_devices)(device)


def _in_turn(do: Do) -> Do:
    """Work that knows no turns, done whole in its turn."""

    def whole(
        job: Job, workspace: Workspace, on_progress: Any, should_stop: Any, turn: "Ticket"
    ) -> JobResult:
        with turn:
            result: JobResult = do(job, workspace, on_progress, should_stop)
        return result

    return whole


class Room:
    """Where jobs are done: at most two are here, one at a time has the device."""

    def __init__(self, do: Do, device: str, place: Place, say: Callable[[Any], None]) -> None:
        self.do, self.device, self.place, self.say = do, device, place, say
        self.lock = threading.Lock()
        self.tickets: dict[str, Ticket] = {}
        self.threads = ThreadPoolExecutor(2)
        self.doing: set[Future[None]] = set()

    def hear(self, word: Take | Stop) -> None:
        """Begin a job, or call off what is here."""
        if isinstance(word, Take):
            ticket = self.tickets[word.job.id] = Ticket(self, word.job.id)
            self.doing = {future for future in self.doing if not future.done()}
            self.doing.add(self.threads.submit(self._do, word, ticket))
        elif not word.job:
            for ticket in list(self.tickets.values()):
                ticket.called_off = True
        elif word.job in self.tickets:
            self.tickets[word.job].not_wanted = True

    def leave(self, seconds: float) -> bool:
        """Call everything off; whether it ended in time."""
        self.hear(Stop())
        return not wait(self.doing, seconds).not_done

    def _do(self, take: Take, ticket: "Ticket") -> None:
        place = self.place
        workspace = Workspace(
            self.device, take.staging, place.limits, place.checkpoints, place.timelapse
        )
        try:
            result: Any = self.do(take.job, workspace, self.say, ticket.asked, ticket)
        except Interrupted:
            result = GivenBack(take.job)
        except ChangedError as error:
            result = GivenBack(take.job, error.path)
        except BaseException:
            traceback.print_exc()  # into the log; the parent sees a process that crashed
            os._exit(1)
        del self.tickets[take.job.id]
        self.say(result)


class Ticket:
    """A job's claim to the device: a context that begins when the device is free.

    Raises:
        Interrupted: On entering, when the job was called off while it waited.
    """

    def __init__(self, room: Room, job: str) -> None:
        self.room, self.job = room, job
        self.called_off = False
        self.not_wanted = False  # here; heeded only while it waits

    def asked(self) -> bool:
        """Whether the job is to stop."""
        return self.called_off

    def __enter__(self) -> None:
        while not self.room.lock.acquire(timeout=LOOK_SECONDS):
            if self.called_off or self.not_wanted:
                raise Interrupted
        if self.called_off or self.not_wanted:
            self.room.lock.release()
            raise Interrupted
        self.room.say(Begun(self.job))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.room.lock.release()
        if len(self.room.tickets) > 1:
            # Python would go on here for up to 5 ms before it let the next job's thread run: a
            # device that waits. What this job has left to do is not urgent.
            time.sleep(YIELD_SECONDS)


def _redirect(log: Path) -> None:
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        fd = open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if os.fstat(fd).st_size > MAX_LOG:
            os.ftruncate(fd, 0)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)


BEAT_SECONDS = 1.0


BUSY_SHARE = 0.5  # of a core: a process that computes so much is at a long step, not hung


class Voice(threading.Thread):
    """Says everything that the process has to say, so that no job waits for a daemon that is busy.

    Of several looks at one job that could not be said yet only the last one is.
    """

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._words: list[Any] = []
        self._some = threading.Condition()
        self._at, self._cpu = time.monotonic(), time.process_time()

    def say(self, word: Any) -> None:
        """Say it as soon as it can be said; never waits."""
        with self._some:
            if isinstance(word, Progress):
                self._words = [w for w in self._words if not _same_job(w, word)]
            self._words.append(word)
            self._some.notify()

    def run(self) -> None:
        with suppress(OSError, ValueError):  # the parent is gone
            while True:
                with self._some:
                    self._some.wait_for(lambda: self._words, BEAT_SECONDS)
                    words, self._words = self._words, []
                for word in [*words, *self._beat()]:
                    self._pipe.send(word)

    def _beat(self) -> list[Beat]:
        now, cpu = time.monotonic(), time.process_time()
        if now - self._at < BEAT_SECONDS:
            return []
        busy = cpu - self._cpu > BUSY_SHARE * (now - self._at)
        self._at, self._cpu = now, cpu
        return [Beat(busy)]


def _same_job(word: Any, progress: Progress) -> bool:
    return isinstance(word, Progress) and word.job_id == progress.job_id
