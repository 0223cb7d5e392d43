"""Handles jobs that have ended: they are published, tried again, given back, or fail.

Events are handled in order and removed only once the ledger has them: a full disk may stop this
anywhere, and the next call goes on from there. What the end of a job means for plan, queue and
original is returned as an `Outcome`; the service acts on it.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.daemon.blame import Checks, WaitingRecipes, needs_check
from pipeline.daemon.bookkeeping import Bookkeeping
from pipeline.errors import Failure, OutputError, PlaceError, Reason
from pipeline.inbox.originals import version_at
from pipeline.inbox.scanner import Refused
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult, JobState
from pipeline.jobs.retry_policy import BLAME, Blame, wait_seconds
from pipeline.outbox.names import STAGING
from pipeline.workers.executor import GivenBack

# What a worker reports when it cannot write its pictures.
_WRITING = frozenset({Reason.IO_ERROR, Reason.OUTPUT_INVALID})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the end of a job means for the plan, the queue and the original."""

    job: Job | None = None  # None: a job of an earlier run
    content: str = ""  # the photo of a job that has ended
    again: bool = False  # the pair must be planned again
    finished: bool = False  # the pair has ended: the original may have to be handled
    changed: Path | None = None  # this file holds something else than the plan says
    retry_at: float | None = None  # the job is tried again after this time (seconds since 1970)


class Outcomes:
    """Records the ends of jobs.

    Args:
        bookkeeping: Ledger, outbox, run log and dashboard.
        checkpoints: Those of interrupted jobs.
    """

    def __init__(self, bookkeeping: Bookkeeping, checkpoints: Checkpoints) -> None:
        self.bookkeeping, self.checkpoints = bookkeeping, checkpoints
        self.events: deque[JobResult | GivenBack] = deque()  # not in the ledger yet
        self.checks, self.waiting_recipes = Checks(), WaitingRecipes()
        self._old_events = 0  # so many of the first events are older than the end of a pause
        self._versions: dict[str, str] = {}  # of the photos of running jobs, by job id

    def remember_version(self, job: Job, version: str) -> None:
        """Remember the version that a job's photo had when the job began."""
        self._versions[job.id] = version

    def pause_is_over(self) -> None:
        """A fault pause has ended: a full disk that was reported before says nothing any more."""
        self._old_events = len(self.events)

    def settle(self, wall: float) -> Iterator[Outcome]:
        """Record all events. After an error the next call goes on with those that are left.

        Raises:
            OutputError, DiskFullError: The disk cannot be written now.
            PlaceError: The machine is at fault; the job is given back.
        """
        while self.events:
            yield from self._settle(self.events[0], wall)
            self.events.popleft()
            self._old_events = max(0, self._old_events - 1)

    def publish(self, wall: float) -> Iterator[Outcome]:
        """Publish what is staged.

        Raises:
            OutputError, DiskFullError: The disk cannot be written now.
        """
        for staged, again in self.bookkeeping.publish_all(wall):
            yield Outcome(content=staged.content, again=again, finished=True)

    def _settle(self, event: JobResult | GivenBack, wall: float) -> Iterator[Outcome]:
        job = event.job
        if self.checks.is_open(job):
            yield from self._settle_check(event, wall)
            return
        known = self.bookkeeping.known(job.content, job.style, job.sha256)
        mine = known is not None and (known.job, known.state) == (job.id, JobState.RUNNING)
        if isinstance(event, GivenBack):
            yield self._give_back(job, event.changed)
        elif not mine or self._replaced(job):
            yield self._give_back(job)
        elif event.status == "done":
            yield from self._stage(event, wall)
            self.waiting_recipes.remove(job.recipe.digest)
        else:
            yield from self._fail(event, wall)
        self._versions.pop(job.id, None)

    def _stage(self, result: JobResult, wall: float) -> Iterator[Outcome]:
        try:
            self.bookkeeping.stage(result, wall)
        except OutputError as error:
            if error.code in (Reason.DISK_FULL, Reason.IO_ERROR):
                raise
            # Its place in the outbox cannot be used, which concerns this pair alone.
            yield self._wait_for_place(result.job, str(error), wall)
        else:
            yield Outcome(result.job, result.job.content)

    @property
    def unrecorded(self) -> list[Job]:
        """Jobs that have ended, or wait for a check, and whose end is not in the ledger yet."""
        return [*(event.job for event in self.events), *self.checks.waiting]

    @property
    def are_open(self) -> bool:
        """Whether anything is still to be recorded, checked or published."""
        return bool(self.events or self.bookkeeping.unpublished or self.checks.waiting)

    def check(self, failed: JobResult) -> None:
        """Keep a failed result until a check has shown what is to blame."""
        self.checks.add(failed)

    def next_check(self) -> Job | None:
        """A check that has not begun yet; None where there is none."""
        return self.checks.next()

    def check_begun(self, check: Job) -> None:
        """Record that a check has begun."""
        self.checks.mark_begun(check)

    # --- what waits for a repair --------------------------------------------------------

    def must_wait(self, job: Job, wall: float) -> bool:
        """Whether a job may not start now: its last tries met a fault that is no photo's."""
        return self.waiting_recipes.must_wait(job, wall) or self.bookkeeping.waiting.holds(
            job.id, wall
        )

    def waits(self, job: Job) -> bool:
        """Whether a job is tried again only now and then: the run need not wait for it."""
        return job in self.waiting_recipes or job.id in self.bookkeeping.waiting

    def count_waiting(self, jobs: Iterable[Job]) -> int:
        """How many of some jobs wait for their paintings or for the engine."""
        return self.waiting_recipes.count(jobs)

    def waiting_photos(self, jobs: Iterable[Job]) -> set[str]:
        """The photos that wait: those of some jobs, and those without a place in the outbox."""
        return {job.content for job in jobs if self.waits(job)} | self.bookkeeping.waiting.names

    def describe_waits(self) -> tuple[str, str]:
        """Which styles and which photos wait, and why; "" where none does."""
        return self.waiting_recipes.describe(), self.bookkeeping.waiting.describe()

    def forget_unplanned(self, recipes: Collection[str], jobs: Collection[str]) -> None:
        """Let nothing wait that no plan wants any more."""
        self.waiting_recipes.keep_only(recipes)
        self.bookkeeping.waiting.keep_only(jobs)

    def try_all_recipes(self) -> None:
        """Let no recipe wait: the config has changed."""
        self.waiting_recipes = WaitingRecipes()

    def _wait_for_place(self, job: Job, why: str, wall: float) -> Outcome:
        self.bookkeeping.wait_for_place(job, why, wall)
        return Outcome(job, job.content, again=True)

    def _replaced(self, job: Job) -> bool:
        """Whether the photo's file was replaced since the job began."""
        begun = self._versions.get(job.id, "")
        now = version_at(job.path)
        return bool(begun and now and now != begun)

    def _give_back(self, job: Job, changed: Path | None = None) -> Outcome:
        self.bookkeeping.give_back(job)
        return Outcome(job, job.content, again=True, changed=changed)

    def _fail(self, result: JobResult, wall: float) -> Iterator[Outcome]:
        job, failure = result.job, result.error
        assert failure is not None  # noqa: S101  # a failed result has one
        if BLAME[failure.code] is Blame.MACHINE:
            yield self._give_back(job)
            if failure.code is Reason.DISK_FULL and self._old_events:
                return
            raise _machine_error(failure)
        if BLAME[failure.code] is Blame.STYLE:
            yield self._give_back(job)
            self.waiting_recipes.add(job, failure.message, wall)
            return
        if failure.code is Reason.VANISHED:
            # Not failed: the same photo may come back, and is then rendered. Until then the run log
            # has a line for it.
            yield self._give_back(job)
            gone = Refused(job.content, job.path, failure, "skipped", job.sha256)
            self.bookkeeping.refuse(gone, wall)
            return
        if failure.code in _WRITING and not self.bookkeeping.outbox.has_staging_folder(job):
            why = f"its folder in {STAGING} was removed while it was rendered ({failure.message})"
            yield self._wait_for_place(job, why, wall)
            return
        ledger = self.bookkeeping.ledger
        times = ledger.failures(job, failure.code) + 1
        wait = wait_seconds(failure.code, times, job.id)
        if wait is None and needs_check(failure):
            self.checks.add(result)
            self.bookkeeping.view.remove_job(job.id)
            yield Outcome(job, job.content)
        elif wait is None:
            yield self._end(result, wall)
        else:
            ledger.postpone(job, failure, times, wall + wait)
            self.bookkeeping.view.remove_job(job.id)
            yield Outcome(job, job.content, retry_at=wall + wait)
        self.bookkeeping.outbox.discard(job.id, job.attempt)

    def _end(self, result: JobResult, wall: float) -> Outcome:
        """Record that a pair has failed for good."""
        self.checkpoints.drop(result.job.id)
        self.bookkeeping.settle(result, wall)
        return Outcome(result.job, result.job.content, finished=True)

    # --- checks -------------------------------------------------------------------------

    def _settle_check(self, event: JobResult | GivenBack, wall: float) -> Iterator[Outcome]:
        """Handle the end of a check: its photo is good, so its failure is no photo's fault."""
        check = event.job
        self.bookkeeping.outbox.discard(check.id, check.attempt)
        if isinstance(event, GivenBack) and event.changed is None:
            self.checks.put_off(check)
            return
        waiting = self.checks.close(check)
        if isinstance(event, GivenBack):
            yield Outcome(check, changed=event.changed)  # another painting, so another recipe
            for result in waiting:
                yield self._give_back(result.job)
            return
        failure = event.error
        for result in waiting:
            if failure is None and self.checks.failed_again(result):
                yield self._end(result, wall)
            else:
                yield self._give_back(result.job)
        if failure is None:
            return
        if BLAME[failure.code] is Blame.MACHINE:
            raise _machine_error(failure)
        self.waiting_recipes.add(waiting[0].job, _describe_check(failure), wall)

    def release(self) -> Iterator[Outcome]:
        """Give back the jobs whose results wait for a check, because no check can begin now."""
        for result in self.checks.close_all():
            yield self._give_back(result.job)


def _machine_error(failure: Failure) -> OutputError | PlaceError:
    if failure.code is Reason.DISK_FULL:
        return OutputError(failure.message, code=failure.code)
    return PlaceError(failure.message, code=failure.code)


def _describe_check(failure: Failure) -> str:
    return f"a photo known to be good fails too: {failure.code}: {failure.message}"
