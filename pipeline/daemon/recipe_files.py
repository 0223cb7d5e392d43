"""Which files that recipes name hold still; what has just changed is left alone for a while.

A painting that is being copied holds something else at each look, and each time all its pictures
would be planned, begun and given back again.
"""

from collections.abc import Iterable
from pathlib import Path

from pipeline.jobs.job import Job
from pipeline.jobs.recipe import Recipe

# After a job found something else in a file than the plan says. It is planned again, and tried
# again no sooner than this, even if daemon and worker never come to see the same file.
DOUBT_SECONDS = 2.0


class RecipeFiles:
    """The files of all recipes in force.

    Args:
        seconds: How long a file must hold the same before it is used again.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._contents: dict[Path, str] = {}
        self._doubted: set[Path] = set()
        self._until: dict[Path, float] = {}  # monotonic seconds

    def compare(self, recipes: Iterable[Recipe], now: float) -> None:
        """Compare what the files hold with what they held the last time."""
        for recipe in recipes:
            for path, sha256 in recipe.files.items():
                if self._contents.setdefault(path, sha256) != sha256:
                    self._contents[path] = sha256
                    self._until[path] = now + self._seconds
        for path in self._doubted:
            self._until[path] = now + max(self._seconds, DOUBT_SECONDS)
        self._doubted.clear()
        self._until = {path: until for path, until in self._until.items() if until > now}

    def doubt(self, path: Path) -> None:
        """A job found something else in this file."""
        self._doubted.add(path)

    @property
    def moving(self) -> frozenset[Path]:
        """Files that are left alone now."""
        return frozenset(self._until)

    @property
    def still_at(self) -> float:
        """When the first of them may be used again; infinity when there is none."""
        return min(self._until.values(), default=float("inf"))

    def must_wait(self, job: Job) -> bool:
        """Whether a job must wait for one of its files."""
        left_alone = self._until.keys() | self._doubted
        return bool(left_alone) and not left_alone.isdisjoint((job.path, *job.recipe.files))
