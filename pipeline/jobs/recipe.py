"""Recipes: everything that decides the pixels of a result besides the photo, and its digest."""

import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from pipeline.config.base import Options
from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import Style, starter_styles
from pipeline.config.model import BUILTIN, WEIGHTS_WORDS, Config
from pipeline.config.output import OutputFormat
from pipeline.config.regions.options import (
    AUTOMATIC,
    PROTECTED,
    RegionOptions,
    merge_regions,
)
from pipeline.config.sidecar import Side
from pipeline.config.transfer import DRAFT, INIT_WORDS, SIZED, ColorWord, Transfer
from pipeline.errors import ConfigError
from pipeline.system.file_version import Stamp
from pipeline.system.paths import real_path
from pipeline.system.safe_files import MOST_VERIFIED, digest_of, opened
from pipeline.system.text import encodable

# Raised when the same options would give visibly different pixels: pairs are then rendered again.
ENGINE_VERSION = 14


@dataclass(frozen=True, slots=True)
class StyleImage:
    """A style image, its share of the blend (shares sum to 1) and its SHA-256."""

    path: Path
    weight: float
    sha256: str
    name: str = field(default="", compare=False)  # in records; "": that of the path

    @property
    def recorded_name(self) -> str:
        """What a record calls it, wherever the file lies now: ``builtin:NAME``, or a file name."""
        source = source_of(self.path)
        return self.name or encodable(source if source != str(self.path) else self.path.name)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the photo with paintings, strength or colours of its own.

    Attributes:
        name: `face`, `person`, `subject`, `background`, `sky`, or one of the user's own.
        images: What it is painted with, shares summing to 1; none: the style's own images.
        strength: From photo (0) to painting (1); None: as the whole picture.
        colors: One of the words of `transfer.colors`; None: as the whole picture.
        mask: A picture of where the region is; None: it is found automatically.
        mask_sha256: Of that file.
        color: ``#rrggbb`` of the region in that file, which is then a map of several regions; None:
            the file shows this region alone, in white.
        mask_name: What a record calls that file; "": by the name of its path.
        color_strength: How far its colours apply; None: fully with `colors`, else as the whole
            picture's.
    """

    name: str
    images: tuple[StyleImage, ...] = ()
    strength: float | None = None
    colors: ColorWord | None = None
    mask: Path | None = None
    mask_sha256: str = ""
    color: str | None = None
    mask_name: str = field(default="", compare=False)
    color_strength: float | None = None

    @property
    def recorded_mask(self) -> str:
        """What a record calls the mask, wherever the file lies now; "" without one."""
        return self.mask_name or (encodable(self.mask.name) if self.mask else "")

    @property
    def files(self) -> list[tuple[Path, str]]:
        """The files that it needs, and the SHA-256 that each must have."""
        mask = [] if self.mask is None else [(self.mask, self.mask_sha256)]
        return [(image.path, image.sha256) for image in self.images] + mask

    @property
    def parts(self) -> dict[str, object]:
        """What of it decides pixels: files count by their contents."""
        return {
            "name": self.name,
            "images": [(image.sha256, round(image.weight, 9)) for image in self.images],
            # 2: a strength here does what it does to the whole picture, since 2026-11-30.
            "strength": self.strength if self.strength is None else [2, self.strength],
            "colors": self.colors,
            "mask": self.mask_sha256,
            "color": self.color,
            # Only where it is set: the digests of regions from before it stay.
            **({} if self.color_strength is None else {"color_strength": self.color_strength}),
        }


PLAIN_OUTPUT = OutputFormat()  # the defaults


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the pixels of a result besides the photo. The device is not part of it."""

    images: tuple[StyleImage, ...]
    transfer: Transfer
    enhance: Enhance
    weights: str  # where VGG-19 comes from: embedded, torchvision or a path
    seed: int
    weights_sha256: str = ""
    init_sha256: str = ""
    upscale_sha256: str = ""  # of the learned model, where one enlarges
    output: OutputFormat = PLAIN_OUTPUT
    regions: tuple[Region, ...] = ()  # sorted by name
    # What records call the files of `init`, `weights` and `upscale_model`, where not by their path.
    names: Mapping[str, str] = field(default_factory=dict, compare=False)

    # Computed once: a plan of ten thousand photos needs it as often.
    _digest: str = field(default="", init=False, repr=False, compare=False)
    _draft: "Recipe | None" = field(default=None, init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits; equal recipes give equal digits on every machine."""
        if not self._digest:
            object.__setattr__(self, "_digest", self._compute())
        return self._digest

    @property
    def recorded_names(self) -> dict[str, str]:
        """What a record calls the files of options, by option, wherever these files lie now."""
        found = {"init": self.transfer.init} if self.init_sha256 else {}
        if self.weights not in WEIGHTS_WORDS:
            found["weights"] = self.weights
        if self.upscale_sha256 and self.enhance.upscale_model is not None:
            found["upscale_model"] = str(self.enhance.upscale_model)
        return {key: encodable(Path(path).name) for key, path in found.items()} | dict(self.names)

    @property
    def draft(self) -> "Recipe | None":
        """The same in the size and steps of the preset `draft`; None where this is as small.

        The enhanced picture is not enlarged.
        """
        size, small = self.transfer.size, DRAFT.size
        if self.transfer.within is not None:
            size = "source"  # as large as there is time for
        if size != "source" and small != "source" and size <= small and self.enhance.upscale == 1:
            return None
        if self._draft is None:
            found = replace(
                self,
                transfer=self.transfer.overlay(DRAFT),
                enhance=self.enhance.model_copy(update={"upscale": 1}),
                upscale_sha256="",
            )
            object.__setattr__(self, "_draft", found)
        return self._draft

    @property
    def files(self) -> dict[Path, str]:
        """The files that it needs, and the SHA-256 that each must have."""
        named = [(image.path, image.sha256) for image in self.images]
        named += [file for region in self.regions for file in region.files]
        if self.init_sha256:
            named.append((Path(self.transfer.init), self.init_sha256))
        if self.weights_sha256 and self.weights not in WEIGHTS_WORDS:
            named.append((Path(self.weights), self.weights_sha256))
        if self.upscale_sha256 and self.enhance.upscale_model is not None:
            named.append((self.enhance.upscale_model, self.upscale_sha256))
        return dict(named)

    def _compute(self) -> str:
        # The start image counts by its content, not by its path.
        init = {"init": self.init_sha256} if self.init_sha256 else {}
        model = {"upscale_model": self.upscale_sha256} if self.upscale_sha256 else {}
        # What `within` chooses depends on the machine's rates: the wish counts, not its outcome.
        chosen = set() if self.transfer.within is None else set(SIZED)
        parts = {
            "engine": ENGINE_VERSION,
            "images": [(image.sha256, round(image.weight, 9)) for image in self.images],
            # Options at their defaults are left out, so that a new option changes no digest.
            # To change a default, raise ENGINE_VERSION instead.
            "transfer": non_default_options(self.transfer, {"block", *chosen}) | init,
            "enhance": non_default_options(self.enhance, {"upscale_model"}) | model,
            "output": non_default_options(self.output),
            "weights": self.weights_sha256 or self.weights,
            "seed": self.seed,
        }
        if self.regions:
            parts["regions"] = [region.parts for region in self.regions]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def non_default_options(options: Options, exclude: Collection[str] = ()) -> dict[str, object]:
    """Options that are not at their defaults."""
    return options.model_dump(mode="json", exclude=set(exclude), exclude_defaults=True)


@lru_cache(maxsize=256)  # asked for every job; what ships inside the package stays
def source_of(path: Path) -> str:
    """How config.yaml names an image: ``builtin:NAME``, or its path."""
    starter = starter_styles().get(path.stem)
    return f"{BUILTIN}{path.stem}" if path == starter else str(path)


# File systems keep times in steps of up to 2 s: a file written to less than that ago may be
# written to again without another stamp, so its SHA-256 is used for one plan only.
COARSE_NS, PLAN_NS = 2_000_000_000, 200_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    """The SHA-256 of a file, and when it was read, in ns since 1970."""

    stamp: Stamp
    sha256: str
    at: int

    def is_valid_for(self, found: Stamp) -> bool:
        """Whether a file of this stamp still holds the same."""
        young = 0 <= self.at - max(found.mtime_ns, found.ctime_ns) < COARSE_NS
        return self.stamp == found and (not young or 0 <= time.time_ns() - self.at < PLAN_NS)


_known: dict[Path, _Known] = {}


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask file beside a photo, and its SHA-256."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Masks:
    """The mask files of one photo: by region, and a map of several regions."""

    by_region: Mapping[str, MaskFile] = field(default_factory=dict)
    map: MaskFile | None = None


NO_MASKS = Masks()


class Recipes:
    """Recipes under one config. A style image is read again when its file changes.

    Args:
        config: The config.
        styles: The styles that regions may name.
    """

    def __init__(self, config: Config, styles: Mapping[str, Style] | None = None) -> None:
        self.config, self.styles = config, styles or {}
        self.troubles: dict[str, str] = {}  # by style

    def recipe_for(self, style: Style, side: Side | None = None, masks: Masks = NO_MASKS) -> Recipe:
        """The recipe of one style, with the options of a side file and the photo's masks applied.

        Raises:
            ConfigError: When an image cannot be read.
        """
        transfer, enhance = style.transfer, self.config.enhance
        if side is not None:
            transfer = transfer.overlay(side.transfer)
            enhance = enhance.overlay(side.enhance)
        init, model = transfer.init, enhance.enlarging_model
        images = tuple(_style_image(path, weight) for path, weight in style.images)
        options = merge_regions(style.regions, side.regions if side else {})
        paintings = {
            name: _blend([self._named(each) for each in region.styles])
            for name, region in options.items()
            if region.styles
        }
        return Recipe(
            images=images,
            transfer=transfer,
            enhance=enhance,
            weights=self.config.weights,
            weights_sha256=self._weights(),
            seed=self.config.seed,
            output=self.config.output,
            init_sha256="" if init in INIT_WORDS else digest(Path(init)),
            upscale_sha256=digest(model) if model else "",
            regions=build_regions(options, paintings, masks, images),
        )

    def recipe_if_readable(
        self, style: Style, side: Side | None = None, masks: Masks = NO_MASKS
    ) -> Recipe | None:
        """The same; None while one of its files cannot be read: the reason is in `troubles`."""
        try:
            recipe = self.recipe_for(style, side, masks)
        except ConfigError as error:
            self.troubles[style.name] = str(error)
            return None
        self.troubles.pop(style.name, None)
        return recipe

    @property
    def trouble(self) -> str:
        """Which styles wait, and for what; "" where none does."""
        names: dict[str, list[str]] = {}  # missing weights concern all styles at once
        for name, why in self.troubles.items():
            names.setdefault(why, []).append(name)
        return "; ".join(f"{_styles(found)} until {why}" for why, found in names.items())

    def _named(self, name: str) -> Style:
        """A style that a region names; only a folder of paintings that is missing hides one."""
        if name not in self.styles:
            raise ConfigError(f"there is no style {name!r} now", hint="its painting is missing")
        return self.styles[name]

    def _weights(self) -> str:
        source = self.config.weights
        return source if source in WEIGHTS_WORDS else digest(Path(source))


def _styles(names: list[str]) -> str:
    """Which styles wait, in words."""
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"style {shown} waits" if len(names) == 1 else f"styles {shown} wait"


def _style_image(path: Path, weight: float) -> StyleImage:
    """A style image; a link is resolved to the file that it leads to now."""
    real = real_path(path)
    return StyleImage(real, weight, digest(real))


def _blend(styles: Collection[Style]) -> tuple[StyleImage, ...]:
    """The images of several styles, in equal parts."""
    shares: dict[Path, float] = {}
    for path, weight in (image for style in styles for image in style.images):
        shares[path] = shares.get(path, 0.0) + weight / len(styles)
    return tuple(_style_image(path, share) for path, share in shares.items())


def build_regions(
    options: Mapping[str, RegionOptions],
    paintings: Mapping[str, tuple[StyleImage, ...]],
    masks: Masks,
    images: tuple[StyleImage, ...],
) -> tuple[Region, ...]:
    """The regions of a recipe, sorted by name.

    A region of the user's own without a mask is left out, and so is a mask that nothing uses.

    Args:
        options: By region.
        paintings: By region that has paintings of its own.
        masks: The mask files of the photo.
        images: Those of the style: a region with the same ones has none of its own.
    """
    regions = []
    for name in sorted({*options, *masks.by_region.keys() & {*PROTECTED}}):
        chosen = options.get(name)
        color = chosen.color if chosen else None
        file = masks.by_region.get(name)
        if file is not None or masks.map is None:
            color = None  # the region's own mask file comes before the map
        elif color is not None:
            file = masks.map
        if file is None and name not in AUTOMATIC:
            continue
        own = paintings.get(name, ())
        region = Region(
            name,
            () if own == images else own,
            chosen.strength if chosen else None,
            chosen.colors if chosen else None,
            file.path if file else None,
            file.sha256 if file else "",
            color,
            color_strength=chosen.color_strength if chosen else None,
        )
        if replace(region, name="") != Region(""):
            regions.append(region)
    return tuple(regions)


def digest(path: Path) -> str:
    """SHA-256 of an image or weight file; read again only when it may have changed.

    This decides what is planned. A job checks the bytes that it reads against it.
    """
    try:
        found, known = Stamp.of(path.stat()), _known.get(path)
        return known.sha256 if known and known.is_valid_for(found) else _read_digest(path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None


def forget_digest(path: Path) -> None:
    """Read a file again although its stamp is the same: a job has found another content."""
    _known.pop(path, None)


def _read_digest(path: Path) -> str:
    with opened(path, follow=True, most=MOST_VERIFIED) as file:
        before = os.fstat(file.fileno())
        sha256 = digest_of(file.fileno(), MOST_VERIFIED)
        stamp = Stamp.of(os.fstat(file.fileno()))
    if stamp == Stamp.of(before):
        _known[path] = _Known(stamp, sha256, time.time_ns())
    return sha256
