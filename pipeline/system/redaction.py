"""Removes folders of this machine from text that others see; names of files stay."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.system.paths import real_path

# An absolute path within a text, up to its last part; no address (https://...) and no relative one.
_FOLDERS = re.compile(r"(?<![\w:/.~-])/(?:[^/\s:;,'\"`()]+/)*(?=[^\s/])")

DEEPEST = 50  # levels of data
MOST_FOLDERS = 64  # before a name: a path of an untrusted file may have thousands
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
    """Each key's name, after as many of its folders as tell it from the others: no two are equal.

    A value must never be lost because its key became that of another.
    """
    short = {key: strip_folders(key) for key in keys}
    for count in range(2, MOST_FOLDERS):
        alike = _list_alike(short)
        if not alike:
            return short
        short |= {key: "/".join(PurePosixPath(key).parts[1:][-count:]) for key in alike}
    taken = set(short.values())
    for key in _list_alike(short):
        number = 2
        while (name := f"{short[key]} ({number})") in taken:
            number += 1
        short[key] = name
        taken.add(name)
    return short


def _list_alike(short: Mapping[Any, Any]) -> list[Any]:
    """The paths whose short names others have, too."""
    counted = Counter(short.values())
    return [key for key, name in short.items() if counted[name] > 1 and str(key)[:1] == "/"]


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
