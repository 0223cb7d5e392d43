"""Load config.yaml with its manifest; print its JSON Schema."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.manifest import Manifest, load_manifest, starter_styles
from pipeline.config.model import BUILTIN, Config
from pipeline.config.paintings.styles import StylesReader
from pipeline.config.validation import describe_error
from pipeline.config.yaml_file import read_yaml
from pipeline.errors import ConfigError
from pipeline.system.file_version import Stamp
from pipeline.system.paths import real_path


def load_config(path: Path, *, complete: bool = True, without: Collection[Path] = ()) -> Config:
    """Read and check a config file, and list the folders of paintings that it names.

    Args:
        path: The file.
        complete: Whether each folder must be there, with a painting in it.
        without: Paintings in these folders that do not count yet.

    Raises:
        ConfigError: With the file, the line, the key path and the nearest valid key.
    """
    document, lines = read_yaml(path)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError("the top level must be keys with values", where=str(path))
    base = real_path(path.parent)
    reader = StylesReader(path, base, lines, complete, without)
    if "styles" in document:
        document = document | {"styles": reader.read(document["styles"])}
    context = {"base": base, "file": path, "folders": reader.folders}
    try:
        return Config.model_validate(document, context=context)
    except ValidationError as error:
        raise ConfigError(**describe_error(error, Config, path, lines)) from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema of config.yaml."""
    return Config.model_json_schema()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked config, its manifest and where it came from."""

    path: Path
    config: Config
    manifest: Manifest
    stamp: Stamp | None = None  # of the file, taken before it was read
    found: bool = True  # False: there is no file, and these are the defaults


def load(path: Path, *, complete: bool = True, without: Collection[Path] = ()) -> Loaded:
    """Read and check a config.

    Args:
        path: The file.
        complete: Whether every painting and weights file that it names must exist. Commands that
            only report need none of them, and a running daemon waits for one that was moved.
        without: Paintings in folders that do not count yet, because they are still being copied.
    """
    stamp = Stamp.at(path)
    config = load_config(path, complete=complete, without=without)
    return Loaded(path, config, load_manifest(config, path, complete=complete), stamp)


def load_or_starters(path: Path) -> Loaded:
    """Read and check a config; without one, the defaults with every starter style.

    For commands that a person tries before there is a config. A file that is missing under a name
    of one's own is an error as ever.
    """
    if path.is_absolute() or path != Path("config.yaml") or os.path.lexists(path):
        return load(path)
    styles = {name: {"image": f"{BUILTIN}{name}"} for name in starter_styles()}
    config = Config.model_validate({"styles": styles}, context={"base": real_path(Path())})
    return Loaded(path, config, load_manifest(config, path), found=False)
