"""Choosing options by eye: which two pictures to compare next, and what the answers mean.

Each round varies one option, a low and a high value of what is left of its range, and halves that
range: by the better of two pictures, or to its middle where both are equally good. The rounds take
the options in turn. At the end each option is in the middle of what is left, which is the value of
the picture that was chosen last.

To tune other options, change DIALS.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

ROUNDS = 5
DIGITS = 2  # of a value: a third one cannot be seen

Answer = Literal["1", "2", "="]


@dataclass(frozen=True, slots=True)
class Dial:
    """An option that is tuned between two values.

    Attributes:
        option: Of `transfer:`.
        low, high: Its least and its largest value.
        log: Whether equal factors make equal differences to the eye, instead of equal steps.
    """

    option: str
    low: float
    high: float
    log: bool = False

    def value(self, place: float) -> float:
        """The value at a place from 0 (low) to 1 (high), rounded."""
        if self.log:
            value: float = self.low * (self.high / self.low) ** place
        else:
            value = self.low + (self.high - self.low) * place
        digits = DIGITS - 1 - math.floor(math.log10(abs(value))) if value else 0
        return round(value, digits)


# In the order of how much they change. Beyond these strengths a picture is the photo or hardly it.
DIALS = (Dial("strength", 0.1, 0.9), Dial("stroke", 0.0, 1.0))


@dataclass(slots=True)
class Tuning:
    """The state of a choice by eye.

    Args:
        dials: What is tuned.
        rounds: How many pairs are compared.
    """

    dials: Sequence[Dial] = DIALS
    rounds: int = ROUNDS
    round: int = 0  # so many answers were given
    _ranges: list[tuple[float, float]] = field(init=False)

    def __post_init__(self) -> None:
        self._ranges = [(0.0, 1.0) for _ in self.dials]

    @property
    def dial(self) -> Dial:
        """What the present round varies."""
        return self.dials[self.round % len(self.dials)]

    @property
    def is_over(self) -> bool:
        """Whether all rounds were answered."""
        return self.round >= self.rounds

    @property
    def values(self) -> dict[str, float]:
        """What was chosen so far, by option; only those of a round that was answered."""
        answered = self.dials[: self.round]
        middles = ((low + high) / 2 for low, high in self._ranges)
        return {d.option: d.value(place) for d, place in zip(answered, middles, strict=False)}

    def pair(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """The values of the two pictures to compare, by option.

        The lower value is picture 1 and picture 2 in turn, so that a habit decides nothing.
        """
        low, high = self._ranges[self.round % len(self.dials)]
        pair = [
            self.values | {self.dial.option: self.dial.value(low + (high - low) * part)}
            for part in (0.25, 0.75)
        ]
        first, second = reversed(pair) if self._is_swapped else pair
        return first, second

    def answer(self, answer: Answer) -> None:
        """Take the answer to the present round: which picture is better."""
        index = self.round % len(self.dials)
        low, high = self._ranges[index]
        quarter = (high - low) / 4
        if answer == "=":
            kept = (low + quarter, high - quarter)
        elif (answer == "1") != self._is_swapped:
            kept = (low, high - 2 * quarter)
        else:
            kept = (low + 2 * quarter, high)
        self._ranges[index] = kept
        self.round += 1

    @property
    def _is_swapped(self) -> bool:
        return self.round // len(self.dials) % 2 == 1
