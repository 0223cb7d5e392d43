"""Holds the connection to a Ray cluster in a process of its own, which the daemon survives.

Ray ends every process that is attached to a node which dies, at once and without a message, and a
client that has lost its cluster connects to none again. So the daemon starts a child that connects
and works with `RayExecutor`: each call of the daemon is a message, with one reply. When the child
or its cluster is lost, its jobs go back into the queue, work pauses as for any fault of the
machine, and `renew` starts another child.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from pipeline.config.model import Config
from pipeline.errors import ClusterLostError, ConfigError, PipelineError, PlaceError
from pipeline.jobs.job import Job, JobResult
from pipeline.system.ending import REAP_SECONDS, await_killed
from pipeline.system.interpreter import child_environment, python_command, search_path
from pipeline.system.interrupt import STOP_SIGNALS
from pipeline.workers.messages import Event, GivenBack, WorkerSettings
from pipeline.workers.ray_cluster.executor import open_cluster
from pipeline.workers.worker_process import redirect_output

_PROGRAM = "from pipeline.workers.ray_cluster.cluster_process import main; main()"
LOG = "ray.log"  # what Ray and the child print, in the state folder
CLOSE_SECONDS = 10.0  # workers leave their nodes, and a cluster of our own ends
STOP_SECONDS = 3.0  # after a stop signal, a cluster that does not answer is left
LOOK_SECONDS = 0.2  # between two looks whether a stop was requested
HINT = "start the cluster again; running jobs start again"

# Connects: `open_cluster`, or what stands for it in tests.
OpenCluster = Callable[[Config, WorkerSettings], Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one call, and what the executor is like after it."""

    slots: int = 0
    free: int = 0
    trouble: str = ""
    running: tuple[tuple[str, Job], ...] = ()
    value: Any = None
    error: PipelineError | None = None


class ClusterProcess:
    """The executor of a cluster as the daemon sees it.

    Args:
        config: Names the cluster.
        place: Limits of the jobs.
        connect: Connects to the cluster, in the child.
        stops: How many times the program was asked to stop: once, and a call waits for a few more
            seconds only; twice, and it does not wait.

    Raises:
        ConfigError: The cluster does not respond in time, or untrusted hosts could reach it.
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self,
        config: Config,
        place: WorkerSettings,
        connect: OpenCluster = open_cluster,
        stops: Callable[[], int] = lambda: 0,
    ) -> None:
        self._stops = stops
        self._config, self._place, self._connect = config, place, connect
        self._where = f"ray.address: {config.ray.address}"
        self._pipe: Connection[Any, Any] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._connecting = False  # the child has not replied yet
        self._was_connected = False  # ever
        self._lost = ""  # why there is no connection
        self._jobs: dict[str, Job] = {}  # submitted, and not ended
        self._last = Reply()
        self._start()
        try:
            self._take_reply()
        except PipelineError:
            self.close()
            raise
        if self._lost:
            raise ConfigError(self._lost, where=self._where, hint=f"see {LOG} in the state folder")

    # --- the executor's interface ----------------------------------------------------------

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return self._last.slots

    @property
    def trouble(self) -> str:
        """Nodes that cannot be used, and why; or that there is no cluster at present."""
        return "connecting to the Ray cluster" if self._connecting else self._last.trouble

    def free(self) -> int:
        """How many jobs can be submitted now."""
        return self._last.free

    def running(self) -> list[tuple[str, Job]]:
        """Worker and job of all submitted jobs that have not ended."""
        return [("", job) for job in self._jobs.values()] if self._lost else [*self._last.running]

    def submit(self, job: Job, staging: Path) -> None:
        """Submit a job; if the cluster is lost by now, the next `poll` gives it back."""
        self._jobs[job.id] = job
        self._call("submit", job, staging)

    def poll(self, timeout: float) -> list[Event]:
        """Return new events; wait up to ``timeout`` seconds for the first.

        Raises:
            PlaceError: The cluster is lost, or has no node that can be used.
        """
        if self._connecting:
            assert self._pipe is not None  # noqa: S101  # the child was started
            if not self._pipe.poll(timeout):
                return []
            self._take_reply()
        events: list[Event] = self._call("poll", timeout) or []
        for event in events:
            if isinstance(event, JobResult | GivenBack):
                self._jobs.pop(event.job.id, None)
        if not self._lost:
            return events
        if not self._jobs:
            raise PlaceError(self._lost, where=self._where, hint=HINT)
        jobs, self._jobs = self._jobs, {}
        return [GivenBack(job) for job in jobs.values()]

    def renew(self) -> None:
        """Connect again, if the cluster was lost; otherwise retry nodes that could not be used."""
        if self._lost and not self._jobs:
            self._start()
        elif not self._connecting:
            self._call("renew")

    def interrupt(self) -> None:
        """Request all jobs back."""
        if not self._connecting:
            self._call("interrupt")

    def close(self, force: bool = False) -> None:  # noqa: ARG002  # always at once
        """End the child, which ends its workers and a cluster of its own."""
        if self._pipe is not None:
            self._pipe.close()  # the child ends when it finds the pipe closed
        self._end_process(0.0 if self._connecting else CLOSE_SECONDS)

    # --- the child ------------------------------------------------------------------------

    def _start(self) -> None:
        """Start a child; its first reply says whether it has connected."""
        self._pipe, theirs = Pipe()
        self._lost, self._connecting, self._last = "", True, Reply()
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: S603  # our own program
                    python_command(_PROGRAM, str(theirs.fileno())),
                    # Ray's workers on this machine inherit it, and load what the daemon loads.
                    env=child_environment() | {"PYTHONPATH": os.pathsep.join(search_path())},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the daemon: it asks the child to end
                )
            self._pipe.send((self._config, self._place, self._connect))
        except OSError as error:
            self._lose(f"no process can be started: {error.strerror or error}")

    def _call(self, name: str, *arguments: Any) -> Any:
        """What the child's executor returns; None where the cluster is lost."""
        if self._lost or self._connecting or self._pipe is None:
            return None
        try:
            self._pipe.send((name, arguments))
        except OSError:
            self._lose_child()
            return None
        # A poll waits by itself for as long as it was asked to, and for Ray.
        return self._take_reply(self._place.limits.stall_seconds + 1)

    def _take_reply(self, seconds: float = float("inf")) -> Any:
        """The value of the next reply, in these seconds; None where the cluster is lost.

        Raises:
            PipelineError: What the child's executor has raised.
        """
        if self._pipe is None or self._lost:
            return None
        try:
            waited = self._await_reply(self._pipe, seconds)
            if waited is not None:
                self._lose(f"the connection to the Ray cluster has not answered for {waited:.0f} s")
                return None
            reply: Reply = self._pipe.recv()
        except (EOFError, OSError):
            self._lose_child()
            return None
        again = self._connecting and self._was_connected
        self._connecting, self._last = False, reply
        if reply.error is None:
            self._was_connected = True
            return reply.value
        if again or isinstance(reply.error, ClusterLostError):
            self._lose(reply.error.what)
            return None
        raise reply.error

    def _await_reply(self, pipe: "Connection[Any, Any]", seconds: float) -> float | None:
        """Wait for a reply; returns after how many seconds it was given up, None if it is there.

        In short waits: a signal does not end a long one.
        """
        begun = time.monotonic()
        until = begun + seconds
        while not pipe.poll(min(LOOK_SECONDS, max(0.0, until - time.monotonic()))):
            now = time.monotonic()
            if stops := self._stops():
                until = min(until, now + STOP_SECONDS) if stops == 1 else now
            if now >= until:
                return now - begun
        return None

    def _lose_child(self) -> None:
        code = self.process.poll() if self.process is not None else None
        if code is None and self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(REAP_SECONDS)
        self._lose(f"the connection to the Ray cluster is lost: its process ended (exit {code})")

    def _lose(self, why: str) -> None:
        self._lost, self._connecting, self._last = why, False, Reply()
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = None
        self._end_process(0.0)

    def _end_process(self, seconds: float) -> None:
        """Wait for the child's end; kill it after these seconds, or at a second stop signal."""
        process, self.process = self.process, None
        if process is None:
            return
        until = time.monotonic() + seconds
        while process.poll() is None:
            left = until - time.monotonic()
            if left <= 0 or self._stops() > 1:
                process.kill()
                await_killed(process)
                return
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(LOOK_SECONDS, left))


# --- in the child ---------------------------------------------------------------------------


def main() -> None:
    """Run the child; its argument is the descriptor of its pipe."""
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with suppress(EOFError, OSError):  # the daemon has ended
        config, place, connect = pipe.recv()
        if place.state is not None:
            redirect_output(place.state / "logs" / LOG)
        try:
            executor = connect(config, place)
        except PipelineError as error:
            pipe.send(Reply(error=error))
            return
        _answer_calls(pipe, executor)


def _answer_calls(pipe: "Connection[Any, Any]", executor: Any) -> None:
    """Answer calls until the daemon closes the pipe or has ended.

    Any error but our own ends the child: it is in the log, and the daemon connects again.
    """
    for number in STOP_SIGNALS:  # only now: what Ray has started inherits ignored signals
        signal.signal(number, signal.SIG_IGN)
    try:
        pipe.send(_describe(executor))
        while True:
            name, arguments = pipe.recv()
            try:
                value, error = getattr(executor, name)(*arguments), None
            except PipelineError as raised:
                value, error = None, raised
            pipe.send(_describe(executor, value, error))
    finally:
        executor.close(force=True)


def _describe(executor: Any, value: Any = None, error: PipelineError | None = None) -> Reply:
    running = tuple(executor.running())
    return Reply(executor.slots, executor.free(), executor.trouble, running, value, error)
