"""The base of all config models: strictness, merging, paths, and types that sections share."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

from pipeline.system.paths import absolute_path

Strength = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


# YAML and JSON have only lists; frozen options hold tuples.
FromList = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


def absolute(value: Any, info: ValidationInfo) -> Any:
    """A path of a config file made absolute: it is relative to the file."""
    base = (info.context or {}).get("base") or Path.cwd()
    return absolute_path(value, base) if isinstance(value, str | Path) and value else value


LocalPath = Annotated[Path, BeforeValidator(absolute)]


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
