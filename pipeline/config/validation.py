"""What pydantic found wrong -> one line that names the key, the line and the nearest valid key."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.yaml_file import Lines

MOST_SAID = 300  # characters of what was given: the reader has the file
# Where pydantic speaks of Python, to people who write YAML.
_PLAIN = {
    "is_instance_of": "input should be a path",
    "model_type": "input should be keys with values",
    "dict_type": "input should be keys with values",
    "tuple_type": "input should be a list",
    "too_short": "at least one entry is needed",
}


def explain(
    error: ValidationError, model: type[BaseModel], path: Path | str, lines: Lines
) -> dict[str, str]:
    """The first complaint of a ValidationError as ``what, where, hint``."""
    first = _worst(error, lines)
    document_path = _in_document(first, lines)
    line = lines.get(document_path)
    where = f"{path}:{line}" if line else str(path)
    key = ".".join(document_path)
    if first["type"] == "extra_forbidden":
        what = f"unknown key {key!r}"
        hint = nearest(document_path[-1], _fields_at(model, first["loc"][:-1])).strip("; ")
        return {"what": _cut(what), "where": where, "hint": hint}
    message = _PLAIN.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    given = first["input"]
    shown = f", not {_shown(given)}" if isinstance(given, str | int | float | bool | None) else ""
    # A message that pydantic wrote names the rule only; add what was given.
    if first["type"] in ("value_error", "missing"):
        shown = ""
    what = f"{key}: {message[:1].lower()}{message[1:]}{shown}" if key else message
    hint = ""
    what = _cut(what)
    if first["type"] == "literal_error" and isinstance(given, str):
        words = re.findall(r"'([^']+)'", first.get("ctx", {}).get("expected", ""))
        hint = nearest(given, words).strip("; ")
    return {"what": what, "where": where, "hint": hint}


def _shown(given: object) -> str:
    """What was given, briefly."""
    try:
        return _cut(repr(given))
    except ValueError:  # a number of thousands of digits
        return "a number of this size"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}..."


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


def nearest(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""
