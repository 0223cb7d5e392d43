"""Says where a key belongs that stands in the wrong place; searches the whole tree of models."""

import typing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from pipeline.system.near_names import nearest, nearest_name

ALMOST_EQUAL = 0.8  # ratio of equal characters: a typing error, not another word
MOST_PLACES = 3  # shown of a key that stands in many


def place_hint(
    key: str,
    loc: Sequence[int | str],
    model: type[BaseModel],
    elsewhere: Mapping[str, type[BaseModel]] | None = None,
) -> str:
    """What to do about an unknown key.

    Args:
        key: The key.
        loc: Where it stands, as pydantic says: keys and indexes, with names of union branches.
        model: The model of the whole document.
        elsewhere: Models of other documents that may have the key, by what to call them.
    """
    here, path = _models_at(model, loc)
    siblings = [name for found in here for name in found.model_fields]
    hints = []
    if (near := nearest_name(key, siblings, ALMOST_EQUAL)) is not None:
        hints.append(f"did you mean {near!r}?")
    if places := _places(key, here, path) or _places(key, [model], ""):
        hints.append(f"{key!r} {_place_text(places)}")
    if hints:
        return " ".join(hints)
    for document, other in (elsewhere or {}).items():
        if _places(key, [other], ""):
            return f"{key!r} is a key of {document}"
    names = [name for _, found in _walk([model], "") for name in found.model_fields]
    if (near := nearest_name(key, names, ALMOST_EQUAL)) is not None:
        places = _places(near, here, path) or _places(near, [model], "")
        return f"did you mean {near!r}? It {_place_text(places)}"
    return nearest(key, siblings)


def field_at(
    model: type[BaseModel], loc: Sequence[int | str]
) -> tuple[type[BaseModel], str] | None:
    """The deepest field on the way to a place of the document: its model and its name."""
    for depth in range(len(loc), 0, -1):
        name = str(loc[depth - 1])
        for holder in _models_at(model, loc[: depth - 1])[0]:
            if name in holder.model_fields:
                return holder, name
    return None


def _place_text(places: list[str]) -> str:
    under = " or ".join(f"{place}:" for place in places[:MOST_PLACES] if place)
    if "" not in places:
        return f"belongs under {under}"
    return "belongs on the top level" + (f", or under {under}" if under else "")


def _places(key: str, models: Sequence[type[BaseModel]], path: str) -> list[str]:
    """Where the key may stand, the highest level first; "" is the top level."""
    found = (place for place, model in _walk(models, path) if key in model.model_fields)
    return list(dict.fromkeys(found))


def _walk(models: Sequence[type[BaseModel]], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The models and all below them, each once, with their paths; level by level."""
    waiting = deque((path, found) for found in models)
    seen: set[type[BaseModel]] = set()
    while waiting:
        place, found = waiting.popleft()
        if found in seen:
            continue
        seen.add(found)
        yield place, found
        for name, field in found.model_fields.items():
            shape = str(field.annotation)
            step = ".NAME" if shape.startswith("dict") else "[]" if "tuple" in shape else ""
            at = f"{place}.{name}{step}" if place else f"{name}{step}"
            waiting.extend((at, inner) for inner in _models_in(field.annotation))


def _models_at(
    model: type[BaseModel], loc: Sequence[int | str]
) -> tuple[list[type[BaseModel]], str]:
    """The models that may stand at a place of the document, and its path."""
    found, path = [model], ""
    inside = False  # a dictionary or a list, whose next part is a name or a number
    for part in loc:
        holder = next((m for m in found if part in m.model_fields), None)
        if holder is not None:
            annotation = holder.model_fields[str(part)].annotation
            found = _models_in(annotation)
            path = f"{path}.{part}" if path else str(part)
            inside = "dict" in str(annotation) or "tuple" in str(annotation)
        elif inside:
            path, inside = f"{path}.{part}", False
        else:  # a branch of a union: the value of its discriminator, or the model's name
            found = [m for m in found if _is_branch(m, str(part))] or found
    return found, path


def _is_branch(model: type[BaseModel], name: str) -> bool:
    step = model.model_fields.get("step")
    return model.__name__ == name or (step is not None and name in typing.get_args(step.annotation))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_in(part)]
