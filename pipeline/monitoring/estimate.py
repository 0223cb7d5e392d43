"""Estimates how long work takes, from rates measured on this machine."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.transfer import Transfer
from pipeline.errors import StateError
from pipeline.system.state_file import read_facts, write_facts
from pipeline.system.text import format_count, format_duration

NAME = "rates.json"
LATEST_SHARE = 0.2  # weight of the latest job in the mean, once there are a few


def pairs_per_hour(pairs: int, seconds: float) -> float | None:
    """Pairs per hour; None when no time has passed."""
    return pairs * 3600 / seconds if seconds > 0 else None


def work_of(transfer: Transfer) -> str:
    """The kind of work of a job: jobs of one kind take about the same time on one device."""
    steps = "/".join(map(str, transfer.steps))
    return f"{transfer.size} px, {steps} steps of {transfer.optimizer}"


class Rates:
    """Seconds per job by device and kind of work, kept in the state folder."""

    def __init__(self, state: Path) -> None:
        self._path = state / NAME
        found = read_facts(self._path) or {}
        self._seconds: dict[str, dict[str, list[float]]] = {
            device: {work: rate for work, rate in works.items() if _is_rate(rate)}
            for device, works in found.items()
            if isinstance(works, dict)
        }
        self._changed = False

    def add_duration(self, device: str, work: str, seconds: float) -> None:
        """Add the duration of a job to its rate."""
        works = self._seconds.setdefault(device, {})
        mean, count = works.get(work, [0.0, 0])
        share = max(LATEST_SHARE, 1 / (count + 1))
        works[work] = [mean + (seconds - mean) * share, count + 1]
        self._changed = True

    def seconds(self, devices: Collection[str], work: str) -> float | None:
        """Mean seconds per job on these devices (``auto``: on any measured one); None: unknown."""
        found = [
            works[work][0]
            for device, works in self._seconds.items()
            if work in works and ("auto" in devices or _is_same_kind(device, devices))
        ]
        return sum(found) / len(found) if found else None

    def save(self) -> None:
        """Write the rates. They decide nothing: if that fails, they are measured again."""
        if self._changed:
            with suppress(StateError):
                write_facts(self._path, self._seconds)
                self._changed = False


def _is_rate(rate: object) -> bool:
    return (
        isinstance(rate, list) and len(rate) == 2 and all(isinstance(n, int | float) for n in rate)
    )


def _is_same_kind(device: str, devices: Collection[str]) -> bool:
    """Whether a device is of the kind of one of these (``cuda`` and ``cuda:0`` are)."""
    return any(device.partition(":")[0] == other.partition(":")[0] for other in devices)


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


def estimate_work(
    works: Mapping[str, int], rates: Rates, devices: Collection[str], slots: int
) -> Estimate:
    """Estimate the time for a number of jobs of each kind of work on a number of slots."""
    known = {work: rates.seconds(devices, work) for work in works}
    unmeasured = sum(count for work, count in works.items() if known[work] is None)
    seconds = sum(count * (known[work] or 0.0) for work, count in works.items())
    pairs = sum(works.values())
    return Estimate(pairs, None if unmeasured else seconds / max(1, slots), unmeasured)
