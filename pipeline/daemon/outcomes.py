"""What becomes of a job that has ended: published, tried again, failed, or given back.

What happened is handled in order and forgotten only once the ledger has it, so that a full disk may
stop this anywhere, and it goes on from there.
"""

from collections import deque
from dataclasses import replace

from pipeline.daemon.blame import Trials, needs_check
from pipeline.daemon.bookkeeping import Accounts
from pipeline.daemon.planner import Planner
from pipeline.errors import Failure, OutputError, PlaceError, Reason
from pipeline.inbox.scanner import Refused
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult, JobState
from pipeline.jobs.retry_policy import BLAME, Blame, wait_seconds
from pipeline.workers.executor import GivenBack


class Outcomes:
    """Brings the ends of jobs into the books.

    Args:
        accounts: The books.
        checkpoints: What interrupted jobs have left.
        planner: Is told what is to be done again.
    """

    def __init__(self, accounts: Accounts, checkpoints: Checkpoints, planner: Planner) -> None:
        self.accounts, self.checkpoints, self.planner = accounts, checkpoints, planner
        self.events: deque[JobResult | GivenBack] = deque()  # heard, but not in the ledger yet
        self.trials = Trials()
        self._versions: dict[str, str] = {}  # of the photos of running jobs, when they were begun

    def begun(self, job: Job) -> None:
        """Remember which version of its photo a job is about."""
        self._versions[job.id] = self.planner.intake.version(job.content)

    def settle(self, wall: float) -> None:
        """Bring all that was heard into the books; may be cut short and called again.

        Raises:
            OutputError, DiskFullError: The disk takes nothing now.
            PlaceError: The machine is at fault; the job is given back.
        """
        while self.events:
            self._settle(self.events[0], wall)
            self.events.popleft()

    def publish(self, wall: float) -> None:
        """Publish what is staged, and see to the originals.

        Raises:
            OutputError, DiskFullError: The disk takes nothing now.
        """
        for staged, again in self.accounts.publish_all(wall):
            if again:
                self.planner.wake(stale=True)
            self.planner.ended(staged.content)
            self.planner.done(staged.content)

    def _settle(self, event: JobResult | GivenBack, wall: float) -> None:
        job = event.job
        if self.trials.is_check(job):
            self._judge(event, wall)
            return
        known = self.accounts.known(job.content, job.style, job.sha256)
        mine = known is not None and (known.job, known.state) == (job.id, JobState.RUNNING)
        if isinstance(event, GivenBack) and event.changed:
            self.planner.doubt(job, event.changed)
        if isinstance(event, GivenBack) or not mine or self._replaced(job):
            self._give_back(job)
        elif event.status == "done":
            self._stage(event, wall)
            self.planner.holds.release(job.recipe.digest)
        else:
            self._fail(event, wall)
        self._versions.pop(job.id, None)
        self.planner.ended(job.content)

    def _stage(self, result: JobResult, wall: float) -> None:
        try:
            self.accounts.stage(result, wall)
        except OutputError as error:
            if error.code in (Reason.DISK_FULL, Reason.IO_ERROR):
                raise
            # Its place in the outbox cannot be used: nobody's fault but this pair's.
            failure = Failure(error.code, str(error))
            self._fail(replace(result, status="failed", outputs=(), error=failure), wall)

    def _replaced(self, job: Job) -> bool:
        """Whether another picture lies under the photo's name since the job was begun."""
        begun = self._versions.get(job.id, "")
        now = self.planner.intake.standing(job.content)
        return bool(begun and now and now != begun)

    def _give_back(self, job: Job) -> None:
        self.accounts.ledger.give_back(job)
        self.accounts.view.drop(job.id)
        self.accounts.outbox.discard(job.id, job.attempt)
        self.planner.wake(stale=True)

    def _fail(self, result: JobResult, wall: float) -> None:
        job, failure = result.job, result.error
        assert failure is not None  # noqa: S101  # a failed result has one
        if BLAME[failure.code] is Blame.PLACE:
            self._give_back(job)
            raise _of_the_place(failure)
        if BLAME[failure.code] is Blame.STYLE:
            self._give_back(job)
            self.planner.holds.hold(job, failure.message, wall)
            return
        if failure.code is Reason.VANISHED:
            # Not failed: the same photo may come back. It is accounted for, and made when it does.
            self._give_back(job)
            gone = Refused(job.content, job.path, failure, "skipped", job.sha256)
            self.accounts.refuse(gone, wall)
            return
        ledger = self.accounts.ledger
        times = ledger.failures(job, failure.code) + 1
        wait = wait_seconds(failure.code, times, job.id)
        if wait is None and needs_check(failure):
            self.trials.accuse(result)
            self.accounts.view.drop(job.id)
        elif wait is None:
            self._end(result, wall)
        else:
            ledger.postpone(job, failure, times, wall + wait)
            self.planner.queue.postpone(job, wall + wait)
            self.accounts.view.drop(job.id)
        self.accounts.outbox.discard(job.id, job.attempt)

    def _end(self, result: JobResult, wall: float) -> None:
        """A pair has failed for good."""
        self.checkpoints.drop(result.job.id)
        self.accounts.settle(result, wall)
        self.planner.done(result.job.content)

    # --- checks -------------------------------------------------------------------------

    def _judge(self, event: JobResult | GivenBack, wall: float) -> None:
        """A check has ended: its photo is good, so what failed in it is no photo's fault."""
        check = event.job
        self.accounts.outbox.discard(check.id, check.attempt)
        if isinstance(event, GivenBack) and event.changed is None:
            self.trials.put_off(check)
            return
        accused = self.trials.close(check)
        if isinstance(event, GivenBack):
            assert event.changed is not None  # noqa: S101  # see above
            self.planner.doubt(check, event.changed)  # another painting, and so another recipe
            for result in accused:
                self._give_back(result.job)
            return
        failure = event.error
        for result in accused:
            if failure is None and self.trials.convicted(result):
                self._end(result, wall)
            else:
                self._give_back(result.job)
            self.planner.ended(result.job.content)
        if failure is None:
            return
        if BLAME[failure.code] is Blame.PLACE:
            raise _of_the_place(failure)
        self.planner.holds.hold(accused[0].job, _of_a_check(failure), wall)

    def release(self) -> None:
        """The end is near: what waits for a check goes back into the queue."""
        for result in self.trials.close_all():
            self._give_back(result.job)


def _of_the_place(failure: Failure) -> OutputError | PlaceError:
    if failure.code is Reason.DISK_FULL:
        return OutputError(failure.message, code=failure.code)
    return PlaceError(failure.message, code=failure.code)


def _of_a_check(failure: Failure) -> str:
    return f"a photo known to be good fails too: {failure.code}: {failure.message}"
