"""Pydantic's errors as one line that names the key, the line and the nearest valid key."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.yaml_file import Lines

MAX_SHOWN = 300  # characters of a value: the reader has the file
# Pydantic's messages are in terms of Python; these are for people who write YAML.
_MESSAGES = {
    "is_instance_of": "input should be a path",
    "model_type": "input should be keys with values",
    "dict_type": "input should be keys with values",
    "tuple_type": "input should be a list",
    "too_short": "at least one entry is needed",
}


def describe_error(
    error: ValidationError, model: type[BaseModel], path: Path | str, lines: Lines
) -> dict[str, str]:
    """The most useful error of a ValidationError, as ``what, where, hint``."""
    first = _error_to_show(error, lines)
    document_path = _document_path(first, lines)
    line = lines.get(document_path)
    where = f"{path}:{line}" if line else str(path)
    key = ".".join(document_path)
    if first["type"] == "extra_forbidden":
        what = f"unknown key {key!r}"
        hint = nearest(document_path[-1], _fields_at(model, first["loc"][:-1])).strip("; ")
        return {"what": _shorten(what), "where": where, "hint": hint}
    message = _MESSAGES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    given = first["input"]
    value = (
        f", not {_format_value(given)}"
        if isinstance(given, str | int | float | bool | None)
        else ""
    )
    # A message of pydantic's own names only the rule; the value is added.
    if first["type"] in ("value_error", "missing"):
        value = ""
    what = f"{key}: {message[:1].lower()}{message[1:]}{value}" if key else message
    hint = ""
    what = _shorten(what)
    if first["type"] == "literal_error" and isinstance(given, str):
        words = re.findall(r"'([^']+)'", first.get("ctx", {}).get("expected", ""))
        hint = nearest(given, words).strip("; ")
    return {"what": what, "where": where, "hint": hint}


def _format_value(given: object) -> str:
    """A value, briefly."""
    try:
        return _shorten(repr(given))
    except ValueError:  # a number of thousands of digits
        return "a number of this size"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _error_to_show(error: ValidationError, lines: Lines) -> ErrorDetails:
    """The error to show: an unknown key first, then the one with the deepest key."""
    found = error.errors()
    unknown = [detail for detail in found if detail["type"] == "extra_forbidden"]
    first = found[0]["loc"][:1]
    same_key = [detail for detail in found if detail["loc"][:1] == first]
    return (unknown or sorted(same_key, key=lambda d: -len(_document_path(d, lines))))[0]


def _document_path(detail: ErrorDetails, lines: Lines) -> tuple[str, ...]:
    """Pydantic's loc without the names of union branches, which the document does not contain."""
    path: tuple[str, ...] = ()
    for part in map(str, detail["loc"]):
        if (*path, part) in lines:
            path = (*path, part)
    if detail["type"] == "missing" or not lines:
        path = (*path, str(detail["loc"][-1]))
    return path


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> Iterable[str]:
    """Names of the fields at ``loc``, among which the nearest valid key is searched."""
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


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint to the most similar name, or to all of them; it begins with a semicolon."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""
