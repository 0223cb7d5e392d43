"""Every option of the transfer and of the enhancement as a command-line flag, and back."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from pipeline.config.base import Options
from pipeline.config.enhancement import Enhance
from pipeline.config.output import OutputFormat
from pipeline.config.transfer import PRESETS, Transfer
from pipeline.config.validation import explain
from pipeline.config.yaml_file import parse_scalar
from pipeline.errors import UsageError

OptionsType = TypeVar("OptionsType", bound=Options)

# Options of the enhancement whose plain names are the transfer's.
RENAMED = {"preset": "enhance", "steps": "enhance_steps"}


@cache
def option_flags() -> tuple[Any, ...]:
    """A command-line parameter for each option, in the order of the models."""

    def command(**flags: str | None) -> None: ...

    parameters = [
        _flag(_word(model, name), field.description or "", _default(model, name))
        for model in (Transfer, Enhance, OutputFormat)
        for name, field in model.model_fields.items()
        if (model, name) != (OutputFormat, "format")  # the file's suffix says it
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return tuple(typer.main.get_command(app).params)


def _flag(name: str, text: str, default: str) -> inspect.Parameter:
    help_text = f"{text} [default: {default}]" if default else text
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_text, metavar="VALUE")
    kind = Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _word(model: type[Options], name: str) -> str:
    return RENAMED.get(name, name) if model is Enhance else name


def _default(model: type[Options], name: str) -> str:
    default = model.model_fields[name].get_default()
    if model is Transfer and any(name in preset for preset in PRESETS.values()):
        return "the preset's"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, dict):
        return ",".join(f"{key}:{value:g}" for key, value in default.items())
    return "" if default is None else str(default)


def parse_flags(model: type[OptionsType], flags: Mapping[str, str | None]) -> OptionsType:
    """One model's options as the flags set them; all others are unset.

    Raises:
        UsageError: Naming the flag.
    """
    values = {
        name: _parsed(model, name, text)
        for name in model.model_fields
        if (text := flags.get(_word(model, name))) is not None
    }
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = explain(error, model, "", {(name,): 0 for name in values})
        name, _, rest = found["what"].partition(": ")
        where = f"--{_word(model, name).replace('_', '-')}"
        raise UsageError(rest or found["what"], where=where, hint=found["hint"]) from None


def _parsed(model: type[Options], name: str, text: str) -> Any:
    """``64,128`` is a list where the option is one, ``relu1_1:2,relu2_1`` a mapping (1: absent).

    A chain is a list of steps, ``denoise:0.3,sharpen``.
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
