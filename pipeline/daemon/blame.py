"""Decides what a failure is blamed on: a photo only if the same recipe works with another photo.

A photo, a painting or the machine may cause a failure, and the error rarely says which. So before a
pair fails for good there is a check: the same recipe, with one step a scale, on a photo that ships
with the package. If the check succeeds, the pair is tried once more, and fails if that fails. If
the check fails too, no photo is to blame: all pairs of the recipe wait, and are tried again later.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from pipeline.config.manifest import starter_styles
from pipeline.errors import Failure, Reason
from pipeline.jobs.job import Job, JobResult
from pipeline.jobs.recipe import digest
from pipeline.jobs.retry_policy import BLAME, Blame, is_due, repair_wait_seconds

CHECK = ".self-check"  # in place of a photo's path; photos with a dot in front are ignored
KNOWN_GOOD = "watercolor"  # the starter style with the smallest file, used as the photo


@dataclass(slots=True)
class _Wait:
    """Why something waits, and until when (seconds since 1970)."""

    name: str
    why: str
    until: float
    times: int = 1


class _Waits:
    """What waits for a repair, by a key; each is tried again now and then."""

    def __init__(self) -> None:
        self._waits: dict[str, _Wait] = {}

    def put(self, key: str, name: str, why: str, wall: float) -> None:
        """Let something wait, longer each time."""
        before = self._waits.get(key)
        if before is None:
            self._waits[key] = _Wait(name, why, wall + repair_wait_seconds(1))
        elif is_due(before.until, wall):  # not due: another job of the same try has failed
            before.why, before.times = why, before.times + 1
            before.until = wall + repair_wait_seconds(before.times)

    def holds(self, key: str, wall: float) -> bool:
        """Whether something may not be tried now."""
        found = self._waits.get(key) if self._waits else None
        return found is not None and not is_due(found.until, wall)

    def remove(self, key: str) -> None:
        """Let something go on: it has worked."""
        self._waits.pop(key, None)

    def keep_only(self, keys: Collection[str]) -> None:
        """Forget what is not wanted any more."""
        self._waits = {key: wait for key, wait in self._waits.items() if key in keys}

    def _names(self) -> dict[str, list[str]]:
        """What waits, by the reason."""
        names: dict[str, list[str]] = {}
        for wait in self._waits.values():
            same = names.setdefault(wait.why, [])
            if wait.name not in same:
                same.append(wait.name)
        return names


class WaitingRecipes(_Waits):
    """Recipes whose pairs wait, because their paintings or the engine cannot be used."""

    def __contains__(self, job: Job) -> bool:
        return bool(self._waits) and job.recipe.digest in self._waits

    def add(self, job: Job, why: str, wall: float) -> None:
        """Let the pairs of a job's recipe wait, longer each time."""
        self.put(job.recipe.digest, job.style, why, wall)

    def count(self, jobs: Iterable[Job]) -> int:
        """How many of some jobs wait."""
        return sum(job in self for job in jobs) if self._waits else 0

    def must_wait(self, job: Job, wall: float) -> bool:
        """Whether a job may not start now."""
        return self.holds(job.recipe.digest, wall)

    def describe(self) -> str:
        """Which styles wait, and why; "" where none does."""
        styles = self._names().items()
        return "; ".join(f"style {', '.join(names)} waits: {why}" for why, names in styles)


class WaitingPairs(_Waits):
    """Pairs, by job id, whose place in the outbox cannot be used. No photo is to blame for it."""

    def __contains__(self, job: str) -> bool:
        return job in self._waits

    @property
    def names(self) -> set[str]:
        """The photos that wait."""
        return {wait.name for wait in self._waits.values()}

    def any_due(self, wall: float) -> bool:
        """Whether one may be tried again."""
        return any(is_due(wait.until, wall) for wait in self._waits.values())

    def describe(self) -> str:
        """Which photos wait, and why; "" where none does."""
        return "; ".join(
            f"{names[0]}{f' and {len(names) - 1} more wait' if names[1:] else ' waits'}: {why}"
            for why, names in self._names().items()
        )


@dataclass(slots=True)
class _Check:
    check: Job
    results: list[JobResult] = field(default_factory=list)
    begun: bool = False


class Checks:
    """The open checks, each with the failed results that wait for it."""

    def __init__(self) -> None:
        self._checks: dict[str, _Check] = {}  # by the check's id
        self._passed: set[str] = set()  # jobs that failed once where their check worked

    def failed_again(self, result: JobResult) -> bool:
        """Whether a pair whose check has succeeded fails for good; otherwise it is tried again.

        The machine may have been repaired between the failure and the check. So only a pair that
        fails once more is to blame.
        """
        if result.job.id in self._passed:
            self._passed.discard(result.job.id)
            return True
        self._passed.add(result.job.id)
        return False

    def add(self, result: JobResult) -> None:
        """Keep a failed result until its check has ended."""
        check = check_of(result.job)
        self._checks.setdefault(check.id, _Check(check)).results.append(result)

    def next(self) -> Job | None:
        """A check that has not started yet; None where there is none."""
        return next((one.check for one in self._checks.values() if not one.begun), None)

    def mark_begun(self, check: Job) -> None:
        """Record that a check has started."""
        self._checks[check.id].begun = True

    def put_off(self, check: Job) -> None:
        """Start a check again later: it was given back without a result."""
        self._checks[check.id].begun = False

    def is_open(self, job: Job) -> bool:
        """Whether a job is one of the open checks."""
        return job.id in self._checks

    def close(self, check: Job) -> list[JobResult]:
        """Remove a check that has ended; returns the results that waited for it."""
        return self._checks.pop(check.id).results

    def close_all(self) -> list[JobResult]:
        """Remove all checks, because no job starts any more; returns the results that waited."""
        checks, self._checks = self._checks, {}
        return [result for one in checks.values() for result in one.results]

    @property
    def waiting(self) -> list[Job]:
        """The jobs whose results wait for a check."""
        return [result.job for one in self._checks.values() for result in one.results]


def check_of(job: Job) -> Job:
    """The check of a job: its recipe and degree of caution, in few steps, on a good photo."""
    path = starter_styles()[KNOWN_GOOD]
    steps = (1,) * len(job.recipe.transfer.steps)
    few = {"steps": steps, "target": None}  # no search either
    recipe = replace(job.recipe, transfer=job.recipe.transfer.model_copy(update=few))
    return Job(CHECK, path, digest(path), job.style, recipe, 1, job.caution)


def needs_check(failure: Failure) -> bool:
    """Whether the machine or the painting may have caused a failure as well as the photo."""
    return BLAME[failure.code] is Blame.PAIR and failure.code is not Reason.PUBLISH_CONFLICT


def is_check(job: Job) -> bool:
    """Whether a job is a check instead of a photo's job."""
    return job.content == CHECK
