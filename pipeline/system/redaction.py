"""Removes folders of this machine from text that others see; names of files stay."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.system.paths import real_path

# An absolute path within a text, up to its last part; no address (https://...) and no relative one.
_FOLDERS = re.compile(r"(?<![\w:/.~-])/(?:[^/\s:;,'\"`()]+/)*(?=[^\s/])")

DEEPEST = 50  # levels of data
_INSIDE, _ITSELF = r"(?<![\w.~-]){}/", r"(?<![\w.~-]){}(?![\w/-])"  # a path below a root, a root


def strip_folders(value: Any, depth: int = DEEPEST) -> Any:
    """Plain data with only the name left of each absolute path, in keys too."""
    if isinstance(value, str):
        return Path(value).name or value if value[:1] == "/" else value
    if isinstance(value, Mapping | list | tuple) and not depth:
        return None  # our own data are never this deep; a file of an untrusted outbox may be
    if isinstance(value, Mapping):
        names = _names(value)
        return {names[key]: strip_folders(part, depth - 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [strip_folders(part, depth - 1) for part in value]
    return value


def _names(keys: Iterable[Any]) -> dict[Any, Any]:
    """Each key's name; with its folder's name before it where two have the same."""
    short = {key: strip_folders(key) for key in keys}
    names = Counter(short.values())
    alike = {key for key in short if names[short[key]] > 1 and key != short[key]}
    return short | {key: f"{Path(key).parent.name}/{short[key]}" for key in alike}


class Redactor:
    """Removes folders from messages.

    Args:
        roots: Folders whose own paths may hold spaces and the like, so that they are known by no
            pattern.
    """

    def __init__(self, roots: Iterable[Path] = ()) -> None:
        places = {path for root in roots for path in (root, real_path(root))}
        known = sorted((path for path in places if len(path.parts) > 1), key=_longest_first)
        self._known = [(re.compile(_INSIDE.format(re.escape(str(path)))), "") for path in known]
        self._known += [
            (re.compile(_ITSELF.format(re.escape(str(path)))), path.name) for path in known
        ]

    def redact_text(self, text: str) -> str:
        """A message without folders."""
        for pattern, name in self._known:
            text = name.join(pattern.split(text))
        return _FOLDERS.sub("", text)

    def redact_line(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """A line of the run log, or an entry of the gallery, without folders."""
        found = dict(line)
        if isinstance(error := found.get("error"), Mapping) and "message" in error:
            found["error"] = {**error, "message": self.redact_text(str(error["message"]))}
        if isinstance(message := found.get("message"), str):
            found["message"] = self.redact_text(message)
        if "options" in found:
            found["options"] = strip_folders(found["options"])
        return found


def _longest_first(path: Path) -> int:
    return -len(str(path))
