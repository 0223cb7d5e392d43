"""Values that people and fuzzers write into a config."""

import json
from typing import Any

import yaml

GOOD: dict[str, Any] = {"styles": {"mosaic": {"image": "builtin:mosaic"}}}


NUMBER = 10**400


NASTY: list[Any] = [
    *("", "~", "~nosuchuser/x", "loop", "loop/below", "closed/x", "a" * 5000, "a/" * 2500, "/"),
    *("a\0b", "\udc80", "\ud800", "builtin:none", "folder", "{1..100000}", "{a,b}" * 12, "[z-a]"),
    *("**/" * 40, "*" * 900, "(" * 900, "\\", "0 0 31 2 *", "99:99-00:00", "../../etc/passwd"),
    *(None, True, -1, NUMBER, float("inf"), float("nan"), [None], ["~nosuchuser"], [1] * 100),
    *({"": 1}, {"a": {"b": []}}, {"{1..100000}": 1}, {"loop": 1.0}, {1: 2}),
]  # fmt: skip


TEXTS = [
    *("a: !!bool x", 'a: !!int ""', "a: !!timestamp x", 'a: !!float ""', "a: !!set [1]", "!!map x"),
    *("? !!bool x\n: 1", "a: !!python/name:os.system", "seed: 0x" + "f" * 6000, "[" * 3000),
    *("a: 2026-13-45", "a: !!binary '%'", "<<: 3", "a: =", "\ufeffa: 1", "- 1", "1", "%YAML 9.9"),
    *("a: &b [*b]", "styles: {a: {image: !!binary aGk=}}", "? {a: 1}\n: 1", "a: 1\n---\nb: 2"),
]  # fmt: skip


# All that names a file, a folder, a host, a program or a pattern is tried itself.
PLACES = [
    *(("inbox",), ("outbox",), ("state",), ("archive",), ("quarantine",), ("weights",)),
    *(("metrics", "file"), ("log", "file"), ("enhance", "upscale_model"), ("transfer", "init")),
    *(("styles", "mosaic", "image"), ("styles", "mosaic", "transfer", "init"), ("serve", "host")),
]


def with_value(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A good document, but for one value."""
    document = json.loads(json.dumps(GOOD))
    inner = document
    for name in path[:-1]:
        inner = inner.setdefault(name, {})
    inner[path[-1]] = value
    return document


def as_yaml(document: Any) -> str:
    return yaml.safe_dump(document)
