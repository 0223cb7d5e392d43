"""Paints small pictures to compare, sharing all that they have in common."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.model import WEIGHTS_WORDS
from pipeline.config.sections import Limits
from pipeline.config.transfer import INIT_WORDS, Transfer
from pipeline.errors import JobError, UsageError
from pipeline.imaging.sandbox import Decoder
from pipeline.imaging.tensors import to_picture
from pipeline.jobs.job import NO_TIMELAPSE, Job, Progress
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.nst import Iterate, Vgg19, load_weights, stylize
from pipeline.nst.cache import Caches, MemoryCache
from pipeline.nst.devices import choose_device
from pipeline.render.guidance import Sources, build_guide
from pipeline.render.progress import CheckpointWriter, Reporter
from pipeline.render.run_job import use_threads
from pipeline.render.single import check_device_and_weights
from pipeline.render.timelapse import Recorder
from pipeline.render.trials.candidates import Images
from pipeline.system.cores import count_usable_cores
from pipeline.system.paths import real_path

SIDE = 192  # px
# A quarter of a draft's time. Its large forms are settled at 96 px, like a draft's at 128; then a
# few steps give it strokes. No deep content at the finest scale: faces are weaker.
QUICK = Transfer.model_validate(
    {
        "scales": None,
        "steps": (16, 7),
        "depths": (5, 3),
        "content_depths": (1,),
        "block": None,
        "within": None,
    }
)
# A painting is resized to the picture, or to `style_scale` times as much; more is never looked at.
PAINTING_SIDE = 1024  # px
PHOTOS_KEPT = 16  # sets of a photo's features, of which each photo needs two: one for each scale

OnProgress = Callable[[Job, Progress], None]


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """A small picture, and what it was painted from.

    Attributes:
        photo: (3, h, w) in [0, 1].
        paintings: (3, H, W) each.
        picture: (3, h, w).
        styles: The style loss that was left at the end of each scale, coarse to fine: 1 at the
            photo, 0 in the painting's style; empty if no style was wanted.
    """

    photo: Tensor
    paintings: Sequence[Tensor]
    picture: Tensor
    styles: tuple[float, ...]


def quick_options(options: Transfer, size: int) -> Transfer:
    """The options of a small picture that shows what these options do."""
    return options.overlay(QUICK, Transfer(size=size))


@dataclass(slots=True, eq=False)
class QuickPainter(AbstractContextManager["QuickPainter"]):
    """Paints small pictures, one after the other. A context manager.

    The network, the photos and their features, and the decoder's process are made once. The
    statistics of a painting are kept until the next one, so that its photos follow each other.

    Args:
        size: The long side of all pictures, in px.
        weights: Of VGG-19.
        seed: For the noise.
        device: As in the config.
        limits: Of files.

    Raises:
        UsageError: This machine has no such device.
        WeightsError: The weights cannot be used.
    """

    size: int
    weights: str
    seed: int
    device: str
    limits: Limits
    _decoder: Decoder = field(init=False)
    _networks: dict[str, Vgg19] = field(init=False, default_factory=dict)
    _caches: Caches = field(init=False)
    _photos: dict[Path, Tensor] = field(init=False, default_factory=dict)
    _paintings: dict[Path, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        check_device_and_weights(self.device, self.weights)
        use_threads(count_usable_cores())
        self.device = str(choose_device(self.device))
        self._decoder = Decoder(self.limits)
        self._caches = Caches(MemoryCache(8), MemoryCache(PHOTOS_KEPT))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def network(self, pooling: str = "max") -> Vgg19:
        """VGG-19 on the device."""
        if pooling not in self._networks:
            sha256 = "" if self.weights in WEIGHTS_WORDS else digest(Path(self.weights))
            network = Vgg19(load_weights(self.weights, sha256), pooling)
            self._networks[pooling] = network.to(self.device)
        return self._networks[pooling]

    def load_photo(self, path: Path) -> Tensor:
        """A photo (3, h, w), reduced to the size of the pictures.

        Raises:
            UsageError: It cannot be used.
        """
        if path not in self._photos:
            try:
                self._photos[path] = self._load(path, self.size)
            except JobError as error:
                raise UsageError(error.what, where=str(path), hint=error.hint) from None
        return self._photos[path]

    def load_paintings(self, images: Sequence[StyleImage]) -> list[Tensor]:
        """The paintings of a style, (3, h, w) each; they replace those of the style before.

        Raises:
            JobError: One cannot be used.
        """
        known = self._paintings
        self._paintings = {
            image.path: known[image.path]
            if image.path in known
            else self._load(image.path, PAINTING_SIDE)
            for image in images
        }
        return list(self._paintings.values())

    def build_job(self, photo: Path, style: str, images: Images, options: Transfer) -> Job:
        """The job of a small picture.

        Args:
            photo: The photo.
            style: The style's name.
            images: Its paintings.
            options: Those of the full picture.

        Raises:
            ConfigError: A painting cannot be read.
        """
        recipe = Recipe(
            images=tuple(StyleImage(path, share, digest(path)) for path, share in images),
            transfer=quick_options(options, self.size),
            enhance=Enhance(),
            weights=self.weights,
            seed=self.seed,
        )
        return Job(photo.name, photo, digest(photo), style, recipe)

    def paint(self, job: Job, on_progress: OnProgress) -> Painted:
        """Paint one photo in one style.

        Raises:
            UsageError: The photo cannot be used.
            JobError: A painting cannot be used, or the picture cannot be computed.
        """
        options, images = job.recipe.transfer, job.recipe.images
        content, paintings = self.load_photo(job.path), self.load_paintings(images)
        network, report = self.network(options.pooling), _Reporter(job, on_progress)
        picture = stylize(
            content,
            paintings,
            options,
            report,
            shares=[image.weight for image in images],
            init_image=self._init_image(options),
            seed=self.seed,
            device=self.device,
            network=network,
            caches=self._caches,
            guide=build_guide(Sources(content, paintings), options, (), network, self.device),
        )
        left = map(float, report.styles.values()) if options.style_weight else ()
        return Painted(content, paintings, picture, tuple(left))

    def _init_image(self, options: Transfer) -> Tensor | None:
        if options.init in INIT_WORDS:
            return None
        return self._load(Path(options.init), self.size)

    def _load(self, path: Path, long_side: int) -> Tensor:
        return to_picture(self._decoder.decode(real_path(path), long_side)).rgb


class _Reporter:
    """Reports progress, and keeps the style loss at the end of each scale."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        none, no_film = CheckpointWriter(job, None), Recorder(NO_TIMELAPSE)
        self._report = Reporter(
            job, lambda progress: on_progress(job, progress), lambda: False, {}, none, no_film
        )
        self.styles: dict[int, Tensor] = {}  # by scale

    def __call__(self, iterate: Iterate) -> None:
        self.styles[iterate.scale] = iterate.evaluation.terms["style"]
        self._report(iterate)
