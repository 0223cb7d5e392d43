"""Rates: how long jobs take on this machine's devices, measured and shared between studios.

They lie in the user's cache folder, since they are a property of the machine and not of a studio.
Nothing depends on the file: damaged or missing rates are measured again.
"""

import math
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.transfer import SMALLEST, Transfer
from pipeline.errors import StateError
from pipeline.jobs.job import Effort, Job, JobResult
from pipeline.system.state_file import as_number, read_facts, write_facts

NAME = "rates.json"
LATEST_SHARE = 0.2  # weight of the latest job in the mean, once there are a few
MOST_DEVICES, MOST_KINDS = 16, 64  # kept in the file; the latest ones
SOURCE_SIDE = 2048  # px; assumed of photos at their own size
COARSEST = 96  # px: no scale is smaller
# Share of the operations of a step, by the deepest VGG block that is used.
SHARES = {1: 0.01, 2: 0.16, 3: 0.31, 4: 0.7, 5: 1.0}
TRIAL_SIDE, TRIALS = 192, 5  # px and usual number of small pictures in the search for a target
PAINTINGS = 2  # of full size, with a target
STEP_UNITS = 3000  # what a step costs besides its pixels
EFFORT = "effort"  # how the kinds of efforts begin


_BOUNDS = ((1e-6, 1e9), (1e-6, 1e18))  # of seconds and units in the file


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of work: jobs of one kind take about the same time on one device."""

    kind: str
    # How much it is, in pixels of one step down to the deepest block: comparable between kinds.
    units: float = field(compare=False)
    seconds: float | None = None  # where the user has said how long it takes


def work_of(transfer: Transfer) -> Work:
    """The work of one picture."""
    if transfer.within is not None:  # its size is chosen when it begins
        usual = _units(transfer.model_copy(update={"size": SMALLEST}))
        return Work(f"within {transfer.within:g} s", usual, transfer.within)
    if not transfer.strength:  # the photo itself
        return Work(f"{transfer.size} px, no steps", float(STEP_UNITS))
    steps = "/".join(map(str, transfer.steps))
    kind = f"{transfer.size} px, {steps} steps of {transfer.optimizer}"
    if transfer.target is not None:
        small = transfer.model_copy(update={"size": TRIAL_SIDE})
        units = PAINTINGS * _units(transfer) + TRIALS * _units(small)
        return Work(f"{kind}, with a target", units)
    return Work(kind, _units(transfer))


def works_of(job: Job) -> tuple[Work, ...]:
    """All the work of a pair: for a draft, the full picture follows."""
    recipes = (job.recipe, job.full) if job.full else (job.recipe,)
    return tuple(work_of(recipe.transfer) for recipe in recipes)


def _units(transfer: Transfer) -> float:
    """Estimates the work as `pipeline.nst.pyramid` plans it, for a square picture."""
    side = SOURCE_SIDE if transfer.size == "source" else transfer.size
    if transfer.scales is not None:
        sides = [*sorted({one for one in transfer.scales if one < side}), side]
    else:
        halvings = max(0, math.floor(math.log2(side / COARSEST)))
        sides = [side / 2**k for k in range(halvings, -1, -1)]
    total = 0.0
    for number, one in enumerate(sides):
        last = number == len(sides) - 1 > 0
        steps, style, content = (
            values[-1 if last else min(number, len(values) - 1)]
            for values in (transfer.steps, transfer.depths, transfer.content_depths)
        )
        content = min(content, max(int(layer[4]) for layer in transfer.content_layers))
        total += steps * (one * one * SHARES[max(style, content)] + STEP_UNITS)
    return total


@dataclass(slots=True)
class _Rate:
    seconds: float  # mean of one job
    units: float
    count: int = 0  # jobs of this process that it was measured by

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += (seconds - self.seconds) * max(LATEST_SHARE, 1 / self.count)


_Measured = dict[str, dict[str, _Rate]]  # by device and kind


class Rates:
    """Seconds per job by device and kind of work. What this process measures counts first.

    Args:
        path: The file; None: the rates are forgotten at the end.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stored = _read(path)
        self._own: _Measured = {}
        self._changed = False

    def add_duration(self, device: str, work: Work, seconds: float) -> None:
        """Add the duration of a job to its rate."""
        works = self._own.setdefault(device, {})
        works.setdefault(work.kind, _Rate(0.0, work.units)).add(seconds)
        self._changed = True

    def add_result(self, result: JobResult) -> None:
        """Add what a finished job has taken."""
        if result.status != "done" or result.seconds <= 0:
            return
        if not result.within:  # each has a size of its own: a kind of its own would say little
            work = work_of(result.job.recipe.transfer)
            self.add_duration(result.device, work, result.seconds)
        if result.effort is not None:
            self._add_effort(result.device, result.effort, result.seconds)

    def _add_effort(self, device: str, effort: Effort, seconds: float) -> None:
        """Add to the mean of all efforts of about this size: those of one octave."""
        octave = round(math.log2(effort.units))
        work = Work(f"{EFFORT} {effort.manner} 2^{octave}", 2.0**octave)
        self.add_duration(device, work, seconds * work.units / effort.units)

    def efforts(self, device: str, manner: str) -> dict[float, float]:
        """Seconds by units, of all efforts of a manner that were measured on a device."""
        start = f"{EFFORT} {manner} 2^"
        return {
            rate.units: rate.seconds
            for measured in (self._stored, self._own)  # of both, what this process has measured
            for kind, rate in measured.get(device, {}).items()
            if kind.startswith(start)
        }

    def seconds(self, devices: Collection[str], work: Work) -> float | None:
        """Mean seconds of a job on these devices; None: nothing was measured there.

        A kind that was never measured is estimated from the nearest one.
        """
        if work.seconds is not None:
            return work.seconds
        places = [_on(self._own, devices), _on(self._stored, devices)]
        exact = ([r[work.kind].seconds for r in place if work.kind in r] for place in places)
        kinds = ([_without_efforts(rates) for rates in place] for place in places)
        near = ([_scaled(rates, work) for rates in place if rates] for place in kinds)
        found = next(filter(None, (*exact, *near)), None)
        return sum(found) / len(found) if found else None

    def save(self) -> None:
        """Write the rates, over those that other processes have written meanwhile."""
        if not self._changed or self._path is None:
            return
        stored = _read(self._path)
        for device, works in self._own.items():
            before = stored.pop(device, {})
            for kind, rate in works.items():
                old = before.pop(kind, rate)
                share = min(1.0, rate.count * LATEST_SHARE)  # one odd job changes little
                mean = old.seconds + (rate.seconds - old.seconds) * share
                before[kind] = _Rate(mean, rate.units)
            stored[device] = before
        with suppress(StateError):
            write_facts(self._path, _as_facts(stored))
            self._changed = False


def rates_file() -> Path | None:
    """The file that all studios of this user share; None where there is no home folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    with suppress(RuntimeError):
        cache = cache.expanduser()
    return cache / "pipeline" / NAME if cache.is_absolute() else None


def _on(measured: Mapping[str, Mapping[str, _Rate]], devices: Collection[str]) -> list[Any]:
    """The rates on these devices; `auto` uses every accelerator, or else the CPU."""
    if "auto" not in devices:
        return [works for device, works in measured.items() if _is_same_kind(device, devices)]
    fast = [works for device, works in measured.items() if device != "cpu"]
    return fast or list(measured.values())


def _is_same_kind(device: str, devices: Collection[str]) -> bool:
    """Whether a device is of the kind of one of these (``cuda`` and ``cuda:0`` are)."""
    return any(device.partition(":")[0] == other.partition(":")[0] for other in devices)


def _without_efforts(rates: Mapping[str, _Rate]) -> dict[str, _Rate]:
    """Rates by kind of work: efforts are counted in other units."""
    return {kind: rate for kind, rate in rates.items() if not kind.startswith(EFFORT)}


def _scaled(rates: Mapping[str, _Rate], work: Work) -> float:
    """The time for a kind that was not measured, by the most similar one that was."""
    nearest = min(rates.values(), key=lambda rate: abs(math.log(rate.units / work.units)))
    return nearest.seconds * work.units / nearest.units


def _read(path: Path | None) -> _Measured:
    found = (read_facts(path) if path else None) or {}
    measured = {
        device: {kind: _Rate(*rate) for kind, rate in works.items() if _is_rate(rate)}
        for device, works in found.items()
        if isinstance(works, dict)
    }
    return {device: works for device, works in measured.items() if works}


def _as_facts(measured: _Measured) -> dict[str, Any]:
    devices = list(measured.items())[-MOST_DEVICES:]
    return {
        device: {
            kind: [rate.seconds, rate.units] for kind, rate in list(works.items())[-MOST_KINDS:]
        }
        for device, works in devices
    }


def _is_rate(rate: object) -> bool:
    return (
        isinstance(rate, list)
        and len(rate) == 2
        and all(as_number(n, *bounds) is not None for n, bounds in zip(rate, _BOUNDS, strict=True))
    )
