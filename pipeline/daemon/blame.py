"""Which part a failure is blamed on: the photo only if the same style works with another one.

What fails may be the photo, the painting, or the machine, and seldom does the error say which. So
no pair fails for good before a check: its own recipe, with one step a scale, on a photo that ships
with the package. Where the check works, the pair is tried once more, and has failed if it fails
again. Where the check fails too, no photo is to blame: all pairs of that recipe wait, and are tried
again by themselves.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from pipeline.config.manifest import starter_styles
from pipeline.errors import Failure, Reason
from pipeline.jobs.job import Job, JobResult
from pipeline.jobs.recipe import digest
from pipeline.jobs.retry_policy import BLAME, Blame, is_due, repair_wait_seconds

CHECK = ".self-check"  # stands for a photo's name; no photo in the inbox has one like it
KNOWN_GOOD = "watercolor"  # of the starter styles, the smallest file


@dataclass(slots=True)
class _HeldRecipe:
    """Why the pairs of a recipe wait, and until what time of day."""

    style: str
    why: str
    until: float
    times: int = 1


class HeldRecipes:
    """Recipes whose pairs wait, because their paintings or the engine cannot be used."""

    def __init__(self) -> None:
        self._holds: dict[str, _HeldRecipe] = {}  # by the recipe's digest

    def __contains__(self, job: Job) -> bool:
        return bool(self._holds) and job.recipe.digest in self._holds

    def hold(self, job: Job, why: str, wall: float) -> None:
        """Let the pairs of a job's recipe wait, longer each time."""
        before = self._holds.get(job.recipe.digest)
        if before is None:
            self._holds[job.recipe.digest] = _HeldRecipe(
                job.style, why, wall + repair_wait_seconds(1)
            )
        elif is_due(before.until, wall):  # others of the same try say nothing new
            before.why, before.times = why, before.times + 1
            before.until = wall + repair_wait_seconds(before.times)

    def holds(self, job: Job, wall: float) -> bool:
        """Whether a job is not to be begun now."""
        found = self._holds.get(job.recipe.digest) if self._holds else None
        return found is not None and not is_due(found.until, wall)

    def release(self, recipe: str) -> None:
        """A picture was made with this recipe."""
        self._holds.pop(recipe, None)

    def keep(self, recipes: Collection[str]) -> None:
        """Forget recipes that no pair asks for any more: their painting is another one now."""
        self._holds = {key: hold for key, hold in self._holds.items() if key in recipes}

    @property
    def words(self) -> str:
        """What waits, and why; "" where nothing does."""
        whys: dict[str, list[str]] = {}
        for hold in self._holds.values():
            names = whys.setdefault(hold.why, [])
            names += [hold.style] * (hold.style not in names)
        return "; ".join(f"style {', '.join(names)} waits: {why}" for why, names in whys.items())


@dataclass(slots=True)
class _Check:
    check: Job
    results: list[JobResult] = field(default_factory=list)
    begun: bool = False


class Checks:
    """Pairs that would fail for good, each recipe with its check."""

    def __init__(self) -> None:
        self._checks: dict[str, _Check] = {}  # by the check's id
        self._passed: set[str] = set()  # jobs that failed once where their check worked

    def failed_again(self, result: JobResult) -> bool:
        """Its check works. Whether the pair has failed for good; else it is to be tried again.

        The machine may have been repaired between the failure and the check: only what fails once
        more is to blame.
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
        """A check that is to be begun."""
        return next((t.check for t in self._checks.values() if not t.begun), None)

    def begin_check(self, check: Job) -> None:
        """A check is begun."""
        self._checks[check.id].begun = True

    def put_off(self, check: Job) -> None:
        """A check came back undone: it is to be begun again."""
        self._checks[check.id].begun = False

    def is_check(self, job: Job) -> bool:
        """Whether a job is the check of an open trial."""
        return job.id in self._checks

    def close(self, check: Job) -> list[JobResult]:
        """The check has ended: the results that waited for it."""
        return self._checks.pop(check.id).results

    def close_all(self) -> list[JobResult]:
        """Nothing more is begun: the results that waited for checks."""
        checks, self._checks = self._checks, {}
        return [result for check in checks.values() for result in check.results]

    @property
    def waiting(self) -> list[Job]:
        """The jobs whose results wait for a check."""
        return [result.job for trial in self._checks.values() for result in trial.results]


def check_of(job: Job) -> Job:
    """A job's own recipe and profile of caution, in few steps, on a photo known to be good."""
    path = starter_styles()[KNOWN_GOOD]
    steps = (1,) * len(job.recipe.transfer.steps)
    recipe = replace(job.recipe, transfer=job.recipe.transfer.model_copy(update={"steps": steps}))
    return Job(CHECK, path, digest(path), job.style, recipe, 1, job.caution)


def needs_check(failure: Failure) -> bool:
    """Whether a failure may be the machine's or the painting's as well as the photo's."""
    return BLAME[failure.code] is Blame.PAIR and failure.code is not Reason.PUBLISH_CONFLICT


def is_check(job: Job) -> bool:
    """Whether a job is a check and no photo's."""
    return job.content == CHECK
