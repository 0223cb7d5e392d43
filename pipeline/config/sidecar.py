"""Side files: ``photo.jpg.yaml`` and ``_folder.yaml`` choose styles and options for photos.

Anybody who can write into the inbox can write them, so they are untrusted: they may choose among
what the config offers and no more, styles by name and options from an allow-list, but never a path,
a hook or a device.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from pipeline.config.base import FromList, Options
from pipeline.config.enhancement import Enhance
from pipeline.config.file_kinds import PHOTOS
from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.config.regions.mask_files import MAP
from pipeline.config.regions.options import AUTOMATIC, Regions, merge_regions
from pipeline.config.sections import Limits
from pipeline.config.transfer import LARGEST, NOTHING_MEASURED, Transfer
from pipeline.config.validation import describe_error
from pipeline.config.yaml_file import parse_yaml
from pipeline.errors import ConfigError, InputError, Reason
from pipeline.system.near_names import nearest
from pipeline.system.safe_files import opened

FOLDER_FILE = "_folder.yaml"
SUFFIX = ".yaml"
MAX_BYTES = 64 << 10
MAX_STEPS = 2000  # at each scale: an untrusted file must not occupy the machine for a week

_PHOTO_SUFFIXES = tuple(PHOTOS)


class SideTransfer(Transfer):
    """The transfer options that a side file may set: all of them, but no path of a start image."""

    init: Literal["content", "noise", "style"] = "content"


class SideEnhance(Enhance):
    """The enhancement options that a side file may set: all of them, but no path of a model."""

    upscale_by: Literal["transfer", "lanczos"] = "transfer"
    upscale_model: None = None

    def chosen(self) -> dict[str, Any]:
        """Without the model: a side file may not unset the config's model either."""
        return {key: value for key, value in super().chosen().items() if key != "upscale_model"}


class Side(Options):
    """The content of one side file, or of several merged."""

    styles: Annotated[tuple[str, ...] | None, Field(min_length=1), FromList] = None
    transfer: SideTransfer = SideTransfer()
    enhance: SideEnhance = SideEnhance()
    regions: Regions = Field({})

    def overlay_side(self, inner: "Side") -> "Side":
        """These options of a folder, with those of a folder or photo inside it on top."""
        return Side(
            styles=inner.styles or self.styles,
            transfer=self.transfer.overlay(inner.transfer),
            enhance=self.enhance.overlay(inner.enhance),
            regions=merge_regions(self.regions, inner.regions),
        )


def is_side_file(content: str) -> bool:
    """Whether a path in the inbox is a side file by its name."""
    if not content.endswith(SUFFIX):
        return False
    name = content.rpartition("/")[2]
    return name == FOLDER_FILE or name[: -len(SUFFIX)].lower().endswith(_PHOTO_SUFFIXES)


def side_files_of(content: str) -> list[str]:
    """Paths of the side files that may apply to a photo, the outermost folder first."""
    folders = content.split("/")[:-1]
    paths = ["/".join([*folders[:depth], FOLDER_FILE]) for depth in range(len(folders) + 1)]
    return [*paths, content + SUFFIX]


def merge_side_files(
    content: str,
    found: Mapping[str, tuple[Path, str]],
    manifest: Manifest,
    config: Config,
    masks: Collection[str] = (),
) -> Side | None:
    """The side files that apply to a photo, merged; None when there are none.

    Args:
        content: The photo.
        found: Path and version of every side file in the inbox, by its path relative to the inbox.
        manifest: The styles that may be named.
        config: Its limits apply, and its enhancement options are the layer below.
        masks: The regions that have a mask file beside the photo; `MAP` for a map of several.

    Raises:
        InputError: ``sidecar_invalid``, with the file and the line.
    """
    together, sizing, weighing = None, content, ""
    for name in side_files_of(content):
        if name in found:
            path, version = found[name]
            side = _read(path, version, name, tuple(manifest.styles), config.limits)
            if isinstance(side, InputError):
                raise side.with_traceback(None)
            if name == content + SUFFIX:
                _check_masks(side, name, content, masks)
            together = side if together is None else _overlay(together, side, name)
            sizing = name if _sets_size(side) else sizing
            weighing = name if _sets_weights(side) else weighing
    if together is not None and weighing:
        _check_weights(together, weighing, content, manifest)
    if together is not None and _sets_size(together):
        _check_size(together, sizing, content, manifest, config)
    return together


def _check_masks(side: Side, name: str, content: str, masks: Collection[str]) -> None:
    """Check that each region of one's own that a photo's side file names has a mask."""
    for region in side.regions:
        if MAP in masks or region in (*AUTOMATIC, *masks):
            continue
        photo = content.rpartition("/")[2]
        what = f"regions.{region}: there is no mask {photo}.mask.{region}.png beside the photo"
        hint = f"put it there, or choose one of {', '.join(AUTOMATIC)}"
        raise InputError(what, where=name, hint=hint, code=Reason.SIDECAR_INVALID)


def _overlay(outer: Side, inner: Side, name: str) -> Side:
    """Two side files, each valid by itself, merged; ``name`` is the inner one."""
    try:
        return outer.overlay_side(inner)
    except ValidationError:
        raise _nothing_measured(name) from None


def _sets_weights(side: Side) -> bool:
    return not side.transfer.chosen().keys().isdisjoint(("content_weight", "style_weight"))


def _check_weights(side: Side, name: str, content: str, manifest: Manifest) -> None:
    """Check that the options of each style and of the side files together leave something to do.

    ``name`` is the side file to blame.
    """
    for style in side.styles or [style.name for style in manifest.styles_for(content)]:
        try:
            manifest.styles[style].transfer.overlay(side.transfer)
        except ValidationError:
            raise _nothing_measured(f"{name}, in style {style}") from None


def _nothing_measured(where: str) -> InputError:
    hint = "correct or remove the side file"
    return InputError(
        f"transfer: {NOTHING_MEASURED}", where=where, hint=hint, code=Reason.SIDECAR_INVALID
    )


def _sets_size(side: Side) -> bool:
    """Whether a side file influences the size of pictures."""
    sized = not side.transfer.chosen().keys().isdisjoint(("size", "within"))
    return sized or "upscale" in side.enhance.chosen()


def _check_size(side: Side, name: str, content: str, manifest: Manifest, config: Config) -> None:
    """Check the size of the enlarged picture in each style against `limits.side`.

    ``name`` is the side file to blame.
    """
    limits = config.limits
    times = config.enhance.overlay(side.enhance).upscale
    styles = side.styles or [style.name for style in manifest.styles_for(content)]
    for style in styles if times > 1 else ():
        transfer = manifest.styles[style].transfer.overlay(side.transfer)
        size = transfer.size if transfer.within is None else LARGEST
        if size == "source" or size * times > limits.side:
            what = f"enhance.upscale: at most {limits.side} px from a side file"
            hint = f"{times} times {size} px in style {style!r}: choose a smaller factor"
            raise InputError(what, where=name, hint=hint, code=Reason.SIDECAR_INVALID)


@lru_cache(maxsize=4096)
def _read(
    path: Path, _version: str, name: str, styles: tuple[str, ...], limits: Limits
) -> Side | InputError:
    """One side file, read once for each version of it, also when it is invalid."""
    try:
        document, lines = parse_yaml(_read_bytes(path), name, MAX_BYTES)
        if document is not None and not isinstance(document, dict):
            raise ConfigError("the top level must be keys with values", where=name)
        try:
            side = Side.model_validate(document or {})
            _check(side, styles, limits)
        except ValidationError as error:
            elsewhere = {"config.yaml, not of a side file": Config}
            raise ConfigError(**describe_error(error, Side, name, lines, elsewhere)) from None
        except _Invalid as error:
            line = lines.get(error.key, 1)
            raise ConfigError(str(error), where=f"{name}:{line}") from None
    except ConfigError as error:
        hint = error.hint or "correct or remove the side file"
        code = Reason.SIDECAR_INVALID
        return InputError(error.what, where=error.where, hint=hint, code=code)
    return side


class _Invalid(Exception):
    def __init__(self, what: str, *key: str) -> None:
        super().__init__(f"{'.'.join(key)}: {what}")
        self.key = key


def _check(side: Side, styles: Iterable[str], limits: Limits) -> None:
    known = list(styles)
    for name in side.styles or ():
        if name not in known:
            raise _Invalid(f"there is no style {name!r}; {nearest(name, known)}", "styles")
    for region, options in side.regions.items():
        for name in options.styles or ():
            if name not in known:
                what = f"there is no style {name!r}; {nearest(name, known)}"
                raise _Invalid(what, "regions", region, "styles")
    chosen = side.transfer.chosen()
    sides = [chosen.get("size", 0), *(chosen.get("scales") or ())]
    for value in sides:
        if value == "source" or value > limits.side:
            raise _Invalid(f"at most {limits.side} px from a side file", "transfer", "size")
    if chosen.get("within") is not None and limits.side < LARGEST:
        what = f"at most {limits.side} px from a side file, and it may choose {LARGEST} px"
        raise _Invalid(what, "transfer", "within")
    if max(chosen.get("steps", (0,))) > MAX_STEPS:
        raise _Invalid(f"at most {MAX_STEPS} from a side file", "transfer", "steps")


def _read_bytes(path: Path) -> bytes:
    """The file itself, not a link; one byte more than allowed, so that excess is noticed."""
    try:
        with opened(path) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path.name) from None
