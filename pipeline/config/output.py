"""The files of finished pictures: format, quality, depth, colour space, metadata."""

from importlib.util import find_spec
from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from pipeline.config.base import Options
from pipeline.config.file_kinds import KINDS, kind_of
from pipeline.errors import MissingExtraError

Format = Literal["png", "jpeg", "webp", "tiff", "avif", "heif"]
Profile = Literal["srgb", "display-p3"]
Ground = Literal["white", "grey", "black"]

# New files in the outbox get the first suffix; the command line accepts all of them.
SUFFIXES = {cast(Format, kind.name): kind.suffixes for kind in KINDS if kind.written}
# Of lossy formats: the quality at which the loss cannot be seen on painted texture.
QUALITY: dict[Format, int] = {"jpeg": 92, "webp": 90, "avif": 80, "heif": 80}


class OutputFormat(Options):
    """The file format of finished pictures."""

    format: Format = Field("png", description="The file format; heif needs the extra `[heif]`.")
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="The quality of jpeg, webp, avif and heif. Absent: 92, 90, 80 and 80, "
        "which look equally good.",
    )
    lossless: bool = Field(False, description="Write webp without loss, in larger files.")
    depth: Literal[8, 16] = Field(8, description="Bits per channel; 16 only with png and tiff.")
    profile: Profile = Field(
        "srgb",
        description="The colour space in which the picture is computed and written; the "
        "file names it. display-p3 keeps colours of photos and paintings that "
        "sRGB cannot represent.",
    )
    metadata: Literal["keep", "none"] = Field(
        "keep",
        description="Whether to copy the photo's EXIF and XMP into the picture; see docs/files.md.",
    )
    gps: bool = Field(False, description="Also copy the place where the photo was taken.")
    provenance: bool = Field(
        True, description="Write into the file how it was made, for `explain`."
    )
    ground: Ground = Field(
        "white",
        description="The background of transparent areas in a format without transparency (jpeg).",
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.depth == 16 and self.format not in ("png", "tiff"):
            raise ValueError(f"depth: {self.format} has 8 bits per channel; for 16 use png or tiff")
        if self.quality is not None and self.format not in QUALITY:
            raise ValueError(f"quality: {self.format} is lossless and has no quality")
        if self.lossless and self.format != "webp":
            raise ValueError(f"lossless: {self.format} does not have this option, only webp")
        if self.lossless and self.quality is not None:
            raise ValueError("quality: has no effect with lossless; remove one of them")
        if self.gps and self.metadata == "none":
            raise ValueError("gps: needs metadata: keep")
        return self

    @model_validator(mode="after")
    def _check_heif_is_installed(self) -> Self:
        if self.format == "heif" and find_spec("pillow_heif") is None:
            raise ValueError(f"format: heif: {MissingExtraError.of('pillow-heif', 'heif')}")
        return self

    @property
    def suffix(self) -> str:
        """The suffix of file names, with its dot."""
        return SUFFIXES[self.format][0]

    @property
    def alpha(self) -> bool:
        """Whether the format has transparency."""
        return self.format != "jpeg"


def format_of(name: str) -> Format | None:
    """The format that a file name's suffix asks for; None when it cannot be written."""
    kind = kind_of(name)
    return cast(Format, kind.name) if kind and kind.written else None
