"""Chooses size and steps for `transfer.within`: the largest picture that the time is enough for.

How long a picture takes follows from its effort, which is known once the photo was examined, and
from what efforts have taken on this device before (`pipeline.jobs.rates`). Where nothing like it
was measured, a few steps of this very pair are timed.

The choice is made once, when a job begins. It is recorded as options, so that the same picture can
be painted again; the recipe has only the wish, so that other rates paint nothing again.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import (
    LADDER,
    LARGEST,
    LEAST_SIDE,
    SIZED,
    SMALLEST,
    Transfer,
    resolve_transfer,
)
from pipeline.enhance import repaint_options
from pipeline.imaging.tensors import resize
from pipeline.jobs.job import Effort
from pipeline.jobs.rates import PAINTINGS, TRIAL_SIDE, TRIALS
from pipeline.nst import Iterate
from pipeline.nst.guidance.detail import is_empty
from pipeline.nst.guidance.regions import NO_GUIDE, Guide
from pipeline.nst.pyramid import COARSEST, target_size
from pipeline.nst.stylize import plan_run
from pipeline.render.progress import Stopwatch

GRID = 16  # px between two sizes to choose from: 5 to 10 % of the time
LOOK_SIDE = 512  # px, of the copy of the photo that is examined and timed
TIMED_SIDE, TIMED_STEPS = 256, 4  # px, and steps at each of its two scales
AROUND = 48  # px at each side of a face that are computed with it
FAR = 8.0  # times as much or as little effort: from so far away, nothing is estimated
# What a pair takes beside its steps, where only these were timed.
SETUP, FINISH = 1.15, 1.0  # a factor for measuring paintings, and seconds to write the files


def sized(transfer: Transfer, side: int) -> Transfer:
    """The options for a long side in px: with the steps of the preset that has as many scales."""
    scales = math.floor(math.log2(max(side, SMALLEST) / COARSEST))  # beside the coarsest
    preset = resolve_transfer(LADDER[min(scales, len(LADDER)) - 1])
    chosen = {name: getattr(preset, name) for name in SIZED} | {"size": side, "within": None}
    return transfer.model_copy(update=chosen)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen for a time.

    Attributes:
        wanted: Seconds.
        transfer: The options, with a size and steps.
        expected: Seconds; None: the choice is that of a run that was interrupted.
    """

    wanted: float
    transfer: Transfer
    expected: float | None = None

    @property
    def missed(self) -> bool:
        """Whether the time is too short for the smallest picture."""
        return self.expected is not None and self.expected > self.wanted

    @property
    def note(self) -> str:
        """A sentence for people."""
        steps = "/".join(map(str, self.transfer.steps))
        size = f"{self.transfer.size} px"
        if self.missed:
            return (
                f"within {self.wanted:g} s: even the smallest picture, {size}, takes about "
                f"{self.expected:.0f} s"
            )
        about = "" if self.expected is None else f", about {self.expected:.0f} s expected"
        return f"within {self.wanted:g} s: {size}, steps {steps}{about}"

    def as_row(self) -> dict[str, object]:
        """For the run log."""
        used = {name: getattr(self.transfer, name) for name in SIZED}
        expected = None if self.expected is None else round(self.expected, 1)
        return {"wanted": self.wanted, "expected": expected, "missed": self.missed} | used


@dataclass(frozen=True, slots=True)
class Pair:
    """What decides, beside its options, how much a picture takes.

    Attributes:
        size: (height, width) of the photo in px.
        guide: Of the photo and its paintings.
        enhance: What is done to the picture afterwards; None: nothing.
    """

    size: tuple[int, int]
    guide: Guide = NO_GUIDE
    enhance: Enhance | None = None

    def effort(self, transfer: Transfer) -> Effort | None:
        """What a picture with these options takes; None where it is the photo itself."""
        units = self._units(transfer)
        if transfer.target is not None:
            units = PAINTINGS * units + TRIALS * self._units(
                transfer.model_copy(update={"size": TRIAL_SIDE})
            )
        chain = self.enhance
        if chain is not None and chain.upscale > 1 and chain.upscale_by == "transfer":
            side = chain.upscale * max(target_size(*self.size, transfer.size))
            units += plan_run(repaint_options(transfer, side), self.size).work
        return Effort(self.manner(transfer), units) if transfer.strength and units else None

    def _units(self, transfer: Transfer) -> float:
        height, width = target_size(*self.size, transfer.size)
        deep = _deep_share(self.guide, height, width)
        plain = plan_run(transfer, self.size, detailed=False).work if deep < 1 else 0.0
        return deep * plan_run(transfer, self.size).work + (1 - deep) * plain

    def manner(self, transfer: Transfer) -> str:
        """What changes the time of a step, beside sizes and layers."""
        parts: list[str] = [transfer.statistic, transfer.optimizer]
        parts += ["attention"] if self.guide.learned else []
        parts += [f"{len(self.guide.regions)} regions"] if len(self.guide.regions) > 1 else []
        parts += ["target"] if transfer.target is not None else []
        parts += ["blocks"] if transfer.block is not None else []
        return " ".join(parts)


def _deep_share(guide: Guide, height: int, width: int) -> float:
    """The share of a picture that is computed down to deep content at the finest scale."""
    if guide.detail is None:
        return 1.0
    if is_empty(guide.detail):
        return 0.0
    inside = guide.detail > 0
    share = 1.0
    for axis, length in ((2, height), (3, width)):
        places = inside.any(5 - axis).flatten().nonzero()
        extent = float(places[-1] - places[0] + 1) / inside.shape[axis]
        share *= min(1.0, extent + 2 * AROUND / length)
    return share


SecondsOf = Callable[[Effort], float]
Points = Mapping[float, float]  # seconds of efforts by their units


def choose(
    transfer: Transfer, pair: Pair, measured: Points, time_steps: Callable[[], SecondsOf]
) -> Chosen:
    """The largest size that the time is enough for, or the smallest one.

    Args:
        transfer: The options; `within` is set.
        pair: What is painted.
        measured: Efforts of this manner on this device.
        time_steps: Called where they say nothing of the size that they lead to.
    """
    if measured:
        chosen = _largest(transfer, pair, partial(_interpolate, measured))
        effort = pair.effort(chosen.transfer)
        if effort is None or any(1 / FAR <= at / effort.units <= FAR for at in measured):
            return chosen
    return _largest(transfer, pair, time_steps())


def _largest(transfer: Transfer, pair: Pair, seconds_of: SecondsOf) -> Chosen:
    assert transfer.within is not None  # noqa: S101  # by the caller
    for side in _sides(max(pair.size)):
        options = sized(transfer, side)
        effort = pair.effort(options)
        expected = 0.0 if effort is None else seconds_of(effort)
        if expected <= transfer.within:
            break
    return Chosen(transfer.within, options, expected)


def _interpolate(measured: Points, effort: Effort) -> float:
    """A power law between the two nearest points; in proportion beyond them."""
    below = max((at for at in measured if at <= effort.units), default=0.0)
    above = min((at for at in measured if at > effort.units), default=0.0)
    if below and above:
        share = math.log(effort.units / below) / math.log(above / below)
        return math.exp((1 - share) * math.log(measured[below]) + share * math.log(measured[above]))
    nearest = below or above
    return measured[nearest] * effort.units / nearest


def _sides(own: int) -> list[int]:
    """The long sides in px to choose from, the largest first.

    None is larger than the photo's, but for a photo smaller than any size that can be set.
    """
    largest = min(max(own, LEAST_SIDE), LARGEST)
    return sorted({largest, *range(SMALLEST, largest, GRID)}, reverse=True)


def reduced_photo(photo: Tensor) -> Tensor:
    """(3, H, W) with a long side of at most LOOK_SIDE px, to be examined and timed."""
    size = target_size(photo.shape[1], photo.shape[2], LOOK_SIDE)
    return photo if max(photo.shape[1:]) <= LOOK_SIDE else resize(photo, size)


def time_steps(
    transfer: Transfer,
    pair: Pair,
    render: Callable[..., Tensor],
    photo: Tensor,
    check: Callable[[], None],
    watch: Stopwatch,
) -> SecondsOf:
    """Time a few steps of a pair at both scales of a draft, and estimate efforts by them.

    Args:
        transfer: Its options.
        pair: Its photo.
        render: As `stylize`: (content, options=..., on_iterate=...) -> picture.
        photo: (3, h, w), reduced.
        check: Called at each step; may raise.
        watch: How long the job has taken so far.
    """
    side = min(TIMED_SIDE, max(photo.shape[1:]))
    few = {"steps": (TIMED_STEPS, TIMED_STEPS), "target": None, "block": None, "init": "content"}
    options = sized(transfer, side).model_copy(update=few)
    ends: dict[int, list[float]] = {}

    def note(iterate: Iterate) -> None:
        check()
        float(iterate.evaluation.loss)  # waits for the device
        ends.setdefault(iterate.scale, []).append(time.monotonic())

    render(photo, options=options, on_iterate=note)
    seconds = sum(times[-1] - times[0] for times in ends.values())  # without each scale's first
    timed = replace(pair, enhance=None).effort(options)
    pace = seconds / (timed.units * (1 - 1 / TIMED_STEPS)) if timed else 0.0
    elapsed = watch.seconds
    return lambda effort: elapsed + SETUP * pace * effort.units + FINISH
