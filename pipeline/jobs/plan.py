"""The plan: inbox x manifest, without what is done. Pure functions of plain data."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
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
    pictured: bool = False  # it has pictures, of this recipe or another
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


Due = Literal["new", "photo changed", "recipe changed", "unfinished", "draft done"]
NotDue = Literal[
    "done", "restored", "failed before", "duplicate", "no match", "style waits", "draft deleted"
]
# Whether a finished draft is in the outbox, given the job that replaces it.
DraftStands = Callable[[Job], bool]


@dataclass(frozen=True, slots=True)
class Planned:
    """One pair, and why something or nothing is to be done about it."""

    content: str
    style: str
    why: Due | NotDue
    job: Job | None = None
    same_as: str = ""  # content whose result, finished or coming, this one shares
    blank: bool = False  # due, and without any picture yet

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
    draft_stands: DraftStands | None = None,
) -> list[Planned]:
    """Every pair of photo and style, photo by photo (so that a photo's features are reused).

    Args:
        photos: The still photos of the inbox.
        manifest: Styles and rules.
        recipe_of: The full recipe of a style; None while a file that it needs cannot be read.
        known: The ledger's pairs by (content, style).
        finished: Content of a finished result by (sha256, style, recipe digest).
        draft_stands: With `first: draft`: a draft that someone deleted is not replaced.
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
            job = Job(photo.content, photo.path, photo.sha256, name, recipe)
            pair = _plan_pair(job, known.get((photo.content, name)), covered, draft_stands)
            if pair.due:
                covered.setdefault((photo.sha256, name, recipe.digest), photo.content)
            plan.append(pair)
    return plan


def find_unwanted(
    plan: Iterable[Planned],
    known: Mapping[tuple[str, str], KnownPair],
    styles: Collection[str],
) -> set[tuple[str, str, str]]:
    """Pairs with pictures that no rule wants any more, by content, style and job.

    No picture of a style that is gone is wanted. Of other styles, only those of planned photos
    count: about a photo that has left the inbox, or was not examined, no rule says anything.

    Args:
        plan: All pairs of the plan.
        known: The ledger's pairs by (content, style).
        styles: The names of all styles.
    """
    photos, wanted = set(), set()
    for pair in plan:
        photos.add(pair.content)
        wanted |= {(pair.content, pair.style), (pair.same_as, pair.style)}
    found = set()
    for (content, style), latest in known.items():
        if style not in styles:
            every = [latest, *latest.earlier.values()]
        elif content in photos and not latest.closed and (content, style) not in wanted:
            every = [latest]
        else:
            continue
        found |= {(content, style, one.job) for one in every if one.pictured}
    return found


def draft_first(pairs: Iterable[Planned], but: Collection[tuple[str, str]]) -> list[Planned]:
    """The same plan with a draft in place of each first picture, except of some pairs."""
    return [
        _as_draft(pair) if pair.blank and (pair.content, pair.style) not in but else pair
        for pair in pairs
    ]


def _as_draft(pair: Planned) -> Planned:
    job = pair.job
    draft = job.recipe.draft if job else None
    if job is None or draft is None:
        return pair
    return replace(pair, job=replace(job, recipe=draft, full=job.recipe))


def _plan_pair(
    job: Job,
    latest: KnownPair | None,
    covered: Mapping[tuple[str, str, str], str],
    draft_stands: DraftStands | None,
) -> Planned:
    photo, style, digest = job.sha256, job.style, job.recipe.digest
    before = latest and latest.for_photo(photo)
    same = before and (before.sha256, before.recipe) == (photo, digest)
    drafted = before and draft_stands and _is_draft_of(before, job)
    if before and same and before.state is JobState.DONE:
        return Planned(job.content, style, "done")
    if before and (same or drafted) and before.state is JobState.FAILED:
        return Planned(job.content, style, "failed before")
    if before and before.keeps_restored(photo):
        return Planned(job.content, style, "restored")
    drafted = drafted and before and before.state is JobState.DONE
    if drafted and draft_stands and not draft_stands(job):
        return Planned(job.content, style, "draft deleted")
    twin = covered.get((photo, style, digest))
    if twin is not None and twin != job.content:
        recorded = bool(before and same and before.state is JobState.SKIPPED)
        return Planned(job.content, style, "done" if recorded else "duplicate", job, twin)
    why = "draft done" if drafted else _why(before, job)
    return Planned(job.content, style, why, job, blank=not (before and before.pictured))


def _is_draft_of(before: KnownPair, job: Job) -> bool:
    draft = job.recipe.draft
    return draft is not None and (before.sha256, before.recipe) == (job.sha256, draft.digest)


def _why(before: KnownPair | None, job: Job) -> Due:
    if before is None:
        return "new"
    if before.sha256 != job.sha256:
        return "photo changed"
    return "recipe changed" if before.recipe != job.recipe.digest else "unfinished"
