"""Finds the strength that reaches `transfer.target`, on small pictures, before the full one.

What is measured, of picture and photo reduced to SIDE px:

- structure: the correlation of coarse edges of brightness with the photo's; 1 in the photo.
- style: the loss of style of all layers, over that of the photo; 1 in the photo, 0 in the painting.

Both fall as strength rises, so few trials are enough. A large picture keeps more of the photo than
a small one of the same strength. So the finished picture is measured, too: where it misses the
target, the search goes on for what makes up for the difference, and it is painted a second time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.transfer import Transfer
from pipeline.imaging.tensors import resize
from pipeline.nst.pyramid import target_size

SIDE = 192  # px, long side of a trial, and of the copies that are measured
MOST_TRIALS = 8
NEAR = 0.02  # as near as this the target counts as reached
DEEPEST = 5  # VGG blocks that style is measured with: all
USUAL = 0.5  # strength of the first trial
INNER = 0.1  # a trial keeps this share of the interval away from its ends

Measure = Callable[[Tensor], float]


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search.

    Attributes:
        name, wanted: The target.
        strength: Of the trial that came nearest.
        reached: What was measured there, in the small picture; in the end, in the finished one.
        trials: How many small pictures were painted.
    """

    name: str
    wanted: float
    strength: float
    reached: float
    trials: int

    @property
    def error(self) -> float:
        """How far it is from the target."""
        return abs(self.reached - self.wanted)

    @property
    def missed(self) -> bool:
        """Whether the target is not reached."""
        return self.error > NEAR

    @property
    def note(self) -> str:
        """A sentence for people."""
        how = f"strength {self.strength:g} gives {self.reached:.2f}"
        if not self.missed:
            return f"target {self.name} {self.wanted:g}: {how}"
        return f"target {self.name} {self.wanted:g} is not reached; the nearest, {how}"

    def as_row(self) -> dict[str, object]:
        """For the run log."""
        return {
            "measure": self.name,
            "wanted": self.wanted,
            "reached": round(self.reached, 3),
            "strength": self.strength,
            "trials": self.trials,
        }


def find_strength(name: str, wanted: float, value_at: Callable[[float], float]) -> Found:
    """The strength where ``value_at``, which falls with it, is ``wanted``, or comes nearest.

    By linear interpolation within a bracket that shrinks with each trial (regula falsi, with a
    least step): the value is nearly straight between two trials, so this needs half the trials of
    bisection.
    """
    found: dict[float, float] = {}

    def measure(strength: float) -> float:
        found[strength] = value_at(strength)
        return found[strength]

    def nearest() -> Found:
        strength = min(found, key=lambda each: abs(found[each] - wanted))
        return Found(name, wanted, strength, found[strength], len(found))

    below, above = 0.0, 1.0  # strengths with values above and below the wanted one
    trial = USUAL
    while len(found) < MOST_TRIALS:
        value = measure(trial)
        if abs(value - wanted) <= NEAR or _is_outside(trial, value, wanted):
            break
        below, above = (trial, above) if value > wanted else (below, trial)
        trial = _next_trial(found, below, above, wanted)
    return nearest()


def _is_outside(trial: float, value: float, wanted: float) -> bool:
    """Whether the value at an end of the range shows that no strength reaches the target."""
    return (trial == 0 and wanted > value) or (trial == 1 and wanted < value)


def _next_trial(found: dict[float, float], below: float, above: float, wanted: float) -> float:
    """The next strength between ``below`` and ``above``; an end that was not tried comes first."""
    for end in (below, above):
        if end not in found:
            return end
    span = found[below] - found[above]
    share = (found[below] - wanted) / span if span > 0 else 0.5
    share = min(max(share, INNER), 1 - INNER)
    return round(below + share * (above - below), 4)


def structure_of(photo: Tensor) -> Measure:
    """Measures how much of the photo's structure (3, H, W) a picture has, -1 to 1."""

    def measure(picture: Tensor) -> float:
        small = reduced(picture)
        size = (small.shape[1], small.shape[2])
        both = torch.stack([_edges(small), _edges(resize(photo, size))])
        # A flat picture has no edges, and so nothing of the photo's.
        return float(torch.corrcoef(both)[0, 1].nan_to_num())

    return measure


def style_of(distance: Measure | None, device: torch.device | str) -> Measure:
    """Measures style on the device of the network; without any style it is the photo's."""

    def measure(picture: Tensor) -> float:
        return 1.0 if distance is None else distance(reduced(picture).to(device))

    return measure


def reduced(picture: Tensor) -> Tensor:
    """(3, H, W) with a long side of at most SIDE px."""
    size = (picture.shape[1], picture.shape[2])
    return picture if max(size) <= SIDE else resize(picture, target_size(*size, SIDE))


def _edges(picture: Tensor) -> Tensor:
    """(N,) how much brightness changes, over places of 4 px: coarser than most strokes."""
    luma = torch.einsum("c,chw->hw", torch.tensor([0.299, 0.587, 0.114]), picture)
    small = functional.avg_pool2d(luma[None, None], 4, ceil_mode=True)[0, 0]
    across, down = small[1:, 1:] - small[1:, :-1], small[1:, 1:] - small[:-1, 1:]
    return (across.square() + down.square()).sqrt().flatten()


class TargetSearch:
    """The search for the strength of one picture.

    Args:
        transfer: The options; `target` is set.
        photo: (3, H, W).
        render: As `stylize`: (content, options=...) -> picture (3, h, w).
        distance: Measures style.
    """

    def __init__(
        self,
        transfer: Transfer,
        photo: Tensor,
        render: Callable[..., Tensor],
        distance: Measure,
    ) -> None:
        assert transfer.target is not None  # noqa: S101  # by the caller
        ((self.name, self.wanted),) = transfer.target.items()
        self.measure = structure_of(photo) if self.name == "structure" else distance
        self._transfer, self._photo, self._render = transfer, photo, render
        self._long_side = max(target_size(photo.shape[1], photo.shape[2], transfer.size))
        self._values: dict[float, float] = {}

    def first(self) -> Found:
        """The strength that reaches the target in a small picture."""
        return self._find(self.wanted)

    def options(self, found: Found) -> Transfer:
        """The options with a strength in place of the target."""
        return self._transfer.model_copy(update={"strength": found.strength, "target": None})

    def paint(self, paint: Callable[[Transfer], Tensor]) -> tuple[Tensor, Transfer, Found]:
        """The picture that comes nearest to the target, its options, and what was found.

        Args:
            paint: Paints the picture, of full size; called once or twice.
        """
        small = self.first()
        picture, found = self._painted(paint, small)
        second = self._second(small, found.reached)
        if second.strength != small.strength:
            other, nearer = self._painted(paint, second)
            if nearer.error < found.error:
                picture, found = other, nearer
        return picture, self.options(found), replace(found, trials=len(self._values))

    def _painted(self, paint: Callable[[Transfer], Tensor], small: Found) -> tuple[Tensor, Found]:
        picture = paint(self.options(small))
        return picture, replace(small, reached=self.measure(picture))

    def _second(self, small: Found, full: float) -> Found:
        """What makes up for the difference between the full picture and the small one."""
        near = abs(full - self.wanted) <= NEAR
        if near or small.missed or self._long_side <= SIDE:
            return small
        return replace(self._find(self.wanted - (full - small.reached)), wanted=self.wanted)

    def _find(self, wanted: float) -> Found:
        return find_strength(self.name, wanted, self._value_at)

    def _value_at(self, strength: float) -> float:
        if strength not in self._values:
            few = {"size": min(SIDE, self._long_side), "target": None, "block": None}
            options = self._transfer.model_copy(update=few | {"strength": strength})
            self._values[strength] = self.measure(self._render(self._photo, options=options))
        return self._values[strength]
