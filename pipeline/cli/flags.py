"""Command-line flags for the options of transfer, enhancement and output, and their parsing."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from pipeline.cli.common import complete_from
from pipeline.config.accepted import choices, words_of
from pipeline.config.base import Options
from pipeline.config.enhancement import Enhance
from pipeline.config.output import OutputFormat
from pipeline.config.regions.options import AUTOMATIC, MAP_NAME, RegionOptions, check_region_name
from pipeline.config.transfer import PRESETS, Transfer
from pipeline.config.validation import describe_error
from pipeline.config.yaml_file import parse_scalar
from pipeline.errors import UsageError
from pipeline.system.near_names import nearest, nearest_name

OptionsType = TypeVar("OptionsType", bound=Options)

# Enhancement options whose own names are taken by transfer options or mean little on their own.
RENAMED = {"preset": "enhance", "steps": "enhance_steps"}


# The headings of `--help`. A flag that is in no list is under the heading of its model, see REST.
GROUPS = {
    "Size": "size within upscale upscale_by upscale_model block",
    "Look": "strength target stroke colors color_strength content_weight style_weight style_scale "
    "tv_weight init",
}
OUTPUT = "Output"
EXPERT = "Expert"
REST: dict[type[Options], str] = {Enhance: "Finish", OutputFormat: OUTPUT, Transfer: EXPERT}
# Flags whose values are written in another form than in a config.
METAVARS = {
    "init": "{content|noise|style|FILE}",
    "scales": "N,N",
    "steps": "N,N",
    "depths": "N,N",
    "target": "{structure|style}:N",
    "within": "TIME",
}


def option_flags() -> tuple[Any, ...]:
    """A command-line parameter for each option, in the order of the models."""
    return tuple(parameter for group in option_groups().values() for parameter in group)


@cache
def option_groups() -> dict[str, tuple[Any, ...]]:
    """The same parameters, grouped by heading of `--help`."""
    models = {
        _flag_name(model, name): (model, name)
        for model in (Transfer, Enhance, OutputFormat)
        for name in model.model_fields
        if not (model is OutputFormat and name == "format")  # the output file's suffix decides it
    }
    groups = {title: names.split() for title, names in GROUPS.items()}
    listed = {name for names in groups.values() for name in names}
    groups |= {title: [] for title in REST.values()}
    for flag, (model, _) in models.items():
        if flag not in listed:
            groups[REST[model]].append(flag)
    return {
        title: tuple(_build_flag(*models[flag]) for flag in flags)
        for title, flags in groups.items()
    }


def _build_flag(model: type[Options], name: str) -> Any:
    """Have typer build one parameter, as the only one of a command that is never called."""
    field, flag = model.model_fields[name], _flag_name(model, name)
    default, words = _default_text(model, name), words_of(model, name)
    option = typer.Option(
        f"--{flag.replace('_', '-')}",
        help=f"{field.description} [default: {default}]" if default else field.description,
        metavar=METAVARS.get(flag) or choices(model, name),
        autocompletion=complete_from(words),
    )

    def command(value: Annotated[str | None, option] = None) -> None: ...

    app = typer.Typer(add_completion=False)
    app.command()(command)
    (parameter,) = typer.main.get_command(app).params
    parameter.name = flag  # the key of its value in the context
    return parameter


def _flag_name(model: type[Options], name: str) -> str:
    return RENAMED.get(name, name) if model is Enhance else name


def _default_text(model: type[Options], name: str) -> str:
    default = model.model_fields[name].get_default()
    # `paper` sets nearly all options: the default of all other presets says more.
    sizes = (options for preset, options in PRESETS.items() if preset != "paper")
    if model is Transfer and any(name in options for options in sizes):
        return "the preset's"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, dict):
        return ",".join(f"{key}:{value:g}" for key, value in default.items())
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)


def parse_flags(model: type[OptionsType], flags: Mapping[str, str | None]) -> OptionsType:
    """Build a model from the flags that were given; all other options stay unset.

    Raises:
        UsageError: A value is wrong; the error names the flag.
    """
    values = {
        name: _parse_flag(model, name, text)
        for name in model.model_fields
        if (text := flags.get(_flag_name(model, name))) is not None
    }
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = describe_error(error, model, "", {(name,): 0 for name in values})
        name, _, rest = found["what"].partition(": ")
        where = f"--{_flag_name(model, name).replace('_', '-')}"
        hint = found["hint"].replace(f"for example, {name}: ", f"for example, {where} ")
        raise UsageError(rest or found["what"], where=where, hint=hint) from None


def _parse_flag(model: type[Options], name: str, text: str) -> Any:
    """Parse the value of one flag; the model validates it afterwards.

    The type of the option decides: ``64,128`` is a list, ``relu1_1:2,relu2_1`` a mapping (a missing
    value is 1), ``denoise:0.3,sharpen`` a list of enhancement steps.
    """
    shape = str(model.model_fields[name].annotation)
    if model is Enhance and name == "steps":
        parts = (part.strip().partition(":") for part in text.split(","))
        return [{key: parse_scalar(value)} if value else key for key, _, value in parts]
    if "dict" in shape:
        pairs = (part.partition(":") for part in text.split(","))
        return {key.strip(): parse_scalar(value or "1") for key, _, value in pairs}
    if "tuple" in shape:
        return [parse_scalar(part) for part in text.strip("[]() ").split(",")]
    return parse_scalar(text)


# --- regions --------------------------------------------------------------------------------

_REGION_FORM = "write NAME=PAINTING, such as sky=builtin:watercolor, or NAME.KEY=VALUE, such as "
_REGION_FORM += "face.strength=0.4"


def parse_regions(texts: Iterable[str]) -> dict[str, RegionOptions]:
    """The regions of flags ``--region NAME=PAINTING`` and ``--region NAME.KEY=VALUE``.

    Raises:
        UsageError: A value is wrong.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        name, dot, key = (part.strip() for part in left.partition("."))
        if not equals or not value:
            raise UsageError(f"{text!r} gives no value", where="--region", hint=_REGION_FORM)
        options = found.setdefault(_region_name(name, "--region"), {})
        if not dot or key == "styles":
            options.setdefault("styles", []).append(value)
        elif key in RegionOptions.model_fields:
            options[key] = value if key == "color" else parse_scalar(value)
        else:
            hint = nearest(key, RegionOptions.model_fields)
            what = f"{text}: a region has no option {key!r}"
            raise UsageError(what, where="--region", hint=hint)
    return {name: _region_options(name, options) for name, options in found.items()}


def parse_masks(texts: Iterable[str], regions: Mapping[str, RegionOptions]) -> dict[str, str]:
    """The files of flags ``--mask NAME=FILE``, by region; `MAP_NAME` is a map of several.

    Raises:
        UsageError: A value is wrong, or a region and its mask do not come together.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or not file:
            hint = "write NAME=FILE, such as sky=sky.png; white is inside"
            raise UsageError(f"{text!r} names no file", where="--mask", hint=hint)
        name = name.strip()
        name = name if name == MAP_NAME else _region_name(name, "--mask")
        if name in found:
            raise UsageError(f"{name} is given twice", where="--mask", hint="give one file")
        found[name] = file
    for name in found:
        if name not in (*regions, *AUTOMATIC, MAP_NAME):
            near = nearest_name(name, (*regions, *AUTOMATIC), cutoff=0.6)
            hint = f"did you mean {near!r}?" if near else f"add --region {name}.strength=0.3"
            raise UsageError(f"no --region says what {name} is for", where="--mask", hint=hint)
    for name, options in regions.items():
        in_map = MAP_NAME in found and options.color is not None
        if name not in (*found, *AUTOMATIC) and not in_map:
            hint = f"add --mask {name}=FILE, or choose one of {', '.join(AUTOMATIC)}"
            raise UsageError(f"region {name} has no mask", where="--region", hint=hint)
    return found


def _region_name(name: str, flag: str) -> str:
    try:
        return check_region_name(name)
    except ValueError as error:
        raise UsageError(str(error), where=flag) from None


def _region_options(name: str, options: Mapping[str, Any]) -> RegionOptions:
    try:
        return RegionOptions.model_validate(options)
    except ValidationError as error:
        lines: dict[tuple[str, ...], int] = {(key,): 0 for key in options}
        found = describe_error(error, RegionOptions, "", lines)
        hint = found["hint"].replace("strength: ", f"--region {name}.strength=")
        raise UsageError(f"{name}.{found['what']}", where="--region", hint=hint) from None
