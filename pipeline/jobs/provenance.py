"""How a picture was made, as recorded in its file: enough to reproduce it, and nothing private.

Files are identified by their SHA-256; of a path only the name is recorded, so no folder and no
account name is disclosed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from pipeline import __version__
from pipeline.config.base import FromList, Options
from pipeline.config.enhancement import Enhance
from pipeline.config.output import OutputFormat
from pipeline.config.sections import Limits
from pipeline.config.transfer import ColorWord, Transfer
from pipeline.jobs.job import Job, Kind, Workspace
from pipeline.jobs.recipe import ENGINE_VERSION, Recipe, Region, StyleImage
from pipeline.system.redaction import strip_folders
from pipeline.system.text import encodable

PROGRAM = "pipeline"
SOFTWARE = f"{PROGRAM} {__version__}"
MAX_BYTES = 24_000  # a JPEG has room for 65,502 with what is kept of the photo's own
MOST_READ = 10 * MAX_BYTES  # a later version may write longer ones

LEAST = (
    "program",
    "engine",
    "torch",
    "kind",
    "photo",
    "style",
    "seed",
    "recipe",
)  # kept in any case

# The limits that decide what pixels a photo has; the others only whether it is taken.
DECODING = {"exif", "icc", "animation", "damaged"}

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=1024)]


class Ingredient(Options):
    """A file that a picture was made of: its name, and what it held."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    sha256: Sha256


class Painting(Ingredient):
    """A style image and its share of the blend."""

    weight: Annotated[float, Field(gt=0, le=1)]


class RegionRecord(Options):
    """A region of the photo; keys that are absent are as in the whole picture."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    paintings: Annotated[tuple[Painting, ...], FromList] = ()
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    colors: ColorWord | None = None
    color_strength: Annotated[float, Field(ge=0, le=1)] | None = None
    mask: Ingredient | None = None
    color: Annotated[str, Field(max_length=64)] | None = None


class Provenance(Options):
    """The record in a picture. Keys that a later version adds are ignored."""

    model_config = ConfigDict(extra="ignore")

    program: Name
    engine: int
    torch: Name = ""
    kind: Kind
    photo: Ingredient
    style: str
    paintings: Annotated[tuple[Painting, ...], FromList]
    transfer: dict[str, Any]
    enhance: Any
    output: dict[str, Any]
    weights: Name
    weights_sha256: Annotated[str, Field(max_length=64)] = ""
    init_sha256: Annotated[str, Field(max_length=64)] = ""
    upscale_sha256: Annotated[str, Field(max_length=64)] = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    # What the recipe does not ask for and the pixels depend on: blocks in px, and limits of config.
    block: Annotated[int, Field(ge=64, le=32768)] | None = None
    limits: dict[str, Any] = Field(default_factory=dict)
    recipe: Annotated[str, Field(max_length=64)]
    regions: Annotated[tuple[RegionRecord, ...], FromList, Field(max_length=64)] = ()

    def decoding_limits(self, own: Limits) -> Limits:
        """The user's ``own`` limits, with those that the pixels of the picture depend on.

        Raises:
            ValidationError: The record holds values that this version does not know.
        """
        default = Limits().model_dump(include=DECODING)
        made = {key: value for key, value in self.limits.items() if key in DECODING}
        return own.overlay(Limits.model_validate(default | made))

    def rebuild_recipe(
        self,
        paintings: tuple[Path, ...],
        init: Path | None,
        weights: str,
        model: Path | None = None,
        regions: Sequence[tuple[tuple[Path, ...], Path | None]] = (),
    ) -> Recipe:
        """The recipe, with the paths of its files on this machine.

        ``regions`` are the paintings and the mask of each region.

        Raises:
            ValidationError: It holds options that this version does not know.
        """
        transfer = self.transfer | ({"init": str(init)} if init else {})
        # A file that the record names is never opened, only one that was found by its SHA-256.
        here = {"upscale_model": model}
        enhance = self.enhance | here if isinstance(self.enhance, dict) else self.enhance
        return Recipe(
            images=_images_at(paintings, self.paintings),
            transfer=Transfer.model_validate(transfer),
            enhance=Enhance.model_validate(enhance),
            weights=weights,
            seed=self.seed,
            weights_sha256=self.weights_sha256,
            init_sha256=self.init_sha256,
            upscale_sha256=self.upscale_sha256,
            output=OutputFormat.model_validate(self.output),
            names=self._names_of_files(),
            regions=tuple(
                _region_at(region, *files)
                for region, files in zip(self.regions, regions, strict=True)
            ),
        )

    def _names_of_files(self) -> dict[str, str]:
        """What it calls the files of options: a picture made again says the same."""
        enhance = self.enhance if isinstance(self.enhance, dict) else {}
        found = {
            "init": self.transfer.get("init") if self.init_sha256 else None,
            "weights": self.weights if self.weights_sha256 else None,
            "upscale_model": enhance.get("upscale_model") if self.upscale_sha256 else None,
        }
        return {key: name for key, name in found.items() if isinstance(name, str)}


def _images_at(paths: Iterable[Path], paintings: Iterable[Painting]) -> tuple[StyleImage, ...]:
    pairs = zip(paths, paintings, strict=True)
    return tuple(StyleImage(path, each.weight, each.sha256, each.name) for path, each in pairs)


def _region_at(made: RegionRecord, paintings: tuple[Path, ...], mask: Path | None) -> Region:
    name, sha256 = (made.mask.name, made.mask.sha256) if made.mask else ("", "")
    images = _images_at(paintings, made.paintings)
    return Region(
        made.name,
        images,
        made.strength,
        made.colors,
        mask,
        sha256,
        made.color,
        name,
        made.color_strength,
    )


def record(
    job: Job, kind: Kind, torch_version: str = "", workspace: Workspace | None = None
) -> str:
    """The record of a picture of a job, as ASCII JSON.

    Where a blend makes it too long, it leaves out the paintings' names, which are found by their
    SHA-256 anyway; and where that is not enough, all but what the picture is: see `is_cut`.
    """
    recipe, names = job.recipe, job.recipe.recorded_names
    found: dict[str, Any] = {
        "program": SOFTWARE,
        "engine": ENGINE_VERSION,
        "torch": torch_version,
        "kind": kind,
        "photo": {"name": encodable(PurePosixPath(job.content).name), "sha256": job.sha256},
        "style": job.style,
        "paintings": _record_images(recipe.images),
        "transfer": _record_options(recipe.transfer, names),
        "enhance": _record_options(recipe.enhance, names),
        "output": recipe.output.model_dump(mode="json", exclude_defaults=True),
        "weights": names.get("weights", recipe.weights),
        "weights_sha256": "" if recipe.weights_sha256 == recipe.weights else recipe.weights_sha256,
        "init_sha256": recipe.init_sha256,
        "upscale_sha256": recipe.upscale_sha256,
        "seed": recipe.seed,
        "recipe": recipe.digest,
    }
    if workspace is not None:
        # Only where they differ from a later run's: a record of defaults says nothing.
        limits = workspace.limits.model_dump(include=DECODING, exclude_defaults=True)
        found |= {"block": workspace.block} if workspace.block else {}
        found |= {"limits": limits} if limits else {}
    if recipe.regions:
        found["regions"] = [_record_region(region) for region in recipe.regions]
    unnamed = found | {"paintings": [each | {"name": ""} for each in found["paintings"]]}
    least = {key: found[key] for key in LEAST} | {"cut": True}
    texts = (json.dumps(each, separators=(",", ":")) for each in (found, unnamed, least))
    return next((text for text in texts if len(text) <= MAX_BYTES), "")


def is_cut(text: str) -> bool:
    """Whether a record of this program says only what a picture is, not all it was made of."""
    return text.endswith(',"cut":true}')


def _record_options(options: Options, names: Mapping[str, str]) -> dict[str, Any]:
    """Options; files that they name by the recorded names, and without folders in any case."""
    found = options.model_dump(mode="json")
    found |= {key: name for key, name in names.items() if key in found}
    recorded: dict[str, Any] = _encodable_parts(strip_folders(found))
    return recorded


def _record_images(images: Iterable[StyleImage]) -> list[dict[str, Any]]:
    return [
        {"name": image.recorded_name, "sha256": image.sha256, "weight": image.weight}
        for image in images
    ]


def _record_region(region: Region) -> dict[str, Any]:
    mask = region.mask and {"name": region.recorded_mask, "sha256": region.mask_sha256}
    found = {
        "name": region.name,
        "paintings": _record_images(region.images) or None,
        "strength": region.strength,
        "colors": region.colors,
        "color_strength": region.color_strength,
        "mask": mask,
        "color": region.color,
    }
    return {key: value for key, value in found.items() if value is not None}


def parse(text: str) -> Provenance | None:
    """A record from an untrusted file; None when it is not a valid one."""
    if len(text) > MOST_READ:
        return None
    try:
        return Provenance.model_validate(json.loads(text, parse_constant=_refuse))
    except (ValueError, ValidationError, RecursionError):
        return None


def is_ours(text: str) -> bool:
    """Whether a record, of this version or another, names this program as the file's maker."""
    if len(text) > MOST_READ:
        return False
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and names_this_program(found)


def names_this_program(found: Mapping[str, Any]) -> bool:
    """Whether a record or a report, as JSON values, names this program as its maker."""
    return str(found.get("program", "")).startswith(f"{PROGRAM} ")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")


def _encodable_parts(value: Any) -> Any:
    """Options as text that can be encoded."""
    if isinstance(value, Mapping):
        return {key: _encodable_parts(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_encodable_parts(part) for part in value]
    return encodable(value) if isinstance(value, str) else value
