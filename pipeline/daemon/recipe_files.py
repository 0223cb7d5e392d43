"""Keeps jobs waiting for files of their recipes that have just changed: paintings, weights, models.

So do files that were written a moment before they are first seen: a copy may still be under way.

A painting that is being copied has another content at each look. Each time all its pairs would be
planned, begun and given back again.
"""

from collections.abc import Iterable
from pathlib import Path

from pipeline.jobs.job import Job
from pipeline.jobs.recipe import Recipe
from pipeline.system.file_version import Stamp

# A job found another content in a file than planned. It is planned again, but begins no sooner
# than this, in case daemon and worker never see the same file.
DOUBT_SECONDS = 2.0


class RecipeFiles:
    """The files of all recipes in force.

    Args:
        seconds: A file must not have changed for this long before it is used.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._contents: dict[Path, str] = {}
        self._doubted: set[Path] = set()
        self._until: dict[Path, float] = {}  # monotonic seconds

    def compare(self, recipes: Iterable[Recipe], now: float, wall: float) -> None:
        """Compare the contents of the files with those of the last call.

        Args:
            recipes: All recipes in force.
            now: Monotonic seconds.
            wall: Seconds since 1970.
        """
        for recipe in recipes:
            for path, sha256 in recipe.files.items():
                before = self._contents.get(path)
                self._contents[path] = sha256
                if self._is_young(path, wall) if before is None else before != sha256:
                    self._until[path] = now + self._seconds
        for path in self._doubted:
            self._until[path] = now + max(self._seconds, DOUBT_SECONDS)
        self._doubted.clear()
        self._until = {path: until for path, until in self._until.items() if until > now}

    def doubt(self, path: Path) -> None:
        """Do not use a file for a while: a job found another content in it."""
        self._doubted.add(path)

    def _is_young(self, path: Path, wall: float) -> bool:
        stamp = Stamp.at(path)
        newest = max(stamp.mtime_ns, stamp.ctime_ns) / 1e9 if stamp else float("-inf")
        return wall - newest < self._seconds

    @property
    def unsettled(self) -> frozenset[Path]:
        """The files that have changed too recently to be used."""
        return frozenset(self._until)

    @property
    def settled_at(self) -> float:
        """When the first of them may be used again; infinity where there is none."""
        return min(self._until.values(), default=float("inf"))

    def must_wait(self, job: Job) -> bool:
        """Whether a job must wait for one of its files."""
        unsettled = self._until.keys() | self._doubted
        return bool(unsettled) and not unsettled.isdisjoint((job.path, *job.recipe.files))
