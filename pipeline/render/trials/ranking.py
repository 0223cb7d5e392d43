"""The ranking of a trial: which style fits which photo best, as `ranking.json`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.errors import Failure
from pipeline.jobs.provenance import SOFTWARE
from pipeline.render.output_files import Target
from pipeline.render.trials.candidates import Candidate
from pipeline.render.trials.fit import Fit, average
from pipeline.system.text import encodable

RANKING_NAME = "ranking.json"
DIGITS = 3  # of scores


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """One photo in one style: its small picture and how well they fit, or why there is none."""

    photo: Path
    style: Candidate
    picture: Tensor | None = None  # (3, h, w)
    fit: Fit | None = None
    failure: Failure | None = None

    @property
    def score(self) -> float:
        """Below that of any picture where there is none."""
        return self.fit.score if self.fit else -1.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A style with its results, the best photo first; its score is their mean."""

    style: Candidate
    results: tuple[Tried, ...]
    fit: Fit


def rank_styles(tried: Sequence[Tried]) -> list[Ranked]:
    """The styles that have pictures, best first."""
    found: dict[str, list[Tried]] = {}
    for each in tried:
        if each.fit is not None:
            found.setdefault(each.style.name, []).append(each)
    ranked = [
        Ranked(
            results[0].style,
            tuple(sorted(results, key=lambda each: -each.score)),
            average([each.fit for each in results if each.fit]),
        )
        for results in found.values()
    ]
    return sorted(ranked, key=lambda each: -each.fit.score)


def ranking_report(tried: Sequence[Tried], pairs: int, size: int) -> dict[str, Any]:
    """The ranking as JSON values.

    Args:
        tried: The results so far.
        pairs: How many there will be.
        size: The pictures' long side in px.
    """
    return {
        "program": SOFTWARE,
        "kind": "ranking",
        "complete": len(tried) == pairs,
        "size": size,
        "ranking": [_entry(rank, each) for rank, each in enumerate(rank_styles(tried), 1)],
        "failed": [
            {
                "style": encodable(each.style.name),
                "photo": encodable(each.photo.name),
                "code": each.failure.code,
                "message": encodable(each.failure.message),
            }
            for each in tried
            if each.failure
        ],
    }


def _entry(rank: int, ranked: Ranked) -> dict[str, Any]:
    return {
        "rank": rank,
        "style": encodable(ranked.style.name),
        **_scores(ranked.fit),
        "yaml": encodable(ranked.style.lines),
        "photos": [
            {"photo": encodable(each.photo.name), **_scores(each.fit)}
            for each in ranked.results
            if each.fit
        ],
    }


def _scores(fit: Fit) -> dict[str, Any]:
    parts = {name: round(part, DIGITS) for name, part in fit.parts.items()}
    return {"score": round(fit.score, DIGITS), "parts": parts}


def write_ranking(report: dict[str, Any], target: Target) -> Target:
    """Write the ranking in one step.

    Returns:
        The same target, for the next version.

    Raises:
        UsageError: It cannot be written, or another file has taken the name.
    """
    return target.write(json.dumps(report, indent=2, ensure_ascii=False).encode())
