"""Estimates how long work takes, from rates measured on this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.jobs.rates import Work
from pipeline.system.text import format_count, format_duration

Works = Mapping[tuple[Work, ...], int]  # how many pairs there are of each work


def pairs_per_hour(pairs: int, seconds: float) -> float | None:
    """Pairs per hour; None when no time has passed."""
    return pairs * 3600 / seconds if seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much there is to do, and how long it takes; None when a kind was never measured."""

    pairs: int
    seconds: float | None
    unmeasured: int = 0  # pairs of a kind that was never measured

    def words(self) -> str:
        """The estimate in one line."""
        pairs = format_count(self.pairs, "pair")
        if self.seconds is not None:
            return f"{pairs} to do, about {format_duration(self.seconds)}"
        some = f" for {self.unmeasured} of them" if self.unmeasured < self.pairs else ""
        return f"{pairs} to do; how long is unknown{some} until the first is done"


def estimate_work(works: Works, seconds_of: Callable[[Work], float | None], slots: int) -> Estimate:
    """Estimate the time for a number of pairs of each kind of work on a number of slots."""
    known = {one: seconds_of(one) for work in works for one in work}
    unmeasured, seconds = 0, 0.0
    for work, count in works.items():
        unmeasured += count * any(known[one] is None for one in work)
        seconds += count * sum(known[one] or 0.0 for one in work)
    pairs = sum(works.values())
    return Estimate(pairs, None if unmeasured else seconds / max(1, slots), unmeasured)
