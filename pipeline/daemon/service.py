"""start -> tick -> stop: what lies in the inbox becomes what stands in the outbox.

The way of a photo, each step in one tick or another, and none that leads back: `_look` (the inbox
is read, `Planner.look_at_inbox`), `_take_answers` (what the examiner found), `_plan` (the queue is
filled), `_begin_jobs`, `_collect` (workers report), `Outcomes.settle` (ledger), `Outcomes.publish`
(outbox), and `finish_original`. What is planned again starts at `_plan`.

A tick never waits, so tests move time by hand. A device that has come free gets its next job before
anything else is done: ledger and pictures can wait for the disk, devices should not. A full disk
or another fault of the place ends the tick where it is and pauses the work (`pipeline.daemon.
pauses`); all that was not recorded by then is kept and recorded after the pause.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.daemon.blame import HeldRecipes, is_check
from pipeline.daemon.bookkeeping import Bookkeeping
from pipeline.daemon.gate import Closed, Gate
from pipeline.daemon.job_queue import JobQueue
from pipeline.daemon.outcomes import Outcome, Outcomes
from pipeline.daemon.pauses import PAUSING, Pause, Pauses
from pipeline.daemon.planner import Findings, Planner
from pipeline.daemon.replacements import Replacing
from pipeline.daemon.run_statistics import RunStatistics
from pipeline.errors import (
    Failure,
    InboxError,
    OutputError,
    PipelineError,
    PlaceError,
    Reason,
)
from pipeline.inbox.examiner import Examiner
from pipeline.inbox.intake import Accepted
from pipeline.inbox.mount_guard import remember
from pipeline.inbox.originals import Originals
from pipeline.inbox.scanner import Refused
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult, JobState, Progress
from pipeline.jobs.retry_policy import MAX_ATTEMPTS
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.estimate import Rates
from pipeline.monitoring.hooks import HookRunner
from pipeline.monitoring.journal import note
from pipeline.monitoring.view import View
from pipeline.outbox.names import staging_name
from pipeline.outbox.publisher import Outbox
from pipeline.workers.executor import Executor, GivenBack

Line = dict[str, Any]
FOLDERS = ("inbox", "state", "archive", "quarantine")
EXAMINE_SECONDS = 0.05  # that an idle tick waits for the examiner


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
        gate: Whether jobs may be begun at a time of day; absent: as config and state have it.
        on_run: Called with what a run promises before its first job, with the finished pictures
            that a plan will replace, and with what a scheduled run has come to.
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
        gate: Gate | None = None,
        on_run: Callable[[Line], None] = lambda _: None,
    ) -> None:
        self.ledger, self.executor, self.view, self._on_line = ledger, executor, view, on_event
        self.limit = limit
        self.outbox = Outbox(config.outbox)
        self.checkpoints = Checkpoints(config.state / "checkpoints")
        self.examiner = Examiner(config.limits)
        self.hooks = HookRunner(config.hooks, config.state / "logs" / "hooks.log")
        roots = [getattr(config, name) for name in FOLDERS]
        self.bookkeeping = Bookkeeping(
            ledger, self.outbox, view, self._report_line, config.bounds, roots
        )
        self.gate = gate or Gate(config.state, config.schedule)
        devices = [config.device] if isinstance(config.device, str) else config.device
        self.statistics = RunStatistics(
            view, Rates(config.state), devices, lambda: executor.slots, on_run
        )
        self.pauses = Pauses(config, patient)
        self.closed: Closed | None = None
        self.polling = False  # whether nothing but the timer finds new files
        self.begun = 0
        self._stopping = False
        self._put_off = False  # whether running jobs were asked to end
        self._message = view.message
        self._on_run = on_run
        self.outcomes = Outcomes(self.bookkeeping, self.checkpoints)
        self.events = self.outcomes.events
        self._findings: deque[Findings] = deque()  # of the inbox, not in the ledger yet
        self._apply(config, manifest)

    def configure(self, config: Config, manifest: Manifest) -> None:
        """Take up another config; the plan is made again at the next look."""
        self._apply(config, manifest)
        self.outcomes.holds = HeldRecipes()
        self.hooks.configure(config.hooks)
        self.pauses.free_bytes = config.limits.free_bytes
        self.bookkeeping.bounds = config.bounds
        self.gate.take_up(config.schedule)

    def _apply(self, config: Config, manifest: Manifest) -> None:
        self.config = config
        self.planner = Planner(config, manifest, self.ledger)
        self.originals = Originals(config, self.ledger)
        self.queue = JobQueue(config.queue)

    # --- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Repair what a crash left: requeue what was cut short, clear what belongs to nobody."""
        self.outbox.prepare()
        for words in self.ledger.repair():
            note("row_corrected", logging.WARNING, what=words)
        self.ledger.requeue_interrupted()
        self.outbox.sweep(self._staged_names())
        self.bookkeeping.sweep()
        self.checkpoints.sweep({pair.job for pair in self.ledger.pairs(JobState.QUEUED)})

    def tick(self, now: float, wall: float, timeout: float = 0.0) -> None:
        """Collect what happened (waiting up to ``timeout`` s for it), look, hand out work.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
            timeout: Longest wait for the executor.
        """
        if self.pauses.end(now):
            self.bookkeeping.unpublished = True
            self.executor.renew()
            self.planner.wake(stale=True)
        self._collect(now, timeout)
        try:
            self._work(now, wall)
        except PAUSING as error:
            self.pauses.start(error, now)
        self.hooks.step(now)
        self._show(now)

    def _collect(self, now: float, timeout: float) -> None:
        """Take the events of the executor."""
        try:
            events = self.executor.poll(timeout)
        except PlaceError as error:
            self.pauses.start(error, now)
            return
        for event in events:
            if isinstance(event, Progress):
                self.view.update_progress(event)
            else:
                self._take_event(event, now)

    def _work(self, now: float, wall: float) -> None:
        self._check_hours(wall)
        if self.paused and self.paused.cause not in ("inbox", "machine"):
            return  # neither ledger nor outbox takes anything now
        self._begin_jobs(now, wall)
        self._act_on(self.outcomes.settle(wall))
        self.bookkeeping.look_for_restored()
        if self.bookkeeping.unpublished:
            self._act_on(self.outcomes.publish(wall))
        if self.paused and self.paused.cause == "machine":
            self.bookkeeping.flush(now)
            return  # nothing can be examined or begun
        self._record_findings(wall)
        self._take_answers(now, wall)
        if now >= self.planner.next_scan:
            self._look(now, wall)
        self._begin_jobs(now, wall)
        self.bookkeeping.flush(now)
        if self.gate.in_run and not (self.closed or self._busy() or self.waiting):
            self.gate.done(wall)
            self.statistics.finish()

    def _take_event(self, event: JobResult | GivenBack, now: float) -> None:
        self.events.append(event)
        if isinstance(event, JobResult) and not is_check(event.job):
            self.statistics.end(event, now)
            if event.status == "done":
                self.pauses.job_done()

    def _show(self, now: float) -> None:
        """Fill the dashboard's view."""
        self.view.queued, self.view.settling = len(self.queue), self.planner.settling
        self.view.message = self._status_line()
        self.statistics.show(self.queue.works, self.executor.running(), now)

    def wake(self) -> None:
        """Look at the inbox at the next tick."""
        self.planner.wake()

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing more is begun: all is up to date, or may not be brought so."""
        if self._busy() or self.hooks.busy:
            return False
        shut = self.closed is not None and not self.planner.stale
        return self._limit_reached() or shut or not (self.waiting or self.paused)

    @property
    def waiting(self) -> bool:
        """Whether anything is still to be examined, planned or begun."""
        ready = any(job not in self.outcomes.holds for job in self.queue)
        return bool(ready or self.examiner.pending or self.planner.unfinished)

    @property
    def waiting_styles(self) -> str:
        """Which styles wait for their paintings or for the engine, and why; "" when none does."""
        return "; ".join(filter(None, (self.planner.missing_files, self.outcomes.holds.words)))

    def works(self) -> Counter[str]:
        """How many jobs of each kind of work there are, also those of photos not yet examined."""
        works = +self.queue.works
        return works + self.planner.unexamined_works() if self.examiner.pending else works

    @property
    def paused(self) -> Pause | None:
        """The pause in force."""
        return self.pauses.present

    @property
    def held(self) -> str:
        """Why nothing is begun just now; "" where work goes on."""
        if self.paused:
            return f"paused: {self.paused.why}"
        return self.closed.why if self.closed else ""

    def stop(self) -> None:
        """Ask running jobs to end; they go back into the queue."""
        self.limit, self._stopping = self.begun, True
        self.executor.interrupt()

    def finish(self) -> None:
        """Leave no temporary file behind, where the disk lets us."""
        try:
            self._act_on(self.outcomes.release())
            self.statistics.rates.save()
            self.bookkeeping.flush(0.0, force=True)
            self.outbox.sweep(self._staged_names())
        except PAUSING:
            if self.paused is None:
                raise

    def give_back_running(self) -> None:
        """The process ends, and its workers with it: what they had is no attempt of its photo."""
        with suppress(PipelineError):  # the database is out of reach: counted, and made again
            for _, job in self.executor.running():
                self.ledger.give_back(job)

    def close(self) -> None:
        """End what runs beside the loop."""
        self.examiner.close()
        self.hooks.close()

    # --- holding back -------------------------------------------------------------------

    def _check_hours(self, wall: float) -> None:
        """Whether jobs may be begun at this time of day, and what becomes of those that run."""
        before, in_run = self.closed, self.gate.in_run
        self.closed = self.gate.look(wall)
        if before and not self.closed:
            self.planner.wake(stale=True)
        if self.gate.in_run and not in_run:
            self.statistics.renew()
        put_off = self.closed is not None and self.closed.at_end == "checkpoint"
        if put_off and not self._put_off and self.executor.running():
            self.executor.interrupt()
        self._put_off = put_off

    def _status_line(self) -> str:
        """What the dashboard shows below the jobs: why nothing is begun, or what is wrong."""
        found = (self.executor.trouble, self.waiting_styles, self.hooks.trouble)
        return self.held or next(
            filter(None, (*found, self.bookkeeping.trouble, self._message)), ""
        )

    # --- working ------------------------------------------------------------------------

    def _look(self, now: float, wall: float) -> None:
        watch = self.config.watch
        pace = min(watch.poll_seconds, watch.scan_seconds) if self.polling else watch.scan_seconds
        try:
            findings = self.planner.look_at_inbox(now, wall, pace)
        except InboxError as error:
            self.planner.next_scan = now + watch.poll_seconds
            self.pauses.start_for_inbox(error, now)
            return
        self._findings.append(findings)
        self._record_findings(wall)
        for found in findings.unexamined:
            self.examiner.ask(found)
        if self.planner.stale:
            self._plan(now, wall)

    def _take_answers(self, now: float, wall: float) -> None:
        """Take in what the examiner found, and plan with it now and then.

        Raises:
            PlaceError: Nothing can be examined now; what waits is examined later.
        """
        rest = 0.0 if self.executor.running() else EXAMINE_SECONDS
        answers = self.examiner.answers(rest) if self.examiner.pending else []
        if not answers:
            return
        findings = self.planner.take_answers(answers)
        if findings.fault:
            self.examiner.drop()
        self._findings.append(findings)
        self._record_findings(wall)
        if self.planner.plan_is_due(now, len(self.queue), self.examiner.pending):
            self._plan(now, wall)
        else:
            self.planner.stale = True
        if findings.fault:
            self.planner.stale = True
            raise findings.fault

    def _record_findings(self, wall: float) -> None:
        """Record what was found in the inbox, each thing once; may be cut short, and goes on."""
        while self._findings:
            findings = self._findings[0]
            if findings.recognised:
                remember(self.config.inbox, self.ledger)
            if findings.gone:
                self.bookkeeping.record_gone(findings.gone, wall)
                findings.gone = None
            while findings.files:
                self._record_file(findings.files[0], wall)
                findings.files.popleft()
            self._findings.popleft()

    def _record_file(self, file: Accepted | Refused, wall: float) -> None:
        if isinstance(file, Accepted):
            self.ledger.files.record_hash(file.content, file.version, file.sha256)
        else:
            self.bookkeeping.refuse(file, wall)
            self.originals.put_aside(file)

    def _plan(self, now: float, wall: float) -> None:
        """Fill the queue with what is due, and record what is not to be done."""
        plan = self.planner.make_plan(now, self._unrecorded_ids())
        if plan.replaced:
            self._announce(plan.replaced)
        self.queue.fill(plan.due, self.planner.intake.files, self.ledger.retry_times())
        self.outcomes.holds.keep({pair.job.recipe.digest for pair in plan.pairs if pair.job})
        for accepted in plan.accepted:
            self._record_file(accepted, wall)
        for refused in plan.refused:
            self._record_file(refused, wall)
        for duplicate in plan.duplicates:
            self.bookkeeping.settle(duplicate, wall)
            self.finish_original(duplicate.job.content)
        if plan.returned:
            self.ledger.reopen_photos(plan.returned)
        for content in plan.ended:
            self.finish_original(content)

    def _announce(self, replaced: Replacing) -> None:
        note("replaces", words=replaced.words())
        self._on_run({"event": "replaces", **replaced.as_json(), "words": replaced.words()})

    def _act_on(self, outcomes: Iterable[Outcome]) -> None:
        """What the ends of jobs mean for plan, queue and originals."""
        for outcome in outcomes:
            if outcome.job and outcome.changed:
                self.planner.doubt(outcome.job, outcome.changed)
            if outcome.job and outcome.retry_at is not None:
                self.queue.postpone(outcome.job, outcome.retry_at)
            if outcome.again:
                self.planner.wake(stale=True)
            self.planner.job_ended(outcome.content)
            if outcome.finished:
                self.finish_original(outcome.content)

    def finish_original(self, content: str) -> None:
        """A pair of this photo has ended: if all have, the original gets what the config says."""
        ending = self.planner.ending_of(content)
        if ending is not None:
            self.originals.finish(ending)

    def _begin_jobs(self, now: float, wall: float) -> None:
        self._begin_checks()
        while self.executor.free() and not (self.paused or self.closed or self._limit_reached()):
            busy = {(job.content, job.style) for job in self._unrecorded()}
            job = self.queue.next(wall, busy, self.outcomes.holds.holds)
            if job is None or not self.pauses.check_space():
                return
            if not self.statistics.started:
                self.statistics.start(self.works())
            self._begin(job, now)
            self.queue.take(job)

    def _begin_checks(self) -> None:
        """Checks come first, and whatever the limit: results wait for them."""
        if self.closed:
            self._act_on(self.outcomes.release())
        while self.executor.free() and not (self.paused or self._stopping):
            check = self.outcomes.checks.next()
            if check is None or not self.pauses.check_space():
                return
            self._submit(check, self.outbox.make_staging_folder(check))
            self.outcomes.checks.begin_check(check)

    def _submit(self, job: Job, staging: Path) -> None:
        try:
            self.executor.submit(job, staging)
        except OSError as error:  # no process can be had
            self.ledger.give_back(job)
            self.outbox.discard(job.id, job.attempt)
            what = f"no worker process can be started: {error.strerror or error}"
            raise PlaceError(what, hint="free memory, or raise the limit on processes") from error

    def _begin(self, job: Job, now: float) -> None:
        begun = self.ledger.begin(job)
        if begun is None:
            self.planner.wake(stale=True)
            return
        if begun.attempt > MAX_ATTEMPTS:
            what = f"{MAX_ATTEMPTS} attempts ended without a result"
            failed = JobResult(begun, "failed", error=Failure(Reason.WORKER_CRASHED, what))
            self.outcomes.checks.add(failed)
            return
        try:
            staging = self.outbox.make_staging_folder(begun)
        except OutputError:
            self.ledger.give_back(begun)
            raise
        self.outcomes.begun(begun, self.planner.intake.version(begun.content))
        self._submit(begun, staging)
        self.begun += 1
        self.statistics.figures.begin(now)
        device = next((d for d, running in self.executor.running() if running == begun), "")
        self.view.begin_job(begun.id, begun.content, begun.style, device)

    def _report_line(self, line: Line) -> None:
        self.hooks.queue_result(line)
        self.statistics.hear(line)
        self._on_line(line)

    def _unrecorded(self) -> list[Job]:
        """Jobs whose end is not in the ledger yet: of their pairs no other may begin."""
        running = [job for _, job in self.executor.running()]
        return [*running, *(event.job for event in self.events), *self.outcomes.checks.waiting]

    def _unrecorded_ids(self) -> set[str]:
        return {job.id for job in self._unrecorded()}

    def _staged_names(self) -> set[str]:
        return {staging_name(staged.job, staged.attempt) for staged in self.ledger.staged()}

    def _busy(self) -> bool:
        open_ends = self.events or self.bookkeeping.unpublished or self.outcomes.checks.waiting
        return bool(self.executor.running() or open_ends)

    def _limit_reached(self) -> bool:
        return self.limit is not None and self.begun >= self.limit
