"""The plan: inbox x manifest, without what is done. Pure functions of plain data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from pipeline.config.manifest import Manifest, Style
from pipeline.jobs.job import Job, JobState, Photo
from pipeline.jobs.recipe import Recipe


@dataclass(frozen=True, slots=True)
class KnownPair:
    """What the ledger holds of a pair."""

    job: str
    sha256: str
    recipe: str
    state: JobState
    content: str
    restored: str = ""  # the photo (SHA-256) for which an earlier version was restored
    closed: bool = False  # the photo has left the inbox
    # Photos that had the same name before, by their SHA-256.
    earlier: dict[str, "KnownPair"] = field(default_factory=dict)

    def for_photo(self, sha256: str) -> "KnownPair | None":
        """What is known of the photo with these bytes; else of the one that it has replaced.

        None where that one had left the inbox: then this is another photo under the same name.
        """
        is_this = sha256 in (self.sha256, self.restored)
        if not is_this and (sha256 in self.earlier or self.closed):
            return self.earlier.get(sha256)
        return self

    def keeps_restored(self, photo: str) -> bool:
        """Whether an earlier version was restored, and is to stay for a photo (SHA-256)."""
        is_this = photo in (self.restored, self.sha256)
        return bool(self.restored) and self.state is JobState.DONE and is_this


Due = Literal["new", "photo changed", "recipe changed", "unfinished"]
NotDue = Literal["done", "restored", "failed before", "duplicate", "no match", "style waits"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One pair, and why something or nothing is to be done about it."""

    content: str
    style: str
    why: Due | NotDue
    job: Job | None = None
    same_as: str = ""  # content whose result, finished or coming, this one shares

    @property
    def due(self) -> bool:
        """Whether a picture is to be made."""
        return self.why in get_args(Due)


def plan_jobs(
    photos: Iterable[Photo],
    manifest: Manifest,
    recipe_of: Callable[[Style], Recipe | None],
    known: Mapping[tuple[str, str], KnownPair],
    finished: Mapping[tuple[str, str, str], str],
) -> list[Planned]:
    """Every pair of photo and style, photo by photo (so that a photo's features are reused).

    Args:
        photos: The still photos of the inbox.
        manifest: Styles and rules.
        recipe_of: The full recipe of a style; None while a file that it needs cannot be read.
        known: The ledger's pairs by (content, style).
        finished: Content of a finished result by (sha256, style, recipe digest).
    """
    plan: list[Planned] = []
    recipes = {name: recipe_of(style) for name, style in manifest.styles.items()}
    covered = dict(finished)
    for photo in photos:
        names: Iterable[str] = [style.name for style in manifest.styles_for(photo.content)]
        recipes_here: Mapping[str, Recipe | None] = recipes
        if photo.recipes is not None:
            names, recipes_here = photo.recipes, photo.recipes
        if not names:
            plan.append(Planned(photo.content, "", "no match"))
        for name in names:
            recipe = recipes_here[name]
            if recipe is None:
                plan.append(Planned(photo.content, name, "style waits"))
                continue
            pair = _plan_pair(photo, name, recipe, known, covered)
            if pair.due:
                covered.setdefault((photo.sha256, name, recipe.digest), photo.content)
            plan.append(pair)
    return plan


def _plan_pair(
    photo: Photo,
    style: str,
    recipe: Recipe,
    known: Mapping[tuple[str, str], KnownPair],
    covered: Mapping[tuple[str, str, str], str],
) -> Planned:
    job = Job(photo.content, photo.path, photo.sha256, style, recipe)
    latest = known.get((photo.content, style))
    before = latest and latest.for_photo(photo.sha256)
    same = before and (before.sha256, before.recipe) == (photo.sha256, recipe.digest)
    if before and same and before.state is JobState.DONE:
        return Planned(photo.content, style, "done")
    if before and same and before.state is JobState.FAILED:
        return Planned(photo.content, style, "failed before")
    if before and before.keeps_restored(photo.sha256):
        return Planned(photo.content, style, "restored")
    twin = covered.get((photo.sha256, style, recipe.digest))
    if twin is not None and twin != photo.content:
        recorded = bool(before and same and before.state is JobState.SKIPPED)
        return Planned(photo.content, style, "done" if recorded else "duplicate", job, twin)
    return Planned(photo.content, style, _why(before, photo, recipe.digest), job)


def _why(before: KnownPair | None, photo: Photo, digest: str) -> Due:
    if before is None:
        return "new"
    if before.sha256 != photo.sha256:
        return "photo changed"
    return "recipe changed" if before.recipe != digest else "unfinished"
