"""start -> tick -> stop: what lies in the inbox becomes what stands in the outbox.

One tick collects, looks, plans and hands out; it never waits, so tests move time by hand. What
happened is handled in order and forgotten only once the ledger has it, so that a full disk may stop
a tick anywhere, and the next one goes on from there.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from pipeline.accounts import Accounts
from pipeline.checkpoint import Checkpoints
from pipeline.config import Config
from pipeline.disk import disk_errors
from pipeline.errors import DiskFullError, OutputError, Reason, StateError
from pipeline.examiner import Examiner
from pipeline.executors import Event, GivenBack
from pipeline.faults import MAX_ATTEMPTS, OF_THE_PLACE, wait_seconds
from pipeline.hooks import HookRunner
from pipeline.inbox import Refused
from pipeline.jobs import Failure, Job, JobResult, JobState, Progress
from pipeline.ledger import Ledger
from pipeline.manifest import Manifest
from pipeline.outbox import Outbox, staging_name
from pipeline.pause import Pause, full, is_over, too_full, unusable
from pipeline.planner import Planner
from pipeline.view import View

Line = dict[str, Any]
EXAMINE_SECONDS = 0.05  # that an idle tick waits for the examiner


class Executor(Protocol):
    """Where jobs run; see `pipeline.executors`."""

    def free(self) -> int: ...
    def running(self) -> list[tuple[str, Job]]: ...
    def submit(self, job: Job, staging: Path) -> None: ...
    def poll(self, timeout: float) -> list[Event]: ...
    def interrupt(self) -> None: ...


class Service:
    """Brings the outbox up to date with inbox x manifest, and keeps it so.

    Args:
        config, manifest: What is wanted.
        ledger: What was done.
        executor: Where it is done.
        view: Filled for the dashboard.
        on_event: Called with each line of the run log as it happens.
        limit: At most so many jobs are begun.
        patient: Wait for an inbox or an outbox that has vanished, instead of raising.
    """

    def __init__(
        self,
        config: Config,
        manifest: Manifest,
        ledger: Ledger,
        executor: Executor,
        view: View,
        on_event: Callable[[Line], None] = lambda _: None,
        limit: int | None = None,
        patient: bool = False,
    ) -> None:
        self.ledger, self.executor, self.view, self._on_line = ledger, executor, view, on_event
        self.limit, self.patient = limit, patient
        self.outbox = Outbox(config.outbox)
        self.checkpoints = Checkpoints(config.state / "checkpoints")
        self.examiner = Examiner(config.limits)
        self.hooks = HookRunner(config.hooks, config.state / "logs" / "hooks.log")
        self.accounts = Accounts(ledger, self.outbox, view, self._tell)
        self.events: deque[JobResult | GivenBack] = deque()  # heard, but not in the ledger yet
        self.paused: Pause | None = None
        self.polling = False  # whether nothing but the timer finds new files
        self.begun = 0
        self._versions: dict[str, str] = {}  # of the photos of running jobs, when they were begun
        self._message = view.message
        self.configure(config, manifest)

    def configure(self, config: Config, manifest: Manifest) -> None:
        """Take up a config; the plan is made anew at the next look."""
        self.config = config
        self.planner = Planner(config, manifest, self.accounts, self.examiner)
        self.hooks.hooks = config.hooks

    # --- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Mend what a crash left: requeue what was cut short, clear what belongs to nobody."""
        self.outbox.prepare()
        self.ledger.interrupted()
        self.outbox.sweep(self._waiting())
        self.checkpoints.sweep({pair.job for pair in self.ledger.pairs(JobState.QUEUED)})

    def tick(self, now: float, wall: float, timeout: float = 0.0) -> None:
        """Collect what happened (waiting up to ``timeout`` s for it), look, hand out work.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
            timeout: Longest wait for the executor.
        """
        for event in self.executor.poll(timeout):
            if isinstance(event, Progress):
                self.view.see(event)
            else:
                self.events.append(event)
        if self.paused and is_over(self.paused, now):
            self.paused, self.accounts.unpublished = None, True
            self.planner.wake(stale=True)
        try:
            self._work(now, wall)
        except DiskFullError:
            self.paused = full(self.config.state, self.config.limits.free_bytes, now)
        except OutputError as error:
            self.paused = self._pause_for(error, now)
        self.hooks.tend(now)
        self.view.queued, self.view.settling = len(self.planner.queue), self.planner.settling
        self.view.message = self._words()

    def _work(self, now: float, wall: float) -> None:
        if self.paused and self.paused.cause != "inbox":
            return  # neither ledger nor outbox takes anything now
        while self.events:
            self._on_event(self.events[0], wall)
            self.events.popleft()
        if self.accounts.unpublished:
            self._publish(wall)
        rest = 0.0 if self.executor.running() else EXAMINE_SECONDS
        self.planner.learn(now, wall, self._running(), rest)
        if now >= self.planner.next_scan:
            self._look(now, wall)
        self._feed(wall)
        self.accounts.flush(now)

    def wake(self) -> None:
        """Look at the inbox at the next tick."""
        self.planner.wake()

    @property
    def idle(self) -> bool:
        """Nothing runs, nothing waits, every file is still: the outbox is up to date."""
        busy = self.executor.running() or self.events or self.accounts.unpublished
        return not (busy or self.hooks.busy) and (
            self._spent() or not (self.planner.waiting or self.paused)
        )

    def stop(self) -> None:
        """Ask running jobs to end; they go back into the queue."""
        self.limit = self.begun
        self.executor.interrupt()

    def finish(self) -> None:
        """Leave no temporary file behind, where the disk lets us."""
        try:
            self.accounts.flush(0.0, force=True)
            self.outbox.sweep(self._waiting())
        except (OutputError, DiskFullError):
            if self.paused is None:
                raise

    def close(self) -> None:
        """End what runs beside the loop."""
        self.examiner.close()
        self.hooks.close()

    # --- pausing ------------------------------------------------------------------------

    def _pause_for(self, error: OutputError, now: float) -> Pause:
        """The outbox's disk is full or out of reach; anything else is not waited out."""
        if error.code is Reason.DISK_FULL:
            with disk_errors(self.outbox.root):
                return full(self.outbox.root, self.config.limits.free_bytes, now)
        if self.patient and error.code is Reason.IO_ERROR:
            return unusable("outbox", str(error), now)
        raise error

    def _short_of_space(self) -> bool:
        with disk_errors(self.outbox.root):
            folders = [self.outbox.root, self.config.state]
            self.paused = self.paused or too_full(folders, self.config.limits.free_bytes)
        return self.paused is not None

    def _words(self) -> str:
        """What the dashboard says of the whole."""
        if self.paused:
            return f"paused: {self.paused.why}"
        found = (self.planner.trouble, self.hooks.trouble, self.accounts.trouble, self._message)
        return next(filter(None, found), "")

    # --- working ------------------------------------------------------------------------

    def _look(self, now: float, wall: float) -> None:
        watch = self.config.watch
        pace = min(watch.poll_seconds, watch.scan_seconds) if self.polling else watch.scan_seconds
        try:
            self.planner.look(now, wall, self._running(), pace)
        except DiskFullError:
            raise
        except StateError as error:
            if not self.patient:
                raise
            self.planner.next_scan = now + watch.poll_seconds
            self.paused = unusable("inbox", str(error), now)

    def _feed(self, wall: float) -> None:
        while self.executor.free() and not self.paused and not self._spent():
            busy = {(job.content, job.style) for _, job in self.executor.running()}
            job = self.planner.next(wall, busy)
            if job is None or self._short_of_space():
                return
            self._begin(job, wall)
            self.planner.queue.remove(job)

    def _begin(self, job: Job, wall: float) -> None:
        begun = self.ledger.begin(job)
        if begun.attempt > MAX_ATTEMPTS:
            what = f"{MAX_ATTEMPTS} attempts ended without a result"
            failed = JobResult(begun, "failed", error=Failure(Reason.WORKER_CRASHED, what))
            self.accounts.settle(failed, wall)
            return
        try:
            staging = self.outbox.stage(begun)
        except OutputError:
            self.ledger.give_back(begun)
            raise
        self._versions[begun.id] = self.planner.intake.version(begun.content)
        try:
            self.executor.submit(begun, staging)
        except OSError as error:  # no process can be had
            failure = Failure(Reason.OUT_OF_MEMORY, f"no worker can be started: {error}")
            self.events.append(JobResult(begun, "failed", error=failure))
            return
        self.begun += 1
        device = next((d for d, running in self.executor.running() if running == begun), "")
        self.view.begin(begun.id, begun.content, begun.style, device)

    def _on_event(self, event: JobResult | GivenBack, wall: float) -> None:
        """Bring one event into the books; may be cut short by a full disk and called again."""
        job = event.job
        known = self.accounts.known(job.content, job.style)
        mine = known is not None and (known.job, known.state) == (job.id, JobState.RUNNING)
        if isinstance(event, GivenBack) or not mine or self._replaced(job):
            self._give_back(job)
        elif event.status == "done":
            self._stage(event, wall)
        else:
            self._on_failure(event, wall)
        self._versions.pop(job.id, None)
        if self.planner.twins:
            self.planner.wake()

    def _stage(self, result: JobResult, wall: float) -> None:
        try:
            self.accounts.stage(result, wall)
        except OutputError as error:
            if error.code in (Reason.DISK_FULL, Reason.IO_ERROR):
                raise
            # Its place in the outbox cannot be used: nobody's fault but this pair's.
            failure = Failure(error.code, str(error))
            self._on_failure(replace(result, status="failed", outputs=(), error=failure), wall)

    def _replaced(self, job: Job) -> bool:
        """Whether another picture lies under the photo's name since the job was begun."""
        begun = self._versions.get(job.id, "")
        now = self.planner.intake.standing(job.content)
        return bool(begun and now and now != begun)

    def _give_back(self, job: Job) -> None:
        self.ledger.give_back(job)
        self.view.drop(job.id)
        self.outbox.discard(job.id, job.attempt)
        self.planner.wake(stale=True)

    def _on_failure(self, result: JobResult, wall: float) -> None:
        job, failure = result.job, result.error
        assert failure is not None  # noqa: S101  # a failed result has one
        if failure.code in OF_THE_PLACE:
            self._give_back(job)
            raise OutputError(failure.message, code=failure.code)
        if failure.code is Reason.VANISHED:
            # Not failed: the same photo may come back. It is accounted for, and made when it does.
            self._give_back(job)
            gone = Refused(job.content, job.path, failure, "skipped", job.sha256)
            self.accounts.refuse(gone, wall)
            return
        times = self.ledger.failures(job, failure.code) + 1
        wait = wait_seconds(failure.code, times, job.id)
        if wait is None:
            self.checkpoints.drop(job.id)
            self.accounts.settle(result, wall)
            self.planner.done(job.content)
        else:
            self.ledger.postpone(job, failure, times, wall + wait)
            self.planner.postpone(job, wall + wait)
            self.view.drop(job.id)
        self.outbox.discard(job.id, job.attempt)

    def _publish(self, wall: float) -> None:
        ready = {staged.content for staged in self.ledger.staged()}
        if self.accounts.publish_all(wall):
            self.planner.wake(stale=True)
        for content in ready:
            self.planner.done(content)

    def _tell(self, line: Line) -> None:
        self.hooks.tell(line)
        self._on_line(line)

    def _running(self) -> set[str]:
        return {job.id for _, job in self.executor.running()} | {e.job.id for e in self.events}

    def _waiting(self) -> set[str]:
        return {staging_name(staged.job, staged.attempt) for staged in self.ledger.staged()}

    def _spent(self) -> bool:
        return self.limit is not None and self.begun >= self.limit
