"""Makes the plan that `run` would make now, without writing: for `--dry-run` and `explain`.

The same `Planner` makes it, with a ledger that is only read. There are two differences: every file
counts as settled, and photos not examined yet are read but not decoded. Masks are examined.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.config.loading import Loaded
from pipeline.config.model import Config
from pipeline.daemon.job_queue import drafts_first, ordered
from pipeline.daemon.paintings.replacements import Replacing
from pipeline.daemon.paintings.unwanted import Unwanted
from pipeline.daemon.planner import Plan, Planner
from pipeline.errors import Failure, InputError
from pipeline.inbox.examiner import Examination, examine_masks
from pipeline.inbox.intake import Intake
from pipeline.inbox.scanner import Found, Refused
from pipeline.jobs.plan import Planned
from pipeline.jobs.recipe import Recipe
from pipeline.ledger.ledger import FILE as LEDGER
from pipeline.ledger.ledger import Ledger
from pipeline.system.file_version import hash_file


@dataclass(frozen=True, slots=True)
class Preview:
    """What `run` would do now."""

    plan: Plan
    refused: tuple[Refused, ...]  # files that cannot be read, besides those that the plan refuses
    files: Mapping[str, Found]
    config: Config
    unexamined: frozenset[str] = frozenset()  # photos of the plan that were not decoded yet
    recipes: Mapping[str, Recipe] = field(default_factory=dict)  # of `only`, by style
    masks: frozenset[str] = frozenset()  # the regions that have a mask file beside `only`

    @property
    def replaced(self) -> Replacing:
        """The finished pictures that the plan replaces."""
        return self.plan.replaced or Replacing()

    @property
    def unwanted(self) -> Unwanted:
        """The finished pictures that no rule wants any more."""
        return self.plan.unwanted or Unwanted((), Counter())

    def due(self) -> list[Planned]:
        """The pairs to render, in the order of the queue."""
        photos: dict[str, list[Planned]] = {}
        for pair in self.plan.pairs:
            if pair.due:
                photos.setdefault(pair.content, []).append(pair)
        order = ordered(list(photos), self.files, self.config.queue, {})
        pairs = [pair for content in order for pair in photos[content]]
        return drafts_first(pairs, self.config.queue, lambda pair: pair.job)


def preview(loaded: Loaded, only: str | None = None) -> Preview:
    """Plan the photos in the inbox.

    Args:
        loaded: The config.
        only: The only new file that is read, relative to the inbox; other files are planned as far
            as they are known, so a copy of a photo that was never examined is not recognised as
            one. None: every new file is read.

    Raises:
        StateError: When the inbox is not there, or is another one than before.
    """
    watch = loaded.config.watch.model_copy(update={"settle_seconds": 0.0})
    config = loaded.config.model_copy(update={"watch": watch})
    now = time.monotonic()
    with Ledger(config.state / LEDGER, read_only=True) as ledger:
        planner = Planner(config, loaded.manifest, ledger)
        new = planner.look_at_inbox(now, time.time(), 0.0).unexamined
        wanted = [found for found in new if only in (None, (found.photo or found).content)]
        answers = [_read(found, config) for found in wanted if found.photo is None]
        answers += examine_masks((found for found in wanted if found.photo), config.limits)
        findings = planner.take_answers(answers)
        refused = tuple(file for file in findings.files if isinstance(file, Refused))
        plan = planner.make_plan(now)
        unexamined = frozenset(answer.found.content for answer in answers)
        recipes = _recipes(planner.intake, only) if only else {}
        masks = planner.intake.masked_regions(only) if only else frozenset[str]()
        return Preview(plan, refused, planner.files, config, unexamined, recipes, masks)


def _recipes(intake: Intake, content: str) -> dict[str, Recipe]:
    """The recipes of one photo, by style; those that can be read."""
    photo = intake.photo(content)
    recipes = photo.recipes if photo else {}
    if recipes is None:
        styles = intake.manifest.styles_for(content)
        recipes = {style.name: intake.recipe_of(style) for style in styles}
    return {name: recipe for name, recipe in recipes.items() if recipe}


def _read(found: Found, config: Config) -> Examination:
    try:
        digest = hash_file(found.path, found.stamp, config.limits.bytes)
    except InputError as error:
        return Examination(found, failure=Failure(error.code, error.what))
    return Examination(found, digest or "")
