"""Sections of config.yaml that stand on their own."""

from importlib.util import find_spec
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.base import FromList, LocalPath, Options
from pipeline.config.patterns import check_pattern
from pipeline.config.transfer import SystemText


class Watch(Options):
    """How the inbox is watched."""

    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        2.0, description="A file is taken once it has not changed for this long."
    )
    scan_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        30.0,
        description="The inbox is scanned at least this often; file-system events only wake the "
        "scan earlier.",
    )
    poll_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        5.0,
        description="The same, where the disk reports no changes (network and container mounts).",
    )
    ignore: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], FromList] = Field(
        (), description="File names to ignore, besides those listed in docs/reliability.md."
    )


Pattern = Annotated[str, Field(min_length=1), AfterValidator(check_pattern)]
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]


class Limits(Options):
    """What one file or one job may use of this machine."""

    pixels: Annotated[int, Field(ge=1, le=2**31)] = Field(
        120_000_000,
        description="Largest photo, as width times height; of an animation one frame is read.",
    )
    bytes: Bytes = Field(512_000_000, description="Largest file of a photo.")
    exif: Bytes = Field(1_000_000, description="EXIF and XMP larger than this are left out.")
    icc: Bytes = Field(8_000_000, description="A colour profile larger than this is left out.")
    animation: Literal["first", "refuse"] = Field(
        "first", description="Of an animation the first frame is painted, or the file is refused."
    )
    damaged: Literal["refuse", "take"] = Field(
        "refuse",
        description="A JPEG that ends early or decodes with errors is refused (`truncated`), or "
        "taken: painted as viewers show it, with a note in the run log.",
    )
    frames: Annotated[int, Field(ge=1, le=2**31)] = Field(
        10_000,
        description="Most frames of an animation or pages of a TIFF; a file with more is refused.",
    )
    decode_seconds: Seconds = Field(60.0, description="Longest time to decode one photo.")
    decode_bytes: Bytes = Field(3 << 30, description="Most memory to decode one photo.")
    side: Annotated[int, Field(ge=16, le=32768)] = Field(
        4096, description="Largest size, in px, that a side file may ask for."
    )
    stall_seconds: Seconds = Field(
        600.0,
        description="A worker that is silent for this long (or for 10 of its longest steps) is "
        "stopped.",
    )
    free_bytes: Bytes = Field(
        100_000_000,
        description="Work pauses below this much free space, or 5 % of a smaller disk.",
    )


class Versions(Options):
    """How many earlier pictures are kept in outbox/.versions; the oldest are removed first."""

    per_pair: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="At most this many earlier versions of each pair of photo and style."
    )
    bytes: Bytes = Field(5_000_000_000, description="At most this many bytes for all of them.")


class Hooks(Options):
    """Programs called with results: an argument list, no shell; the result is JSON on stdin."""

    on_done: Annotated[tuple[SystemText, ...], FromList] = Field(
        (), description="Program and arguments to call after a result."
    )
    on_failed: Annotated[tuple[SystemText, ...], FromList] = Field(
        (), description="The same, after a failure."
    )
    on_batch: Annotated[tuple[SystemText, ...], FromList] = Field(
        (), description="The same, once for all results of a batch; see docs/operations.md."
    )
    batch_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        10.0, description="A batch ends when nothing has been left to do for this long."
    )
    timeout_seconds: Seconds = Field(30.0, description="A program is stopped after this long.")


class Queue(Options):
    """The order in which photos are taken. All jobs of one photo stay together."""

    order: Literal["name", "newest", "oldest", "smallest"] = Field(
        "name", description="By the photos' paths, the times of their files, or their sizes."
    )
    folders: dict[Pattern, Annotated[int, Field(ge=-1000, le=1000)]] = Field(
        {},
        description="Priorities by pattern, relative to the inbox: higher ones first, 0 where no "
        "pattern fits; the first pattern that fits decides.",
    )
    fair: bool = Field(
        True,
        description="Folders take turns, photo by photo, so that a large folder does not hold up "
        "the others.",
    )


class Timelapse(Options):
    """An animation of how a picture develops, beside it. Not part of the recipe."""

    format: Literal["webp", "gif", "mp4", "none"] = Field(
        "webp", description="An animated picture, a video (needs the extra mp4), or none."
    )
    side: Annotated[int, Field(ge=16, le=2048)] = Field(
        320, description="Long side in px; never more than the picture's own."
    )
    frames: Annotated[int, Field(ge=2, le=240)] = Field(
        24, description="At most this many frames, spread evenly over the visible change."
    )
    seconds: Annotated[float, Field(ge=0.5, le=60)] = Field(
        3.0, description="Duration; the finished picture is then shown for a moment."
    )
    stills: Annotated[
        tuple[Annotated[int, Field(ge=1, le=99_999)], ...], Field(max_length=64), FromList
    ] = Field(
        (),
        description="Steps of the job whose picture is also kept, as STEM--STYLE.step-0040.png.",
    )

    @field_validator("format")
    @classmethod
    def _check_mp4_is_installed(cls, value: str) -> str:
        if value == "mp4" and find_spec("av") is None:
            line = 'python -m pip install -e ".[mp4]"'
            raise ValueError(f"mp4 needs PyAV, which is not installed: {line}")
        return value


class Metrics(Options):
    """Metrics for Prometheus."""

    file: LocalPath | None = Field(
        None,
        description="A text file, replaced as a whole each time: NAME.prom in the folder of "
        "node_exporter's textfile collector. Absent: none.",
    )
    listen: Annotated[str, Field(pattern=r"^([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}$")] | None = Field(
        None,
        description="HOST:PORT to serve metrics on, such as 127.0.0.1:9464. Absent: not served.",
    )
    anywhere: bool = Field(
        False, description="Whether listen may be an address that other machines can reach."
    )
    seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        15.0,
        description="Time between two readings of the ledger and the disks, and between two writes "
        "of the file.",
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of ``listen``."""
        host, _, port = (self.listen or "").rpartition(":")
        return (host.strip("[]"), int(port)) if self.listen else None

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        if self.address is None:
            return self
        host, port = self.address
        if port > 65535:
            raise ValueError(f"listen: port {port} is out of range: use one up to 65535")
        if not (self.anywhere or _is_loopback(host)):
            raise ValueError(
                f"listen: other machines can reach {host}, and no token is asked for: "
                "listen on 127.0.0.1, or set anywhere: true"
            )
        return self


class Log(Options):
    """The log of the service, one JSON object a line; docs/operations.md lists the events."""

    file: LocalPath | None = Field(
        None,
        description="Where the log is written. Absent: logs/pipeline.jsonl in the state folder.",
    )
    level: Literal["debug", "info", "warning", "error", "off"] = Field(
        "info", description="The lowest level that is logged."
    )
    bytes: Annotated[int, Field(ge=10_000, le=1 << 40)] = Field(
        10_000_000, description="A log file that would grow beyond this is rotated."
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="How many rotated files are kept, as NAME.1 and so on."
    )


class Serve(Options):
    """The gallery as a local web page, live (`pipeline serve`)."""

    host: Annotated[SystemText, Field(min_length=1)] = Field(
        "127.0.0.1", description="Address to listen on; any but this machine's own needs a token."
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8765, description="The port; 0 takes any that is free."
    )
    token: Annotated[str, Field(min_length=16)] | None = Field(
        None,
        description="The token that a visitor must present. Absent: none on this machine's own "
        "address; elsewhere a new one at each start.",
    )
    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], FromList] = Field(
        (), description="Host names that requests may use, besides localhost and IP addresses."
    )
    upload: bool = Field(True, description="Whether visitors may upload photos into the inbox.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Cluster(Options):
    """The cluster of ``engine: ray``."""

    address: Annotated[
        str,
        Field(pattern=r"^(auto|local|(ray://)?[\w.-]+:\d{1,5}|(ray://)?\[[0-9a-f:]+\]:\d{1,5})$"),
    ] = Field(
        "auto",
        description="auto: the cluster that this machine belongs to; local: one of this machine's "
        "own, for as long as the run; HOST:PORT or ray://HOST:PORT: another one.",
    )
    connect_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30.0, description="An address that does not answer within this time is an error."
    )
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = Field(
        None,
        description="CPUs declared for each worker. Absent: 1 beside a GPU, else all of a node.",
    )
    gpus: Annotated[float, Field(ge=0, le=8)] | None = Field(
        None,
        description="GPUs declared for each worker; 0.5: two share one. Absent: 1 where any node "
        "has one, else 0.",
    )
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="At most this many workers. Absent: as many as the cluster has room for."
    )
