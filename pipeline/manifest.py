"""Styles and match rules: which styles a content image gets."""

import difflib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from wcmatch import glob

from pipeline.config import BUILTIN, WEIGHTS_WORDS, Config, MatchRule
from pipeline.errors import ConfigError
from pipeline.options import Transfer, resolve_transfer

# Case counts on every system, and "**" spans folders, so one manifest means one thing everywhere.
_GLOB = glob.GLOBSTAR | glob.CASE | glob.DOTGLOB | glob.BRACE


@dataclass(frozen=True, slots=True)
class Style:
    """One style in force: its paintings with their weights (summing to 1) and its options."""

    name: str
    images: tuple[tuple[Path, float], ...]
    origins: tuple[str, ...]
    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Manifest:
    """All styles in force, and the rules that hand them out."""

    styles: dict[str, Style]
    rules: tuple[MatchRule, ...]

    def styles_for(self, content: str) -> tuple[Style, ...]:
        """Styles for a path relative to the inbox: those of the first rule that fits."""
        for rule in self.rules:
            if fits(content, rule.inbox):
                return tuple(self.styles[style] for style in dict.fromkeys(rule.styles))
        return ()


def fits(content: str, pattern: str) -> bool:
    """Whether a path relative to the inbox fits a pattern of the config."""
    # wcmatch refuses lone surrogates nowhere, but a backslash is data here, not a separator.
    name = content.replace(os.sep, "/")
    return any(regex.match(name) for regex in _compiled(pattern))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[re.Pattern[str], ...]:
    """One regular expression for each alternative in braces; ten thousand photos ask for it."""
    wanted, _ = glob.translate(pattern, flags=_GLOB)
    return tuple(map(re.compile, wanted))


def load_manifest(config: Config, config_path: Path | str = "config.yaml") -> Manifest:
    """The manifest of a config.

    Raises:
        ConfigError: When a style's image does not exist, with the key that names it.
    """
    _check_models(config, config_path)
    styles = {}
    for name, entry in config.styles.items():
        images = tuple(
            (find_image(source, f"{config_path}: styles.{name}"), weight)
            for source, weight in entry.sources.items()
        )
        transfer = resolve_transfer(
            config.preset, config.transfer.chosen(), entry.transfer.chosen()
        )
        _check_init(transfer, f"{config_path}: styles.{name}.transfer.init")
        styles[name] = Style(name, images, tuple(entry.sources), transfer)
    everything = (MatchRule(inbox="**", styles=tuple(styles)),)
    return Manifest(styles, everything if config.match is None else config.match)


def _check_models(config: Config, path: Path | str) -> None:
    """That files of weights are there; what they hold is for `doctor`, which takes longer."""
    weights = None if config.weights in WEIGHTS_WORDS else Path(config.weights)
    wanted = {"weights": weights, "enhance.upscale_model": config.enhance.enlarging_model}
    for key, file in wanted.items():
        if file is not None and not file.is_file():
            mend = "paths are relative to the config file"
            raise ConfigError(f"{key}: no such file: {file}", where=str(path), mend=mend)


def starter_styles() -> dict[str, Path]:
    """The styles that ship inside the package, by name."""
    folder = Path(str(files("pipeline") / "styles"))
    return {path.stem: path for path in sorted(folder.glob("*.jpg"))}


@lru_cache(maxsize=256)  # asked for every job; what ships inside the package stays
def source_of(path: Path) -> str:
    """The word that config.yaml has for an image: ``builtin:NAME``, or its path."""
    starter = starter_styles().get(path.stem)
    return f"{BUILTIN}{path.stem}" if path == starter else str(path)


def find_image(source: str, key: str) -> Path:
    """The file behind ``builtin:NAME`` or a path.

    Raises:
        ConfigError: When there is none; ``key`` says who asked for it.
    """
    if source.startswith(BUILTIN):
        name = source.removeprefix(BUILTIN)
        known = starter_styles()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean {BUILTIN}{near[0]}?" if near else f"there are: {', '.join(known)}"
            raise ConfigError(f"there is no starter style {name!r}", where=key, mend=mend)
        return known[name]
    path = Path(source)
    if not path.is_file():
        mend = "paths are relative to the config file"
        raise ConfigError(f"no such image: {source}", where=key, mend=mend)
    return path.resolve()


def _check_init(transfer: Transfer, key: str) -> None:
    if transfer.init not in ("content", "noise", "style"):
        find_image(transfer.init, key)
