"""Pydantic's errors as one line that names the key, the line and the nearest valid key."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.accepted import accepted, example_of, words_of
from pipeline.config.key_places import field_at, place_hint
from pipeline.config.yaml_file import Lines
from pipeline.system.near_names import nearest_name

MAX_SHOWN = 300  # characters of a value: the reader has the file
# Pydantic's messages are in terms of Python; these are for people who write YAML.
_MESSAGES = {
    "model_type": "is given where keys with values are expected",
    "dict_type": "is given where keys with values are expected",
    "tuple_type": "is given where a list is expected",
    "too_short": "at least one entry is needed",
}


def describe_error(
    error: ValidationError,
    model: type[BaseModel],
    path: Path | str,
    lines: Lines,
    elsewhere: Mapping[str, type[BaseModel]] | None = None,
) -> dict[str, str]:
    """The most useful error of a ValidationError, as ``what, where, hint``.

    Args:
        error: The error.
        model: The model that was validated.
        path: The file, to be named.
        lines: The line of each key path.
        elsewhere: Models of other documents that may have an unknown key, by what to call them.
    """
    first = _error_to_show(error, lines)
    document_path = _document_path(first, lines)
    line = lines.get(document_path)
    where = f"{path}:{line}" if line else str(path)
    key = ".".join(document_path)
    if first["type"] == "extra_forbidden":
        what = f"unknown key {key!r}"
        hint = place_hint(document_path[-1], first["loc"][:-1], model, elsewhere)
        return {"what": _shorten(what), "where": where, "hint": hint}
    if first["type"] in ("value_error", "missing"):  # our own messages name the value
        message = first["msg"].removeprefix("Value error, ")
        what = f"{key}: {message[:1].lower()}{message[1:]}" if key else message
        return {"what": _shorten(what), "where": where, "hint": ""}
    message = _MESSAGES.get(first["type"], "is not accepted")
    given = first["input"]
    if isinstance(given, str | int | float | bool | None):
        message = f"{_format_value(given)} {message}"
    what = f"{key}: {message}" if key else message
    return {"what": _shorten(what), "where": where, "hint": _value_hint(first, model)}


def _value_hint(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """The similar word that is accepted, or what is accepted, with an example."""
    place = field_at(model, detail["loc"])
    if place is None:
        return ""
    given, words = detail["input"], words_of(*place)
    word = isinstance(given, str) and detail["type"] not in _MESSAGES
    if word and (near := nearest_name(given, words)) is not None:
        return f"did you mean {near!r}?"
    example = example_of(*place)
    more = f"; for example, {place[1]}: {example}" if example else ""
    return f"accepted: {accepted(*place)}{more}"


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
    default = detail["loc"] and not path  # the document does not name the key at all
    if detail["type"] == "missing" or default or not lines:
        path = (*path, str(detail["loc"][-1]))
    return path
