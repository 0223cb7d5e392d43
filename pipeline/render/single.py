"""Renders one picture without inbox and outbox: `stylize`."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from pipeline.config.enhancement import Enhance
from pipeline.config.file_kinds import FILMS_LISTED, WRITTEN_LISTED
from pipeline.config.model import WEIGHTS_WORDS
from pipeline.config.output import SUFFIXES, OutputFormat, format_of
from pipeline.config.regions.options import MAP_NAME, RegionOptions, unknown_colors
from pipeline.config.sections import Limits, Timelapse
from pipeline.config.transfer import INIT_WORDS, Transfer
from pipeline.errors import EngineError, InputError, JobError, UsageError
from pipeline.imaging.masks import check_mask
from pipeline.imaging.sandbox import Decoder
from pipeline.jobs.job import MARKS, Job, JobResult, Kind, Output, Progress
from pipeline.jobs.provenance import Provenance
from pipeline.jobs.recipe import (
    PLAIN_OUTPUT,
    MaskFile,
    Masks,
    Recipe,
    StyleImage,
    build_regions,
    digest,
)
from pipeline.nst import load_weights
from pipeline.nst.devices import choose_device
from pipeline.render.output_files import Target, check_target
from pipeline.render.run_job import Workspace, run_job, use_threads
from pipeline.system.cores import count_usable_cores
from pipeline.system.near_names import nearest_name, nearest_path
from pipeline.system.paths import is_folder, is_web_address, why_web_address


@dataclass(frozen=True, slots=True)
class Order:
    """What the user ordered on the command line."""

    content: Path
    styles: tuple[tuple[Path, float], ...]
    transfer: Transfer
    enhance: Enhance
    weights: str
    seed: int
    device: str
    film: Path | None = None  # the timelapse; its suffix decides the format
    output: OutputFormat = PLAIN_OUTPUT
    force: bool = False  # also replace files that this program may not have made
    config: Path | None = None  # the config file that was read
    regions: Mapping[str, RegionOptions] = field(default_factory=dict)
    paintings: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)  # of regions
    masks: Mapping[str, Path] = field(default_factory=dict)  # by region; MAP_NAME: a map

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All files that the order reads."""
        named = [self.content, *(path for path, _ in self.styles), self.config]
        named += [Path(self.transfer.init)] if self.transfer.init not in INIT_WORDS else []
        named += [Path(self.weights)] if self.weights not in WEIGHTS_WORDS else []
        named += [self.enhance.enlarging_model, *self.masks.values()]
        named += [path for paths in self.paintings.values() for path in paths]
        return tuple(Path(path) for path in named if path)

    def build_job(self) -> Job:
        """Build the job that fulfils the order."""
        total = sum(weight for _, weight in self.styles)
        images = tuple(StyleImage(p, w / total, digest(p)) for p, w in self.styles)
        init, weights = self.transfer.init, self.weights
        model = self.enhance.enlarging_model
        files = {name: MaskFile(path, digest(path)) for name, path in self.masks.items()}
        paintings = {
            name: tuple(StyleImage(path, 1 / len(paths), digest(path)) for path in paths)
            for name, paths in self.paintings.items()
        }
        masks = Masks(files, files.pop(MAP_NAME, None))
        recipe = Recipe(
            images=images,
            transfer=self.transfer,
            enhance=self.enhance,
            weights=weights,
            seed=self.seed,
            weights_sha256=weights if weights in WEIGHTS_WORDS else digest(Path(weights)),
            init_sha256="" if init in INIT_WORDS else digest(Path(init)),
            upscale_sha256=digest(model) if model else "",
            output=self.output,
            regions=build_regions(self.regions, paintings, masks, images),
        )
        style = "+".join(path.stem for path, _ in self.styles)
        return Job(self.content.name, self.content, digest(self.content), style, recipe)


def check_masks(order: Order) -> None:
    """Check the masks of an order before minutes of work are spent on it.

    Raises:
        UsageError: One cannot be used.
    """
    with closing(Decoder(Limits())) as decoder:
        for name, path in order.masks.items():
            where, is_map = f"--mask {name}", name == MAP_NAME
            try:
                colors = check_mask(decoder, path, order.content, is_map=is_map)
            except InputError as error:
                raise UsageError(error.what, where=where, hint=error.hint) from None
            if unknown := unknown_colors(colors, order.regions):
                listed = ", ".join(f"{color} ({share:.0%} of it)" for color, share in unknown[:4])
                hint = f"add --region NAME.color={unknown[0][0]}, or paint it black"
                raise UsageError(f"no region has the colour {listed}", where=where, hint=hint)


OnJob = Callable[[Job, Progress], None]


def check_targets(order: Order, out: Path) -> dict[Kind, Target]:
    """Check where the pictures of an order go: ``out``, its enhanced version, and the film.

    Raises:
        UsageError: One of the files must not be written.
    """
    check_out(out)
    places: dict[Kind, Path] = {
        kind: out.with_name(out.stem + MARKS[kind] + out.suffix)
        for kind in ("stylized", "enhanced")
    }
    if order.film:
        check_film(order.film)
        places["timelapse"] = order.film
    check_distinct([*places.values()])
    return {
        kind: check_target(path, order.inputs, force=order.force) for kind, path in places.items()
    }


def stylize_file(order: Order, out: Path, on_progress: OnJob) -> JobResult:
    """Render one picture to ``out``, and its enhanced version beside it: see `render`."""
    places = check_targets(order, out)
    check_device_and_weights(order.device, order.weights)
    with render(order.build_job(), order.device, out.parent, on_progress, order.film) as result:
        return replace(result, outputs=_place(result.outputs, places))


def stylize_one(
    job: Job, made: Provenance, limits: Limits, device: str, place: Target, on_progress: OnJob
) -> JobResult:
    """Run the job of a record again and keep the picture that holds it: see `render`.

    ``limits`` are the user's own, for files that may come from anywhere.
    """
    check_device_and_weights(device, job.recipe.weights)
    kind, folder = made.kind, place.path.parent
    like = Workspace(device, folder, made.decoding_limits(limits), block=made.block or 0)
    with render(job, device, folder, on_progress, like=like) as result:
        wanted = [output for output in result.outputs if output.kind == kind]
        return replace(result, outputs=_place(wanted, {kind: place}))


def _place(outputs: Iterable[Output], places: Mapping[Kind, Target]) -> tuple[Output, ...]:
    """Move finished files to their names: all of them, even if one name is taken."""
    placed, first_error = [], None
    for output in outputs:
        place = places[output.kind]
        try:
            place.place(Path(output.path))
        except UsageError as error:
            first_error = first_error or error
        placed.append(replace(output, path=str(place.path)))
    if first_error is not None:
        raise first_error
    return tuple(placed)


def check_distinct(places: Sequence[Path]) -> None:
    """Refuse two results with the same name."""
    for number, place in enumerate(places):
        if place.absolute() in [other.absolute() for other in places[:number]]:
            hint = "give them different names"
            raise UsageError("two results would have this name", where=str(place), hint=hint)


@contextmanager
def render(
    job: Job,
    device: str,
    folder: Path,
    on_progress: OnJob,
    film: Path | None = None,
    like: Workspace | None = None,
) -> Iterator[JobResult]:
    """Run a job; its files are in a hidden folder within ``folder`` until the block ends.

    With the limits and blocks of the workspace ``like``, or the defaults.

    Raises:
        UsageError: There is no such device, or the picture cannot be written.
        WeightsError: The weights cannot be used.
        JobError: The job fails.
    """
    use_threads(
        count_usable_cores()
    )  # as many as a worker uses: the same sums, and so the same bytes
    # Next to the result, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pipeline-") as name:
        workspace = like or Workspace(device, Path(name), timelapse=_timelapse(film))
        workspace = replace(workspace, staging=Path(name))
        result = run_job(job, workspace, partial(on_progress, job), lambda: False)
        if result.error is not None:
            raise JobError(result.error.message, code=result.error.code)
        yield result


def _timelapse(film: Path | None) -> Timelapse:
    return Timelapse.model_validate({"format": film.suffix[1:].lower() if film else "none"})


def check_device_and_weights(device: str, weights: str) -> None:
    """Refuse a device or weights that this machine does not have, as wrong usage."""
    try:
        choose_device(device)
    except EngineError as error:
        raise UsageError(error.what, where="--device", hint=error.hint) from None
    if weights != "embedded":
        load_weights(weights)


def check_out(out: Path) -> None:
    """Refuse an impossible output before minutes of work are spent on it."""
    if format_of(out.name) is None:
        known = [suffix for suffixes in SUFFIXES.values() for suffix in suffixes]
        near = nearest_name(out.suffix, known, cutoff=0.75) if out.suffix else None
        hint = f"did you mean {out.stem}{near}?" if near else f"name it {WRITTEN_LISTED}"
        raise UsageError(f"{out.name!r} is not the name of a picture", where="-o", hint=hint)
    check_folder(out)


def check_film(film: Path) -> None:
    """Refuse an impossible timelapse before minutes of work are spent on it."""
    try:
        settings = _timelapse(film)
    except ValidationError as error:
        (first, *_) = error.errors()
        known = first["type"] == "value_error"  # MP4, but PyAV is not installed
        hint = str(first["ctx"]["error"]) if known else f"name it {FILMS_LISTED}"
        raise UsageError(
            f"{film.name!r} cannot be written", where="--timelapse", hint=hint
        ) from None
    if settings.format == "none":
        hint = f"name it {FILMS_LISTED}"
        raise UsageError(
            f"{film.name!r} is not the name of an animation", where="--timelapse", hint=hint
        )
    check_folder(film)


def check_folder(out: Path) -> None:
    """Refuse a name that no file can have, because of its folder.

    Raises:
        UsageError: It is a folder, or there is no folder for it that can be written to.
    """
    if is_folder(out):
        raise UsageError("is a folder", where=str(out), hint="give a file name")
    if is_web_address(str(out)):
        what, _ = why_web_address(str(out))
        raise UsageError(what, where=str(out), hint="name a file on this machine")
    if not is_folder(out.parent):
        near = nearest_path(out.parent, folder=True)
        hint = f"did you mean {str(near)!r}?" if near else "create the folder"
        raise UsageError("there is no such folder", where=str(out.parent), hint=hint)
    if not os.access(out.parent, os.W_OK):
        hint = "choose a folder that you may write to"
        raise UsageError("cannot be written to", where=str(out.parent), hint=hint)
