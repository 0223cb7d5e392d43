"""Whose colours a picture has, and by what degree: before the transfer, and at its end.

`content` paints in the painting's colours and gives the finished picture the chroma of the photo.
`luminance` paints light and dark alone and then does the same; `match` gives the painting the
photo's colours and goes on as usual (Gatys et al. 2016, "Preserving color in neural artistic style
transfer": luminance-only transfer and color histogram matching). At a degree between 0 and 1, each
of them is done that far.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.config.transfer import ColorWord, Transfer
from pipeline.nst.colors import (
    ColorMap,
    combine_luma_and_color,
    grey_of,
    map_to_palette,
    match_luma,
)
from pipeline.nst.content_focus import lerp_to, share_at
from pipeline.nst.guidance.regions import (
    Guide,
    Region,
    map_of_regions,
    masks_at,
    normalised_shares,
)


class Coloring(NamedTuple):
    """A way of colouring and its degree, 0 to 1. At 0 the colours are the painting's."""

    word: ColorWord
    degree: float

    @property
    def cast(self) -> "Coloring":
        """How the paintings are recoloured: `AS_THEY_ARE`, or this way."""
        return self if self.word in ("luminance", "match") and self.degree else AS_THEY_ARE

    @property
    def ignores_painting(self) -> bool:
        """Whether no colour of the painting is left."""
        return self.word != "match" and self.degree == 1


AS_THEY_ARE = Coloring("content", 0.0)


def coloring_of(options: Transfer, region: Region) -> Coloring:
    """How a region is coloured: its own word applies wholly, unless it says how far."""
    word, degree = options.colors, options.color_strength
    if region.colors is not None:
        word, degree = region.colors, 1.0
    if region.color_strength is not None:
        degree = region.color_strength
    # `style` is the opposite of `content`.
    return Coloring("content", 1 - degree) if word == "style" else Coloring(word, degree)


EVERYWHERE = Region()


# --- before the transfer ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is painted: photo (1, 3, H, W), paintings (1, 3, h, w), their shares, and the guide."""

    photo: Tensor
    styles: list[Tensor]
    shares: list[float]
    guide: Guide


def recast(inputs: Inputs, options: Transfer) -> Inputs:
    """The inputs in the colours that they are painted in.

    Where regions differ in them, a painting is there once for each way that it is used in.
    """
    regions, photo = inputs.guide.regions, inputs.photo
    ways = [coloring_of(options, region) for region in regions]
    if all(way.cast == AS_THEY_ARE for way in ways):
        return inputs
    versions = _versions(inputs, options)
    grey = [way.degree if way.word == "luminance" else 0.0 for way in ways]
    return Inputs(
        lerp_to(photo, grey_of(photo), map_of_regions(regions, grey, photo)),
        [_recolored(inputs.styles[index], cast, photo) for index, cast in versions],
        [*inputs.shares, *[0.0] * (len(versions) - len(inputs.shares))],
        _with_versions(inputs, options, versions),
    )


Version = tuple[int, Coloring]  # a painting by its index, and how it is recoloured


def _versions(inputs: Inputs, options: Transfer) -> list[Version]:
    """The paintings in the picture's colours, in their order; then in those of regions."""
    general = coloring_of(options, EVERYWHERE).cast
    found = [(index, general) for index in range(len(inputs.styles))]
    for region in inputs.guide.regions:
        cast, shares = coloring_of(options, region).cast, region.shares or inputs.shares
        found += [(index, cast) for index, share in enumerate(shares) if share]
    return list(dict.fromkeys(found))


def _with_versions(inputs: Inputs, options: Transfer, versions: Sequence[Version]) -> Guide:
    """The guide, by the new indices of paintings."""
    guide, general = inputs.guide, coloring_of(options, EVERYWHERE).cast

    def renumbered(region: Region) -> Region:
        cast, shares = coloring_of(options, region).cast, region.shares or inputs.shares
        sources = region.sources and tuple(region.sources[index] for index, _ in versions)
        own = tuple(shares[index] if how == cast else 0.0 for index, how in versions)
        as_picture = region.shares is None and cast == general
        return replace(region, shares=None if as_picture else own, sources=sources)

    regions = tuple(map(renumbered, guide.regions))
    same = guide.motifs is guide.regions
    return replace(
        guide,
        regions=regions,
        motifs=regions if same else tuple(map(renumbered, guide.motifs)),
        learned=tuple(guide.learned[index] for index, _ in versions) if guide.learned else (),
        fixed=False,  # the paintings' colours depend on the photo
    )


def _recolored(painting: Tensor, cast: Coloring, photo: Tensor) -> Tensor:
    """A painting as it is used: (1, 3, h, w)."""
    if cast == AS_THEY_ARE:
        return painting
    if cast.word == "luminance":
        return painting.lerp(match_luma(painting, photo), cast.degree)
    return painting.lerp(map_to_palette(painting, [photo], [1.0])(painting), cast.degree)


def photo_recoloring(inputs: Inputs, options: Transfer) -> ColorMap | None:
    """A map that gives the photo the paintings' colours, as far as they are wanted; None: not."""
    general, keep = coloring_of(options, EVERYWHERE), inputs.guide.keep
    if general.ignores_painting or not options.style_weight:
        return None
    painted = _palette_by_region(inputs)
    own = general.degree if general.word == "content" else 0.0

    def recolored(image: Tensor) -> Tensor:
        found = painted(image)
        return lerp_to(found.lerp(image, own) if own else found, image, keep)

    return recolored


def _palette_by_region(inputs: Inputs) -> ColorMap:
    """A map that gives the photo the paintings' colours, in each region those of its own."""
    regions = inputs.guide.regions
    if all(region.shares is None for region in regions):
        return map_to_palette(inputs.photo, inputs.styles, inputs.shares)
    count = len(inputs.styles)
    shares = [
        normalised_shares(region.shares, count) if region.shares else inputs.shares
        for region in regions
    ]
    maps = [map_to_palette(inputs.photo, inputs.styles, each) for each in shares]
    masks = [region.mask for region in regions]

    def recolored(image: Tensor) -> Tensor:
        parts = [
            maps[index](image) if mask is None else mask * maps[index](image)
            for index, mask in masks_at(masks, (image.shape[-2], image.shape[-1]))
        ]
        return torch.stack(parts).sum(0)

    return recolored


# --- at its end -------------------------------------------------------------------------------


def finish_colors(picture: Tensor, photo: Tensor, options: Transfer, guide: Guide) -> Tensor:
    """A finished picture with the photo's chroma, where and as far as it is wanted.

    All (1, 3, H, W); the photo in its own colours.
    """
    ways = [coloring_of(options, region) for region in guide.regions]
    # A picture in part of the painting's chroma keeps it: `luminance` has left that much in it.
    added = [way.degree if way.word == "luminance" and way.degree < 1 else 0.0 for way in ways]
    taken = [
        0.0 if way.word == "match" or more else way.degree
        for way, more in zip(ways, added, strict=True)
    ]
    if any(added):
        share = share_at(map_of_regions(guide.regions, added, photo), picture)
        picture = (picture + share * (photo - grey_of(photo))).clamp(0, 1)
    if any(taken):
        colored = combine_luma_and_color(picture, photo)
        picture = lerp_to(picture, colored, map_of_regions(guide.regions, taken, photo))
    return picture
