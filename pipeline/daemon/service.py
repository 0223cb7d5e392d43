"""The service's loop: each tick takes photos of the inbox one step further towards the outbox.

A photo goes through these steps, in one or several ticks: `_look` (the inbox is read,
`Planner.look_at_inbox`), `_take_answers` (results of the examiner), `_plan` (the queue is filled),
`_begin_jobs`, `_collect` (reports of the workers), `Outcomes.settle` (ledger), `Outcomes.publish`
(outbox), and `finish_original`. A pair that must be planned again starts at `_plan`.

A tick never waits, so tests move time by hand. A free device gets its next job before anything else
is done: ledger and pictures may wait for the disk, devices should not. A full disk or another fault
of the machine ends the tick where it is and pauses the work (`pipeline.daemon.fault_pauses`);
whatever was not recorded by then is kept and recorded after the pause.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.daemon.blame import is_check
from pipeline.daemon.bookkeeping import Bookkeeping
from pipeline.daemon.fault_pauses import PAUSING_ERRORS, FaultPause, FaultPauses
from pipeline.daemon.findings import FindingsRecorder
from pipeline.daemon.instance import OutboxLock
from pipeline.daemon.job_queue import JobQueue
from pipeline.daemon.job_start import JobStart
from pipeline.daemon.outcomes import Outcome, Outcomes
from pipeline.daemon.paintings.replacements import Replacing
from pipeline.daemon.paintings.unwanted import Unwanted
from pipeline.daemon.planned_pauses import PlannedPause, PlannedPauses
from pipeline.daemon.planner import Findings, Planner
from pipeline.daemon.run_statistics import RunStatistics
from pipeline.errors import InboxError, LockedError, PipelineError, PlaceError
from pipeline.inbox.examiner import Examiner
from pipeline.inbox.originals import Originals
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult, JobState, Progress
from pipeline.jobs.rates import Rates, Work, rates_file
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.counts import EndState, PairKey
from pipeline.monitoring.hooks import HookRunner
from pipeline.monitoring.journal import note
from pipeline.monitoring.view import View
from pipeline.outbox.publisher import Outbox
from pipeline.workers.executor import Executor, GivenBack

Line = dict[str, Any]
EXAMINE_SECONDS = 0.05  # an idle tick waits this long for the examiner


class Service:
    """Brings the outbox up to date with inbox x manifest, and keeps it so.

    Args:
        config, manifest: What is wanted.
        ledger: What was done.
        executor: Runs the jobs.
        view: Filled for the dashboard.
        on_event: Called with each line of the run log as it happens.
        limit: Begin at most this many jobs.
        patient: Wait for an inbox or an outbox that has vanished, instead of raising.
        planned_pauses: When no job may begin; absent: as config and state folder say.
        on_run: Called with the estimate before a run's first job, with the finished pictures that
            a plan will replace or that no rule wants, and with the summary of a scheduled run.
        lock: The lock on the outbox; None: no other studio works there.
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
        planned_pauses: PlannedPauses | None = None,
        on_run: Callable[[Line], None] = lambda _: None,
        lock: OutboxLock | None = None,
    ) -> None:
        self.ledger, self.executor, self.view, self._on_line = ledger, executor, view, on_event
        self.limit = limit
        self.outbox = Outbox(config.outbox)
        self.checkpoints = Checkpoints(config.state / "checkpoints")
        self.examiner = Examiner(config.limits)
        self.hooks = HookRunner(config.hooks, config.state / "logs" / "hooks.log")
        self.bookkeeping = Bookkeeping(
            ledger, self.outbox, view, self._report_line, config.version_limits, _folders(config)
        )
        self.planned_pauses = planned_pauses or PlannedPauses(config.state, config.schedule)
        devices = [config.device] if isinstance(config.device, str) else config.device
        self.statistics = RunStatistics(
            view, Rates(rates_file()), devices, lambda: executor.slots, on_run
        )
        self.fault_pauses = FaultPauses(config, patient, lock)
        self.planned_pause: PlannedPause | None = None
        self.polling = False  # whether nothing but the timer finds new files
        self.begun = 0
        self._stopping = False
        self._put_off = False  # whether running jobs were asked to end
        self._message = view.message
        self._on_run = on_run
        self.outcomes = Outcomes(self.bookkeeping, self.checkpoints)
        self.job_start = JobStart(ledger, executor, self.outbox, self.outcomes)
        self.events = self.outcomes.events
        # Pairs to do that have ended before, and how; None before the first plan.
        self.again: dict[PairKey, EndState] | None = None
        self._waiting = 0  # pairs that wait for their style, and are not in the queue
        self._ended: deque[str] = deque()  # photos whose originals are to be finished
        self._apply(config, manifest)
        self.findings = FindingsRecorder(config.inbox, self.bookkeeping)

    def configure(self, config: Config, manifest: Manifest) -> None:
        """Apply another config; the next look at the inbox makes a new plan.

        It differs only in keys that are not in `pipeline.config.model.AT_START`. A part that holds
        a value of the config gets the new one here or in `_apply`.
        """
        self._apply(config, manifest)
        self.outcomes.try_all_recipes()
        self.hooks.configure(config.hooks)
        self.fault_pauses.free_bytes = config.limits.free_bytes
        self.bookkeeping.configure(config.version_limits, _folders(config))
        self.planned_pauses.use_schedule(config.schedule)
        self.view.preset = config.preset

    def _apply(self, config: Config, manifest: Manifest) -> None:
        self.config = config
        # A limited number of jobs is meant to be finished pictures.
        self.planner = Planner(config, manifest, self.ledger, drafts=self.limit is None)
        self.originals = Originals(config, self.ledger)
        self.queue = JobQueue(config.queue)

    # --- start, tick, stop --------------------------------------------------------------

    def start(self) -> None:
        """Clean up after a crash: queue interrupted jobs again, remove files without an owner.

        Raises:
            LockedError: Another studio works in the outbox.
        """
        self.fault_pauses.check_outbox()
        self.bookkeeping.clean_up_after_crash()
        self.checkpoints.sweep({pair.job for pair in self.ledger.pairs(JobState.QUEUED)})

    def tick(self, now: float, wall: float, timeout: float = 0.0) -> None:
        """Collect events of the executor, record results, read the inbox, begin jobs.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
            timeout: Longest wait for an event of the executor.
        """
        if self.fault_pauses.end_if_over(now):
            self.bookkeeping.unpublished = True
            self.outcomes.pause_is_over()
            self.executor.renew()
            self.planner.wake(stale=True)
        self._collect(now, timeout)
        try:
            self.fault_pauses.check_outbox()
            self._work(now, wall)
        except PAUSING_ERRORS as error:
            self.fault_pauses.start(error, now)
        self.hooks.step(now)
        self._show(now)

    def _collect(self, now: float, timeout: float) -> None:
        """Collect the events of the executor."""
        try:
            events = self.executor.poll(timeout)
        except PlaceError as error:
            self.fault_pauses.start(error, now)
            return
        for event in events:
            if isinstance(event, Progress):
                self.view.update_progress(event)
            else:
                self._take_event(event, now)

    def _work(self, now: float, wall: float) -> None:
        self._check_planned_pause(wall)
        cause = self.fault_pause.cause if self.fault_pause else None
        if cause in ("disk", "outbox", "database"):
            return  # neither ledger nor outbox can be written
        self._begin_jobs(now, wall)
        self._act_on(self.outcomes.settle(wall))
        self.bookkeeping.check_for_restores(wall)
        if self.bookkeeping.unpublished:
            self._act_on(self.outcomes.publish(wall))
        if self.fault_pause and self.fault_pause.cause == "machine":
            self.bookkeeping.flush(now)
            return  # nothing can be examined or begun
        self.findings.record_waiting(wall)
        self._finish_originals()
        self.originals.retry(now)
        self._take_answers(now, wall)
        if now >= self.planner.next_scan:
            self._look(now, wall)
        self._begin_jobs(now, wall)
        self.bookkeeping.flush(now)
        self._end_bulk_run_if_done(wall)

    def _take_event(self, event: JobResult | GivenBack, now: float) -> None:
        self.events.append(event)
        if isinstance(event, JobResult) and not is_check(event.job):
            self.statistics.end(event, now)
            if event.status == "done":
                self.fault_pauses.reset_faults()

    def _show(self, now: float) -> None:
        """Fill the dashboard's view."""
        held = self.outcomes.count_waiting(self.queue)
        self.view.queued, self.view.waiting = len(self.queue) - held, self._waiting + held
        self.view.settling = self.planner.settling
        self.view.message = self._status_line()
        self.statistics.update_view(self.queue.works, self.executor.running(), now)

    def wake(self) -> None:
        """Read the inbox at the next tick."""
        self.planner.wake()

    @property
    def idle(self) -> bool:
        """Whether nothing runs, and nothing more will begin: all is done, or may not begin now."""
        if self._busy() or self.hooks.busy:
            return False
        paused = self.planned_pause is not None and not self.planner.stale
        return self._limit_reached() or paused or not (self.waiting or self.fault_pause)

    @property
    def waiting(self) -> bool:
        """Whether anything must still be examined, planned or begun."""
        held = self.outcomes.waiting_photos(self.queue)
        ready = any(not self.outcomes.waits(job) for job in self.queue)
        return bool(ready or self.examiner.pending or self.planner.is_unfinished(held))

    @property
    def held_back(self) -> str:
        """Which styles and photos wait for a repair, and why; "" when none does.

        Styles wait for their paintings or for the engine, photos for their place in the outbox.
        """
        whys = (self.planner.missing_files, *self.outcomes.describe_waits())
        return "; ".join(filter(None, whys))

    def works(self) -> Counter[tuple[Work, ...]]:
        """How many jobs of each kind of work there are, also those of photos not yet examined."""
        works = +self.queue.works
        return works + self.planner.unexamined_works() if self.examiner.pending else works

    @property
    def fault_pause(self) -> FaultPause | None:
        """The fault pause in force."""
        return self.fault_pauses.current

    @property
    def pause_reason(self) -> str:
        """Why no job begins now; "" where jobs may begin."""
        if self.fault_pause:
            return f"paused: {self.fault_pause.why}"
        return self.planned_pause.why if self.planned_pause else ""

    def stop(self) -> None:
        """Begin no more jobs, and ask running ones to end; they go back into the queue."""
        self.limit, self._stopping = self.begun, True
        self.executor.interrupt()

    def finish(self) -> None:
        """Remove temporary files, unless a fault pause says that the disk does not allow it.

        Nothing is removed from an outbox in which another studio works.
        """
        try:
            self.statistics.rates.save()
            self.fault_pauses.check_outbox()
            self._act_on(self.outcomes.release())
            self.bookkeeping.flush(0.0, force=True)
            self.bookkeeping.sweep_staging()
        except LockedError as error:
            self.fault_pauses.start(error, 0.0)
        except PAUSING_ERRORS:
            if self.fault_pause is None:
                raise

    def give_back_running(self) -> None:
        """Do not count the attempts of running jobs: the process ends, and its workers with it.

        Nor of those that have ended in a pause, and could not be recorded.
        """
        with suppress(PipelineError):  # the database cannot be reached: the attempts count
            for job in self._unrecorded():
                self.ledger.give_back(job)

    def close(self) -> None:
        """End the examiner's thread and the running hooks."""
        self.examiner.close()
        self.hooks.close()

    # --- pauses -------------------------------------------------------------------------

    def _check_planned_pause(self, wall: float) -> None:
        """Start or end the planned pause; interrupt running jobs if it says so."""
        before, in_run = self.planned_pause, self.planned_pauses.in_bulk_run
        self.planned_pause = self.planned_pauses.find(wall)
        if before and not self.planned_pause:
            self.planner.wake(stale=True)
        if self.planned_pauses.in_bulk_run and not in_run:
            self.statistics.renew()
        put_off = self.planned_pause is not None and self.planned_pause.at_end == "checkpoint"
        if put_off and not self._put_off and self.executor.running():
            self.executor.interrupt()
        self._put_off = put_off

    def _end_bulk_run_if_done(self, wall: float) -> None:
        if not self.planned_pauses.in_bulk_run or self.planned_pause:
            return
        if not (self._busy() or self.waiting):
            self.planned_pauses.end_bulk_run(wall)
            self.statistics.finish()

    def _status_line(self) -> str:
        """The dashboard's line below the jobs: why no job begins, or what is wrong."""
        found = (
            self.executor.trouble, self.fault_pauses.trial_reason, self.held_back,
            self.hooks.trouble, self.bookkeeping.trouble, self.originals.trouble,
            self.planned_pauses.trouble, self._message,
        )  # fmt: skip
        return self.pause_reason or next(filter(None, found), "")

    # --- working ------------------------------------------------------------------------

    def _look(self, now: float, wall: float) -> None:
        watch = self.config.watch
        pace = min(watch.poll_seconds, watch.scan_seconds) if self.polling else watch.scan_seconds
        try:
            findings = self.planner.look_at_inbox(now, wall, pace)
        except InboxError as error:
            self.planner.next_scan = now + watch.poll_seconds
            self.fault_pauses.start_for_inbox(error, now)
            return
        self.findings.add(findings, wall)
        for found in findings.unexamined:
            self.examiner.ask(found)
        if self.planner.stale:
            self._plan(now, wall)
        if findings.left and self.originals.put_back(findings.left):
            self.planner.wake(stale=True)

    def _take_answers(self, now: float, wall: float) -> None:
        """Take the examiner's results; plan with them at once, or when more have come.

        Raises:
            PlaceError: Nothing can be examined now; the files that wait are examined later.
        """
        rest = 0.0 if self.executor.running() else EXAMINE_SECONDS
        answers = self.examiner.answers(rest) if self.examiner.pending else []
        if not answers:
            return
        findings = self.planner.take_answers(answers)
        if findings.fault:
            self.examiner.drop()
        self.findings.add(findings, wall)
        if self.planner.plan_is_due(now, len(self.queue), self.examiner.pending):
            self._plan(now, wall)
        else:
            self.planner.stale = True
        if findings.fault:
            self.planner.stale = True
            raise findings.fault

    def _plan(self, now: float, wall: float) -> None:
        """Fill the queue with jobs that are due, and record the rest of the plan."""
        staged = {pair.job for pair in self.ledger.staged()}  # some may wait for their places
        plan = self.planner.make_plan(now, staged | {job.id for job in self._unrecorded()})
        if plan.replaced:
            note("replaces", words=plan.replaced.words())
            self._announce({"event": "replaces"}, plan.replaced)
        if plan.unwanted and plan.unwanted.styles:
            note("unwanted", words=plan.unwanted.words())
            self._announce({"event": "unwanted"}, plan.unwanted)
        self.queue.fill(plan.due, self.planner.files, self.ledger.retry_times())
        recipes = {pair.job.recipe.digest for pair in plan.pairs if pair.job}
        planned = {pair.job.id for pair in plan.pairs if pair.job}
        self.outcomes.forget_unplanned(recipes, planned | staged)
        self._ended.extend(plan.ended)
        self.again, self._waiting = plan.again, plan.waiting
        self.view.tally.follow_plan(plan.pairs)
        self.findings.add(Findings(files=deque([*plan.accepted, *plan.refused])), wall)
        for duplicate in plan.duplicates:
            self.bookkeeping.settle(duplicate, wall)
            self.finish_original(duplicate.job.content)
        if plan.returned:
            self.ledger.reopen_photos(plan.returned)
        self._finish_originals()

    def _announce(self, line: Line, what: Replacing | Unwanted) -> None:
        self._on_run({**line, **what.as_json(), "words": what.words()})

    def _act_on(self, outcomes: Iterable[Outcome]) -> None:
        """Update plan, queue and originals after jobs have ended."""
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

    def _finish_originals(self) -> None:
        """Finish what a plan has found ended; may be cut short, and goes on."""
        while self._ended:
            self.finish_original(self._ended[0])
            self._ended.popleft()

    def finish_original(self, content: str) -> None:
        """Archive, delete or quarantine a photo as the config says, if all its pairs have ended."""
        ending = self.planner.ending_of(content)
        if ending is not None:
            self.originals.finish(ending)

    def _begin_jobs(self, now: float, wall: float) -> None:
        self._begin_checks()
        while self.executor.free() and self._may_begin():
            busy = {(job.content, job.style) for job in self._unrecorded()}
            job = self.queue.next(wall, busy, self.outcomes.must_wait)
            if job is None or not self.fault_pauses.check_space():
                return
            if not self.statistics.started:
                self.statistics.start(self.works())
            self._begin(job, now)
            self.queue.take(job)

    def _may_begin(self) -> bool:
        # Until the trial's end is settled, another job would only meet the same full disk.
        on_trial = self.fault_pauses.trial and bool(self.executor.running() or self.events)
        return not (self.fault_pause or self.planned_pause or self._limit_reached() or on_trial)

    def _begin_checks(self) -> None:
        """Begin checks before jobs and regardless of the limit: results wait for them."""
        if self.planned_pause:
            self._act_on(self.outcomes.release())
        while self.executor.free() and not (self.fault_pause or self._stopping):
            check = self.outcomes.next_check()
            if check is None or not self.fault_pauses.check_space():
                return
            self.job_start.begin_check(check)

    def _begin(self, job: Job, now: float) -> None:
        begun = self.job_start.begin(job, self.planner.version(job.content))
        if begun is None:
            self.planner.wake(stale=True)
            return
        if isinstance(begun, JobResult):
            self.outcomes.check(begun)
            return
        self.begun += 1
        if self.again:
            self.again.pop((begun.content, begun.style), None)
        self.statistics.figures.begin(now)
        device = next((d for d, running in self.executor.running() if running == begun), "")
        self.view.begin_job(begun.id, begun.content, begun.style, device, draft=begun.draft)

    def _report_line(self, line: Line) -> None:
        if not line.get("draft") or line["status"] != "done":
            self.hooks.queue_result(line)
        self._on_line(line)

    def _unrecorded(self) -> list[Job]:
        """Jobs whose end is not in the ledger yet: no other job of their pairs may begin."""
        return [*(job for _, job in self.executor.running()), *self.outcomes.unrecorded]

    def _busy(self) -> bool:
        return bool(self.executor.running() or self.outcomes.are_open)

    def _limit_reached(self) -> bool:
        return self.limit is not None and self.begun >= self.limit


def _folders(config: Config) -> list[Path]:
    """Folders that the run log must not name, besides the outbox."""
    return [config.inbox, config.state, config.archive, config.quarantine]
