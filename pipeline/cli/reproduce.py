"""`explain` of a finished picture: how it was made, and the same once more."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.model import BUILTIN, WEIGHTS_WORDS, Config
from pipeline.config.loading import load_config
from pipeline.imaging.sandbox import Decoder
from pipeline.errors import PipelineError, UsageError
from pipeline.config.output import SUFFIXES, format_of
from pipeline.jobs.recipe import ENGINE_VERSION, Recipe
from pipeline.jobs.job import Job
from pipeline.config.file_kinds import is_photo_name
from pipeline.config.manifest import starter_styles
from pipeline.imaging.metadata import recorded
from pipeline.config.transfer import INIT_WORDS
from pipeline.system.paths import is_file, real_path
from pipeline.jobs.provenance import Ingredient, Provenance, parse
from pipeline.jobs.recipe import digest
from pipeline.config.sections import Limits
from pipeline.targets import SMALL, Target, target
from pipeline.system.text import visible

Report = dict[str, Any]


# --- looking --------------------------------------------------------------------------------


def told(file: Path, config: Path) -> Report | None:
    """How a picture was made; None for a file of the inbox, and for what is no picture.

    Raises:
        UsageError: A picture of somebody else's.
    """
    if not is_file(file) or format_of(file.name) is None or _in_inbox(file, config):
        return None
    if (made := read(file)) is None:
        what = "is not in the inbox, and holds no record of how it was made"
        raise UsageError(what, where=str(file))
    return {"file": str(file), "made": made.model_dump(mode="json")}


def read(file: Path) -> Provenance | None:
    """The record in a picture, or None.

    Raises:
        InputError: The file cannot be decoded.
    """
    decoder = Decoder(Limits())
    try:
        return parse(recorded(decoder.decode(real_path(file), SMALL).xmp))
    finally:
        decoder.close()


def text(report: Report) -> str:
    """The report for people."""
    made = report["made"]
    kind = f"the {made['kind']} picture of {made['photo']['name']} in the style {made['style']}"
    parts = [("photo", made["photo"]), *(("painting", painting) for painting in made["paintings"])]
    lines = [
        report["file"],
        f"  {kind}",
        f"  made by {made['program']}, engine {made['engine']}, torch {made['torch'] or 'unknown'}",
        f"  recipe {made['recipe']}, seed {made['seed']}, weights {made['weights']}",
        *(f"  {role:9} {_ingredient(part)}" for role, part in parts),
        *(f"  {key:9} {_options(made[key])}" for key in ("transfer", "enhance", "output")),
        "  `explain FILE --again OUT` paints it once more",
    ]
    return "\n".join(map(visible, lines))


def _ingredient(part: Report) -> str:
    share = f"{part['weight']:.0%}  " if "weight" in part else ""
    return f"{part['name']}  {share}sha256 {part['sha256']}"


def _options(options: Any) -> str:
    if not isinstance(options, dict):
        return json.dumps(options)
    said = (f"{key}: {json.dumps(value)}" for key, value in options.items() if value is not None)
    return ", ".join(said) or "as usual"


def _in_inbox(file: Path, config: Path) -> bool:
    if not is_file(config):
        return False
    root = real_path(load_config(config).inbox)
    # Its folder is resolved, the name is not: a link in the inbox is itself what is asked about.
    place = real_path(file.parent) / file.name
    inside = not file.is_absolute() and os.path.lexists(root / file)
    return inside or place.is_relative_to(root)


# --- the same once more ---------------------------------------------------------------------


def again(
    file: Path,
    out: Path,
    config: Path,
    sources: Sequence[Path],
    device: str,
    as_json: bool,
    force: bool = False,
) -> int:
    """Paint a finished picture once more, as ``out``; returns the exit code.

    Raises:
        UsageError: It holds no record, what it was made of is not found, or this version of the
            program would make another picture.
    """
    made = read(file) if is_file(file) else None
    if made is None:
        mend = "only a picture that this program made can be made again"
        raise UsageError("holds no record of how it was made", where=str(file), mend=mend)
    job = _job(made, file, load_config(config) if is_file(config) else None, sources)
    if format_of(out.name) != job.recipe.output.format:
        mend = f"name it {' or '.join(SUFFIXES[job.recipe.output.format])}"
        raise UsageError(f"{file.name} is {job.recipe.output.format}", where="--again", mend=mend)
    place = target(out, (file, config, *_inputs(job)), force=force)
    return _paint(job, made, place, device, as_json)


def _inputs(job: Job) -> Iterator[Path]:
    """All files that a job is made of."""
    recipe = job.recipe
    yield from (job.path, *(image.path for image in recipe.images))
    named = (recipe.transfer.init, recipe.weights, recipe.enhance.enlarging_model)
    yield from (Path(name) for name in named if name)


def _paint(job: Job, made: Provenance, place: Target, device: str, as_json: bool) -> int:
    from pipeline.cli import order as ordering  # it loads torch, which merely looking must not
    from pipeline.render.single import check_out, stylize_one

    out = place.path
    check_out(out)
    with ordering.shown(job.path, job.recipe.transfer, device, out, silent=as_json) as face:
        result = stylize_one(job, made.kind, device, place, face.progress)
        face.done(result)
    if as_json:
        print(json.dumps(ordering.report(result)))
    return 0


def _job(made: Provenance, file: Path, config: Config | None, sources: Sequence[Path]) -> Job:
    if made.engine != ENGINE_VERSION:
        what = f"made by {made.program}, engine {made.engine}; engine {ENGINE_VERSION} differs"
        raise UsageError(what, where=str(file), mend=f"install {made.program}")
    photo, paintings, init, weights, model = _found(made, file, config, sources)
    recipe: Recipe | None = None
    with suppress(ValidationError):
        if not _unproven(made):
            recipe = made.rebuilt(paintings, init, weights, model)
    if recipe is None or recipe.digest != made.recipe:
        what = "its options mean something else to this version, or name files it does not hold"
        raise UsageError(what, where=str(file), mend=f"install {made.program}")
    return Job(made.photo.name, photo, made.photo.sha256, made.style, recipe)


def _unproven(made: Provenance) -> bool:
    """Whether it names a file without saying what that holds: a stranger's, never to be opened."""
    init = made.transfer.get("init", INIT_WORDS[0])
    return (not made.init_sha256 and init not in INIT_WORDS) or (
        not made.weights_sha256 and made.weights not in WEIGHTS_WORDS
    )


def _found(
    made: Provenance, file: Path, config: Config | None, sources: Sequence[Path]
) -> tuple[Path, tuple[Path, ...], Path | None, str, Path | None]:
    """Everything the picture was made of; all that is missing is named at once."""
    search = _Search(file, config, sources)
    photo = search(made.photo, "photo")
    paintings = tuple(search(painting, "painting") for painting in made.paintings)
    init, weights, model = None, made.weights, None
    if made.init_sha256:
        name = str(made.transfer.get("init", ""))
        init = search(Ingredient(name=name, sha256=made.init_sha256), "start image")
    if made.weights_sha256:
        part = Ingredient(name=made.weights, sha256=made.weights_sha256)
        weights = str(search(part, "weights"))
    if made.upscale_sha256:
        enhance = made.enhance if isinstance(made.enhance, dict) else {}
        name = str(enhance.get("upscale_model", ""))[:1024]
        part = Ingredient(name=name, sha256=made.upscale_sha256)
        model = search(part, "enlarging model")
    if search.missing:
        mend = "put it into the inbox, or name its folder with --sources DIR"
        raise UsageError(f"not found: {'; '.join(search.missing)}", where=str(file), mend=mend)
    return photo, paintings, init, weights, model


class _Search:
    """Finds files by what they hold: those of the right name first, then every picture."""

    def __init__(self, file: Path, config: Config | None, sources: Sequence[Path]) -> None:
        self.missing: list[str] = []
        self._named = [*starter_styles().values()]
        self._folders = [*sources, file.parent]
        if config is not None:
            self._named += _files_of(config)
            self._folders += [config.inbox, config.archive, config.quarantine]

    def __call__(self, part: Ingredient, role: str) -> Path:
        name = part.name.removeprefix(BUILTIN)
        hit = self._holding(part.sha256, lambda path: name in (path.name, path.stem))
        hit = hit or self._holding(part.sha256, lambda path: is_photo_name(path.name))
        if hit is None:
            self.missing.append(f"{role} {part.name} (SHA-256 {part.sha256})")
        return hit or Path(part.name)

    def _holding(self, sha256: str, likely: Callable[[Path], bool]) -> Path | None:
        for path in (*self._named, *_below(self._folders)):
            if likely(path) and _holds(path, sha256):
                return real_path(path)
        return None


def _files_of(config: Config) -> Iterator[Path]:
    sources = [source for style in config.styles.values() for source in style.sources]
    sources += [config.weights, config.transfer.init]
    sources += [style.transfer.init for style in config.styles.values()]
    sources += [str(config.enhance.upscale_model or "")]
    return (Path(source) for source in sources if not source.startswith(BUILTIN))


def _below(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for root, _, names in os.walk(folder):
            yield from (Path(root) / name for name in sorted(names))


def _holds(path: Path, sha256: str) -> bool:
    try:
        return is_file(path) and digest(path) == sha256
    except PipelineError:
        return False
