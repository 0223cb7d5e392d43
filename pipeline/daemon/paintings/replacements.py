"""Counts the finished pictures that a plan replaces, to report them before it happens."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.jobs.plan import Planned
from pipeline.ledger.history import History

SIZES_NAMED = 3


@dataclass(frozen=True, slots=True)
class Replacing:
    """How many finished pictures are replaced, and their long sides in px before and after."""

    pictures: int = 0
    sizes: Counter[tuple[int, int | str]] = field(default_factory=Counter)  # before, after
    kept: bool = True

    def words(self) -> str:
        """One line for people; "" where nothing is replaced."""
        if not self.pictures:
            return ""
        noun = "finished picture" + "s" * (self.pictures != 1)
        changed = {pair: count for pair, count in self.sizes.items() if pair[0] != pair[1]}
        named = sorted(changed.items(), key=lambda item: -item[1])[:SIZES_NAMED]
        alone = len(self.sizes) == 1
        sizes = [
            f"{before} -> {_px(after)}" + ("" if alone else f" ({count} of them)")
            for (before, after), count in named
        ]
        fate = "the old ones move to outbox/.versions" if self.kept else "the old ones are deleted"
        return ", ".join([f"replaces {self.pictures} {noun}", *sizes]) + f"; {fate}"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        sizes = [
            {"before": before, "after": after, "pictures": count}
            for (before, after), count in sorted(self.sizes.items(), key=str)
        ]
        return {"pictures": self.pictures, "sizes": sizes, "kept": self.kept}


def replacing(plan: Iterable[Planned], history: History, outbox: Path, *, kept: bool) -> Replacing:
    """Count the finished pictures that the due pairs of a plan will replace.

    Args:
        plan: All pairs of the plan.
        history: Knows the current pictures.
        outbox: Pictures that a user removed from it do not count.
        kept: Whether the earlier ones are kept.
    """
    sizes: Counter[tuple[int, int | str]] = Counter()
    for pair in plan:
        if not pair.due or pair.job is None or pair.why == "new":
            continue
        standing = history.replaced_by(pair.job)
        outputs = standing.outputs if standing and not standing.draft else ()
        plain = next((o for o in outputs if o.kind == "stylized"), None)
        if plain and (outbox / plain.path).is_file():
            wanted = pair.job.recipe.transfer
            size = wanted.size if wanted.within is None else f"what {wanted.within:g} s allow"
            sizes[max(plain.width, plain.height), size] += 1
    return Replacing(sizes.total(), sizes, kept)


def _px(size: int | str) -> str:
    if isinstance(size, int):
        return f"{size} px"
    return "the photo's own size" if size == "source" else size
