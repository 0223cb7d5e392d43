"""Every option of an options model as a command-line flag, and back."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from pipeline.config import explain, parse_scalar
from pipeline.errors import UsageError
from pipeline.options import Enhance, Options, Transfer

Command = TypeVar("Command", bound=Callable[..., Any])
OptionsType = TypeVar("OptionsType", bound=Options)


def option_flags(command: Command) -> Command:
    """Let a command whose last parameter is ``**flags`` take each transfer and enhance option."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    flags = [
        _flag(name, field.description or "", _shown(field.get_default(call_default_factory=True)))
        for model in (Transfer, Enhance)
        for name, field in model.model_fields.items()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    return command


def _flag(name: str, text: str, default: str) -> inspect.Parameter:
    help_text = f"{text} [default: {default}]" if default else text
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_text, metavar="VALUE")
    kind = Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _shown(default: Any) -> str:
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
    """``64,128`` is a list and ``relu1_1:2,relu2_1:1`` a mapping where the option is one."""
    field = (Transfer.model_fields | Enhance.model_fields)[name]
    shape = str(field.annotation)
    if "dict" in shape and ":" in text:
        pairs = (part.partition(":") for part in text.split(","))
        return {key.strip(): parse_scalar(value) for key, _, value in pairs}
    if "tuple" in shape:
        return [parse_scalar(part) for part in text.strip("[]() ").split(",")]
    return parse_scalar(text)
