"""Rebuilds the job of a picture from the record in it, and finds its files by their SHA-256."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from pydantic import ValidationError

from pipeline.config.file_kinds import PHOTOS, is_photo_name
from pipeline.config.manifest import starter_styles
from pipeline.config.model import BUILTIN, WEIGHTS_WORDS, Config
from pipeline.config.sections import Limits
from pipeline.config.transfer import INIT_WORDS
from pipeline.errors import PipelineError, UsageError
from pipeline.imaging.metadata import read_record
from pipeline.imaging.sandbox import Decoder
from pipeline.jobs.job import Job
from pipeline.jobs.provenance import Ingredient, Provenance, RegionRecord, parse
from pipeline.jobs.recipe import ENGINE_VERSION, Recipe, digest
from pipeline.render.output_files import SMALL
from pipeline.system.paths import is_file, real_path

RegionFiles = list[tuple[tuple[Path, ...], Path | None]]  # paintings and mask of each region


def read_provenance(file: Path) -> Provenance | None:
    """Read the record in a picture; None when there is none.

    Raises:
        InputError: The file cannot be decoded.
    """
    decoder = Decoder(Limits())
    try:
        return parse(read_record(decoder.decode(real_path(file), SMALL).xmp))
    finally:
        decoder.close()


def rebuild_job(
    made: Provenance, file: Path, config: Config | None, sources: Sequence[Path]
) -> Job:
    """Rebuild the job of a picture.

    Raises:
        UsageError: A file is not found, or this version would render a different picture.
    """
    if made.engine != ENGINE_VERSION:
        what = f"made by {made.program}, engine {made.engine}; engine {ENGINE_VERSION} differs"
        raise UsageError(what, where=str(file), hint=f"install {made.program}")
    photo, paintings, init, weights, model, regions = _find_files(made, file, config, sources)
    recipe: Recipe | None = None
    with suppress(ValidationError):
        if not _names_unverified_file(made):
            recipe = made.rebuild_recipe(paintings, init, weights, model, regions)
    if recipe is None or recipe.digest != made.recipe:
        what = "its record does not match this version, or names files without a checksum"
        raise UsageError(what, where=str(file), hint=f"install {made.program}")
    return Job(made.photo.name, photo, made.photo.sha256, made.style, recipe)


def _names_unverified_file(made: Provenance) -> bool:
    """Whether the record names a file without its SHA-256: such a file must not be opened."""
    init = made.transfer.get("init", INIT_WORDS[0])
    return (not made.init_sha256 and init not in INIT_WORDS) or (
        not made.weights_sha256 and made.weights not in WEIGHTS_WORDS
    )


def _find_files(
    made: Provenance, file: Path, config: Config | None, sources: Sequence[Path]
) -> tuple[Path, tuple[Path, ...], Path | None, str, Path | None, RegionFiles]:
    """Find all files that the picture was made of; one error names all missing files."""
    search = _FileSearch(file, config, sources)
    photo = search.find(made.photo, "photo")
    paintings = tuple(search.find(painting, "painting") for painting in made.paintings)
    init, weights, model = None, made.weights, None
    if made.init_sha256:
        name = str(made.transfer.get("init", ""))
        init = search.find(Ingredient(name=name, sha256=made.init_sha256), "start image")
    if made.weights_sha256:
        part = Ingredient(name=made.weights, sha256=made.weights_sha256)
        weights = str(search.find(part, "weights"))
    if made.upscale_sha256:
        enhance = made.enhance if isinstance(made.enhance, dict) else {}
        name = str(enhance.get("upscale_model", ""))[:1024]
        part = Ingredient(name=name, sha256=made.upscale_sha256)
        model = search.find(part, "enlarging model")
    regions = [_find_region(search, region) for region in made.regions]
    if search.missing:
        hint = "put it into the inbox, or give its folder with --sources DIR"
        raise UsageError(f"not found: {'; '.join(search.missing)}", where=str(file), hint=hint)
    return photo, paintings, init, weights, model, regions


def _find_region(
    search: "_FileSearch", region: RegionRecord
) -> tuple[tuple[Path, ...], Path | None]:
    """The paintings and the mask of one region."""
    role = f"of region {region.name}"
    paintings = tuple(search.find(each, f"painting {role}") for each in region.paintings)
    return paintings, search.find(region.mask, f"mask {role}") if region.mask else None


class _FileSearch:
    """Finds files by their SHA-256: first those with the right name, then all of their kind."""

    def __init__(self, file: Path, config: Config | None, sources: Sequence[Path]) -> None:
        self.missing: list[str] = []
        self._named = [*starter_styles().values()]
        self._folders = [*sources, file.parent]
        if config is not None:
            self._named += _list_config_files(config)
            self._folders += [config.inbox, config.archive, config.quarantine]

    def find(self, part: Ingredient, role: str) -> Path:
        """Find a file; when it is missing, note it and return its name."""
        name = part.name.removeprefix(BUILTIN)
        hit = self._find_matching(part.sha256, lambda path: name in (path.name, path.stem))
        suffix = PurePath(name).suffix.lower()
        hit = hit or self._find_matching(part.sha256, lambda path: _is_like(path, suffix))
        if hit is None:
            self.missing.append(f"{role} {part.name} (SHA-256 {part.sha256})")
        return hit or Path(part.name)

    def _find_matching(self, sha256: str, likely: Callable[[Path], bool]) -> Path | None:
        for path in (*self._named, *_list_files(self._folders)):
            if likely(path) and _has_sha256(path, sha256):
                return real_path(path)
        return None


def _is_like(path: Path, suffix: str) -> bool:
    """Whether a file may be one of this suffix: a picture for a picture, else of the suffix."""
    return path.suffix.lower() == suffix or (suffix in PHOTOS and is_photo_name(path.name))


def _list_config_files(config: Config) -> Iterator[Path]:
    sources = [source for style in config.styles.values() for source in style.sources]
    sources += [config.weights, config.transfer.init]
    sources += [style.transfer.init for style in config.styles.values()]
    sources += [str(config.enhance.upscale_model or "")]
    return (Path(source) for source in sources if not source.startswith(BUILTIN))


def _list_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for root, _, names in os.walk(folder):
            yield from (Path(root) / name for name in sorted(names))


def _has_sha256(path: Path, sha256: str) -> bool:
    try:
        return is_file(path) and digest(path) == sha256
    except PipelineError:
        return False
