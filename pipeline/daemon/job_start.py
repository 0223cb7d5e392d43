"""Hands a job to a worker: its attempt is counted, and its staging folder made."""

from pathlib import Path

from pipeline.daemon.outcomes import Outcomes
from pipeline.errors import Failure, OutputError, PlaceError, Reason
from pipeline.jobs.job import Job, JobResult
from pipeline.jobs.retry_policy import MAX_ATTEMPTS
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.publisher import Outbox
from pipeline.workers.executor import Executor


class JobStart:
    """Begins jobs on free devices.

    Args:
        ledger: Counts the attempts.
        executor: Runs the jobs.
        outbox: Has their staging folders.
        outcomes: Keeps which checks were begun, and which version of a photo a job paints.
    """

    def __init__(
        self, ledger: Ledger, executor: Executor, outbox: Outbox, outcomes: Outcomes
    ) -> None:
        self.ledger, self.executor, self.outbox, self.outcomes = ledger, executor, outbox, outcomes

    def begin(self, job: Job, version: str) -> JobResult | Job | None:
        """Begin the next attempt of a job.

        Args:
            job: A due one.
            version: Of its photo.

        Returns:
            The attempt; its end, where it had too many; None where the ledger has no such job.

        Raises:
            OutputError: Its staging folder cannot be made. The attempt does not count.
            PlaceError: No worker process can be started. The attempt does not count.
        """
        begun = self.ledger.begin(job)
        if begun is None:
            return None
        if begun.attempt > MAX_ATTEMPTS:
            what = f"{MAX_ATTEMPTS} attempts ended without a result"
            return JobResult(begun, "failed", error=Failure(Reason.WORKER_CRASHED, what))
        try:
            staging = self.outbox.make_staging_folder(begun)
        except OutputError:
            self.ledger.give_back(begun)
            raise
        self.outcomes.remember_version(begun, version)
        self._submit(begun, staging)
        return begun

    def begin_check(self, check: Job) -> None:
        """Begin a check, which is no attempt of the job that it checks.

        Raises:
            OutputError, PlaceError: As for `begin`.
        """
        self._submit(check, self.outbox.make_staging_folder(check))
        self.outcomes.check_begun(check)

    def _submit(self, job: Job, staging: Path) -> None:
        try:
            self.executor.submit(job, staging)
        except OSError as error:  # the system starts no process
            self.ledger.give_back(job)
            self.outbox.discard(job.id, job.attempt)
            what = f"no worker process can be started: {error.strerror or error}"
            raise PlaceError(what, hint="free memory, or raise the limit on processes") from error
