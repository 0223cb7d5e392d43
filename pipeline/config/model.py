"""config.yaml as a frozen, typed `Config`; each error names the file, the line and the key.

How to add a key: see *Add a config key* in CONTRIBUTING.md. (A transfer option is also a key of
styles and side files and a flag of `stylize`: see `pipeline.config.transfer`.)
"""

import re
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from pipeline.config.base import FolderPath, FromList, LocalPath, Options, absolute, folder_path
from pipeline.config.checks.places import FOLDERS, Place, find_clash
from pipeline.config.enhancement import Enhance
from pipeline.config.output import OutputFormat
from pipeline.config.paintings.folder import PaintingFolder
from pipeline.config.regions.options import Regions, find_circle
from pipeline.config.schedule import Schedule
from pipeline.config.sections import (
    DEFAULT_LOG,
    Cluster,
    Hooks,
    Limits,
    Log,
    Metrics,
    Pattern,
    Queue,
    Serve,
    Timelapse,
    Versions,
    Watch,
)
from pipeline.config.transfer import INIT_WORDS, PresetName, Transfer, resolve_transfer
from pipeline.system.near_names import nearest
from pipeline.system.paths import absolute_path

BUILTIN = "builtin:"
BY_FOLDER = "by_folder"
WEIGHTS_WORDS = ("embedded", "torchvision")


def _absolute_path_unless(*words: str) -> BeforeValidator:
    def resolve(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and (value in words or value.startswith(BUILTIN)):
            return value
        path = absolute(value, info)
        return str(path) if isinstance(path, Path) else path

    return BeforeValidator(resolve)


ImageSource = Annotated[str, _absolute_path_unless()]
StyleName = Annotated[str, Field(pattern=r"^\w[\w .-]{0,63}$")]
DEVICE = r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$"
DEVICE_WORDS = ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps", "xpu")
# What other programs and makers call it; by its letters, gpu would be similar to cpu.
_DEVICE_NAMES = {"gpu": "auto", "nvidia": "cuda", "metal": "mps", "rocm": "cuda", "amd": "cuda"}


def device_hint(text: str) -> str:
    """The device that was probably meant, or all of them."""
    word = _DEVICE_NAMES.get(text.lower())
    return nearest(word or text, DEVICE_WORDS)


def _check_device(value: Any) -> Any:
    if isinstance(value, str) and not re.match(DEVICE, value):
        raise ValueError(f"there is no device {value!r}; {device_hint(value)}")
    return value


Device = Annotated[str, Field(pattern=DEVICE), BeforeValidator(_check_device)]
Devices = Annotated[tuple[Device, ...], Field(min_length=1)]
PositiveWeight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class StyleEntry(Options):
    """One style: a painting, or several blended by weight."""

    image: ImageSource | None = Field(
        None, description="The painting: a path, or builtin:NAME for a starter style."
    )
    images: dict[str, PositiveWeight] | None = Field(
        None, min_length=1, description="Several paintings instead of one, each with its weight."
    )
    transfer: Transfer = Field(
        Transfer(),
        description="How pictures are painted in this style. These options override the preset "
        "and the general `transfer`.",
    )
    regions: Regions = Field(
        {}, description="Regions of photos in this style. They override the general regions."
    )

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        if (self.image is None) == (self.images is None):
            raise ValueError("give either image (one painting) or images (a weighted blend)")
        return self

    @model_validator(mode="before")
    @classmethod
    def _resolve_images(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            return {"image": value}
        if not isinstance(value, dict | cls):
            raise ValueError(f"give a picture, or keys with values: {', '.join(cls.model_fields)}")
        images = value.get("images") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(images, dict):
            return value
        base = (info.context or {}).get("base") or Path.cwd()
        shares: dict[Any, Any] = {}
        for source, weight in ((_source(key, base), weight) for key, weight in images.items()):
            # a.jpg and ./a.jpg are one file: weights add up. What is no number is refused later.
            known, both = shares.get(source), (shares.get(source), weight)
            add = known is not None and all(isinstance(each, int | float) for each in both)
            shares[source] = known + weight if add else weight
        return value | {"images": shares}

    @property
    def sources(self) -> dict[str, float]:
        """Image sources (absolute path or ``builtin:NAME``) with their weights, summing to 1."""
        raw = {self.image: 1.0} if self.image is not None else (self.images or {})
        total = sum(raw.values())
        return {source: weight / total for source, weight in raw.items()}


def _folders_of(info: ValidationInfo) -> tuple[PaintingFolder, ...]:
    """The folders that the styles were read from, if there are any."""
    return tuple((info.context or {}).get("folders", ()))


def _check_not_empty(styles: Any, info: ValidationInfo) -> Any:
    if not styles and not _folders_of(info):
        raise PydanticCustomError("too_short", "at least one entry is needed")
    return styles


class _InAllForms:
    """The JSON Schema of `styles`: names, a folder, or a list of both.

    `pipeline.config.paintings.styles` reads them, before the config is checked.
    """

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        text: JsonSchemaValue = {"type": "string", "minLength": 1}
        named = handler(core)
        entries = named["patternProperties"]
        for pattern, entry in entries.items():
            entries[pattern] = {"anyOf": [entry, text]}
        folder = text | {"format": "path"}
        items = {"type": "array", "items": {"anyOf": [folder, named]}, "minItems": 1}
        return {"anyOf": [named | {"minProperties": 1}, folder, items]}


def _check_word(value: Any) -> Any:
    if isinstance(value, str) and value != BY_FOLDER:
        raise ValueError(f"{value!r} is not accepted; write {BY_FOLDER}, or a list of rules")
    return tuple(value) if isinstance(value, list) else value


_FromRules = BeforeValidator(_check_word)
Styles = Annotated[dict[StyleName, StyleEntry], AfterValidator(_check_not_empty), _InAllForms()]


class MatchRule(Options):
    """A rule: photos whose path in the inbox matches the pattern get these styles."""

    inbox: Pattern = Field(
        "**", description="A glob pattern, relative to the inbox; ** also matches subfolders."
    )
    styles: Annotated[tuple[str, ...], FromList] = Field(
        description="Names from styles. With an empty list, these photos are not painted."
    )


class Config(Options):
    """config.yaml, checked. Paths are absolute."""

    inbox: FolderPath = Field(
        Path("inbox"), validate_default=True, description="The folder where you put photos."
    )
    outbox: FolderPath = Field(
        Path("outbox"),
        validate_default=True,
        description="The folder where finished pictures appear.",
    )
    state: FolderPath = Field(
        Path(".state"),
        validate_default=True,
        description="The folder for the jobs database, caches and logs. It must be on a "
        "local disk.",
    )
    weights: Annotated[str, _absolute_path_unless(*WEIGHTS_WORDS)] = Field(
        "embedded",
        description="The weights of VGG-19: embedded (part of the installation, no "
        "download), torchvision (downloaded once) or the path of a state "
        "dictionary.",
    )
    device: Annotated[Device | Devices, FromList] = Field(
        "auto",
        description="The device that paints: auto, cpu, cuda, cuda:1, mps, xpu, or a list, which "
        "starts a worker for each entry. auto uses every GPU, or the CPU if there is none.",
    )
    slots: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        "auto",
        examples=[2, "auto"],
        description="Workers for each entry of device. auto: one, or with `device: auto` "
        "several for a GPU whose memory has room for several small pictures.",
    )
    preset: PresetName = Field(
        "balanced",
        description="The size of pictures and the number of steps; see the presets below. "
        "paper: the method as it was published, to learn from.",
    )
    first: Literal["draft", "full"] = Field(
        "full",
        description="What is painted first for each pair. draft: a small picture with the "
        "preset draft, which the full picture later replaces. full: only the full picture. "
        "There are no drafts with `schedule.runs`, with `run --limit`, or while more than "
        "50 pairs wait.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="The random seed. The same seed gives the same picture on the same device."
    )
    after: Literal["keep", "archive", "delete"] = Field(
        "keep",
        description="What happens to a photo when its pictures are finished and verified. A "
        "change also applies to photos that were painted before.",
    )
    archive: LocalPath = Field(
        Path("archive"),
        validate_default=True,
        description="The folder to which `after: archive` moves photos.",
    )
    failed: Literal["leave", "quarantine"] = Field(
        "leave", description="What happens to a photo that failed and will not be tried again."
    )
    quarantine: LocalPath = Field(
        Path("quarantine"),
        validate_default=True,
        description="The folder to which `failed: quarantine` moves photos.",
    )
    keep: Literal["replaced", "latest"] = Field(
        "replaced",
        description="What happens to a finished picture when a newer one of the same photo and "
        "style replaces it. replaced: it moves to outbox/.versions, for `restore`. latest: "
        "it is deleted.",
    )
    versions: Versions = Field(
        Versions(), description="How many earlier versions `keep: replaced` keeps."
    )
    transfer: Transfer = Field(
        Transfer(),
        description="How pictures are painted, for all styles. These options override the preset.",
    )
    regions: Regions = Field(
        {},
        description="Parts of the photo with paintings, strength or colours of their own, in all "
        "styles: face, person, subject, background, sky, or one of your own with a mask.",
        examples=[{"background": {"strength": 0.3}}],
    )
    enhance: Enhance = Field(Enhance(), description="Options for the enhanced picture.")
    styles: Styles = Field(
        description="Your styles, each under a name that you choose. Or a folder of paintings: "
        "each picture in it is a style, named after its file, with its options in PICTURE.yaml "
        "beside it. Or a list of folders, builtin:NAME and styles with their names.",
    )
    match: Annotated[tuple[MatchRule, ...] | Literal["by_folder"] | None, _FromRules] = Field(
        None,
        description="Which photos get which styles. The first rule that matches a photo "
        "applies. by_folder: a photo gets the style that has the name of its folder, and every "
        "style if none has. Default: every photo gets every style.",
    )
    watch: Watch = Field(Watch(), description="How the inbox is watched.")
    limits: Limits = Field(Limits(), description="Limits for one file or one job.")
    hooks: Hooks = Field(Hooks(), description="Programs to start when a pair or a batch is done.")
    output: OutputFormat = Field(
        OutputFormat(), description="The file format of finished pictures."
    )
    timelapse: Timelapse = Field(
        Timelapse(), description="A short animation of how each picture was painted."
    )
    schedule: Schedule | None = Field(
        None, description="When jobs may run. Default: whenever there is work."
    )
    queue: Queue = Field(Queue(), description="The order in which photos are painted.")
    metrics: Metrics = Field(Metrics(), description="Metrics for Prometheus.")
    log: Log = Field(Log(), description="The log of the service.")
    serve: Serve = Field(Serve(), description="The live gallery (`pipeline serve`).")
    engine: Literal["local", "ray"] = Field(
        "local", description="Where jobs run: on this machine (local) or on a Ray cluster (ray)."
    )
    ray: Cluster = Field(Cluster(), description="The Ray cluster for `engine: ray`.")
    _folders: tuple[PaintingFolder, ...] = PrivateAttr(())

    @property
    def folders(self) -> Sequence[PaintingFolder]:
        """The folders of paintings that its styles were read from."""
        return self._folders

    @model_validator(mode="after")
    def _remember_folders(self, info: ValidationInfo) -> Self:
        self._folders = _folders_of(info)
        return self

    def options_file(self, style: str) -> Path | None:
        """Where the options of a style of a folder of paintings belong; None for another style."""
        files = (f.options_file(style) for f in self._folders if style in f.paintings)
        return next(files, None)

    def transfer_of(self, style: str) -> Transfer:
        """The transfer options of one style, before side files: see `pipeline.config.transfer`."""
        return resolve_transfer(self.preset, self.transfer, self.styles[style].transfer)

    @property
    def version_limits(self) -> Versions | None:
        """How many replaced pictures are kept; None: none."""
        return self.versions if self.keep == "replaced" else None

    def sources(self) -> list[Place]:
        """Files of the user that the config names to be read: paintings, models, start images."""
        named: list[tuple[str, str | Path | None]] = [
            *((f"styles.{name}", image) for name, e in self.styles.items() for image in e.sources),
            *((f"styles.{n}.transfer.init", e.transfer.init) for n, e in self.styles.items()),
            ("transfer.init", self.transfer.init),
            ("weights", self.weights),
            ("enhance.upscale_model", self.enhance.upscale_model),
        ]
        words = (*INIT_WORDS, *WEIGHTS_WORDS)
        files = ((key, str(file)) for key, file in named if file and str(file) not in words)
        return [Place(k, Path(f), "source") for k, f in files if not f.startswith(BUILTIN)]

    def places(self, file: Path | None = None) -> list[Place]:
        """All places that the config names, and its own file (`pipeline.config.checks.places`)."""
        log = self.log.file or self.state / DEFAULT_LOG
        found = [
            Place(key, getattr(self, key), key, key in self.model_fields_set) for key in FOLDERS
        ]
        found.append(Place("log.file", log, "log.file", rotated=self.log.keep))
        if self.metrics.file is not None:
            found.append(Place("metrics.file", self.metrics.file, "metrics.file"))
        if file is not None:
            found.append(Place(file.name, file, "config"))
        found += [Place("styles", folder.path, "paintings") for folder in self._folders]
        return [*found, *self.sources()]

    @model_validator(mode="after")
    def _check_places_are_apart(self, info: ValidationInfo) -> Self:
        if clash := find_clash(self.places((info.context or {}).get("file"))):
            raise ValueError(clash)
        return self

    @model_validator(mode="after")
    def _check_folders_in_use(self) -> Self:
        """A file named like a folder that nothing uses is none of our business."""
        used = {"archive": self.after == "archive", "quarantine": self.failed == "quarantine"}
        for key in used:
            if used[key] or key in self.model_fields_set:
                try:
                    folder_path(getattr(self, key))
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
        return self

    @property
    def _may_exist(self) -> bool:
        """Whether any style may be one of a folder that is missing now."""
        return any(folder.missing for folder in self._folders)

    @model_validator(mode="after")
    def _check_rules_name_styles(self) -> Self:
        rules = self.match if isinstance(self.match, tuple) else ()
        for index, rule in enumerate(rules):
            for name in rule.styles:
                if name not in self.styles and not self._may_exist:
                    raise ValueError(
                        f"match.{index}.styles names {name!r}, which is not in styles; "
                        + nearest(name, self.styles)
                    )
        return self

    @model_validator(mode="after")
    def _check_regions_name_styles(self) -> Self:
        places = {"regions": self.regions}
        given = {name: f"styles.{name}." for name in self.styles}
        for folder in self._folders:
            given |= {name: f"{file}: " for name, file in folder.side_files.items()}
        places |= {f"{given[name]}regions": style.regions for name, style in self.styles.items()}
        for place, regions in places.items():
            for region, options in regions.items():
                for name in options.styles or ():
                    if name not in self.styles and not self._may_exist:
                        what = f"{place}.{region}.styles names {name!r}, which is not in styles"
                        raise ValueError(f"{what}; {nearest(name, self.styles)}")
        named = {
            name: [each for options in style.regions.values() for each in options.styles or ()]
            for name, style in self.styles.items()
        }
        if circle := find_circle(named):
            what = f"styles.{circle[0]}.regions leads back to {circle[0]!r}: {' -> '.join(circle)}"
            hint = "name a style whose regions do not name this one"
            raise ValueError(f"{what}; {hint}")
        return self


# Keys that take effect at the next start of `watch` only: folders, and what processes have been
# started with. All others take effect when the file is saved (`Service.configure`).
AT_START = (
    *(
        "inbox",
        "outbox",
        "state",
        "device",
        "slots",
        "engine",
        "ray",
        "timelapse",
        "metrics",
        "log",
    ),
    *(f"limits.{name}" for name in Limits.model_fields if name not in ("side", "free_bytes")),
)


def changed_at_start(old: Config, new: Config) -> list[str]:
    """The keys of AT_START in which two configs differ."""
    return [key for key in AT_START if attrgetter(key)(old) != attrgetter(key)(new)]


def _source(value: Any, base: Path) -> Any:
    if not isinstance(value, str) or value.startswith(BUILTIN):
        return value
    return str(absolute_path(value, base)) if value else value
