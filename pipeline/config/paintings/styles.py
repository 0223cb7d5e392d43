"""Reads `styles:` in all its forms: names with styles, a folder of paintings, or a list of both."""

import errno
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.model import BUILTIN, Config, StyleEntry
from pipeline.config.paintings.folder import PaintingFolder, list_folder, style_name
from pipeline.config.validation import describe_error
from pipeline.config.yaml_file import Lines, read_yaml
from pipeline.errors import ConfigError
from pipeline.system.near_names import nearest_path
from pipeline.system.paths import absolute_path, is_file

MAX_SHOWN = 200  # characters of a value: the reader has the file
MOST_SHOWN = 10**15  # of an integer
_FORMS = "give a folder of paintings, builtin:NAME, or styles with their names"
_OWN_KEYS = ("image", "images")


@dataclass(slots=True)
class StylesReader:
    """Turns what stands under `styles:` into entries by name.

    Attributes:
        config: The config file, for errors; relative paths are relative to its folder.
        base: That folder.
        lines: The line of each key path of the config. Names in a list are added as if they stood
            directly under `styles`.
        complete: Whether a folder must be there, with a painting in it.
        without: Pictures that do not count yet.
        folders: The folders that were read.
    """

    config: Path
    base: Path
    lines: Lines
    complete: bool = True
    without: Collection[Path] = ()
    folders: list[PaintingFolder] = field(default_factory=list)
    _origins: dict[Any, str] = field(default_factory=dict)  # by name, where it was given

    def read(self, given: Any) -> Any:
        """The styles by name. What stands there by name already is left to the check of the config.

        Raises:
            ConfigError: A folder, a file with options or a name cannot be used.
        """
        if isinstance(given, dict):
            return given
        entries: dict[Any, Any] = {}
        for index, item in enumerate(given if isinstance(given, list) else [given]):
            for name, entry, origin in self._read_item(item, index):
                if name in self._origins:
                    what = f"two styles are called {str(name)!r}: {self._origins[name]}, {origin}"
                    raise self._error(what, "rename one of them", index)
                self._origins[name], entries[name] = origin, entry
        return entries

    def _read_item(self, item: Any, index: int) -> list[tuple[Any, Any, str]]:
        """The styles of one item, each with its origin in words."""
        if isinstance(item, dict):
            place = ("styles", str(index))
            inside = {key: line for key, line in self.lines.items() if key[:2] == place}
            self.lines |= {("styles", *key[2:]): line for key, line in inside.items() if key[2:]}
            return [(name, entry, f"styles.{index}.{name}") for name, entry in item.items()]
        if not isinstance(item, str) or not item.strip():
            raise self._error(f"{_show(item)} is not accepted", _FORMS, index)
        if item.startswith(BUILTIN):
            return [(item.removeprefix(BUILTIN), item, item)]
        folder = self._list(item, index)
        self.folders.append(folder)
        return [
            (name, self._read_entry(file, folder.side_files.get(name)), str(file))
            for name, file in folder.paintings.items()
        ]

    def _list(self, item: str, index: int) -> PaintingFolder:
        try:
            path = absolute_path(item, self.base)
            folder = list_folder(path, self.without)
        except OSError as error:
            if not self.complete:
                return PaintingFolder(path, missing=True)
            raise self._error(*_no_folder(item, path, error), index) from None
        except ValueError as error:
            raise self._error(str(error), "", index) from None
        if folder.paintings:
            return folder
        if not self.complete:
            return PaintingFolder(path, missing=True)
        what = f"there is no picture in the folder {path}"
        hint = f"put a painting into it, a .jpg or .png for example, or use {BUILTIN}mosaic"
        raise self._error(what + (f"; {folder.ignored}" if folder.ignored else ""), hint, index)

    def _read_entry(self, painting: Path, side: Path | None) -> StyleEntry:
        """The style of one painting, with the options beside it."""
        options, lines = read_yaml(side) if side else ({}, {})
        if options is not None and not isinstance(options, dict):
            raise ConfigError("the top level must be keys with values", where=str(side))
        for key in _OWN_KEYS:
            if key in (options or {}):
                where = f"{side}:{lines.get((key,), 1)}"
                what = f"{key}: the painting is {painting.name}, beside which this file lies"
                raise ConfigError(what, where=where, hint="remove this key")
        try:
            return StyleEntry.model_validate(
                {**(options or {}), "image": str(painting)}, context={"base": painting.parent}
            )
        except ValidationError as error:
            elsewhere = {"config.yaml, not of a painting's options": Config}
            found = describe_error(error, StyleEntry, side or painting, lines, elsewhere)
            raise ConfigError(**found) from None

    def _error(self, what: str, hint: str, index: int) -> ConfigError:
        line = self.lines.get(("styles", str(index))) or self.lines.get(("styles",))
        where = f"{self.config}:{line}" if line else str(self.config)
        return ConfigError(f"styles: {what[: 3 * MAX_SHOWN]}", where=where, hint=hint)


def _show(item: Any) -> str:
    """A value that is no style, if it is short."""
    short = isinstance(item, int) and abs(item) < MOST_SHOWN
    return repr(item)[:MAX_SHOWN] if short or isinstance(item, str | float | None) else "this"


def _no_folder(given: str, path: Path, error: OSError) -> tuple[str, str]:
    """What is wrong with a path that is no folder, and what to do."""
    if is_file(path):
        hint = f"for one painting, write styles: {{{style_name(path.stem)}: {given}}}"
        return f"{path} is a file, not a folder", hint
    if error.errno == errno.ENOENT:
        near = nearest_path(path, folder=True)
        hint = "create it, and put paintings into it"
        return f"no such folder: {path}", f"did you mean {str(near)!r}?" if near else hint
    why = os.strerror(error.errno or errno.EIO).lower()
    return f"this folder cannot be used ({why}): {path}", "name another one"
