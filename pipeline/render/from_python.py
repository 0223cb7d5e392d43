"""Reads what a Python program hands to `pipeline.paint`: pictures, options, regions and masks."""

import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.config.base import Options
from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import find_image
from pipeline.config.model import BUILTIN
from pipeline.config.picture_files import picture_problem
from pipeline.config.regions.options import (
    AUTOMATIC,
    MAP_NAME,
    PROTECTED,
    RegionOptions,
    check_colors,
    check_region_name,
    unknown_colors,
)
from pipeline.config.validation import describe_error
from pipeline.errors import InputError, UsageError
from pipeline.imaging.arrays import PythonImage, from_python, mask_from_python
from pipeline.imaging.decode import DEFAULT_LIMITS, Decoded, decode_file
from pipeline.imaging.masks import check_proportions, dominant_colors, region_mask
from pipeline.imaging.tensors import load_image
from pipeline.jobs.recipe import Region, StyleImage

AnyImage = str | os.PathLike[str] | PythonImage
OptionsType = TypeVar("OptionsType", bound=Options)


@dataclass(frozen=True, slots=True)
class Regions:
    """Regions as the engine takes them.

    Attributes:
        recipes: Their options; the images in them only say that there are paintings.
        paintings: (3, h, w) each, of all regions.
        shares: By region with paintings of its own, their shares by index; the style's come first.
        masks: By region, (1, h, w).
    """

    recipes: tuple[Region, ...] = ()
    paintings: list[Tensor] = field(default_factory=list)
    shares: dict[str, dict[int, float]] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)


def read_regions(
    regions: Mapping[str, Mapping[str, Any]] | None,
    masks: Mapping[str, AnyImage] | None,
    photo: Tensor,
    count: int,
) -> Regions:
    """Read the regions of a picture and their masks.

    Args:
        regions: By name, keys as in config.yaml; ``styles`` is a painting or a list of them.
        masks: By region; ``regions`` is a map of several.
        photo: (3, H, W), whose proportions masks must have.
        count: How many paintings the style has.

    Raises:
        UsageError: A name, an option, a picture or a mask cannot be used.
    """
    given = {name: dict(options) for name, options in _mapping(regions, "regions").items()}
    paintings = {name: _paintings(name, options) for name, options in given.items()}
    options = {name: _options(name, each, paintings[name]) for name, each in given.items()}
    try:
        check_colors(options)
    except ValueError as error:
        raise UsageError(str(error), where="regions") from None
    found = Regions(masks=_masks(masks, options, photo))
    recipes = []
    for name in sorted({*options, *found.masks.keys() & {*PROTECTED}}):
        chosen, own = options.get(name), paintings.get(name, [])
        if own:
            start = count + len(found.paintings)
            found.shares[name] = {start + i: 1 / len(own) for i in range(len(own))}
            found.paintings.extend(own)
        images = tuple(StyleImage(Path(name), 1 / len(own), "") for _ in own)
        own_options = chosen or RegionOptions(styles=())
        keys = ("strength", "colors", "color_strength")
        recipes.append(Region(name, images, **{key: getattr(own_options, key) for key in keys}))
    return replace(found, recipes=tuple(recipes))


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        hint = "a mapping by the regions' names"
        raise UsageError(f"{type(value).__name__} is no mapping", where=where, hint=hint)
    for name in value:
        _check_name(name, where)
        if where == "regions" and not isinstance(value[name], Mapping):
            hint = 'options by name, such as {"strength": 0.4}'
            raise UsageError(f"{value[name]!r:.80} is no mapping", where=name, hint=hint)
    return value


def _check_name(name: Any, where: str) -> None:
    if where == "masks" and name == MAP_NAME:
        return
    if not isinstance(name, str):
        raise UsageError(f"{name!r:.80} is no name of a region", where=where, hint="a text")
    try:
        check_region_name(name)
    except ValueError as error:
        raise UsageError(str(error), where=where) from None


def _paintings(name: str, options: dict[str, Any]) -> list[Tensor]:
    """The paintings of a region, which are taken out of its options."""
    given = options.pop("styles", None)
    if given is None:
        return []
    each = list(given) if isinstance(given, list | tuple) else [given]
    return [read_picture(picture, f"regions {name}")[0] for picture in each]


def _options(name: str, options: Mapping[str, Any], own: list[Tensor]) -> RegionOptions:
    given = {key: value for key, value in options.items() if value is not None}
    if given:
        return validated(RegionOptions, given, f"regions {name}")
    if not own:
        hint = f"give at least one of {', '.join(RegionOptions.model_fields)}"
        raise UsageError("has no option", where=f"regions {name}", hint=hint)
    return RegionOptions(styles=(name,))


def _masks(
    masks: Mapping[str, AnyImage] | None, options: Mapping[str, RegionOptions], photo: Tensor
) -> dict[str, Tensor]:
    """Masks by region, (1, h, w): its own, or its colour in the map."""
    given = {name: _read_mask(name, each, photo) for name, each in _mapping(masks, "masks").items()}
    whole = given.pop(MAP_NAME, None)
    if unused := given.keys() - options.keys() - {*PROTECTED}:
        name = min(unused)
        hint = f'regions={{"{name}": {{"strength": 0.4}}}}'
        raise UsageError(f"nothing says what {name} is for", where="masks", hint=hint)
    if whole is not None and (unknown := unknown_colors(dominant_colors(whole), options)):
        color, share = unknown[0]
        hint = f'regions={{NAME: {{"color": "{color}"}}}}, or paint it black'
        what = f"no region has the colour {color} ({share:.0%} of it)"
        raise UsageError(what, where=f"masks {MAP_NAME}", hint=hint)
    found = {name: _inside(each) for name, each in given.items()}
    for name, each in options.items():
        if whole is not None and each.color is not None and name not in found:
            found[name] = _inside(whole, each.color)
        if name not in found and name not in AUTOMATIC:
            hint = f'masks={{"{name}": FILE}}, white inside'
            raise UsageError(f"region {name} has no mask", where="regions", hint=hint)
    return found


def _read_mask(name: str, mask: AnyImage, photo: Tensor) -> Decoded:
    where = f"masks {name}"
    if isinstance(mask, str | os.PathLike):
        decoded = decode_file(_checked(mask, "a path; white is inside"), None, DEFAULT_LIMITS)
    else:
        decoded = mask_from_python(mask, where)
    height, width = decoded.rgb.shape[:2]
    try:
        check_proportions((width, height), (photo.shape[2], photo.shape[1]), where)
    except InputError as error:
        raise UsageError(error.what, where=where, hint=error.hint) from None
    return decoded


def _inside(mask: Decoded, color: str | None = None) -> Tensor:
    return torch.from_numpy(region_mask(mask, color))[None]


def validated(
    model: type[OptionsType], options: Mapping[str, Any], where: str = "paint"
) -> OptionsType:
    """Options of a model; raises UsageError with what is wrong."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        lines: dict[tuple[str, ...], int] = {(name,): 0 for name in options}
        found = describe_error(error, model, "", lines, {"enhance": Enhance})
        raise UsageError(found["what"], where=where, hint=found["hint"]) from None


def read_picture(picture: AnyImage, name: str) -> tuple[Tensor, Tensor | None]:
    """A picture of any kind as (3, H, W) in [0, 1], and its opacity (1, H, W) if it has one."""
    if isinstance(picture, str) and picture.startswith(BUILTIN):
        picture = find_image(picture, name)
    if isinstance(picture, str | os.PathLike):
        loaded = load_image(_checked(picture, "a path, or builtin:NAME"))
        return loaded.rgb, loaded.alpha
    return from_python(picture, name)


def _checked(picture: str | os.PathLike[str], hint: str) -> Path:
    path = Path(picture)
    if (problem := picture_problem(path, hint)) is not None:
        raise UsageError(problem[0], where=str(picture), hint=problem[1])
    return path.resolve()


@contextmanager
def neutral_state() -> Iterator[None]:
    """Torch as after its start, whatever the caller has set: the picture must not depend on it."""
    dtype = torch.get_default_dtype()
    with ExitStack() as state:
        state.enter_context(torch.inference_mode(False))
        state.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                state.enter_context(torch.autocast(kind, enabled=False))
        state.enter_context(torch.device("cpu"))
        state.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        yield


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of `pipeline.paint` that are numbers and words, checked."""

    shares: list[float] | None
    seed: int
    device: str
    weights: str


def check_arguments(
    count: int, shares: Any, seed: Any, device: Any, weights: Any, on_step: Any
) -> Arguments:
    """The arguments beside the pictures, for ``count`` paintings; raises UsageError."""
    if on_step is not None and not callable(on_step):
        raise UsageError("is not a function", where="on_step", hint="a function of one argument")
    return Arguments(_check_shares(shares, count), *_check_plain(seed, device, weights))


def _check_plain(seed: object, device: object, weights: object) -> tuple[int, str, str]:
    """The arguments that are one number or one word."""
    try:
        number = operator.index(seed)  # type: ignore[arg-type]  # also of NumPy
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise UsageError(f"{seed!r} is no seed", where="seed", hint="a number from 0 to 2**63 - 1")
    if not isinstance(device, str | torch.device):
        raise UsageError(f"{device!r} is no device", where="device", hint="auto, cpu, cuda or mps")
    if not isinstance(weights, str | os.PathLike):
        hint = "embedded, torchvision or a path"
        raise UsageError(f"{weights!r} are no weights", where="weights", hint=hint)
    return number, str(device), os.fspath(weights)


def _check_shares(shares: Iterable[float] | None, count: int) -> list[float] | None:
    """The shares of ``count`` paintings, as numbers; None: equal."""
    if not count:
        raise UsageError("no painting is given", where="painting", hint="a path or builtin:NAME")
    if shares is None:
        return None
    try:
        given = [share if isinstance(share, str) else float(share) for share in shares]
    except TypeError:
        raise UsageError(f"{shares!r} are no shares", where="shares", hint="a list") from None
    if len(given) != count:
        raise UsageError(f"{len(given)} for {count} paintings", where="shares")
    numbers = [share for share in given if not isinstance(share, str) and 0 < share < 1e6]
    if len(numbers) < count:
        raise UsageError("not all are positive numbers", where="shares")
    return numbers
