"""Sections of config.yaml that stand on their own."""

from typing import Annotated

from pydantic import Field

from pipeline.options import FromList, Options


class Watch(Options):
    """How the inbox is watched."""

    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        2.0, description="A file is taken once it has not changed for this long."
    )
    scan_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        30.0, description="The inbox is read through at least this often; watchdog only wakes it."
    )
    poll_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        5.0, description="The same, where the disk reports no changes (network, container mounts)."
    )
    ignore: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], FromList] = Field(
        (), description="Names to leave alone, besides those listed in docs/reliability.md."
    )


Bytes = Annotated[int, Field(ge=0, le=1 << 50)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]


class Limits(Options):
    """What one file or one job may ask of this machine."""

    pixels: Annotated[int, Field(ge=1, le=2**31)] = Field(
        120_000_000, description="Width times height of a photo; of an animation one frame is read."
    )
    bytes: Bytes = Field(512_000_000, description="Size of a photo's file.")
    exif: Bytes = Field(1_000_000, description="EXIF and XMP beyond this are left out.")
    icc: Bytes = Field(8_000_000, description="A colour profile beyond this is left out.")
    decode_seconds: Seconds = Field(60.0, description="Time to decode one photo.")
    decode_bytes: Bytes = Field(3 << 30, description="Memory to decode one photo.")
    side: Annotated[int, Field(ge=16, le=32768)] = Field(
        4096, description="Largest size, in px, that a side file may ask for."
    )
    stall_seconds: Seconds = Field(
        600.0, description="A worker silent for this long (or 10 of its longest steps) is ended."
    )
    free_bytes: Bytes = Field(
        100_000_000,
        description="Work pauses below this much free space, or 5 % of a smaller disk.",
    )


class Hooks(Options):
    """Programs told of results: an argument list, no shell; the result as JSON on stdin."""

    on_done: Annotated[tuple[str, ...], FromList] = Field(
        (), description="Program and arguments, called after a result."
    )
    on_failed: Annotated[tuple[str, ...], FromList] = Field(
        (), description="The same, after a failure."
    )
    timeout_seconds: Seconds = Field(30.0, description="A program is ended after so long.")


class Queue(Options):
    """In which order photos are taken."""


class Timelapse(Options):
    """The picture's growth, as an animation."""


class Metrics(Options):
    """Figures for those who watch over machines."""


class Serve(Options):
    """The gallery as a local web page, live (`pipeline serve`)."""
