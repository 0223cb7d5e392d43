"""Photo, job, result, output, progress: plain frozen data that crosses process boundaries."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Literal

from pipeline.config.sections import Limits, Timelapse
from pipeline.errors import Failure
from pipeline.jobs.recipe import Recipe

Status = Literal["done", "failed", "skipped"]
Kind = Literal["stylized", "enhanced", "timelapse", "still"]

# What follows the name of a pair in the outbox, before the suffix of the file's format.
MARKS: dict[Kind, str] = {"stylized": "", "enhanced": ".enhanced", "timelapse": ".timelapse"}


class JobState(StrEnum):
    """The state of a pair of photo and style, in the order in which they follow."""

    QUEUED = "queued"
    RUNNING = "running"
    STAGED = "staged"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Photo:
    """A content image in the inbox that does not change any more, and what it holds."""

    content: str  # path relative to the inbox, "/" between folders; surrogateescape for odd bytes
    path: Path
    sha256: str
    # By style, where side files set options; None: the style waits for a file that it needs.
    recipes: Mapping[str, Recipe | None] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One content image times one style."""

    content: str
    path: Path
    sha256: str
    style: str
    recipe: Recipe
    attempt: int = 0
    caution: int = 0  # how often in a row it failed for the same reason: each time safer settings
    full: Recipe | None = None  # of the picture that replaces this one, where this is a draft

    @property
    def draft(self) -> bool:
        """Whether its picture is a draft."""
        return self.full is not None

    @property
    def id(self) -> str:
        """12 hexadecimal digits that name this photo, this style and this recipe."""
        return _job_id(self.content, self.sha256, self.style, self.recipe.digest)


@lru_cache(maxsize=1024)  # the ids of running jobs are needed many times a second
def _job_id(*parts: str) -> str:
    key = "\0".join(parts)
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]


DEFAULT_LIMITS = Limits()  # the defaults
NO_TIMELAPSE = Timelapse(format="none")


class Interrupted(Exception):
    """A job was asked to stop: its checkpoint is kept and the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a job runs: its device, the folder its pictures are staged in, and its limits."""

    device: str
    staging: Path
    limits: Limits = DEFAULT_LIMITS
    checkpoints: Path | None = None  # absent: an interrupted job starts from the beginning
    timelapse: Timelapse = NO_TIMELAPSE
    block: int = 0  # px: compute in blocks of this side, which the recipe does not ask for


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a result, staged or published."""

    kind: Kind
    path: str  # relative to the outbox once published; absolute while staged
    sha256: str
    bytes: int
    width: int
    height: int

    def with_stem(self, stem: str) -> "Output":
        """This picture as published under a name without suffix."""
        return replace(self, path=stem + self._ending(PurePath(self.path)))

    @property
    def stem(self) -> str:
        """The name without suffix under which this picture is published."""
        return self.path.removesuffix(self._ending(PurePath(self.path)))

    def _ending(self, place: PurePath) -> str:
        step = place.stem.rpartition(".")[2]  # of a still: step-0040
        return MARKS.get(self.kind, f".{step}") + place.suffix


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a picture takes to paint, as exactly as is known once its photo was examined.

    Attributes:
        manner: What of its options and of its photo changes the time of a step.
        units: In pixels of one step down to the deepest VGG block.
    """

    manner: str
    units: float


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended. A failed job is a result, not a crash."""

    job: Job
    status: Status
    seconds: float = 0.0
    device: str = ""
    outputs: tuple[Output, ...] = ()
    losses: Mapping[str, float] = field(default_factory=dict)
    error: Failure | None = None
    curve: Sequence[tuple[int, float, int]] = ()  # step, total loss, scale
    enhanced: Sequence[Mapping[str, object]] = ()  # what each step of the enhancement did
    notes: Sequence[str] = ()  # what of the photo's file was not used; how a target was reached
    target: Mapping[str, object] = field(default_factory=dict)  # the search for `transfer.target`
    within: Mapping[str, object] = field(default_factory=dict)  # what `transfer.within` has chosen
    effort: Effort | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running job has reached.

    ``preview`` is a small picture, height x width x 3 bytes of sRGB, or None when it has not
    changed enough to be worth sending.
    """

    job_id: str
    scale: int
    scales: int
    side: int  # long side of this scale in px
    step: int  # within the whole job
    steps: int
    loss: float
    seconds: float
    seconds_left: float
    preview: tuple[int, int, bytes] | None = None
    finishing: bool = False  # the picture is being enhanced and written


_OUTPUT = tuple(field.name for field in fields(Output))


def outputs_as_json(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    """Pictures as JSON values. (`dataclasses.asdict` copies deeply: ten times the time.)"""
    return [{name: getattr(output, name) for name in _OUTPUT} for output in outputs]
