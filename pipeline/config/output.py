"""The files that pictures become: format, quality, depth, colour space, metadata."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from pipeline.config.base import Options
from pipeline.config.file_kinds import KINDS, kind_of
from pipeline.errors import MissingExtraError

if TYPE_CHECKING:  # a decoder process starts sooner without the models
    pass

Format = Literal["png", "jpeg", "webp", "tiff", "avif", "heif"]
Profile = Literal["srgb", "display-p3"]
Ground = Literal["white", "grey", "black"]

# The first suffix of a format is the one that the outbox gives; all are taken on a command line.
SUFFIXES = {cast(Format, kind.name): kind.suffixes for kind in KINDS if kind.written}
# Where a format loses something: the quality at which nobody sees it on painted texture.
QUALITY: dict[Format, int] = {"jpeg": 92, "webp": 90, "avif": 80, "heif": 80}


class OutputFormat(Options):
    """What a finished picture is written as."""

    format: Format = Field(
        "png", description="The kind of file; heif needs the extra `[heif]`, all others nothing."
    )
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="Of jpeg, webp, avif, heif. Absent: 92, 90, 80, 80, which look alike.",
    )
    lossless: bool = Field(False, description="Lose nothing, in larger files; of webp.")
    depth: Literal[8, 16] = Field(8, description="Bits a channel; 16 with png and tiff.")
    profile: Profile = Field(
        "srgb",
        description="Colours are computed and written in it, and the file says so. display-p3 "
        "keeps the stronger colours of photos and paintings that have them.",
    )
    metadata: Literal["keep", "none"] = Field(
        "keep", description="What the photo's EXIF and XMP say, carried over; see docs/files.md."
    )
    gps: bool = Field(False, description="Carry over where the photo was taken, too.")
    provenance: bool = Field(
        True, description="Write into the file how it was made, for `explain`."
    )
    ground: Ground = Field(
        "white", description="Shows through where a format knows no transparency: jpeg."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.depth == 16 and self.format not in ("png", "tiff"):
            raise ValueError(f"depth: {self.format} holds 8 bits a channel; 16 takes png or tiff")
        if self.quality is not None and self.format not in QUALITY:
            raise ValueError(f"quality: {self.format} loses nothing and has none")
        if self.lossless and self.format != "webp":
            raise ValueError(f"lossless: is said of webp, not of {self.format}")
        if self.lossless and self.quality is not None:
            raise ValueError("quality: says nothing where lossless is set; leave one out")
        if self.gps and self.metadata == "none":
            raise ValueError("gps: is metadata; set metadata: keep")
        return self

    @model_validator(mode="after")
    def _installed(self) -> Self:
        if self.format == "heif" and find_spec("pillow_heif") is None:
            raise ValueError(f"format: heif: {MissingExtraError.of('pillow-heif', 'heif')}")
        return self

    @property
    def suffix(self) -> str:
        """Of the file's name, with its dot."""
        return SUFFIXES[self.format][0]

    @property
    def alpha(self) -> bool:
        """Whether the format knows transparency."""
        return self.format != "jpeg"


def format_of(name: str) -> Format | None:
    """The format that a file name's suffix asks for; None when we write none such."""
    kind = kind_of(name)
    return cast(Format, kind.name) if kind and kind.written else None
