"""Where things are, for the engine: from a job's options, regions and masks to a `Guide`.

A guide is built from three sources: faces, found in the photo and in its paintings; places that are
alike, by tokens of a network; and regions, from mask files or found in the photo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.errors import InputError, Reason
from pipeline.imaging.resampling import antialiased
from pipeline.jobs.recipe import Region as RegionRecipe
from pipeline.nst import Vgg19
from pipeline.nst.cache import MemoryCache, fingerprint
from pipeline.nst.content_focus import MAX_WEIGHT
from pipeline.nst.guidance.matching import match, soft_regions
from pipeline.nst.guidance.regions import NO_GUIDE, WHOLE, Guide, Learned, Region
from pipeline.nst.pyramid import target_size, trim_edges
from pipeline.nst.statistics import TINY

if TYPE_CHECKING:
    from pipeline.render.vision import FaceDetector

MASK_SIDE = 256  # px: long side of masks that are found
TOKEN_SIDE = 256  # px: long side at which VGG's tokens are taken, 16 px each
TOKEN_LAYERS = ("relu4_1", "relu5_1")
# A face taller than this share of the picture's long side has room for brush strokes, and its
# picture is a portrait: clothes are strokes as well. A smaller one would be washed out.
PORTRAIT, LARGE_FACE = 0.15, 0.3


class Hold(NamedTuple):
    """The highest weight of content in the parts of a portrait, in units of its mean."""

    features: float
    skin: float
    heads: float
    rest: float


# By eye, at 512 px (lab book, 2026-11-30): where the largest face is as tall as HOLDS_AT[0] of the
# long side, and as HOLDS_AT[1]. Between the two by degree.
HOLDS = Hold(MAX_WEIGHT, 0.25, 1.0, 0.5), Hold(1.2, 0.08, 0.6, 0.35)
HOLDS_AT = 0.23, 0.35
USUAL = 0.5  # the `protect_strength` that these are for

_FOUND = MemoryCache(32)  # the faces of pictures, by their pixels: each is looked at once


@dataclass(frozen=True, slots=True)
class Sources:
    """What a guide is built from.

    Attributes:
        photo: (3, H, W).
        paintings: (3, h, w) each, those of the style first and then those of regions alone.
        shares: For each region with paintings of its own, their shares by index.
        masks: Mask files by region, (1, h, w).
    """

    photo: Tensor
    paintings: Sequence[Tensor]
    shares: Mapping[str, Mapping[int, float]] | None = None
    masks: Mapping[str, Tensor] | None = None


def build_guide(
    sources: Sources,
    options: Transfer,
    regions: Sequence[RegionRecipe],
    network: Vgg19,
    device: torch.device | str,
) -> Guide:
    """The guide of a job; `NO_GUIDE` where its options ask for none.

    Raises:
        JobError: A region cannot be found in this photo.
        EngineError: An extra is not installed.
    """
    detail, cap = _find_detail(sources, options), _cap(sources.photo, options)
    guide = replace(NO_GUIDE, detail=detail, cap=cap)
    if regions:
        guide = _with_regions(guide, sources, regions)
    loss = options.style_loss
    if loss == "auto":
        loss = "attention" if _learns_by_place(sources, options) else "whole"
    if loss != "whole":
        guide = _with_faces(guide, sources)
    if loss == "attention":
        guide = _with_attention(guide, sources, options, network)
    return _moved(guide, device)


# --- what is found ----------------------------------------------------------------------------


def find_faces(image: Tensor) -> Tensor | None:
    """A mask (1, 1, h, w) of the faces in a picture (3, H, W); None: there are none."""
    return _face_masks(image).get("faces")


def _face_masks(image: Tensor) -> dict[str, Tensor]:
    """Masks (1, 1, h, w) of what faces are found in a picture; no empty ones.

    Of all ``faces`` and of ``people``; in a portrait also of ``features``, ``skin`` and ``heads``
    (`FaceParts`), and how tall its largest face is, as a share of the long side: ``tallest`` (1,).
    """

    def find() -> dict[str, Tensor]:
        from pipeline.render.vision import face_mask, face_parts, person_mask

        height, width = image.shape[1:]
        size = target_size(height, width, MASK_SIDE)
        tall = {
            face: (face.box[3] - face.box[1]) * height / max(height, width)
            for face in _detector().find(image)
        }
        if not tall:
            return {}
        masks = {"faces": face_mask(list(tall), size)}
        # The clothes of a portrait that fills the picture are strokes and no motif.
        figures = person_mask([face for face in tall if tall[face] <= LARGE_FACE], size)
        masks["people"] = masks["faces"].maximum(figures)
        if portraits := [face for face in tall if tall[face] > PORTRAIT]:
            masks |= face_parts(portraits, size)._asdict()
            masks["tallest"] = torch.tensor([max(tall.values())])
        return masks

    return _FOUND.get(fingerprint(image), find)


@lru_cache(maxsize=1)
def _detector() -> "FaceDetector":
    from pipeline.render.vision import FaceDetector  # late: only where a face is looked for

    return FaceDetector()


def _find_detail(sources: Sources, options: Transfer) -> Tensor | None:
    """Where a deep content layer keeps small forms at the finest scale; None: everywhere."""
    if options.protect == "all":
        return None
    if options.protect == "none":
        return torch.zeros(1, 1, 1, 1)
    found = _find_region(options.protect, sources)
    return torch.zeros(1, 1, 1, 1) if found is None else found


def _find_region(name: str, sources: Sources) -> Tensor | None:
    """The mask (1, 1, h, w) of a region; None: the photo has no such thing."""
    from pipeline.render.vision.scene import find_sky, find_subject

    masks = sources.masks or {}
    if name in masks:
        return masks[name].unsqueeze(0)
    if name == "face":
        return find_faces(sources.photo)
    if name == "sky":
        return find_sky(sources.photo)
    if name in ("subject", "person", "background"):
        if name != "background" and "background" in masks:
            return 1 - masks["background"].unsqueeze(0)
        subject = masks.get("subject", masks.get("person"))
        inside = find_subject(sources.photo) if subject is None else subject.unsqueeze(0)
        return 1 - inside if name == "background" else inside
    what = f"region {name!r} has no mask"
    hint = f"put a mask beside the photo, named PHOTO.mask.{name}.png"
    raise InputError(what, where="regions", hint=hint, code=Reason.SIDECAR_INVALID)


# --- regions ------------------------------------------------------------------------------------


def _with_regions(guide: Guide, sources: Sources, regions: Sequence[RegionRecipe]) -> Guide:
    """The guide with a region for each that the photo has, and one for the rest of it."""
    height, width = sources.photo.shape[1:]
    size = target_size(height, width, MASK_SIDE)
    found: list[tuple[RegionRecipe, Tensor]] = []
    rest = torch.ones(1, 1, *size)
    for region in sorted(regions, key=_precedence):
        # A mask alone changes nothing: it only says where `transfer.protect` looks.
        own = (region.strength, region.colors, region.color_strength)
        chosen = region.images or any(option is not None for option in own)
        mask = _find_region(region.name, sources) if chosen else None
        if mask is None:
            continue
        # What an earlier region holds is no longer to be had.
        inside = antialiased(mask.float(), size, "bilinear").clamp(0, 1) * rest
        rest = rest - inside
        found.append((region, inside))
    if not found:
        return guide
    parts = [_engine_region(region, mask, sources) for region, mask in found]
    parts.append(Region(rest, shares=_shares(sources, {})))
    whole = tuple(parts)
    return replace(
        guide,
        regions=whole,
        motifs=whole,
    )


def _precedence(region: RegionRecipe) -> tuple[int, str]:
    """Smaller parts before those that hold them; the user's own are the most deliberate."""
    order = ("face", "person", "subject", "sky", "background")
    return (order.index(region.name) + 1 if region.name in order else 0), region.name


def _engine_region(region: RegionRecipe, mask: Tensor, sources: Sources) -> Region:
    own = (sources.shares or {}).get(region.name, {})
    shares, strength = _shares(sources, own), region.color_strength
    return Region(mask, region.strength, region.colors, shares, color_strength=strength)


def _shares(sources: Sources, own: Mapping[int, float]) -> tuple[float, ...] | None:
    """A region's share of each painting; None: those of the style, and no others are there."""
    if not own:
        return None
    return tuple(own.get(index, 0.0) for index in range(len(sources.paintings)))


# --- faces ----------------------------------------------------------------------------------------


def _learns_by_place(sources: Sources, options: Transfer) -> bool:
    """Whether `auto` chooses `attention`: a painting shows a face, and the photo none or a large.

    Its eyes would be painted into skies and walls; a large face gets the painted one's planes.
    """
    found = _face_masks(sources.photo)
    if "faces" in found:
        loose = options.protect == "face" and options.protect_strength < 1
        tallest = float(found["tallest"]) if "tallest" in found else 0.0
        if not loose or tallest <= LARGE_FACE:
            return False
    return any(find_faces(trim_edges(each[None])[0]) is not None for each in sources.paintings)


def _with_faces(guide: Guide, sources: Sources) -> Guide:
    """Motifs of a painted face only for the photo's faces.

    Gatys et al. 2017 guide all layers; here the first blocks stay whole, since they hold the
    colours and strokes of skin, which the rest of a picture may well have.
    """
    painted = [find_faces(trim_edges(each[None])[0]) for each in sources.paintings]
    if all(mask is None for mask in painted):
        return guide
    faces = find_faces(sources.photo)
    others = tuple(None if mask is None else 1 - mask for mask in painted)
    motifs: list[Region] = []
    for region in guide.motifs:
        if faces is None:
            motifs.append(replace(region, sources=others))
            continue
        inside, outside = _split(region.mask, faces)
        motifs.append(replace(region, mask=outside, sources=others))
        motifs.append(_facial(replace(region, mask=inside), painted))
    return replace(guide, motifs=tuple(motifs))


def _cap(photo: Tensor, options: Transfer) -> Tensor | None:
    """The highest weight of content at each place of a portrait, (1, 1, h, w); None: no bound.

    A face has detail everywhere, and held by it would stay a photograph in the painting's colours.
    So content holds what makes a person, and skin, hair and clothes far less.
    """
    found = _face_masks(photo) if options.protect == "face" else {}
    if "tallest" not in found or options.protect_strength == 1:
        return None
    first, last = HOLDS_AT
    near = min(max((float(found["tallest"]) - first) / (last - first), 0), 1)
    # By factors of MAX_WEIGHT: at a strength of 1 there is no bound, at 0 twice as much of it.
    power = (1 - options.protect_strength) / (1 - USUAL)
    hold = Hold(
        *(
            MAX_WEIGHT * ((far / MAX_WEIGHT) ** (1 - near) * (close / MAX_WEIGHT) ** near) ** power
            for far, close in zip(*HOLDS, strict=True)
        )
    )
    cap = hold.rest + (hold.heads - hold.rest) * found["heads"]
    cap = cap + (hold.skin - cap) * found["skin"]
    return cap + (hold.features - cap).clamp_min(0) * found["features"]


def _split(mask: Tensor | None, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The part of a region's mask in the faces, and the rest of it."""
    if mask is None:
        return faces, 1 - faces
    size = (mask.shape[-2], mask.shape[-1])
    inside = antialiased(faces, size, "bilinear").clamp(0, 1)
    return mask * inside, mask * (1 - inside)


def _facial(region: Region, painted: Sequence[Tensor | None]) -> Region:
    """A region of faces: it learns from painted faces, or from all if its paintings have none."""
    shares = region.shares or (1.0,) * len(painted)
    kept = tuple(s if mask is not None else 0.0 for s, mask in zip(shares, painted, strict=True))
    return replace(region, sources=tuple(painted), shares=kept) if any(kept) else region


# --- attention --------------------------------------------------------------------------------


def _with_attention(guide: Guide, sources: Sources, options: Transfer, network: Vgg19) -> Guide:
    """Content and motifs that each place learns from the places of the paintings like it."""
    ours = _tokens(sources.photo, options, network)
    has_faces = find_faces(sources.photo) is not None
    learned, taught = [], []
    for painting in sources.paintings:
        shown = trim_edges(painting[None])[0]
        theirs = _tokens(shown, options, network)
        grids = _grid(ours), _grid(theirs)
        people = None if has_faces else _face_masks(shown).get("people")
        allowed = None if people is None else 1 - antialiased(people, grids[1], "bilinear")
        learned.append(Learned(match(ours, theirs, allowed), grids))
        taught.append(allowed)
    guide = replace(guide, learned=tuple(learned), fixed=False)
    # A region that a person chose says more of what it is to learn than what it looks like.
    return (
        guide
        if guide.regions is not WHOLE
        else replace(guide, motifs=_alike(ours, learned, taught))
    )


def _alike(
    photo: Tensor, learned: Sequence[Learned], allowed: Sequence[Tensor | None]
) -> tuple[Region, ...]:
    """Soft regions of the photo by what they show, and of each painting what they learn from."""
    parts = [soft_regions(photo, each.plan, each.grids) for each in learned]
    masks = parts[0][0]  # of the photo's tokens alone: the same for each painting
    taught = []
    for (_, by_place), may_teach in zip(parts, allowed, strict=True):
        # Once more: regions are smoothed, and reach over the edge of what may teach.
        kept = by_place if may_teach is None else by_place * may_teach.clamp(0, 1)
        taught.append(kept / kept.amax().clamp_min(TINY))
    return tuple(
        Region(mask[None], sources=tuple(each[index][None] for each in taught))
        for index, mask in enumerate(masks)
    )


def _tokens(image: Tensor, options: Transfer, network: Vgg19) -> Tensor:
    """What each place of a picture (3, H, W) shows: (1, C, h, w)."""
    with torch.no_grad():
        if options.attention_by == "vit":
            from pipeline.render.vision.vit import load_vit  # an extra

            return load_vit().tokens(image[None].cpu())
        device = next(network.parameters()).device
        height, width = image.shape[1:]
        small = antialiased(image[None], target_size(height, width, TOKEN_SIDE)).to(device)
        found = network(small.clamp(0, 1), TOKEN_LAYERS)
        grid = _grid(found[TOKEN_LAYERS[-1]])
        return torch.cat([antialiased(each, grid, "bilinear").cpu() for each in found.values()], 1)


def _grid(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]


def _moved(guide: Guide, device: torch.device | str) -> Guide:
    """The guide on a device."""
    if torch.device(device).type == "cpu":
        return guide

    def to(mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask.to(device)

    def region(each: Region) -> Region:
        sources = each.sources and tuple(map(to, each.sources))
        return replace(each, mask=to(each.mask), sources=sources)

    regions = tuple(map(region, guide.regions)) if guide.regions is not WHOLE else WHOLE
    same = guide.motifs is guide.regions
    return replace(
        guide,
        regions=regions,
        motifs=regions if same else tuple(map(region, guide.motifs)),
        learned=tuple(replace(each, plan=each.plan.to(device)) for each in guide.learned),
        hold=to(guide.hold),
        detail=to(guide.detail),
        cap=to(guide.cap),
        untouched=to(guide.untouched),
    )
