"""`pipeline.paint`: paints one picture for a Python program, without folders and without torch."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import INIT_WORDS, PRESETS, Transfer, resolve_transfer
from pipeline.enhance import StyleDistance, repaint_options
from pipeline.enhance import enhance as run_chain
from pipeline.enhance.style_guard import DEPTH
from pipeline.errors import UsageError
from pipeline.imaging.arrays import PillowImage, to_pillow
from pipeline.imaging.tensors import resize
from pipeline.jobs.rates import Rates, rates_file
from pipeline.nst import Iterate, Vgg19, load_weights, stylize
from pipeline.nst.devices import choose_device
from pipeline.nst.guidance.regions import Guide
from pipeline.nst.look.strength import stroke_scale
from pipeline.render.from_python import (
    AnyImage,
    Arguments,
    Regions,
    check_arguments,
    neutral_state,
    read_picture,
    read_regions,
    validated,
)
from pipeline.render.goals.target import DEEPEST, TargetSearch, style_of
from pipeline.render.goals.within import Pair, choose, reduced_photo, time_steps
from pipeline.render.guidance import Sources, build_guide
from pipeline.render.progress import Stopwatch
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
        preset: ``draft``, ``balanced``, ``fine`` or ``print`` (256 to 2048 px), or ``paper``.
        enhance: Also enhance the picture: ``"natural"``, ``"vivid"``, ``"print"``, or options of
            the enhancement as in config.yaml, such as ``{"denoise": 0.5, "upscale": 2}``.
        shares: The weight of each painting of a list; equal when absent.
        regions: Parts of the photo painted differently, with the keys of ``regions:`` in
            config.yaml: ``{"sky": {"strength": 0.3}}``; ``styles`` is a painting, or a list.
        masks: Where a region is, by its name: a picture in the photo's proportions, white inside,
            or booleans. ``regions``: a map of several, by their ``color``.
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
    arguments = check_arguments(len(given), shares, seed, device, weights, on_step)
    transfer, chain = _transfer(preset, options), _enhancement(enhance)
    with neutral_state():
        content, alpha = read_picture(photo, "photo")  # (3, H, W), (1, H, W) or None
        styles = [read_picture(each, "painting")[0] for each in given]
        parts = read_regions(regions, masks, content, len(styles))
        work = _Work(
            content, styles, parts, _network(arguments.weights, transfer.pooling), arguments
        )
        return to_pillow(work.paint(transfer, chain, on_step), alpha)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a picture is made of, all of it read."""

    content: Tensor  # (3, H, W)
    styles: list[Tensor]  # (3, h, w) each
    parts: Regions
    network: Vgg19
    given: Arguments
    watch: Stopwatch = field(default_factory=Stopwatch)

    def paint(self, transfer: Transfer, chain: Enhance | None, on_step: OnStep | None) -> Tensor:
        """The finished picture (3, H', W')."""
        if transfer.within is not None:
            transfer = self._with_size(transfer, chain)
        render = self._renderer(transfer)
        trial = partial(render, on_iterate=on_step, init_image=_start_image(transfer))
        distance = partial(_distance, self.network, self.content, self.styles, self.given.shares)
        if transfer.target is not None:
            style = style_of(distance(transfer, DEEPEST), choose_device(self.given.device))
            search = TargetSearch(transfer, self.content, trial, style)
            picture, transfer, found = search.paint(
                lambda options: trial(self.content, options=options)
            )
            if found.missed:
                warnings.warn(found.note, stacklevel=3)
        else:
            picture = trial(self.content, options=transfer)
        if chain is None:
            return picture
        repaint = partial(_repaint, render, self.content, transfer)
        return run_chain(picture, chain, self.content, repaint, distance(transfer)).picture

    def _with_size(self, transfer: Transfer, chain: Enhance | None) -> Transfer:
        """The options with the size and steps that there is time for."""
        small, device = reduced_photo(self.content), choose_device(self.given.device)
        looked = replace(self, content=small)
        guide = looked._guide(transfer)
        pair = Pair((self.content.shape[1], self.content.shape[2]), guide, chain)
        measured = Rates(rates_file()).efforts(str(device), pair.manner(transfer))
        render = looked._renderer(transfer)
        timed = partial(time_steps, transfer, pair, render, small, lambda: None, self.watch)
        chosen = choose(transfer, pair, measured, timed)
        if chosen.missed:
            warnings.warn(chosen.note, stacklevel=4)
        return chosen.transfer

    def _guide(self, transfer: Transfer) -> Guide:
        whole = [*self.styles, *self.parts.paintings]
        sources = Sources(self.content, whole, self.parts.shares, self.parts.masks)
        device = choose_device(self.given.device)
        return build_guide(sources, transfer, self.parts.recipes, self.network, device)

    def _renderer(self, transfer: Transfer) -> Callable[..., Tensor]:
        whole, mixture = [*self.styles, *self.parts.paintings], self.given.shares
        if self.parts.paintings:  # those of regions alone have no share of the whole picture
            own = _normalised(self.given.shares, self.styles)
            mixture = [*own, *[0.0] * len(self.parts.paintings)]
        return partial(
            stylize, styles=whole, shares=mixture, seed=self.given.seed, device=self.given.device,
            network=self.network, guide=self._guide(transfer),
        )  # fmt: skip


def _start_image(transfer: Transfer) -> Tensor | None:
    """(3, H, W) where ``init`` is a file."""
    return None if transfer.init in INIT_WORDS else read_picture(transfer.init, "init")[0]


def _distance(
    network: Vgg19,
    content: Tensor,
    styles: list[Tensor],
    shares: Sequence[float] | None,
    transfer: Transfer,
    depth: int = DEPTH,
) -> StyleDistance | None:
    """Measures how far an enhancement step changes the style; None where there is no style."""
    if not transfer.style_weight:
        return None
    weights = _normalised(shares, styles)
    return StyleDistance(network, content, styles, weights, stroke_scale(transfer), depth)


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
    if not isinstance(preset, str) or preset not in PRESETS:
        what = f"there is no preset {preset!r}"
        raise UsageError(what, where="preset", hint=nearest(str(preset), PRESETS))
    transfer = resolve_transfer(preset, validated(Transfer, options))
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
    return validated(Enhance, {"preset": wanted} if isinstance(wanted, str) else wanted)


def _normalised(shares: Sequence[float] | None, styles: Sequence[Tensor]) -> list[float]:
    given = list(shares) if shares is not None else [1.0] * len(styles)
    return [share / sum(given) for share in given]


@lru_cache(maxsize=2)
def _network(weights: str, pooling: str) -> Vgg19:
    return Vgg19(load_weights(weights), pooling)
