"""The simple sections of config.yaml. How to add a key: see `pipeline.config.model`."""

from importlib.util import find_spec
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.base import FilePath, FromList, Options
from pipeline.config.patterns import check_pattern
from pipeline.config.transfer import SystemText
from pipeline.errors import install_command


class Watch(Options):
    """How the inbox is watched."""

    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        2.0, description="A file is taken once it has not changed for this many seconds."
    )
    scan_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        30.0,
        description="The longest time between two scans of the inbox, in seconds. A "
        "file-system event starts a scan earlier.",
    )
    poll_seconds: Annotated[float, Field(gt=0, le=86400)] = Field(
        5.0,
        description="The same for a disk that does not report file-system events, such as a "
        "network or container mount.",
    )
    ignore: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], FromList] = Field(
        (), description="File names to ignore, in addition to those listed in docs/reliability.md."
    )


Pattern = Annotated[str, Field(min_length=1), AfterValidator(check_pattern)]
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]


class Limits(Options):
    """Limits for one file or one job. Sizes are in bytes, times in seconds."""

    pixels: Annotated[int, Field(ge=1, le=2**31)] = Field(
        120_000_000,
        description="Largest photo: width times height; of an animation, that of one frame.",
    )
    bytes: Bytes = Field(512_000_000, description="Largest file size of a photo.")
    exif: Bytes = Field(1_000_000, description="EXIF or XMP larger than this is ignored.")
    icc: Bytes = Field(8_000_000, description="A colour profile larger than this is ignored.")
    animation: Literal["first", "refuse"] = Field(
        "first",
        description="What happens to an animation: its first frame is painted, or the file "
        "is refused.",
    )
    damaged: Literal["refuse", "take"] = Field(
        "refuse",
        description="What happens to a JPEG that ends early or decodes with errors: it is "
        "refused (`truncated`), or taken and painted as viewers show it, with a "
        "note in the run log.",
    )
    frames: Annotated[int, Field(ge=1, le=2**31)] = Field(
        10_000,
        description="Largest number of frames in an animation or pages in a TIFF; a file "
        "with more is refused.",
    )
    decode_seconds: Seconds = Field(60.0, description="Longest time to decode one photo.")
    decode_bytes: Bytes = Field(3 << 30, description="Maximum memory to decode one photo.")
    side: Annotated[int, Field(ge=16, le=32768)] = Field(
        4096, description="Largest size in px that a side file may set."
    )
    stall_seconds: Seconds = Field(
        600.0,
        description="A worker is stopped when it sends nothing for this many seconds (or for ten "
        "times its longest step, if that is more).",
    )
    free_bytes: Bytes = Field(
        100_000_000,
        description="Work pauses when a disk has less free space than this, or than 5 % of the "
        "disk if that is less.",
    )


class Versions(Options):
    """How many earlier versions outbox/.versions keeps; the oldest are removed first."""

    per_pair: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="At most this many earlier versions of each pair of photo and style."
    )
    bytes: Bytes = Field(5_000_000_000, description="At most this many bytes in total.")


class Hooks(Options):
    """Programs to start, without a shell. Each gets the result as JSON on stdin."""

    on_done: Annotated[tuple[SystemText, ...], FromList] = Field(
        (), description="Program to start after each finished pair, with its arguments."
    )
    on_failed: Annotated[tuple[SystemText, ...], FromList] = Field(
        (), description="Program to start after each failed pair, with its arguments."
    )
    on_batch: Annotated[tuple[SystemText, ...], FromList] = Field(
        (),
        description="Program to start once after each batch of results, with its arguments; "
        "see docs/operations.md.",
    )
    batch_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        10.0, description="A batch ends when there has been nothing to do for this many seconds."
    )
    timeout_seconds: Seconds = Field(
        30.0, description="A program that runs for longer than this many seconds is stopped."
    )


class Queue(Options):
    """The order in which photos are painted. All jobs of one photo stay together."""

    order: Literal["name", "newest", "oldest", "smallest"] = Field(
        "name",
        description="Sort by path (name), by the time of the file (newest, oldest) or by "
        "file size (smallest).",
    )
    folders: dict[Pattern, Annotated[int, Field(ge=-1000, le=1000)]] = Field(
        {},
        description="Priorities by pattern, relative to the inbox; higher numbers first. "
        "The first pattern that matches a photo applies; without a match the "
        "priority is 0.",
    )
    fair: bool = Field(
        True,
        description="Folders take turns, photo by photo, so that a large folder does not "
        "delay the others.",
    )


class Timelapse(Options):
    """A short animation of how a picture was painted, in a file beside it.

    A change here paints no picture again.
    """

    format: Literal["webp", "gif", "mp4", "none"] = Field(
        "webp",
        description="The file format: an animated webp or gif, a video (mp4, needs the "
        "extra `[mp4]`), or none.",
    )
    side: Annotated[int, Field(ge=16, le=2048)] = Field(
        320, description="Long side in px, at most that of the picture."
    )
    frames: Annotated[int, Field(ge=2, le=240)] = Field(
        24,
        description="Largest number of frames, chosen so that each shows about the same "
        "amount of change.",
    )
    seconds: Annotated[float, Field(ge=0.5, le=60)] = Field(
        3.0,
        description="Duration in seconds. At the end the finished picture is shown for a "
        "moment longer.",
    )
    stills: Annotated[
        tuple[Annotated[int, Field(ge=1, le=99_999)], ...], Field(max_length=64), FromList
    ] = Field(
        (),
        description="Steps of the job at which the picture is also saved, as "
        "STEM--STYLE.step-0040.png.",
    )

    @field_validator("format")
    @classmethod
    def _check_mp4_is_installed(cls, value: str) -> str:
        if value == "mp4" and find_spec("av") is None:
            raise ValueError(f"mp4 needs PyAV, which is not installed: {install_command('mp4')}")
        return value


class Metrics(Options):
    """Metrics for Prometheus."""

    file: FilePath | None = Field(
        None,
        description="File to write, replaced atomically each time: NAME.prom in the folder "
        "of node_exporter's textfile collector. Default: no file.",
    )
    listen: Annotated[str, Field(pattern=r"^([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}$")] | None = Field(
        None,
        description="HOST:PORT on which to serve the metrics, such as 127.0.0.1:9464. "
        "Default: not served.",
    )
    anywhere: bool = Field(
        False, description="Allow listen to be an address that other machines can reach."
    )
    seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        15.0,
        description="How often the jobs database and the disks are read and the file is "
        "written, in seconds.",
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
                f"listen: other machines can reach {host} without a token: "
                "listen on 127.0.0.1, or set anywhere: true"
            )
        return self


DEFAULT_LOG = "logs/pipeline.jsonl"  # in the state folder


class Log(Options):
    """The log of the service, one JSON object per line; docs/operations.md lists the events."""

    file: FilePath | None = Field(
        None,
        description="The log file. Default: logs/pipeline.jsonl in the state folder.",
    )
    level: Literal["debug", "info", "warning", "error", "off"] = Field(
        "info", description="The lowest level that is logged."
    )
    bytes: Annotated[int, Field(ge=10_000, le=1 << 40)] = Field(
        10_000_000, description="A log file is rotated before it grows larger than this."
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="How many rotated files are kept (NAME.1, NAME.2, ...)."
    )


class Serve(Options):
    """The live gallery as a local web page (`pipeline serve`)."""

    host: Annotated[SystemText, Field(min_length=1)] = Field(
        "127.0.0.1",
        description="The address to listen on. Any address other than this machine's own "
        "requires a token.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8765, description="The port; 0 takes any free port."
    )
    token: Annotated[str, Field(min_length=16)] | None = Field(
        None,
        description="The token that visitors must have. Default: none on this machine's "
        "own address, otherwise a new one at each start.",
    )
    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], FromList] = Field(
        (),
        description="Host names that requests may use, in addition to localhost, the "
        "machine's name and IP addresses.",
    )
    upload: bool = Field(
        True, description="Whether visitors may upload photos into the inbox, and tune styles."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Cluster(Options):
    """The Ray cluster for `engine: ray`."""

    address: Annotated[
        str,
        Field(pattern=r"^(auto|local|(ray://)?[\w.-]+:\d{1,5}|(ray://)?\[[0-9a-f:]+\]:\d{1,5})$"),
    ] = Field(
        "auto",
        description="auto: the cluster that this machine belongs to; local: a temporary "
        "cluster on this machine, for the duration of the run; HOST:PORT or "
        "ray://HOST:PORT: another cluster.",
    )
    connect_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30.0, description="An address that does not answer within this many seconds is an error."
    )
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = Field(
        None,
        description="CPUs reserved for each worker. Default: 1 for a worker with a GPU, "
        "otherwise all CPUs of a node.",
    )
    gpus: Annotated[float, Field(ge=0, le=8)] | None = Field(
        None,
        description="GPUs reserved for each worker; with 0.5, two workers share one. "
        "Default: 1 if any node has a GPU, otherwise 0.",
    )
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Largest number of workers. Default: as many as fit on the cluster."
    )
