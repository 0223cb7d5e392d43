"""start -> tick -> stop: what lies in the inbox becomes what stands in the outbox.

The only file that knows all the rooms. One tick looks, plans, hands out and collects; it never
waits, so tests move time by hand.
"""

import datetime
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from pipeline.config import Config
from pipeline.errors import ConfigError, InputError, OutputError, Reason
from pipeline.executors import Event, GivenBack
from pipeline.inbox import Found, Inbox, Refused
from pipeline.jobs import (
    Failure,
    Job,
    JobResult,
    Photo,
    Planned,
    Progress,
    plan_jobs,
    run_log_line,
)
from pipeline.ledger import Ledger
from pipeline.manifest import Manifest
from pipeline.outbox import Outbox, staging_name, stems
from pipeline.recipes import Recipes
from pipeline.records import Pair, Staged
from pipeline.runlog import RunLog
from pipeline.stamp import hash_file
from pipeline.view import Result, View

Line = dict[str, Any]
RUN_LOG = "runs.jsonl"


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
    ) -> None:
        self.ledger, self.executor, self.view, self.on_event = ledger, executor, view, on_event
        self.limit = limit
        self.run_id = uuid.uuid4().hex[:12]
        self.outbox = Outbox(config.outbox)
        self.log = RunLog(config.outbox / RUN_LOG)
        self.queue: deque[Job] = deque()
        self.waiting_twins = 0
        self.next_scan = 0.0
        self.begun = 0
        self._planned_from: object = None
        self._changed_meanwhile = False
        self.configure(config, manifest)

    def configure(self, config: Config, manifest: Manifest) -> None:
        """Take up a config; the plan is made anew at the next look."""
        self.config, self.manifest = config, manifest
        self.recipes = Recipes(config)
        self.inbox = Inbox(config.inbox, config.watch.settle_seconds)
        self._planned_from = None
        self.next_scan = 0.0

    # --- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Mend what a crash left: publish what was rendered, requeue what was cut short."""
        self.outbox.prepare()
        self.ledger.interrupted()
        for staged in self.ledger.staged():
            try:
                self._publish(staged)
            except OutputError:
                self.ledger.redo(staged)  # damaged by the crash: made again
        keep = {staging_name(s.job, s.attempt) for s in self.ledger.staged()}
        self.outbox.sweep(keep)
        self._flush()

    def tick(self, now: float, wall: float, timeout: float = 0.0) -> None:
        """Collect what happened (waiting up to ``timeout`` s for it), look, hand out work.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
            timeout: Longest wait for the executor.
        """
        for event in self.executor.poll(timeout):
            self._on_event(event, wall)
        if now >= self.next_scan:
            self._look(now, wall)
        self._feed()
        self.view.queued = len(self.queue)
        self._flush()

    def wake(self) -> None:
        """Look at the inbox at the next tick."""
        self.next_scan = 0.0

    @property
    def idle(self) -> bool:
        """Nothing runs, nothing waits, every file is still: the outbox is up to date."""
        busy = self.queue or self.executor.running() or self.view.settling or self.waiting_twins
        return not busy or (self._spent() and not self.executor.running())

    def stop(self) -> None:
        """Ask running jobs to end; they go back into the queue."""
        self.queue.clear()
        self.limit = self.begun
        self.executor.interrupt()

    def finish(self) -> None:
        """Leave no temporary file behind."""
        self.outbox.sweep({staging_name(s.job, s.attempt) for s in self.ledger.staged()})
        self._flush()

    # --- looking and planning -----------------------------------------------------------

    def _look(self, now: float, wall: float) -> None:
        scan = self.inbox.scan(now, wall)
        self.next_scan = min(now + self.config.watch.scan_seconds, scan.next_look or float("inf"))
        self.view.settling = len(scan.unsettled)
        for refused in scan.refused:
            self._refuse(refused, wall)
        try:
            recipes = tuple(self.recipes.of(s).digest for s in self.manifest.styles.values())
        except ConfigError as error:
            # A painting was taken away while we run: keep what is planned, say so, look again.
            self.view.message = str(error)
            return
        basis = (recipes, self.ledger.revision()[0])
        if scan.changed or basis != self._planned_from:
            self._plan(scan.still, wall)
            # Twins are settled by a plan made after the result they wait for.
            again = self.waiting_twins or self._changed_meanwhile
            self._planned_from = None if again else basis

    def _plan(self, still: Iterable[Found], wall: float) -> None:
        self._changed_meanwhile = False
        found = {file.content: file for file in still}
        photos = [photo for file in found.values() if (photo := self._photo(file, wall))]
        finished = self.ledger.finished()
        plan = plan_jobs(photos, self.manifest, self.recipes.of, self.ledger.known(), finished)
        running = {job.id for _, job in self.executor.running()}
        self.queue = deque(p.job for p in plan if p.due and p.job and p.job.id not in running)
        self.waiting_twins = 0
        for pair in plan:
            if pair.why == "no match":
                self._no_match(found[pair.content], wall)
            elif pair.why == "duplicate" and pair.job:
                self._twin(pair, pair.job, finished, wall)

    def _photo(self, file: Found, wall: float) -> Photo | None:
        version = str(file.stamp)
        digest = self.ledger.cached_hash(file.content, version)
        if digest is None:
            try:
                digest = hash_file(file.path, file.stamp)
            except InputError as error:
                failure = Failure(error.code, str(error))
                self._refuse(Refused(file.content, file.path, failure, "failed", version), wall)
                return None
            if digest is None:
                self._changed_meanwhile = True
                return None
            self.ledger.remember(file.content, version, digest)
        return Photo(file.content, file.path, digest)

    def _no_match(self, file: Found, wall: float) -> None:
        failure = Failure(Reason.NO_MATCH, "no match rule of the config gives it a style")
        self._refuse(Refused(file.content, file.path, failure, "skipped", str(file.stamp)), wall)

    def _twin(
        self, pair: Planned, job: Job, finished: dict[tuple[str, str, str], str], wall: float
    ) -> None:
        """The same photo under another name: linked to the earlier result once there is one."""
        if (job.sha256, job.style, job.recipe.digest) not in finished:
            self.waiting_twins += 1
            return
        failure = Failure(Reason.DUPLICATE, f"the same photo as {pair.same_as}")
        outputs = self._known(pair.same_as, job.style).outputs
        self._settle(JobResult(job, "skipped", outputs=outputs, error=failure), wall)

    def _refuse(self, refused: Refused, wall: float) -> None:
        line = self._file_line(refused, wall)
        failure, status = refused.failure, refused.status
        if self.ledger.refuse(refused.content, refused.version, status, failure, line):
            self.view.note(
                Result(
                    at=wall,
                    content=refused.content,
                    style="",
                    status=status,
                    code=failure.code,
                    message=failure.message,
                )
            )
            self.on_event(line)

    def _file_line(self, refused: Refused, wall: float) -> Line:
        return {
            "ts": timestamp(wall),
            "run": self.run_id,
            "job": None,
            "event": f"file_{refused.status}",
            "content": refused.content,
            "content_sha256": None,
            "style": None,
            "recipe": None,
            "attempt": 0,
            "status": refused.status,
            "seconds": 0.0,
            "device": "",
            "outputs": [],
            "losses": {},
            "error": {"code": refused.failure.code, "message": refused.failure.message},
        }

    # --- working ------------------------------------------------------------------------

    def _spent(self) -> bool:
        return self.limit is not None and self.begun >= self.limit

    def _feed(self) -> None:
        for _ in range(self.executor.free()):
            if not self.queue or self._spent():
                return
            job = self.ledger.begin(self.queue.popleft())
            self.begun += 1
            self.executor.submit(job, self.outbox.stage(job))
            device = next(d for d, running in self.executor.running() if running == job)
            self.view.begin(job.id, job.content, job.style, device)

    def _on_event(self, event: Event, wall: float) -> None:
        if isinstance(event, Progress):
            self.view.see(event)
            return
        if isinstance(event, GivenBack):
            self.ledger.give_back(event.job)
            self.view.drop(event.job.id)
            self.outbox.discard(event.job.id, event.job.attempt)
            return
        if event.status != "done":
            self._settle(event, wall)
            self.outbox.discard(event.job.id, event.job.attempt)
        else:
            self._stage(event, wall)
        if self.waiting_twins:
            self.wake()

    def _stage(self, result: JobResult, wall: float) -> None:
        job = result.job
        line = run_log_line(result, self.run_id, timestamp(wall))
        previous = self._known(job.content, job.style).outputs
        staged = self.ledger.stage(
            result,
            line,
            stems(job.content, job.style),
            lambda stem: self.outbox.taken(stem, result.outputs, previous),
        )
        try:
            outputs = self._publish(staged)
        except OutputError as error:
            self.ledger.redo(staged)
            failed = JobResult(
                job, "failed", result.seconds, result.device,
                error=Failure(error.code, str(error)),
            )  # fmt: skip
            self._settle(failed, wall)
            return
        done = JobResult(job, "done", result.seconds, result.device, outputs, result.losses)
        self.view.end(done, wall)
        self.on_event(run_log_line(done, self.run_id, timestamp(wall)))

    def _known(self, content: str, style: str) -> Pair:
        return next(pair for pair in self.ledger.pairs(content=content) if pair.style == style)

    def _publish(self, staged: Staged) -> tuple[Any, ...]:
        outputs = self.outbox.publish(staged.outputs, staged.target, staged.previous)
        self.ledger.finish(staged, outputs)
        self.outbox.discard(staged.job, staged.attempt)
        return outputs

    def _settle(self, result: JobResult, wall: float) -> None:
        line = run_log_line(result, self.run_id, timestamp(wall))
        self.ledger.settle(result, line)
        self.view.end(result, wall)
        self.on_event(line)

    def _flush(self) -> None:
        self.ledger.flush_log(self.log.append)


def timestamp(wall: float) -> str:
    """UTC, ISO 8601, to the millisecond."""
    at = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
