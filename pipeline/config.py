"""config.yaml -> frozen, typed Config. Every complaint names the file, the line and the key."""

import difflib
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails

from pipeline.errors import ConfigError
from pipeline.options import Enhance, FromList, Options, PresetName, Transfer

BUILTIN = "builtin:"
MAX_CONFIG_BYTES = 1 << 20


def _absolute(value: Any, info: ValidationInfo) -> Any:
    """Paths in a config file are relative to the file."""
    base = (info.context or {}).get("base", Path.cwd())
    return base / Path(value).expanduser() if isinstance(value, str | Path) and value else value


def _absolute_unless(*words: str) -> BeforeValidator:
    def resolve(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and (value in words or value.startswith(BUILTIN)):
            return value
        path = _absolute(value, info)
        return str(path) if isinstance(path, Path) else path

    return BeforeValidator(resolve)


LocalPath = Annotated[Path, BeforeValidator(_absolute)]
ImageSource = Annotated[str, _absolute_unless()]
StyleName = Annotated[str, Field(pattern=r"^\w[\w .-]{0,63}$")]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$")]
PositiveWeight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class StyleEntry(Options):
    """One entry of ``styles``: a painting, or several blended by weight."""

    image: ImageSource | None = Field(
        None, description="One painting: a path, or builtin:NAME for a starter style."
    )
    images: dict[str, PositiveWeight] | None = Field(
        None, min_length=1, description="Instead of image: several, each with its weight."
    )
    transfer: Transfer = Field(
        Transfer(), description="Options of the transfer for this style, over all others."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.image is None) == (self.images is None):
            raise ValueError("give either image (one painting) or images (a weighted blend)")
        return self

    @model_validator(mode="before")
    @classmethod
    def _resolve_images(cls, value: Any, info: ValidationInfo) -> Any:
        images = value.get("images") if isinstance(value, dict) else None
        if not isinstance(images, dict):
            return value
        base = (info.context or {}).get("base", Path.cwd())
        return value | {"images": {_source(key, base): w for key, w in images.items()}}

    @property
    def sources(self) -> dict[str, float]:
        """Image sources (absolute path or ``builtin:NAME``) with their weights, summing to 1."""
        raw = {self.image: 1.0} if self.image is not None else (self.images or {})
        total = sum(raw.values())
        return {source: weight / total for source, weight in raw.items()}


class MatchRule(Options):
    """Photos whose path in the inbox fits the pattern get these styles."""

    inbox: Annotated[str, Field(min_length=1)] = Field(
        "**", description="A glob pattern, relative to the inbox; ** spans folders."
    )
    styles: Annotated[tuple[str, ...], FromList] = Field(
        description="Names from styles; an empty list leaves the photos alone."
    )


class Watch(Options):
    """How the inbox is watched."""

    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        2.0, description="A file is taken once it has not changed for this long."
    )
    scan_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        30.0, description="The inbox is read through at least this often; watchdog only wakes it."
    )
    poll_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        5.0, description="The same, where the disk reports no changes (network, container mounts)."
    )
    ignore: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], FromList] = Field(
        (), description="Names to leave alone, besides those listed in docs/reliability.md."
    )


Bytes = Annotated[int, Field(ge=0, le=1 << 50)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]


class Limits(Options):
    """What one file or one job may ask of this machine."""

    pixels: Annotated[int, Field(ge=1, le=2**31)] = Field(
        120_000_000, description="Width times height of a photo; of an animation one frame is read."
    )
    bytes: Bytes = Field(512_000_000, description="Size of a photo's file.")
    exif: Bytes = Field(1_000_000, description="EXIF and XMP beyond this are left out.")
    icc: Bytes = Field(8_000_000, description="A colour profile beyond this is left out.")
    decode_seconds: Seconds = Field(60.0, description="Time to decode one photo.")
    decode_bytes: Bytes = Field(3 << 30, description="Memory to decode one photo.")
    side: Annotated[int, Field(ge=16, le=32768)] = Field(
        4096, description="Largest size, in px, that a side file may ask for."
    )
    stall_seconds: Seconds = Field(
        600.0, description="A worker silent for this long (or 10 of its longest steps) is ended."
    )
    free_bytes: Bytes = Field(
        100_000_000,
        description="Work pauses below this much free space, or 5 % of a smaller disk.",
    )


class Hooks(Options):
    """Programs told of results: an argument list, no shell; the result as JSON on stdin."""

    on_done: Annotated[tuple[str, ...], FromList] = Field(
        (), description="Program and arguments, called after a result."
    )
    on_failed: Annotated[tuple[str, ...], FromList] = Field(
        (), description="The same, after a failure."
    )
    timeout_seconds: Seconds = Field(30.0, description="A program is ended after so long.")


class Config(Options):
    """config.yaml, checked. Paths are absolute."""

    inbox: LocalPath = Field(
        Path("inbox"), validate_default=True, description="The folder that photos are dropped into."
    )
    outbox: LocalPath = Field(
        Path("outbox"), validate_default=True, description="The folder that pictures appear in."
    )
    state: LocalPath = Field(
        Path(".state"),
        validate_default=True,
        description="Jobs database, caches and logs; must be on a local disk.",
    )
    weights: Annotated[str, _absolute_unless("embedded", "torchvision")] = Field(
        "embedded",
        description="Where VGG-19 comes from: embedded (ships with the installation, offline), "
        "torchvision (downloaded once) or the path of a state dictionary.",
    )
    device: Annotated[Device | tuple[Device, ...], FromList] = Field(
        "auto",
        description="Where pictures are computed: auto, cpu, cuda, cuda:1, mps, xpu, or a list; "
        "each entry of a list is a worker of its own.",
    )
    preset: PresetName = Field("balanced", description="Size and steps; see the presets below.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="Of the noise; the same seed gives the same picture on one device."
    )
    after: Literal["keep", "archive", "delete"] = Field(
        "keep", description="What becomes of a photo once its pictures are verified."
    )
    archive: LocalPath = Field(
        Path("archive"), validate_default=True, description="Where after: archive puts photos."
    )
    failed: Literal["leave", "quarantine"] = Field(
        "leave", description="What becomes of a photo that failed for good."
    )
    quarantine: LocalPath = Field(
        Path("quarantine"), validate_default=True, description="Where failed: quarantine puts them."
    )
    transfer: Transfer = Field(
        Transfer(), description="Options of the transfer, over the preset's."
    )
    enhance: Enhance = Field(Enhance(), description="Options of the enhancement.")
    styles: dict[StyleName, StyleEntry] = Field(
        min_length=1, description="The styles, by a name of your own."
    )
    match: Annotated[tuple[MatchRule, ...] | None, FromList] = Field(
        None,
        description="Which photos get which styles: the first rule that fits counts. "
        "Absent: every photo gets every style.",
    )
    watch: Watch = Field(Watch(), description="How the inbox is watched.")
    limits: Limits = Field(Limits(), description="What a file or a job may ask of this machine.")
    hooks: Hooks = Field(Hooks(), description="Programs told of results.")
    engine: Literal["local"] = Field("local", description="Who runs the jobs: this machine.")

    @model_validator(mode="after")
    def _folders_apart(self) -> Self:
        inbox, outbox, state = (p.resolve() for p in (self.inbox, self.outbox, self.state))
        if outbox.is_relative_to(inbox):
            raise ValueError("outbox lies inside the inbox: results would be taken for photos")
        if inbox.is_relative_to(outbox):
            raise ValueError("inbox lies inside the outbox: photos would be taken for results")
        if state.is_relative_to(inbox) or inbox == state or outbox == state:
            raise ValueError("state must be a folder of its own, outside the inbox")
        for key in ("archive", "quarantine"):
            if getattr(self, key).resolve().is_relative_to(inbox):
                raise ValueError(f"{key} lies inside the inbox: it would be taken for new photos")
        return self

    @model_validator(mode="after")
    def _rules_name_styles(self) -> Self:
        for index, rule in enumerate(self.match or ()):
            for name in rule.styles:
                if name not in self.styles:
                    raise ValueError(
                        f"match.{index}.styles names {name!r}, which is not in styles"
                        + _nearest(name, self.styles)
                    )
        return self


def load_config(path: Path) -> Config:
    """Read and check a config file.

    Raises:
        ConfigError: With the file, the line, the key path and the nearest valid key.
    """
    document, lines = read_yaml(path)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError("the top level must be a mapping", where=str(path))
    try:
        return Config.model_validate(document, context={"base": path.parent.resolve()})
    except ValidationError as error:
        raise ConfigError(**explain(error, Config, path, lines)) from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of config.yaml."""
    return Config.model_json_schema()


# --- reading YAML ---------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses duplicate keys and aliases (a billion laughs)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


Lines = dict[tuple[str, ...], int]


def read_yaml(path: Path, max_bytes: int = MAX_CONFIG_BYTES) -> tuple[Any, Lines]:
    """The document, and the line on which each key path stands.

    Raises:
        ConfigError: When the file cannot be read or is not YAML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(max_bytes + 1)
    except FileNotFoundError:
        mend = "give --config FILE, or run from the folder that holds config.yaml"
        raise ConfigError("no such file", where=str(path), mend=mend) from None
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", where=str(path)) from None
    return parse_yaml(text, str(path), max_bytes)


def parse_yaml(text: bytes, path: str, max_bytes: int = MAX_CONFIG_BYTES) -> tuple[Any, Lines]:
    """The same for bytes that were read already; ``path`` is for the words of an error."""
    if len(text) > max_bytes:
        raise ConfigError(f"larger than {max_bytes} bytes", where=path)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: Lines = dict(_walk(node, ())) if node else {}
        return (loader.construct_document(node) if node else None), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = error.problem or "not valid YAML"
        raise ConfigError(what, where=f"{path}:{line}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        # ValueError: PyYAML's own for impossible dates; RecursionError: nesting as a weapon.
        what = " ".join(str(error).split()) or "not valid YAML"
        raise ConfigError(f"not valid YAML: {what}", where=path) from None
    finally:
        if loader is not None:
            loader.dispose()


def _walk(node: yaml.Node, at: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = (*at, str(key.value))
            yield name, key.start_mark.line + 1
            yield from _walk(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*at, str(index)), value.start_mark.line + 1
            yield from _walk(value, (*at, str(index)))


# --- explaining what is wrong ---------------------------------------------------------------


def explain(
    error: ValidationError, model: type[BaseModel], path: Path | str, lines: Lines
) -> dict[str, str]:
    """The first complaint of a ValidationError as ``what, where, mend``."""
    first = _worst(error, lines)
    document_path = _in_document(first, lines)
    line = lines.get(document_path)
    where = f"{path}:{line}" if line else str(path)
    key = ".".join(document_path)
    if first["type"] == "extra_forbidden":
        what = f"unknown key {key!r}"
        mend = _nearest(document_path[-1], _fields_at(model, first["loc"][:-1])).strip("; ")
        return {"what": what, "where": where, "mend": mend}
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool | None) else ""
    # A message that pydantic wrote names the rule only; add what was given.
    if first["type"] in ("value_error", "missing"):
        shown = ""
    what = f"{key}: {message[:1].lower()}{message[1:]}{shown}" if key else message
    mend = ""
    if first["type"] == "literal_error" and isinstance(given, str):
        words = re.findall(r"'([^']+)'", first.get("ctx", {}).get("expected", ""))
        mend = _nearest(given, words).strip("; ")
    return {"what": what, "where": where, "mend": mend}


def _worst(error: ValidationError, lines: Lines) -> ErrorDetails:
    """The complaint to show: an unknown key first, then the one that points deepest."""
    found = error.errors()
    unknown = [detail for detail in found if detail["type"] == "extra_forbidden"]
    first = found[0]["loc"][:1]
    same_key = [detail for detail in found if detail["loc"][:1] == first]
    return (unknown or sorted(same_key, key=lambda d: -len(_in_document(d, lines))))[0]


def _in_document(detail: ErrorDetails, lines: Lines) -> tuple[str, ...]:
    """Pydantic's loc without the names of union branches, which the document does not hold."""
    path: tuple[str, ...] = ()
    for part in map(str, detail["loc"]):
        if (*path, part) in lines:
            path = (*path, part)
    if detail["type"] == "missing" or not lines:
        path = (*path, str(detail["loc"][-1]))
    return path


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> Iterable[str]:
    """Names of the fields where ``loc`` points, for the nearest valid key."""
    fields: Any = model
    for part in loc:
        nested = [model for model in _models_in(fields) if isinstance(model, type)]
        for candidate in nested:
            if part in candidate.model_fields:
                fields = candidate.model_fields[str(part)].annotation
                break
    models = _models_in(fields)
    return [name for found in models for name in found.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]


def _nearest(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""


def _source(value: Any, base: Path) -> Any:
    if not isinstance(value, str) or value.startswith(BUILTIN):
        return value
    return str(base / Path(value).expanduser())


def parse_scalar(text: str) -> Any:
    """A word on the command line as YAML would read it: 3, 0.5, true, or itself."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, int | float | bool) else text.strip()
