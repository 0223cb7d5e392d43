"""Side files: ``photo.jpg.yaml`` and ``_folder.yaml`` pick styles and options for photos.

They come from whoever may write into the inbox, so they may pick among what the config offers and
no more: styles by their names, options from an allow-list, never a path, a hook or a device.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from pipeline.config.base import FromList, Options
from pipeline.config.enhancement import Enhance
from pipeline.config.file_kinds import PHOTOS
from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.config.sections import Limits
from pipeline.config.transfer import Transfer
from pipeline.config.validation import explain
from pipeline.config.yaml_file import parse_yaml
from pipeline.errors import ConfigError, InputError, Reason
from pipeline.system.safe_files import opened

FOLDER_FILE = "_folder.yaml"
SUFFIX = ".yaml"
MAX_BYTES = 64 << 10
MAX_STEPS = 2000  # at each scale: a dropped file must not keep the machine for a week

_PHOTO_SUFFIXES = tuple(PHOTOS)


class SideTransfer(Transfer):
    """The transfer options that a side file may set: all, but no path and no bottomless one."""

    init: Literal["content", "noise", "style"] = "content"


class SideEnhance(Enhance):
    """The enhancement options that a side file may set: all, but no path to a model."""

    upscale_by: Literal["transfer", "lanczos"] = "transfer"
    upscale_model: None = None

    def chosen(self) -> dict[str, Any]:
        """Without the model: to set it to nothing is not for a side file either."""
        return {key: value for key, value in super().chosen().items() if key != "upscale_model"}


class Side(Options):
    """What one side file says."""

    styles: Annotated[tuple[str, ...] | None, Field(min_length=1), FromList] = None
    transfer: SideTransfer = SideTransfer()
    enhance: SideEnhance = SideEnhance()

    def under(self, below: "Side") -> "Side":
        """What this folder asks for, with what a folder or photo inside it asks for on top."""
        return Side(
            styles=below.styles or self.styles,
            transfer=self.transfer.overlay(below.transfer),
            enhance=self.enhance.overlay(below.enhance),
        )


def is_side_file(content: str) -> bool:
    """Whether a path in the inbox is a side file by its name."""
    if not content.endswith(SUFFIX):
        return False
    name = content.rpartition("/")[2]
    return name == FOLDER_FILE or name[: -len(SUFFIX)].lower().endswith(_PHOTO_SUFFIXES)


def governing(content: str) -> list[str]:
    """Paths of the side files that may speak about a photo, the outermost first."""
    folders = content.split("/")[:-1]
    paths = ["/".join([*folders[:depth], FOLDER_FILE]) for depth in range(len(folders) + 1)]
    return [*paths, content + SUFFIX]


def wishes(
    content: str,
    found: Mapping[str, tuple[Path, str]],
    manifest: Manifest,
    config: Config,
) -> Side | None:
    """What all side files together say about a photo; None where there are none.

    Args:
        content: The photo.
        found: Path and version of every side file in the inbox, by its path relative to it.
        manifest: Its styles may be named.
        config: Its limits say how much may be asked for, its enhancement lies under theirs.

    Raises:
        InputError: ``sidecar_invalid``, with the file and the line.
    """
    together, enlarging = None, content
    for name in governing(content):
        if name in found:
            path, version = found[name]
            side = _read(path, version, name, tuple(manifest.styles), config.limits)
            if isinstance(side, InputError):
                raise side.with_traceback(None)
            together = side if together is None else together.under(side)
            enlarging = name if _sized(side) else enlarging
    if together is not None and _sized(together):
        _check_enlarged(together, enlarging, content, manifest, config)
    return together


def _sized(side: Side) -> bool:
    """Whether a side file has a say in how large pictures become."""
    return "size" in side.transfer.chosen() or "upscale" in side.enhance.chosen()


def _check_enlarged(
    side: Side, name: str, content: str, manifest: Manifest, config: Config
) -> None:
    """The sizes of all its styles, times what the side files or the config ask for."""
    limits = config.limits
    times = config.enhance.overlay(side.enhance).upscale
    styles = side.styles or [style.name for style in manifest.styles_for(content)]
    for style in styles if times > 1 else ():
        size = manifest.styles[style].transfer.overlay(side.transfer).size
        if size == "source" or size * times > limits.side:
            what = f"enhance.upscale: at most {limits.side} px from a side file"
            hint = f"{times} times {size} px in style {style!r}: choose less"
            raise InputError(what, where=name, hint=hint, code=Reason.SIDECAR_INVALID)


@lru_cache(maxsize=4096)
def _read(
    path: Path, _version: str, name: str, styles: tuple[str, ...], limits: Limits
) -> Side | InputError:
    """One side file, read once for each version of it, also when it is wrong."""
    try:
        document, lines = parse_yaml(_text(path), name, MAX_BYTES)
        if document is not None and not isinstance(document, dict):
            raise ConfigError("the top level must be a mapping", where=name)
        try:
            side = Side.model_validate(document or {})
            _check(side, styles, limits)
        except ValidationError as error:
            raise ConfigError(**explain(error, Side, name, lines)) from None
        except _Wrong as wrong:
            line = lines.get(wrong.key, 1)
            raise ConfigError(str(wrong), where=f"{name}:{line}") from None
    except ConfigError as error:
        hint = error.hint or "correct or remove the side file"
        code = Reason.SIDECAR_INVALID
        return InputError(error.what, where=error.where, hint=hint, code=code)
    return side


class _Wrong(Exception):
    def __init__(self, what: str, *key: str) -> None:
        super().__init__(f"{'.'.join(key)}: {what}")
        self.key = key


def _check(side: Side, styles: Iterable[str], limits: Limits) -> None:
    known = list(styles)
    for name in side.styles or ():
        if name not in known:
            raise _Wrong(f"there is no style {name!r}; there are: {', '.join(known)}", "styles")
    chosen = side.transfer.chosen()
    sides = [chosen.get("size", 0), *(chosen.get("scales") or ())]
    for value in sides:
        if value == "source" or value > limits.side:
            raise _Wrong(f"at most {limits.side} px from a side file", "transfer", "size")
    if max(chosen.get("steps", (0,))) > MAX_STEPS:
        raise _Wrong(f"at most {MAX_STEPS} from a side file", "transfer", "steps")


def _text(path: Path) -> bytes:
    """The file itself, no link; one byte more than is allowed, so that its length shows."""
    try:
        with opened(path) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path.name) from None
