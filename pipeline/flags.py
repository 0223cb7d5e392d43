"""Every option of the transfer and of the enhancement as a command-line flag, and back."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from pipeline.chain import Enhance
from pipeline.complaints import explain
from pipeline.errors import UsageError
from pipeline.options import PRESETS, Options, Transfer
from pipeline.yamlfile import parse_scalar

OptionsType = TypeVar("OptionsType", bound=Options)


@cache
def option_flags() -> tuple[Any, ...]:
    """A command-line parameter for each option, in the order of the models."""

    def command(**flags: str | None) -> None: ...

    parameters = [
        _flag(name, field.description or "", _default(name, field.get_default()))
        for model in (Transfer, Enhance)
        for name, field in model.model_fields.items()
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


def _default(name: str, default: Any) -> str:
    if any(name in preset for preset in PRESETS.values()):
        return "the preset's"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, dict):
        return ",".join(f"{key}:{value:g}" for key, value in default.items())
    return "" if default is None else str(default)


def chosen(model: type[OptionsType], flags: Mapping[str, str | None]) -> dict[str, Any]:
    """What the flags say about one model's options.

    Raises:
        UsageError: Naming the flag.
    """
    values = {
        name: _parsed(name, text)
        for name, text in flags.items()
        if text is not None and name in model.model_fields
    }
    try:
        return model.model_validate(values).chosen()
    except ValidationError as error:
        found = explain(error, model, "", {(name,): 0 for name in values})
        name, _, rest = found["what"].partition(": ")
        where = f"--{name.replace('_', '-')}"
        raise UsageError(rest or found["what"], where=where, mend=found["mend"]) from None


def _parsed(name: str, text: str) -> Any:
    """``64,128`` is a list where the option is one, ``relu1_1:2,relu2_1`` a mapping (1: absent)."""
    field = (Transfer.model_fields | Enhance.model_fields)[name]
    shape = str(field.annotation)
    if "dict" in shape:
        pairs = (part.partition(":") for part in text.split(","))
        return {key.strip(): parse_scalar(value or "1") for key, _, value in pairs}
    if "tuple" in shape:
        return [parse_scalar(part) for part in text.strip("[]() ").split(",")]
    return parse_scalar(text)
