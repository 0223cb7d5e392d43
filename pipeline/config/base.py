"""The base of all config models: strictness, merging, paths, and types that sections share."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

from pipeline.system.paths import absolute_path, is_folder, why_no_folder

LENGTH_OF_TIME = "length-of-time"  # a format in the JSON Schema: 30s, 2m, 1h

Strength = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


# YAML and JSON have only lists; frozen options hold tuples.
FromList = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


def absolute(value: Any, info: ValidationInfo) -> Any:
    """A path of a config file made absolute: it is relative to the file."""
    base = (info.context or {}).get("base") or Path.cwd()
    return absolute_path(value, base) if isinstance(value, str | Path) and value else value


LocalPath = Annotated[Path, BeforeValidator(absolute)]


def folder_path(path: Path) -> Path:
    """The same path, where a folder is or can be created.

    Raises:
        ValueError: A file is in its way.
    """
    if why := why_no_folder(path):
        raise ValueError(f"{why}, not a folder: name a folder, or move the file away")
    return path


def file_path(path: Path) -> Path:
    """The same path, where a file is or can be created.

    Raises:
        ValueError: A folder is there, or a file is in the way of its folder.
    """
    if is_folder(path):
        raise ValueError(f"{path} is a folder, not a file: name a file in it")
    folder_path(path.parent)
    return path


FolderPath = Annotated[LocalPath, AfterValidator(folder_path)]
FilePath = Annotated[LocalPath, AfterValidator(file_path)]


class Options(BaseModel):
    """Frozen, exact: an unknown key or a value of the wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def chosen(self) -> dict[str, Any]:
        """Only the options that someone set, at their defaults or not."""
        return self.model_dump(exclude_unset=True)

    def overlay(self, *layers: "Options") -> Self:
        """These options with those that each layer sets laid over them, the last layer on top.

        The one place where options from several sources are merged. The result is validated, and
        remembers which options were set.
        """
        merged = self.chosen()
        for layer in layers:
            merged |= layer.chosen()
        return type(self).model_validate(merged)
