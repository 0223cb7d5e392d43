"""Job, Recipe, JobState, JobResult, and the plan: inbox x manifest - done.

Plain frozen data that crosses process walls, and pure functions of it.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Literal

from pipeline.config.enhancement import Enhance
from pipeline.config.model import WEIGHTS_WORDS
from pipeline.errors import Reason
from pipeline.config.output import OutputFormat
from pipeline.config.manifest import Manifest, Style
from pipeline.config.base import Options
from pipeline.config.transfer import Transfer
from pipeline.config.sections import Limits, Timelapse

# Raised when the same options would give visibly different pixels: pairs are then made anew.
ENGINE_VERSION = 12

Status = Literal["done", "failed", "skipped"]
Kind = Literal["stylized", "enhanced", "timelapse", "still"]

# What follows the name of a pair in the outbox, before the suffix of the file's format.
MARKS: dict[Kind, str] = {"stylized": "", "enhanced": ".enhanced", "timelapse": ".timelapse"}
LONGEST_SUFFIX = ".timelapse.webp"


class JobState(StrEnum):
    """Where a pair of photo and style stands, in the order of its life."""

    QUEUED = "queued"
    RUNNING = "running"
    STAGED = "staged"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class StyleImage:
    """A painting, its share of the blend (shares sum to 1) and what it holds."""

    path: Path
    weight: float
    sha256: str


PLAIN_OUTPUT = OutputFormat()  # the defaults


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the pixels of a result besides the photo. The device is not part of it."""

    images: tuple[StyleImage, ...]
    transfer: Transfer
    enhance: Enhance
    weights: str  # where VGG-19 comes from: embedded, torchvision or a path
    seed: int
    weights_sha256: str = ""
    init_sha256: str = ""
    upscale_sha256: str = ""  # of the learned model, where one enlarges
    output: OutputFormat = PLAIN_OUTPUT

    # Computed once: a plan of ten thousand photos asks for it as often.
    _digest: str = field(default="", init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits; equal recipes give equal digits on every machine."""
        if not self._digest:
            object.__setattr__(self, "_digest", self._compute())
        return self._digest

    @property
    def files(self) -> dict[Path, str]:
        """The files that it is made of, and the SHA-256 of what they must hold."""
        named = [(image.path, image.sha256) for image in self.images]
        if self.init_sha256:
            named.append((Path(self.transfer.init), self.init_sha256))
        if self.weights_sha256 and self.weights not in WEIGHTS_WORDS:
            named.append((Path(self.weights), self.weights_sha256))
        if self.upscale_sha256 and self.enhance.upscale_model is not None:
            named.append((self.enhance.upscale_model, self.upscale_sha256))
        return dict(named)

    def _compute(self) -> str:
        # The start image counts by what it holds, not by where it lies.
        init = {"init": self.init_sha256} if self.init_sha256 else {}
        model = {"upscale_model": self.upscale_sha256} if self.upscale_sha256 else {}
        parts = {
            "engine": ENGINE_VERSION,
            "images": [(image.sha256, round(image.weight, 9)) for image in self.images],
            # Options at their defaults are left out: an option that is new in a version makes
            # nothing anew. A default that changes raises ENGINE_VERSION instead.
            "transfer": differing(self.transfer, {"block"}) | init,
            "enhance": differing(self.enhance, {"upscale_model"}) | model,
            "output": differing(self.output),
            "weights": self.weights_sha256 or self.weights,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Photo:
    """A content image in the inbox that is still, and what it holds."""

    content: str  # path relative to the inbox, "/" between folders; surrogateescape for odd bytes
    path: Path
    sha256: str
    # By style, where side files ask for their own; None: it waits for a file that it needs.
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
    caution: int = 0  # how often its last way of failing was seen: each time a safer profile

    @property
    def id(self) -> str:
        """12 hexadecimal digits that name this photo, this style and this recipe."""
        return _name(self.content, self.sha256, self.style, self.recipe.digest)


@lru_cache(maxsize=1024)  # a fleet's jobs are asked for their names many times a second
def _name(*parts: str) -> str:
    key = "\0".join(parts)
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]


NO_LIMITS_SET = Limits()  # the defaults
NO_TIMELAPSE_SET = Timelapse(format="none")


class Interrupted(Exception):
    """A job was asked to stop: its checkpoint is kept and nothing is held against it."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a job is done: the device, the folder its pictures are staged in, what it may take."""

    device: str
    staging: Path
    limits: Limits = NO_LIMITS_SET
    checkpoints: Path | None = None  # absent: an interrupted job starts anew
    timelapse: Timelapse = NO_TIMELAPSE_SET


@dataclass(frozen=True, slots=True)
class Output:
    """A published or staged picture."""

    kind: Kind
    path: str  # relative to the outbox once published; absolute while staged
    sha256: str
    bytes: int
    width: int
    height: int

    def under(self, stem: str) -> "Output":
        """This picture as it stands in the outbox under a name without suffix."""
        return replace(self, path=stem + self._ending(PurePath(self.path)))

    @property
    def stem(self) -> str:
        """The name without suffix that this picture stands under in the outbox."""
        return self.path.removesuffix(self._ending(PurePath(self.path)))

    def _ending(self, place: PurePath) -> str:
        step = place.stem.rpartition(".")[2]  # of a still: step-0040
        return MARKS.get(self.kind, f".{step}") + place.suffix


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something was not done: a stable reason code and one clear line."""

    code: Reason
    message: str


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
    notes: Sequence[str] = ()  # what of the photo's file was left out of account


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a running job.

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


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger holds of a pair."""

    job: str
    sha256: str
    recipe: str
    state: JobState
    content: str
    restored: str = ""  # the photo (SHA-256) for which an earlier version was brought back

    def stays_for(self, photo: str) -> bool:
        """Whether an earlier version was brought back, and is to stay for a photo (SHA-256)."""
        here = photo in (self.restored, self.sha256)
        return bool(self.restored) and self.state is JobState.DONE and here

    closed: bool = False  # the photo has left the inbox
    past: dict[str, "Known"] = field(default_factory=dict)  # by SHA-256: photos of the same name

    def of(self, sha256: str) -> "Known | None":
        """What is known of the photo with these bytes; else of the one whose place it has taken.

        None where that one had left the inbox: then this is another photo under the same name.
        """
        here = sha256 in (self.sha256, self.restored)
        if not here and (sha256 in self.past or self.closed):
            return self.past.get(sha256)
        return self


Verdict = Literal["new", "photo changed", "recipe changed", "unfinished"]
Settled = Literal["done", "restored", "failed before", "duplicate", "no match", "style waits"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One pair, and why something or nothing is to be done about it."""

    content: str
    style: str
    why: Verdict | Settled
    job: Job | None = None
    same_as: str = ""  # content whose result, finished or coming, this one shares

    @property
    def due(self) -> bool:
        """Whether a picture is to be made."""
        return self.why in ("new", "photo changed", "recipe changed", "unfinished")


def plan_jobs(
    photos: Iterable[Photo],
    manifest: Manifest,
    recipe_of: Callable[[Style], Recipe | None],
    known: Mapping[tuple[str, str], Known],
    finished: Mapping[tuple[str, str, str], str],
) -> list[Planned]:
    """What is missing in the outbox, photo by photo (so that a photo's features are reused).

    Args:
        photos: The still photos of the inbox.
        manifest: Styles and rules.
        recipe_of: The full recipe of a style; None while a file that it needs cannot be read.
        known: The ledger's pairs by (content, style).
        finished: Content of a finished result by (sha256, style, recipe digest).
    """
    plan: list[Planned] = []
    recipes = {name: recipe_of(style) for name, style in manifest.styles.items()}
    promised = dict(finished)
    for photo in photos:
        names: Iterable[str] = [style.name for style in manifest.styles_for(photo.content)]
        theirs: Mapping[str, Recipe | None] = recipes
        if photo.recipes is not None:
            names, theirs = photo.recipes, photo.recipes
        if not names:
            plan.append(Planned(photo.content, "", "no match"))
        for name in names:
            recipe = theirs[name]
            if recipe is None:
                plan.append(Planned(photo.content, name, "style waits"))
                continue
            pair = _plan_pair(photo, name, recipe, known, promised)
            if pair.due:
                promised.setdefault((photo.sha256, name, recipe.digest), photo.content)
            plan.append(pair)
    return plan


def _plan_pair(
    photo: Photo,
    style: str,
    recipe: Recipe,
    known: Mapping[tuple[str, str], Known],
    promised: Mapping[tuple[str, str, str], str],
) -> Planned:
    job = Job(photo.content, photo.path, photo.sha256, style, recipe)
    latest = known.get((photo.content, style))
    before = latest and latest.of(photo.sha256)
    same = before and (before.sha256, before.recipe) == (photo.sha256, recipe.digest)
    if before and same and before.state is JobState.DONE:
        return Planned(photo.content, style, "done")
    if before and same and before.state is JobState.FAILED:
        return Planned(photo.content, style, "failed before")
    if before and before.stays_for(photo.sha256):
        return Planned(photo.content, style, "restored")
    twin = promised.get((photo.sha256, style, recipe.digest))
    if twin is not None and twin != photo.content:
        told = bool(before and same and before.state is JobState.SKIPPED)
        return Planned(photo.content, style, "done" if told else "duplicate", job, twin)
    return Planned(photo.content, style, _why(before, photo, recipe.digest), job)


def _why(before: Known | None, photo: Photo, digest: str) -> Verdict:
    if before is None:
        return "new"
    if before.sha256 != photo.sha256:
        return "photo changed"
    return "recipe changed" if before.recipe != digest else "unfinished"


def differing(options: Options, exclude: Collection[str] = ()) -> dict[str, object]:
    """Options that are not at their defaults."""
    return options.model_dump(mode="json", exclude=set(exclude), exclude_defaults=True)
