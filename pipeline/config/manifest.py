"""Styles and match rules: which styles a content image gets."""

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from pipeline.config.model import BUILTIN, WEIGHTS_WORDS, Config, MatchRule
from pipeline.config.paintings.folder import style_name
from pipeline.config.patterns import matches
from pipeline.config.picture_files import picture_problem
from pipeline.config.regions.options import RegionOptions, check_colors, merge_regions
from pipeline.config.transfer import INIT_WORDS, NOTHING_MEASURED, Transfer
from pipeline.errors import ConfigError
from pipeline.system.near_names import nearest_name, nearest_path
from pipeline.system.paths import why_no_file

MAX_SHOWN = 300  # characters of a path: the reader has the config


@dataclass(frozen=True, slots=True)
class Style:
    """One style: its paintings with their weights (summing to 1), transfer options and regions."""

    name: str
    images: tuple[tuple[Path, float], ...]
    origins: tuple[str, ...]
    transfer: Transfer
    regions: Mapping[str, RegionOptions] = field(default_factory=dict)
    side_file: Path | None = None  # with its options, where it is of a folder of paintings


@dataclass(frozen=True, slots=True)
class Manifest:
    """All styles, and the rules that assign them to photos.

    ``by_folder`` has the names of styles by what folders of the inbox may be called; None: folders
    do not matter.
    """

    styles: dict[str, Style]
    rules: tuple[MatchRule, ...]
    by_folder: Mapping[str, str] | None = None

    def styles_for(self, content: str) -> tuple[Style, ...]:
        """The styles of a photo, by its path in the inbox: those of the first rule that matches."""
        if (style := self.folder_style(content)) is not None:
            return (style,)
        for rule in self.rules:
            if matches(content, rule.inbox):
                named = dict.fromkeys(rule.styles)
                # With a folder of paintings missing, reports know only some of the styles.
                return tuple(self.styles[style] for style in named if style in self.styles)
        return ()

    def folder_style(self, content: str) -> Style | None:
        """The style that has the name of a photo's innermost folder that is called like one."""
        names = self.by_folder or {}
        for folder in reversed(content.split("/")[:-1]) if names else ():
            if found := names.get(folder) or names.get(style_name(folder).casefold()):
                return self.styles[found]
        return None


def load_manifest(
    config: Config, config_path: Path | str = "config.yaml", *, complete: bool = True
) -> Manifest:
    """The manifest of a config.

    Args:
        config: The config.
        config_path: Where it was read, for error messages.
        complete: Whether every file that it names must exist.

    Raises:
        ConfigError: When a style's image does not exist, with the key that names it.
    """
    if complete:
        _check_models(config, config_path)
    styles = {}
    # A painting in a folder that cannot be read keeps its style waiting, and no other.
    listed = {name: folder for folder in config.folders for name in folder.paintings}
    for name, entry in config.styles.items():
        there = complete and name not in listed
        images = tuple(
            (find_image(source, f"{config_path}: styles.{name}", there=there), weight)
            for source, weight in entry.sources.items()
        )
        key = f"{config_path}: styles.{name}.transfer"
        try:
            transfer = config.transfer_of(name)
        except ValidationError:  # each of its sources is valid, but not all of them together
            hint = "count the weights of the general transfer: too"
            raise ConfigError(NOTHING_MEASURED, where=key, hint=hint) from None
        if complete:
            _check_init(transfer, f"{key}.init")
        regions = merge_regions(config.regions, entry.regions)
        _check_map(regions, f"{config_path}: styles.{name}.regions")
        side_file = listed[name].side_files.get(name) if name in listed else None
        styles[name] = Style(name, images, tuple(entry.sources), transfer, regions, side_file)
    if isinstance(config.match, tuple):
        return Manifest(styles, config.match)
    everything = (MatchRule(inbox="**", styles=tuple(styles)),)
    return Manifest(styles, everything, _folder_names(styles) if config.match else None)


def _folder_names(styles: Iterable[str]) -> dict[str, str]:
    """The names of styles by what folders may be called: without regard to case, where clear."""
    names = list(styles)
    return {name.casefold(): name for name in reversed(names)} | {name: name for name in names}


def _check_models(config: Config, path: Path | str) -> None:
    """Check that files of weights exist; `doctor` also checks their content, which takes longer."""
    weights = None if config.weights in WEIGHTS_WORDS else Path(config.weights)
    wanted = {"weights": weights, "enhance.upscale_model": config.enhance.enlarging_model}
    for key, file in wanted.items():
        why = why_no_file(file) if file is not None else ""
        if file is not None and why:
            what = f"{key}: {_unreadable('file', why)}: {file}"
            near = nearest_path(file)
            hint = f"did you mean {str(near)!r}?" if near else _RELATIVE
            raise ConfigError(what, where=str(path), hint=hint)


def _check_map(regions: Mapping[str, RegionOptions], key: str) -> None:
    try:
        check_colors(regions)
    except ValueError as error:
        raise ConfigError(str(error), where=key) from None


def starter_styles() -> dict[str, Path]:
    """The styles that ship inside the package, by name."""
    folder = Path(str(files("pipeline") / "styles"))
    return {path.stem: path for path in sorted(folder.glob("*.jpg"))}


def find_image(source: str, key: str, *, there: bool = True) -> Path:
    """The file behind ``builtin:NAME`` or a path.

    Args:
        source: As written in the config.
        key: The key or argument that names it, for error messages.
        there: Whether the file of a path must exist now.

    Raises:
        ConfigError: There is no such file.
    """
    if source.startswith(BUILTIN):
        name = source.removeprefix(BUILTIN)
        known = starter_styles()
        if name not in known:
            near = nearest_name(name, known)
            hint = f"did you mean {BUILTIN}{near}?" if near else f"there are: {', '.join(known)}"
            raise ConfigError(f"there is no starter style {name!r}", where=key, hint=hint)
        return known[name]
    path = Path(source)
    if there and (problem := picture_problem(path, _RELATIVE)) is not None:
        what, hint = problem
        shown = source[:MAX_SHOWN]
        what = f"{shown} {what}" if what.startswith("is ") else f"{what}: {shown}"
        raise ConfigError(what, where=key, hint=hint)
    return path.absolute()  # links are not resolved: a link may later point elsewhere


_RELATIVE = "paths are relative to the config file"


def _unreadable(noun: str, why: str) -> str:
    """The error for a file that is missing or cannot be read."""
    missing = os.strerror(errno.ENOENT).lower()
    return f"no such {noun}" if why == missing else f"this {noun} cannot be used ({why})"


def _check_init(transfer: Transfer, key: str) -> None:
    if transfer.init not in INIT_WORDS:
        find_image(transfer.init, key)
