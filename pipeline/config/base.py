"""What all config models share: strictness, paths, and types that several sections use."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

from pipeline.system.paths import absolute_path

Strength = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


# YAML and JSON know lists only; a frozen option holds tuples.
FromList = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


def absolute(value: Any, info: ValidationInfo) -> Any:
    """Paths in a config file are relative to the file."""
    base = (info.context or {}).get("base") or Path.cwd()
    return absolute_path(value, base) if isinstance(value, str | Path) and value else value


LocalPath = Annotated[Path, BeforeValidator(absolute)]


class Options(BaseModel):
    """Frozen, exact: an unknown key or a value of the wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def chosen(self) -> dict[str, Any]:
        """Only what somebody set, so that layers of options can be laid over one another."""
        return self.model_dump(exclude_unset=True)
