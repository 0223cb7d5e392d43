"""Finds the pictures of pairs that no rule wants any more, which only `prune` removes."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.jobs.job import JobState
from pipeline.jobs.plan import KnownPair, Planned, find_unwanted
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.system.text import format_count, join_words

STYLES_NAMED = 3


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Pairs that no rule wants any more; ``styles``: how many of them have pictures, by style."""

    pairs: tuple[Pair, ...]
    styles: Counter[str]

    def words(self) -> str:
        """One line for people; "" where no picture is unwanted."""
        if not self.styles:
            return ""
        named = self.styles.most_common(STYLES_NAMED)
        parts = [f"{format_count(count, 'picture')} of style {style}" for style, count in named]
        if rest := self.styles.total() - sum(count for _, count in named):
            parts.append(f"{rest} of {format_count(len(self.styles) - len(named), 'other style')}")
        which = "it" if self.styles.total() == 1 else "them"
        return f"{join_words(parts)} that no rule wants any more: `pipeline prune` removes {which}"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {"pictures": self.styles.total(), "styles": dict(sorted(self.styles.items()))}


def list_unwanted(
    plan: Sequence[Planned],
    known: Mapping[tuple[str, str], KnownPair],
    styles: Collection[str],
    ledger: Ledger,
    outbox: Path,
) -> Unwanted:
    """List the unwanted pairs. One that is being published is left to the next time.

    Args:
        plan: All pairs of the plan.
        known: The ledger's pairs by (content, style).
        styles: The names of all styles.
        ledger: Knows their pictures. It is only read.
        outbox: Pictures that a user removed from it are not counted.
    """
    keys = find_unwanted(plan, known, styles)
    if not keys:
        return Unwanted((), Counter())
    pairs = tuple(
        pair
        for pair in ledger.pairs()
        if (pair.content, pair.style, pair.job) in keys and pair.state is not JobState.STAGED
    )
    there = [p for p in pairs if any(os.path.lexists(outbox / o.path) for o in p.outputs)]
    return Unwanted(pairs, Counter(pair.style for pair in there))
