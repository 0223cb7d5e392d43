"""`pipeline.paint`: paints one picture for a Python program, without folders and without torch."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import INIT_WORDS, PRESETS, Transfer, resolve_transfer
from pipeline.enhance import StyleDistance, repaint_options
from pipeline.enhance import enhance as run_chain
from pipeline.errors import UsageError
from pipeline.imaging.arrays import PillowImage, to_pillow
from pipeline.imaging.tensors import resize
from pipeline.nst import Iterate, Vgg19, load_weights, stylize
from pipeline.nst.devices import choose_device
from pipeline.render.from_python import AnyImage, Regions, read_picture, read_regions, validated
from pipeline.render.guidance import Sources, build_guide
from pipeline.system.near_names import nearest
from pipeline.system.paths import is_file

OnStep = Callable[[Iterate], None]


def paint(
    photo: AnyImage,
    painting: AnyImage | list[AnyImage] | tuple[AnyImage, ...],
    *,
    preset: str = "balanced",
    enhance: str | Mapping[str, Any] | None = None,
    shares: Sequence[float] | None = None,
    regions: Mapping[str, Mapping[str, Any]] | None = None,
    masks: Mapping[str, AnyImage] | None = None,
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
        regions: Parts of the photo painted differently, by name, with the keys of ``regions:`` in
            config.yaml: ``{"sky": {"strength": 0.3}}``; ``styles`` is a painting or a list of them.
        masks: By region, a picture in the photo's proportions, white inside; or an array of
            booleans. ``regions``: a map of several, by their ``color``.
        seed: The same seed gives the same picture on the same device.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        weights: VGG-19's weights: ``embedded``, ``torchvision`` or a path.
        on_step: Called after each step with the state so far; an exception in it ends the run.
        options: Any key of ``transfer:`` in config.yaml: ``size=1024``, ``colors="content"``.

    Returns:
        The picture, in sRGB: RGB, or RGBA where the photo has transparent parts.

    Raises:
        UsageError: An option, a preset or a file that does not exist.
        InputError: A file that is not a picture or is damaged.
        EngineError: The picture cannot be computed on this device.
    """
    transfer, chain = _transfer(preset, options), _enhancement(enhance)
    content, alpha = read_picture(photo, "photo")  # (3, H, W), (1, H, W) or None
    styles = _read_styles(painting, shares)
    parts = read_regions(regions, masks, content, len(styles))
    network = _network(weights, transfer.pooling)
    render = _renderer(content, styles, shares, parts, transfer, network, seed, device)
    picture = render(content, on_iterate=on_step, init_image=_init(transfer))
    if chain is not None:
        measure = _distance(network, content, styles, shares, transfer)
        picture = _enhanced(picture, chain, content, transfer, render, measure)
    return to_pillow(picture, alpha)


def _read_styles(
    painting: AnyImage | list[AnyImage] | tuple[AnyImage, ...], shares: Sequence[float] | None
) -> list[Tensor]:
    given = list(painting) if isinstance(painting, list | tuple) else [painting]
    _check_shares(shares, len(given))
    return [read_picture(each, "painting")[0] for each in given]


def _renderer(
    content: Tensor,
    styles: list[Tensor],
    shares: Sequence[float] | None,
    parts: Regions,
    transfer: Transfer,
    network: Vgg19,
    seed: int,
    device: str,
) -> Callable[..., Tensor]:
    """`stylize` with all that the picture and its enlargement have in common."""
    whole = [*styles, *parts.paintings]
    if parts.paintings:  # these teach their regions alone
        shares = [*_normalised(shares, styles), *[0.0] * len(parts.paintings)]
    sources = Sources(content, whole, parts.shares, parts.masks)
    guide = build_guide(sources, transfer, parts.recipes, network, choose_device(device))
    return partial(
        stylize,
        styles=whole,
        options=transfer,
        shares=shares,
        seed=seed,
        device=device,
        network=network,
        guide=guide,
    )


def _enhanced(
    picture: Tensor,
    chain: Enhance,
    content: Tensor,
    transfer: Transfer,
    render: Callable[..., Tensor],
    distance: StyleDistance | None,
) -> Tensor:
    repaint = partial(_repaint, render, content, transfer)
    return run_chain(picture, chain, content, repaint, distance).picture


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
    transfer: Transfer,
    enlarged: Tensor,
) -> Tensor:
    """Paint an enlarged picture (3, H, W) again, so that its new detail is brushwork."""
    size = enlarged.shape[1], enlarged.shape[2]
    options = repaint_options(transfer, max(size))
    return render(resize(content, size), options=options, init_image=enlarged)


def _transfer(preset: str, options: Mapping[str, Any]) -> Transfer:
    if preset not in PRESETS:
        what = f"there is no preset {preset!r}"
        raise UsageError(what, where="paint", hint=nearest(preset, PRESETS))
    transfer = resolve_transfer(preset, validated(Transfer, options))
    if transfer.init not in INIT_WORDS and not is_file(Path(transfer.init)):
        hint = f"{', '.join(INIT_WORDS)} or the path of a picture"
        raise UsageError(f"no such file: {transfer.init}", where="init", hint=hint)
    return transfer


def _init(transfer: Transfer) -> Tensor | None:
    return None if transfer.init in INIT_WORDS else read_picture(transfer.init, "init")[0]


def _enhancement(wanted: str | Mapping[str, Any] | None) -> Enhance | None:
    if wanted is None:
        return None
    return validated(Enhance, {"preset": wanted} if isinstance(wanted, str) else wanted)


def _check_shares(shares: Sequence[float] | None, count: int) -> None:
    if not count:
        raise UsageError("no painting is given", where="painting", hint="a path or builtin:NAME")
    if shares is None:
        return
    if len(shares) != count:
        raise UsageError(f"{len(shares)} for {count} paintings", where="shares")
    if not all(0 < share < 1e6 for share in shares):
        raise UsageError("not all are positive numbers", where="shares")


def _normalised(shares: Sequence[float] | None, styles: Sequence[Tensor]) -> list[float]:
    given = list(shares) if shares is not None else [1.0] * len(styles)
    return [share / sum(given) for share in given]


@lru_cache(maxsize=2)
def _network(weights: str, pooling: str) -> Vgg19:
    return Vgg19(load_weights(weights), pooling)
