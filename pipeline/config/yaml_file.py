"""A YAML file as plain values and the lines they are on; safe, exact and bounded."""

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError
from pipeline.system.near_names import nearest_path
from pipeline.system.paths import is_web_address, why_web_address
from pipeline.system.safe_files import opened

MAX_CONFIG_BYTES = 1 << 20
MAX_SHOWN = 200  # characters of a library's error message


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses duplicate keys, and aliases (the "billion laughs" attack)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be a word, not a list or a mapping",
                    problem_mark=key.start_mark,
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


Lines = dict[tuple[str, ...], int]


def read_yaml(path: Path, max_bytes: int = MAX_CONFIG_BYTES) -> tuple[Any, Lines]:
    """The document, and the line of each key path.

    Raises:
        ConfigError: When the file cannot be read or is not YAML.
    """
    try:
        with opened(path, follow=True) as file:
            text = file.read(max_bytes + 1)
    except FileNotFoundError:
        if is_web_address(str(path)):
            what, hint = why_web_address(str(path))
            raise ConfigError(what, where=str(path).replace(":/", "://", 1), hint=hint) from None
        near = nearest_path(path)
        hint = "give --config FILE, or run from the folder that holds config.yaml"
        hint = f"did you mean {str(near)!r}?" if near else hint
        raise ConfigError("no such file", where=str(path), hint=hint) from None
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", where=str(path)) from None
    return parse_yaml(text, str(path), max_bytes)


def parse_yaml(text: bytes, path: str, max_bytes: int = MAX_CONFIG_BYTES) -> tuple[Any, Lines]:
    """The same for bytes that were already read; ``path`` is named in errors."""
    if len(text) > max_bytes:
        raise ConfigError(f"the file is larger than {max_bytes} bytes", where=path)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: Lines = dict(_walk(node, ())) if node else {}
        return (loader.construct_document(node) if node else None), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = error.problem or "not valid YAML"
        raise ConfigError(what, where=f"{path}:{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: from PyYAML for impossible dates; RecursionError: from hostile nesting.
        what = " ".join(str(error).split())[:MAX_SHOWN] or "not valid YAML"
        raise ConfigError(f"not valid YAML: {what}", where=path) from None
    except Exception:
        # PyYAML has its own errors for wrong syntax only. A value that does not fit its tag
        # (`!!bool x`, `!!int ""`, `!!set [1]`) raises KeyError, IndexError, TypeError ...
        what = "not valid YAML: a value does not fit its tag (as in !!bool x)"
        raise ConfigError(what, where=path) from None
    finally:
        if loader is not None:
            loader.dispose()


def _walk(node: yaml.Node, at: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = (*at, str(key.value))
            yield name, key.start_mark.line + 1
            yield from _walk(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*at, str(index)), value.start_mark.line + 1
            yield from _walk(value, (*at, str(index)))


def parse_scalar(text: str) -> Any:
    """A command-line value as YAML reads it: 3, 0.5, true, or the text itself."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, int | float | bool) else text.strip()
