"""What a strength does: from the photo (0) by way of the usual look (0.5) to the painting (1).

The one definition, for the whole picture (`Transfer.strength`) and for its regions. Below 0.5 what
the picture must resemble lies between the painting and the photo itself: with a share k of the
photo, the style's statistics, the colours, the content target and the start image are by k nearer
to the photo's own, so that all differences from the photo shrink together. (More weight for content
would leave the painting's colours; a mean of photo and picture is pale and shows both.) Above 0.5
the picture follows the photo less.
"""

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst.guidance.regions import Guide, map_of_regions

USUAL = 0.5
# Measured (lab book, 2026-11-30): with these, neighbours of 0, 0.25, 0.5, 0.75, 1 differ alike.
POWER = 0.9  # of the painting's share below USUAL
LEAST, STEEP = 0.01, 1.5  # the factor of the content weight at 1, and how its exponent grows
CALM = 0.1  # below it the photo's own pixels begin to show, so that any start leads to the photo


class Effect(NamedTuple):
    """What a strength changes.

    Attributes:
        content: A factor of the content weight.
        keep: The photo's share in what the picture must resemble.
        pixels: The share of the photo's own pixels in the finished picture.
    """

    content: float
    keep: float
    pixels: float


def effect_of(strength: float) -> Effect:
    """What a strength from 0 to 1 does; at `USUAL` nothing."""
    if strength > USUAL:
        return Effect(LEAST ** ((2 * strength - 1) ** STEEP), 0.0, 0.0)
    return Effect(1.0, 1 - (2 * strength) ** POWER, max(0.0, 1 - strength / CALM))


def strengths_of(options: Transfer, guide: Guide) -> list[float]:
    """The strength of each region."""
    own = [region.strength for region in guide.regions]
    return [options.strength if strength is None else strength for strength in own]


def apply_strength(options: Transfer, guide: Guide, like: Tensor) -> tuple[Transfer, Guide]:
    """The options and the guide with what the strengths of the picture and of its regions do.

    Both stay the same where all are `USUAL`. Maps are on the device of ``like``.
    """
    strengths = strengths_of(options, guide)
    if all(strength == USUAL for strength in strengths):
        return options, guide
    effects = [effect_of(strength) for strength in strengths]

    def as_map(values: list[float]) -> Tensor | None:
        return map_of_regions(guide.regions, values, like) if any(values) else None

    # Smoothing is a difference from the photo too.
    changed = {"tv_weight": options.tv_weight * (1 - effect_of(options.strength).keep)}
    contents, hold = [effect.content for effect in effects], None
    if len({*contents}) == 1:
        changed["content_weight"] = options.content_weight * contents[0]
    else:
        hold = as_map(contents)
    return options.model_copy(update=changed), replace(
        guide,
        hold=hold,
        keep=as_map([effect.keep for effect in effects]),
        untouched=as_map([effect.pixels for effect in effects]),
    )


def is_photo(options: Transfer, guide: Guide) -> bool:
    """Whether the picture is the photo itself, everywhere."""
    return not any(strengths_of(options, guide))


# --- strokes ----------------------------------------------------------------------------------

BROAD = 2.5  # times the usual size of strokes at 1; at 0, one BROAD-th of it
SMALLEST, LARGEST = 0.1, 10.0  # as `style_scale` may be


def stroke_scale(options: Transfer) -> float:
    """The size of strokes relative to the painting's: `style_scale` times what `stroke` says."""
    scale: float = options.style_scale * BROAD ** (2 * options.stroke - 1)
    return min(max(scale, SMALLEST), LARGEST)


def apply_stroke(options: Transfer) -> Transfer:
    """The options with `style_scale` as it is to be used."""
    scale = stroke_scale(options)
    return (
        options
        if scale == options.style_scale
        else options.model_copy(update={"style_scale": scale})
    )
