"""`pipeline.paint`: paints one picture for a Python program, without folders and without torch."""

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
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
from pipeline.config.transfer import INIT_WORDS, PRESETS, Transfer, resolve_transfer
from pipeline.config.validation import describe_error
from pipeline.enhance import StyleDistance, repaint_options
from pipeline.enhance import enhance as run_chain
from pipeline.errors import UsageError
from pipeline.imaging.arrays import PillowImage, PythonImage, from_python, to_pillow
from pipeline.imaging.tensors import load_image, resize
from pipeline.nst import Iterate, Vgg19, load_weights, stylize
from pipeline.nst.devices import choose_device
from pipeline.render.guidance import Sources, build_guide
from pipeline.system.near_names import nearest
from pipeline.system.paths import is_file

AnyImage = str | os.PathLike[str] | PythonImage
OnStep = Callable[[Iterate], None]
OptionsType = TypeVar("OptionsType", bound=Options)


def paint(
    photo: AnyImage,
    painting: AnyImage | list[AnyImage] | tuple[AnyImage, ...],
    *,
    preset: str = "balanced",
    enhance: str | Mapping[str, Any] | None = None,
    shares: Sequence[float] | None = None,
    seed: int = 0,
    device: str = "auto",
    weights: str = "embedded",
    on_step: OnStep | None = None,
    **options: Any,
) -> PillowImage:
    """Paint a photo in the manner of a painting.

    ::

        pipeline.paint("photo.jpg", "painting.jpg", size=1024).save("painted.png")

    Args:
        photo: A path, a Pillow image, or an array: (H, W), (H, W, 3) or (H, W, 4), as bytes from 0
            to 255 or as floats from 0 to 1. A tensor is (3, H, W), floats from 0 to 1.
        painting: The same, or ``"builtin:mosaic"`` for a starter style; or a list of them, which
            are blended.
        preset: Size and steps: ``draft``, ``balanced``, ``fine`` or ``print`` (256, 512, 1024 and
            2048 px on the long side).
        enhance: Also enhance the picture: ``"natural"``, ``"vivid"``, ``"print"``, or options of
            the enhancement as in config.yaml, such as ``{"denoise": 0.5, "upscale": 2}``.
        shares: The weight of each painting of a list; equal when absent.
        seed: The same seed gives the same picture on the same device.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        weights: VGG-19's weights: ``embedded``, ``torchvision`` or a path.
        on_step: Called after each step with the state so far; an exception in it ends the run.
        options: Any key of ``transfer:`` in config.yaml, such as ``size=1024``,
            ``content_weight=0.3``, ``style_scale=1.5``, ``colors="content"``.

    Returns:
        The picture, in sRGB: RGB, or RGBA where the photo has transparent parts.

    Raises:
        UsageError: An option, a preset or a file that does not exist.
        InputError: A file that is not a picture or is damaged.
        EngineError: The picture cannot be computed on this device.
    """
    given = list(painting) if isinstance(painting, list | tuple) else [painting]
    shares = _check_shares(shares, len(given))
    seed, device, weights = _check_plain(seed, device, weights)
    if on_step is not None and not callable(on_step):
        raise UsageError("is not a function", where="on_step", hint="a function of one argument")
    transfer = _transfer(preset, options)
    chain = _enhancement(enhance)
    with _neutral_state():
        return _paint(photo, given, transfer, chain, shares, seed, device, weights, on_step)


def _paint(
    photo: AnyImage,
    given: list[AnyImage],
    transfer: Transfer,
    chain: Enhance | None,
    shares: Sequence[float] | None,
    seed: int,
    device: str,
    weights: str,
    on_step: OnStep | None,
) -> PillowImage:
    content, alpha = _pixels(photo, "photo")  # (3, H, W), (1, H, W) or None
    styles = [_pixels(each, "painting")[0] for each in given]
    init = None if transfer.init in INIT_WORDS else _pixels(transfer.init, "init")[0]
    network = _network(weights, transfer.pooling)
    guide = build_guide(Sources(content, styles), transfer, (), network, choose_device(device))
    render = partial(stylize, shares=shares, seed=seed, device=device, network=network, guide=guide)
    picture = render(content, styles, transfer, on_step, init_image=init)
    if chain is not None:
        distance = _distance(network, content, styles, shares, transfer)
        repaint = partial(_repaint, render, content, styles, transfer)
        picture = run_chain(picture, chain, content, repaint, distance).picture
    return to_pillow(picture, alpha)


@contextmanager
def _neutral_state() -> Iterator[None]:
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


def _distance(
    network: Vgg19,
    content: Tensor,
    styles: list[Tensor],
    shares: Sequence[float] | None,
    transfer: Transfer,
) -> StyleDistance | None:
    """Measures how far an enhancement step changes the style; None where there is no style."""
    if not transfer.style_weight:
        return None
    weights = _normalised(shares, styles)
    return StyleDistance(network, content, styles, weights, transfer.style_scale)


def _repaint(
    render: Callable[..., Tensor],
    content: Tensor,
    styles: list[Tensor],
    transfer: Transfer,
    enlarged: Tensor,
) -> Tensor:
    """Paint an enlarged picture (3, H, W) again, so that its new detail is brushwork."""
    size = enlarged.shape[1], enlarged.shape[2]
    options = repaint_options(transfer, max(size))
    return render(resize(content, size), styles, options, init_image=enlarged)


def _transfer(preset: str, options: Mapping[str, Any]) -> Transfer:
    if not isinstance(preset, str) or preset not in PRESETS:
        what = f"there is no preset {preset!r}"
        raise UsageError(what, where="preset", hint=nearest(str(preset), PRESETS))
    transfer = resolve_transfer(preset, _validated(Transfer, options))
    if transfer.init not in INIT_WORDS and not is_file(Path(transfer.init)):
        hint = f"{', '.join(INIT_WORDS)} or the path of a picture"
        raise UsageError(f"no such file: {transfer.init}", where="init", hint=hint)
    return transfer


def _enhancement(wanted: str | Mapping[str, Any] | None) -> Enhance | None:
    if wanted is None:
        return None
    if not isinstance(wanted, str | Mapping) or not all(isinstance(key, str) for key in wanted):
        hint = "natural, vivid, print, or a dictionary of options"
        raise UsageError(f"{wanted!r} is no enhancement", where="enhance", hint=hint)
    return _validated(Enhance, {"preset": wanted} if isinstance(wanted, str) else wanted)


def _validated(model: type[OptionsType], options: Mapping[str, Any]) -> OptionsType:
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        lines: dict[tuple[str, ...], int] = {(name,): 0 for name in options}
        found = describe_error(error, model, "", lines, {"enhance": Enhance})
        raise UsageError(found["what"], where="paint", hint=found["hint"]) from None


def _check_shares(shares: Iterable[float] | None, count: int) -> list[float] | None:
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


def _normalised(shares: Sequence[float] | None, styles: Sequence[Tensor]) -> list[float]:
    given = list(shares) if shares is not None else [1.0] * len(styles)
    return [share / sum(given) for share in given]


@lru_cache(maxsize=2)
def _network(weights: str, pooling: str) -> Vgg19:
    return Vgg19(load_weights(weights), pooling)


def _pixels(picture: AnyImage, name: str) -> tuple[Tensor, Tensor | None]:
    """A picture of any kind as (3, H, W) in [0, 1], and its opacity (1, H, W) if it has one."""
    if isinstance(picture, str) and picture.startswith(BUILTIN):
        picture = find_image(picture, name)
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        if (problem := picture_problem(path, "a path, or builtin:NAME")) is not None:
            raise UsageError(problem[0], where=str(picture), hint=problem[1])
        loaded = load_image(path.resolve())
        return loaded.rgb, loaded.alpha
    return from_python(picture, name)
