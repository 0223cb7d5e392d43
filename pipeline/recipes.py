"""From a style in force to the full recipe of its pictures: what every image file holds."""

import hashlib
from functools import cache
from pathlib import Path

from pipeline.chain import Enhance
from pipeline.config import WEIGHTS_WORDS, Config
from pipeline.errors import ConfigError
from pipeline.jobs import Recipe, StyleImage
from pipeline.manifest import Style
from pipeline.options import Transfer
from pipeline.sidecar import Side

INIT_WORDS = ("content", "noise", "style")


class Recipes:
    """Recipes under one config. A painting is read again when its file changes."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.troubles: dict[str, str] = {}  # by style

    def of(self, style: Style, side: Side | None = None) -> Recipe:
        """The recipe of one style, with a side file's wishes laid over it.

        Raises:
            ConfigError: When an image cannot be read.
        """
        transfer, enhance = style.transfer, self.config.enhance
        if side is not None:
            transfer = Transfer(**transfer.chosen() | side.transfer.chosen())
            enhance = Enhance(**enhance.chosen() | side.enhance.chosen())
        init, model = transfer.init, enhance.enlarging_model
        return Recipe(
            images=tuple(StyleImage(path, weight, digest(path)) for path, weight in style.images),
            transfer=transfer,
            enhance=enhance,
            weights=self.config.weights,
            weights_sha256=self._weights(),
            seed=self.config.seed,
            output=self.config.output,
            init_sha256="" if init in INIT_WORDS else digest(Path(init)),
            upscale_sha256=digest(model) if model else "",
        )

    def usable(self, style: Style, side: Side | None = None) -> Recipe | None:
        """The same; None while one of its files cannot be read: `troubles` then says why."""
        try:
            recipe = self.of(style, side)
        except ConfigError as error:
            self.troubles[style.name] = str(error)
            return None
        self.troubles.pop(style.name, None)
        return recipe

    @property
    def trouble(self) -> str:
        """Which styles wait, and for what; "" where none does."""
        names: dict[str, list[str]] = {}  # weights that are gone are one trouble of all styles
        for name, why in self.troubles.items():
            names.setdefault(why, []).append(name)
        return "; ".join(f"{_styles(found)} until {why}" for why, found in names.items())

    def _weights(self) -> str:
        source = self.config.weights
        return source if source in WEIGHTS_WORDS else digest(Path(source))


def _styles(names: list[str]) -> str:
    """Who waits, in words."""
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"style {shown} waits" if len(names) == 1 else f"styles {shown} wait"


def digest(path: Path) -> str:
    """SHA-256 of an image or weight file; read again only when size or time changed."""
    try:
        stat = path.stat()
        return _digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None


@cache
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
