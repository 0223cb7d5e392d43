"""The files of finished pictures: format, quality, depth, colour space, metadata."""

from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.base import Options
from pipeline.config.file_kinds import KINDS, WRITTEN, Written, kind_of
from pipeline.errors import MissingExtraError
from pipeline.system.text import join_words

FORMATS = tuple(WRITTEN)
Format = Literal[FORMATS]  # type: ignore[valid-type]  # built from the table of file kinds
Profile = Literal["srgb", "display-p3"]
Ground = Literal["white", "grey", "black"]

# New files in the outbox get the first suffix; the command line accepts all of them.
SUFFIXES = {kind.name: kind.suffixes for kind in KINDS if kind.written}
QUALITY = {name: how.quality for name, how in WRITTEN.items() if how.quality is not None}
_LOSSLESS = [name for name, how in WRITTEN.items() if how.may_be_lossless]
_DEEP = [name for name, how in WRITTEN.items() if how.deep]
_OPAQUE = [name for name, how in WRITTEN.items() if not how.alpha]
_EXTRAS = [f"{name} needs the extra `[{how.extra}]`" for name, how in WRITTEN.items() if how.extra]


class OutputFormat(Options):
    """The file format of finished pictures."""

    format: Format = Field("png", description=f"The file format; {join_words(_EXTRAS)}.")
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description=f"The quality of {join_words(QUALITY)}. Default: "
        f"{join_words(map(str, QUALITY.values()))}, which look equally good.",
    )
    lossless: bool = Field(
        False, description=f"Write {join_words(_LOSSLESS)} without loss, in larger files."
    )
    depth: Literal[8, 16] = Field(
        8, description=f"Bits per channel; 16 only with {join_words(_DEEP)}."
    )
    profile: Profile = Field(
        "srgb",
        description="The colour space of the picture, from computing to the file. display-p3 keeps "
        "strong colours that sRGB cannot represent.",
    )
    metadata: Literal["keep", "none"] = Field(
        "keep",
        description="Whether to copy the photo's EXIF and XMP into the picture; see docs/files.md.",
    )
    gps: bool = Field(False, description="Also copy the place where the photo was taken.")
    provenance: bool = Field(
        True, description="Write into the file how the picture was made, for `explain`."
    )
    ground: Ground = Field(
        "white",
        description="The colour behind transparent areas in a format without transparency "
        f"({join_words(_OPAQUE)}).",
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        how = self.how
        if self.depth == 16 and not how.deep:
            deep = join_words(_DEEP, "or")
            raise ValueError(f"depth: {self.format} has 8 bits per channel; for 16 use {deep}")
        if self.quality is not None and how.quality is None:
            raise ValueError(f"quality: {self.format} is lossless and has no quality")
        if self.lossless and not how.may_be_lossless:
            only = join_words(_LOSSLESS, "or")
            raise ValueError(f"lossless: {self.format} does not have this option, only {only}")
        if self.lossless and self.quality is not None:
            raise ValueError("quality: has no effect with lossless; remove one of them")
        if self.gps and self.metadata == "none":
            raise ValueError("gps: true is possible only with metadata: keep")
        return self

    @model_validator(mode="after")
    def _check_library_is_installed(self) -> Self:
        how = self.how
        if how.module and find_spec(how.module) is None:
            error = MissingExtraError.of(how.library, how.extra)
            raise ValueError(f"format: {self.format}: {error}")
        return self

    @property
    def how(self) -> Written:
        """What the format can and how it is written."""
        return WRITTEN[self.format]

    @property
    def suffix(self) -> str:
        """The suffix of file names, with its dot."""
        return SUFFIXES[self.format][0]


def format_of(name: str) -> str | None:
    """The format that a file name's suffix asks for; None when it cannot be written."""
    kind = kind_of(name)
    return kind.name if kind and kind.written else None
