"""Says in words what a key accepts, from its JSON Schema: for error messages, help and docs."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from pipeline.config.base import LENGTH_OF_TIME

LONG_LIST = 8  # words; of a longer list only the first and the last are shown
LONG_NUMBER = 100_000  # from here on, digits are shown in groups of three
POWER = 1 << 31  # from here on, a power of two is shown as such

Schema = dict[str, Any]
Describe = Callable[[Schema, Schema, str], str]


@cache
def accepted(model: type[BaseModel], name: str, quote: str = "") -> str:
    """What one key of a model accepts; ``quote`` encloses words to be written as they are."""
    schema, defs = _schema_of(model, name)
    return _describe(schema, defs, quote)


def choices(model: type[BaseModel], name: str) -> str:
    """The same in short, for a flag: ``{style|content}``, ``0..1``, ``{16..32768|source}``."""
    schema, defs = _schema_of(model, name)
    parts = list(dict.fromkeys(_alternatives(schema, defs)))
    return "{" + "|".join(parts) + "}" if len(parts) > 1 else parts[0]


def words_of(model: type[BaseModel], name: str) -> list[str]:
    """The words that one key of a model accepts, also as keys or within lists."""
    schema, defs = _schema_of(model, name)
    return list(dict.fromkeys(_words(schema, defs)))


def example_of(model: type[BaseModel], name: str) -> str:
    """One value for a key of a model, as in YAML; "" where the field gives no examples."""
    examples = model.model_fields[name].examples
    return yaml_value(examples[0]) if examples else ""


def yaml_value(value: Any) -> str:
    """A value as one would write it in YAML."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= LONG_NUMBER:
        return f"{value:_}"  # YAML reads 5_000_000 as a number
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(yaml_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {yaml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and set(value) & set(" :*"):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _schemas(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _schema_of(model: type[BaseModel], name: str) -> tuple[Schema, Schema]:
    schema = _schemas(model)
    return schema["properties"][name], schema.get("$defs", {})


def _words(schema: Schema, defs: Schema) -> Iterator[str]:
    if "$ref" in schema:
        target = defs[schema["$ref"].rpartition("/")[2]]
        yield from () if "properties" in target else _words(target, defs)
    for word in (*schema.get("enum", ()), schema.get("const")):
        if isinstance(word, str):
            yield word
    for key in ("items", "propertyNames"):
        if key in schema:
            yield from _words(schema[key], defs)
    for part in schema.get("anyOf", ()):
        yield from _words(part, defs)


def _alternatives(schema: Schema, defs: Schema) -> Iterator[str]:
    if "anyOf" in schema:
        for part in schema["anyOf"]:
            yield from _alternatives(part, defs) if part.get("type") != "null" else ()
    elif "enum" in schema or "const" in schema:
        yield from map(str, schema.get("enum", [schema.get("const")]))
    elif schema.get("type") in ("integer", "number"):
        ends = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
        low, high = (next((yaml_value(schema[k]) for k in end if k in schema), "") for end in ends)
        yield f"{low}..{high}"
    elif schema.get("type") == "boolean":
        yield from ("true", "false")
    elif schema.get("type") in ("array", "object"):
        yield "LIST"
    else:
        yield {"path": "FILE", LENGTH_OF_TIME: "TIME"}.get(schema.get("format", ""), "TEXT")


def _describe(schema: Schema, defs: Schema, quote: str) -> str:
    if "$ref" in schema:
        return _describe(defs[schema["$ref"].rpartition("/")[2]], defs, quote)
    if "properties" in schema:
        return "keys, see below" if quote else f"the keys {', '.join(schema['properties'])}"
    if "anyOf" in schema:
        parts = [_describe(p, defs, quote) for p in schema["anyOf"] if p.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "oneOf" in schema:  # which one applies depends on a key; its own page has the details
        return "a mapping"
    if "enum" in schema or "const" in schema:
        words = [f"{quote}{word}{quote}" for word in schema.get("enum", [schema.get("const")])]
        return ", ".join(words) if len(words) < LONG_LIST else f"{words[0]} ... {words[-1]}"
    return _TYPES[schema.get("type", "")](schema, defs, quote)


def _describe_object(schema: Schema, defs: Schema, quote: str) -> str:
    name = _describe({"type": "string"} | schema.get("propertyNames", {}), defs, quote)
    inner = schema.get("additionalProperties") or next(iter(schema["patternProperties"].values()))
    return f"{name}: {_describe(inner, defs, quote)}"


def _describe_array(schema: Schema, defs: Schema, quote: str) -> str:
    most = f"at most {schema['maxItems']}, " if "maxItems" in schema else ""
    each = _describe(schema.get("items", {"type": "string"}), defs, quote)
    return f"a list of {most}each {each}" if most else f"a list of {each}"


def _describe_number(schema: Schema, _defs: Schema, _quote: str) -> str:
    kind = "integer" if schema["type"] == "integer" else "number"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    least = "above" if "exclusiveMinimum" in schema else "from"
    most = "below" if "exclusiveMaximum" in schema else "to"
    start = "" if low is None else f"{least} {_end_of_range(low)}"
    end = "" if high is None else f"{most} {_end_of_range(high)}"
    return " ".join(filter(None, (kind, start, end)))


def _end_of_range(value: float) -> str:
    power = isinstance(value, int) and value >= POWER and value & (value - 1) == 0
    return f"2^{value.bit_length() - 1}" if power and isinstance(value, int) else yaml_value(value)


def _describe_string(schema: Schema, _defs: Schema, _quote: str) -> str:
    words = {"path": "path", LENGTH_OF_TIME: "a time such as 30s, 2m or 1h"}
    return words.get(schema.get("format", ""), "text")


def _describe_boolean(_schema: Schema, _defs: Schema, quote: str) -> str:
    return f"{quote}true{quote}, {quote}false{quote}"


_TYPES: dict[str, Describe] = {
    "object": _describe_object,
    "array": _describe_array,
    "integer": _describe_number,
    "number": _describe_number,
    "string": _describe_string,
    "boolean": _describe_boolean,
    "null": lambda *_: "nothing here",
    "": lambda *_: "anything",
}
