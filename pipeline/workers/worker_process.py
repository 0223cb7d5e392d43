"""The process of a device slot: receives jobs through a pipe and runs them on its device.

It runs two jobs at once, of which one has the device: meanwhile the other one decodes its photo or
writes its pictures. So the device waits neither for a disk nor for the daemon.

    main thread   receives jobs and requests to stop, and notices the end of the daemon
    two threads   run the jobs; `DeviceTurn` gives the device to one at a time
    one thread    sends messages of the jobs, and a heartbeat every second
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
from pipeline.system.interrupt import STOP_SIGNALS
from pipeline.system.malloc import use_one_arena
from pipeline.system.safe_files import open_regular
from pipeline.workers.messages import (
    DeviceTaken,
    DoJob,
    GivenBack,
    Heartbeat,
    Ready,
    Refused,
    RunJob,
    Stop,
    WorkerSettings,
)

STOP_SECONDS = 10.0
YIELD_SECONDS = 0.001  # lets the thread of the next job take over
CHECK_SECONDS = 0.1  # between two checks whether a job that waits for the device was cancelled
MAX_LOG = 1 << 20


# --- the process ----------------------------------------------------------------------------


def main() -> None:
    """Run the process that `device_slot` starts; its argument is the descriptor of its pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with suppress(EOFError, OSError):  # the daemon has already ended
        device, threads, place, log = pipe.recv()
        run_worker(pipe, device, threads, place, log)


def run_worker(
    pipe: "Connection[Any, Any]", device: str, threads: int, place: WorkerSettings, log: Path | None
) -> None:
    """Run jobs from the pipe until it closes."""
    use_one_arena()
    # They reach the whole process group (a terminal, a service manager), but the parent decides.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if log is not None:
        redirect_output(log)  # output of libraries would break the dashboard or the JSON
    sender = MessageSender(pipe)
    sender.start()
    try:
        do, devices = prepare_engine(device, threads, place)
    except Exception as error:  # a broken torch may raise anything while it is loaded
        if not isinstance(error, PipelineError):
            traceback.print_exc()  # into the log
        sender.send(Refused(describe_failure(error)))
        with suppress(EOFError, OSError):
            while True:  # until the parent has read the message; it may have sent a job already
                pipe.recv()
        return
    sender.send(Ready(devices))
    runner = JobRunner(do, devices[0][0], place, sender.send)
    try:
        while True:
            runner.handle(pipe.recv())
    except (EOFError, OSError):  # the parent is gone
        if not runner.stop(STOP_SECONDS):
            os._exit(1)


def describe_failure(error: Exception) -> str:
    """Why no worker can run here, in the words that `doctor` and a pause share."""
    if isinstance(error, PipelineError | OSError):
        return str(error)
    line = " ".join(str(error).split())[:300]
    return f"no worker can run: {type(error).__name__}: {line} (install the package again)"


def prepare_engine(
    device: str, threads: int, place: WorkerSettings
) -> tuple[RunJob, tuple[tuple[str, int], ...]]:
    """Return the function that runs jobs, and the available devices.

    Raises:
        EngineError: The device does not exist.
    """
    if place.do is not None:
        do = place.do if getattr(place.do, "takes_turns", False) else _with_turn(place.do)
        return do, place.find(device) if place.find else ((device, 0),)
    from pipeline.render.run_job import run_job, use_threads
    from pipeline.render.self_check import list_devices

    use_threads(threads)
    return run_job, (place.find or list_devices)(device)


def _with_turn(do: RunJob) -> RunJob:
    """Wrap a function without the argument ``turn``, so that it holds the turn throughout."""

    def run_in_turn(
        job: Job,
        workspace: Workspace,
        on_progress: Any,
        should_stop: Any,
        turn: "DeviceTurn",
    ) -> JobResult:
        with turn:
            result: JobResult = do(job, workspace, on_progress, should_stop)
        return result

    return run_in_turn


class JobRunner:
    """Runs jobs in threads, at most two at once, of which one has the device."""

    def __init__(
        self, do: RunJob, device: str, place: WorkerSettings, send: Callable[[Any], None]
    ) -> None:
        self.do, self.device, self.place, self.send = do, device, place, send
        self.lock = threading.Lock()
        self.turns: dict[str, DeviceTurn] = {}
        self.threads = ThreadPoolExecutor(2)
        self.running: set[Future[None]] = set()

    def handle(self, message: DoJob | Stop) -> None:
        """Start a job, or cancel one job or all jobs."""
        if isinstance(message, DoJob):
            turn = self.turns[message.job.id] = DeviceTurn(self, message.job.id)
            self.running = {future for future in self.running if not future.done()}
            self.running.add(self.threads.submit(self._run, message, turn))
        elif not message.job:
            for turn in list(self.turns.values()):
                turn.cancelled = True
        elif message.job in self.turns:
            self.turns[message.job].withdrawn = True

    def stop(self, seconds: float) -> bool:
        """Cancel all jobs; return whether they ended in time."""
        self.handle(Stop())
        return not wait(self.running, seconds).not_done

    def _run(self, take: DoJob, turn: "DeviceTurn") -> None:
        place = self.place
        workspace = Workspace(
            self.device, take.staging, place.limits, place.checkpoints, place.timelapse
        )
        try:
            result: Any = self.do(take.job, workspace, self.send, turn.should_stop, turn)
        except Interrupted:
            result = GivenBack(take.job)
        except ChangedError as error:
            result = GivenBack(take.job, error.path)
        except BaseException:
            traceback.print_exc()  # into the log; the parent finds a crashed process
            os._exit(1)
        del self.turns[take.job.id]
        self.send(result)


class DeviceTurn:
    """A job's turn on the device: a context that is entered when the device is free.

    Raises:
        Interrupted: On entering, if the job was cancelled while it waited.
    """

    def __init__(self, runner: JobRunner, job: str) -> None:
        self.runner, self.job = runner, job
        self.cancelled = False
        self.withdrawn = False  # like cancelled, but only while it waits for the device

    def should_stop(self) -> bool:
        """Whether the job must stop."""
        return self.cancelled

    def __enter__(self) -> None:
        while not self.runner.lock.acquire(timeout=CHECK_SECONDS):
            if self.cancelled or self.withdrawn:
                raise Interrupted
        if self.cancelled or self.withdrawn:
            self.runner.lock.release()
            raise Interrupted
        self.runner.send(DeviceTaken(self.job))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.runner.lock.release()
        if len(self.runner.turns) > 1:
            # Otherwise Python may continue this thread for up to 5 ms while the next job and the
            # device wait. The rest of this job is not urgent.
            time.sleep(YIELD_SECONDS)


def redirect_output(log: Path) -> None:
    """Write standard output and errors of this process into a log, which is bounded."""
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        fd = open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if os.fstat(fd).st_size > MAX_LOG:
            os.ftruncate(fd, 0)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)


HEARTBEAT_SECONDS = 1.0
BUSY_SHARE = 0.5  # of a core: a process that computes this much is in a long step, not hung


class MessageSender(threading.Thread):
    """Sends all messages of the process, so that no job waits for a busy daemon.

    Of several unsent `Progress` messages of one job, only the last is sent.
    """

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._waiting: list[Any] = []
        self._not_empty = threading.Condition()
        self._at, self._cpu = time.monotonic(), time.process_time()

    def send(self, message: Any) -> None:
        """Queue a message to be sent as soon as possible; never waits."""
        with self._not_empty:
            if isinstance(message, Progress):
                self._waiting = [one for one in self._waiting if not _same_job(one, message)]
            self._waiting.append(message)
            self._not_empty.notify()

    def run(self) -> None:
        with suppress(OSError, ValueError):  # the parent is gone
            while True:
                with self._not_empty:
                    self._not_empty.wait_for(lambda: self._waiting, HEARTBEAT_SECONDS)
                    messages, self._waiting = self._waiting, []
                for message in [*messages, *self._heartbeat()]:
                    self._pipe.send(message)

    def _heartbeat(self) -> list[Heartbeat]:
        now, cpu = time.monotonic(), time.process_time()
        if now - self._at < HEARTBEAT_SECONDS:
            return []
        busy = cpu - self._cpu > BUSY_SHARE * (now - self._at)
        self._at, self._cpu = now, cpu
        return [Heartbeat(busy)]


def _same_job(message: Any, progress: Progress) -> bool:
    return isinstance(message, Progress) and message.job_id == progress.job_id
