"""The options of a region: `regions:` of config.yaml, of its styles and of side files.

The regions of a photo are those of config.yaml, with those of its style over them, and those of its
side files over both: merged by region and key.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config.base import FromList, Options, Strength
from pipeline.config.transfer import ColorWord
from pipeline.system.near_names import nearest_name

# Found in a photo without a mask file; every other name is the user's own.
AUTOMATIC = ("face", "person", "subject", "background", "sky")
# Masks of these count also where no option names the region: `transfer.protect` uses them.
PROTECTED = ("face", "subject")
MAP_NAME = "regions"  # in file names and flags: a map of several regions
NAME = r"[A-Za-z0-9_-]{1,64}"
ALMOST_EQUAL = 0.8  # ratio of equal characters: a typing error, not a name of one's own
MOST = 16  # regions of one config, style or side file
# A colour of a map and one that is meant to be it differ by at most this in each channel, of 255.
COLOR_DISTANCE = 40

_NO_REGION = "#000000"  # black in a map: no region, unless one has this colour


def check_region_name(name: str) -> str:
    """The name of a region, after checking that it can be one.

    Raises:
        ValueError: With a message for the config's author.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(
            f"{name!r} is no name of a region; use letters, digits, - and _ (up to 64)"
        )
    if name == MAP_NAME:
        raise ValueError(f"{name!r} is the name of a map of several regions; choose another name")
    near = nearest_name(name, AUTOMATIC, cutoff=ALMOST_EQUAL)
    if name not in AUTOMATIC and near:
        more = "another name if you mean a mask of your own"
        raise ValueError(f"there is no region {name!r}; did you mean {near!r}? (Choose {more}.)")
    return name


def _check_name(value: Any) -> Any:
    return check_region_name(value) if isinstance(value, str) else value


def _check_color(value: str) -> str:
    """A colour in lower case."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ValueError(f'{value!r} is no colour; write it as "#rrggbb", such as "#0000ff" (blue)')
    return value.lower()


RegionName = Annotated[str, BeforeValidator(_check_name), Field(pattern=f"^{NAME}$")]
Color = Annotated[str, AfterValidator(_check_color)]


class RegionOptions(Options):
    """A part of the photo with paintings, strength or colours of its own. NAME is `face` or `sky`,
    which are found in the photo; `subject`, `person` or `background`, which are found if the extra
    `vit` is installed; or a name of your own: letters, digits, - and _. A mask beside the photo,
    `PHOTO.mask.NAME.png`, says where a region is; a name of your own needs one.
    """

    styles: Annotated[tuple[str, ...] | None, Field(max_length=MOST), FromList] = Field(
        None,
        description="Names from `styles:`. The region is painted with the paintings of these "
        "styles, in equal parts; other options of these styles do not apply. Default, or an empty "
        "list: the paintings of the photo's style.",
        examples=[["starry"]],
    )
    strength: Strength | None = Field(
        None,
        description="From the photo (0) to the painting (1), as `transfer.strength`. Default: as "
        "in the rest of the picture.",
        examples=[0.4],
    )
    colors: ColorWord | None = Field(
        None,
        description="Whose colours the region has, as `transfer.colors`. "
        "Default: as in the rest of the picture.",
    )
    color_strength: Strength | None = Field(
        None,
        description="How far the colours apply, as `transfer.color_strength`. Default: fully where "
        "the region has `colors`, and else as in the rest of the picture.",
    )
    color: Color | None = Field(
        None,
        description="The colour of the region in `PHOTO.regions.png`, a map of several regions "
        'in one picture, as "#rrggbb".',
        examples=["#0000ff"],
    )

    @model_validator(mode="before")
    @classmethod
    def _check_color_is_quoted(cls, value: Any) -> Any:
        if isinstance(value, dict) and "color" in value and value["color"] is None:
            what = "color is empty: put the colour into quotes"
            raise ValueError(f'{what}, "#0000ff"; without them, # begins a comment')
        return value

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        return self


def _check_colors_differ(regions: dict[str, RegionOptions]) -> dict[str, RegionOptions]:
    check_colors(regions)
    return regions


Regions = Annotated[
    dict[RegionName, RegionOptions], Field(max_length=MOST), AfterValidator(_check_colors_differ)
]


def merge_regions(*layers: Mapping[str, RegionOptions]) -> dict[str, RegionOptions]:
    """The regions of several layers, the last on top: merged by region and key."""
    merged: dict[str, RegionOptions] = {}
    for layer in layers:
        for name, options in layer.items():
            merged[name] = merged[name].overlay(options) if name in merged else options
    return merged


def check_colors(regions: Mapping[str, RegionOptions]) -> None:
    """Check that the colours of regions can be told apart in a map.

    Raises:
        ValueError: Two of them are too similar.
    """
    colors = [(name, options.color) for name, options in regions.items() if options.color]
    for number, (name, color) in enumerate(colors):
        for other, its_color in colors[:number]:
            if color_distance(color, its_color) <= 2 * COLOR_DISTANCE:
                what = f"the colours of {other} and {name} ({its_color} and {color})"
                raise ValueError(f"{what} are too similar for a map; choose others")


def color_distance(one: str, other: str) -> int:
    """How much two colours ``#rrggbb`` differ in the channel in which they differ most."""
    pairs = zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True)
    return max(abs(a - b) for a, b in pairs)


def unknown_colors(
    found: Iterable[tuple[str, float]], regions: Mapping[str, RegionOptions]
) -> list[tuple[str, float]]:
    """The colours of a map, with their shares of it, that no region has."""
    known = [options.color for options in regions.values() if options.color]
    known.append(_NO_REGION)
    return [
        (color, share)
        for color, share in found
        if all(color_distance(color, each) > COLOR_DISTANCE for each in known)
    ]


def find_circle(named: Mapping[str, Iterable[str]]) -> list[str]:
    """Styles whose regions lead back to themselves, the first of them also last; [] if none do.

    Args:
        named: By style, the styles that its regions name.
    """
    done: set[str] = set()

    def follow(path: list[str]) -> list[str]:
        for name in named.get(path[-1], ()):
            if name in path:
                return [*path[path.index(name) :], name]
            if name not in done and (circle := follow([*path, name])):
                return circle
        done.add(path[-1])
        return []

    return next((circle for style in named if (circle := follow([style]))), [])
