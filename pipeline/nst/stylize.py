"""The transfer as one function: ``stylize(content, styles, options, on_iterate) -> picture``."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.config.transfer import INIT_WORDS, Transfer
from pipeline.errors import EngineError
from pipeline.nst.cache import Caches, fingerprint, pack, unpack
from pipeline.nst.colors import combine_luma_and_color
from pipeline.nst.content_focus import lerp_to
from pipeline.nst.devices import choose_device
from pipeline.nst.guidance.detail import is_empty
from pipeline.nst.guidance.matching import attention_target
from pipeline.nst.guidance.regions import (
    MOTIF_BLOCK,
    NO_GUIDE,
    Guide,
    Region,
    StyleTarget,
    normalised_shares,
)
from pipeline.nst.look.coloring import Inputs, finish_colors, photo_recoloring, recast
from pipeline.nst.look.strength import apply_strength, apply_stroke, effect_of, is_photo
from pipeline.nst.objective import (
    STATISTICS,
    Adapt,
    Evaluation,
    Objective,
    extract_whole,
    layers_used,
    measure_style,
    measure_style_moments,
    style_features,
)
from pipeline.nst.optimizers import make_optimizer
from pipeline.nst.pyramid import (
    cover,
    deepest_block,
    enlarge,
    options_by_scale,
    per_scale,
    resize,
    scale_sides,
    step_cost,
    target_size,
    trim_edges,
    without_deep_content,
)
from pipeline.nst.search import CHECK_EVERY, Search
from pipeline.nst.statistics import Moments
from pipeline.nst.tiles import TiledObjective, extract_in_blocks
from pipeline.nst.vgg import Vgg19
from pipeline.nst.weights import load_weights
from pipeline.system.malloc import keep_freed_memory


@dataclass(frozen=True, slots=True)
class Iterate:
    """The state of the optimisation after one step.

    Attributes:
        scale, scales: This scale, counted from 1, of how many.
        step, steps: Step within the whole run, counted from 1, of how many.
        image: (1, 3, H, W) the picture now, on the device, not clamped. Copy it to keep it: Adam
            continues in the same memory.
        carried: (1, 3, h, w) what this scale began with, before it was enlarged: the picture that
            the scale before ended with, for ``resume``.
        evaluation: Loss, gradient and terms before this step; scalars on the device.
        seconds: Since the run began.
        restarts: How often the optimisation has had to step back from a divergence.
        work_done, work_left: Of the whole run, in units of one full-depth step's pixel.
    """

    scale: int
    scales: int
    step: int
    steps: int
    image: Tensor
    carried: Tensor
    evaluation: Evaluation
    seconds: float
    restarts: int
    work_done: float
    work_left: float

    @property
    def side(self) -> int:
        """Long side of this scale in px."""
        return max(self.image.shape[-2:])

    def losses(self) -> dict[str, float]:
        """Unweighted terms and the total as numbers (this waits for the device)."""
        terms = {name: float(value) for name, value in self.evaluation.terms.items()}
        return terms | {"total": float(self.evaluation.loss)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does at each scale, coarse to fine.

    Attributes:
        sizes: (height, width) in px.
        steps: How many.
        options: With the layers that are used there.
        costs: Of a step, in units of one full-depth step's pixel.
    """

    sizes: list[tuple[int, int]]
    steps: list[int]
    options: list[Transfer]
    costs: list[float]

    @property
    def work(self) -> float:
        """Of all steps, in the same units."""
        return sum(n * cost for n, cost in zip(self.steps, self.costs, strict=True))


def plan_run(options: Transfer, photo: tuple[int, int], *, detailed: bool = True) -> Plan:
    """The scales of a picture.

    Args:
        options: Of the transfer.
        photo: (height, width) of the photo.
        detailed: Whether deep content is kept anywhere at the finest scale (`Guide.detail`).
    """
    size = target_size(*photo, options.size)
    sides = scale_sides(options, max(size))
    sizes = [target_size(*size, side) for side in sides[:-1]] + [size]
    there = options_by_scale(options, len(sides))
    if not detailed:
        there = [without_deep_content(each) for each in there]
    costs = [step_cost(h * w, layers_used(o)) for (h, w), o in zip(sizes, there, strict=True)]
    return Plan(sizes, per_scale(options.steps, len(sides)), there, costs)


OnIterate = Callable[[Iterate], None]

# px; larger photos' features are computed again for each style: those of 2048 px take 1.5 GB.
CACHED_AREA = 512 * 512


def stylize(
    content: Tensor,
    styles: Sequence[Tensor] | Tensor,
    options: Transfer | None = None,
    on_iterate: OnIterate | None = None,
    *,
    shares: Sequence[float] | None = None,
    init_image: Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    network: Vgg19 | None = None,
    resume: tuple[int, Tensor] | None = None,
    caches: Caches | None = None,
    guide: Guide = NO_GUIDE,
) -> Tensor:
    """Render the content image in the style of paintings (Gatys et al. 2016), coarse to fine.

    Args:
        content: (3, H, W) sRGB in [0, 1].
        styles: One painting (3, h, w) or several, blended by ``shares``.
        options: See `pipeline.config.transfer.Transfer`; its defaults when absent.
        on_iterate: Called after each step; an exception raised in it ends the run.
        shares: Weight of each style, any positive scale; equal when absent.
        init_image: Start image (3, h, w), used when ``options.init`` is none of content, noise,
            style.
        seed: For the noise; the same seed gives the same picture on one device.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        network: A loaded VGG-19 to use again; the embedded weights are loaded when absent.
        resume: Continue after an interruption: how many scales were finished, and the picture
            (3, h, w) that the last of them ended with, not clamped (`Iterate.carried`). The end
            is then that of a run without interruption.
        caches: Keep paintings' sums and photos' features for the next run.
        guide: Where things are in the photo and in the paintings, for motifs in the right place.

    Returns:
        (3, H', W') sRGB in [0, 1] on the CPU, its long side ``options.size``.

    Raises:
        EngineError: When a picture holds NaN or the optimisation leaves the finite numbers.
    """
    options = options or Transfer()
    on = choose_device(device)
    paintings = [styles] if isinstance(styles, Tensor) else list(styles)
    photo = _prepared(content, "content image", on)
    prepared = [trim_edges(_prepared(style, "style image", on)) for style in paintings]
    start = None if init_image is None else _prepared(init_image, "init image", on)
    if is_photo(options, guide):
        return resize(photo, target_size(*_size(photo), options.size)).clamp(0, 1).squeeze(0).cpu()
    options, guide = apply_strength(apply_stroke(options), guide, photo)
    network = (network or Vgg19(load_weights(), options.pooling)).to(on)
    inputs = Inputs(photo, prepared, normalised_shares(shares, len(prepared)), guide)
    run = _Run(recast(inputs, options), options, network, on_iterate, caches or Caches())
    if resume is not None:
        resume = resume[0], _checked(resume[1], "picture to resume from", on)
    # Accelerators have allocators of their own that keep what is freed.
    with keep_freed_memory() if on.type == "cpu" else nullcontext():
        picture = run.paint(start, seed, resume)
    original = resize(photo, _size(picture)).clamp(0, 1)
    picture = finish_colors(picture, original, options, guide)
    return lerp_to(picture, original, guide.untouched).clamp(0, 1).squeeze(0).cpu()


class _Run:
    """One run: a photo, its styles, and what the callback reports; `paint` does it."""

    def __init__(
        self,
        inputs: Inputs,
        options: Transfer,
        network: Vgg19,
        on_iterate: OnIterate | None,
        caches: Caches,
    ) -> None:
        self.photo, self.styles, self.shares = inputs.photo, inputs.styles, inputs.shares
        self.guide = inputs.guide
        needed = options.init == "content" or options.content_target == "adapted"
        self.recolor = photo_recoloring(inputs, options) if needed else None
        self.options, self.network, self.on_iterate = options, network, on_iterate
        detailed = self.guide.detail is None or not is_empty(self.guide.detail)
        plan = plan_run(options, _size(self.photo), detailed=detailed)
        self.sizes, self.steps, self.options_at = plan.sizes, plan.steps, plan.options
        self.costs, self.work = plan.costs, plan.work
        self.depths = per_scale(options.depths, len(self.sizes))
        self.done, self.work_done, self.restarts = 0, 0.0, 0
        self.began = time.monotonic()
        self.caches = caches
        # Another device or another version of torch gives other sums, in their last bits.
        measured_by = network.identity, str(self.photo.device), torch.__version__
        self.photo_key = fingerprint(self.photo, *measured_by)
        self.style_key = fingerprint(*self.styles, self.shares, *measured_by)

    def paint(
        self, start: Tensor | None, seed: int, resume: tuple[int, Tensor] | None = None
    ) -> Tensor:
        """From the coarsest scale to the finest; each starts from the one before, enlarged."""
        finished, picture = resume if resume else (0, self._start(start, seed))
        for index, size in enumerate(self.sizes):
            if index < finished:
                self._skip(self.steps[index], index)
                continue
            objective = self._objective(size, self.options_at[index])
            picture = self._optimise(picture, objective, index)
        return picture

    def _shares_of(self, region: Region, count: int) -> list[float]:
        return normalised_shares(region.shares, count) if region.shares else self.shares

    def _objective(self, size: tuple[int, int], options: Transfer) -> Objective:
        photo = resize(self.photo, size).clamp(0, 1)
        area = size[0] * size[1]
        adapted = options.content_target == "adapted"
        # Light and dark are the photo's: moved to a dark painting's, a pupil and the iris around it
        # are one black, and no scale can separate them.
        recolored = (
            combine_luma_and_color(photo, self.recolor(photo)) if self.recolor and adapted else None
        )
        targets, adapt = self._targets(area, options), self._attended(area, options)
        if block := self._block(area):
            return TiledObjective(
                block, self.network, photo, targets, options, None, recolored, self.guide, adapt
            )
        features, layers = None, layers_used(options)
        if area <= CACHED_AREA:
            key = fingerprint(self.photo_key, size, layers)
            with torch.no_grad():
                features = self.caches.photos.get(key, lambda: self.network(photo, layers))
        return Objective(
            self.network, photo, targets, options, features, recolored, self.guide, adapt
        )

    def _block(self, area: int) -> int:
        """Side in px of the blocks that a picture of ``area`` px is computed in; 0: whole."""
        block = self.options.block or 0
        return block if area > block**2 else 0

    def _targets(self, area: int, options: Transfer) -> list[StyleTarget]:
        """The style of each region, from the cache where it has been measured before."""
        coarse, fine = split_layers(options.style_layers)
        if self.guide.regions is self.guide.motifs:
            coarse, fine = options.style_layers, {}
        targets = [
            self._target(region, coarse, not fine, area, options) for region in self.guide.regions
        ]
        if fine:
            targets += [
                self._target(region, fine, True, area, options) for region in self.guide.motifs
            ]
        return targets

    def _target(
        self, region: Region, layers: dict[str, float], content: bool, area: int, options: Transfer
    ) -> StyleTarget:
        """One region's style at some layers, and its moments at the content layers if wanted."""
        sums: dict[str, Any] = {}
        if layers:
            key: object = (options.statistic, layers, options.style_scale)
            kind = STATISTICS[options.statistic].sums
            at = options.model_copy(update={"style_layers": layers})
            sums = self._cached(measure_style, region, area, at, key, kind)
        moments: dict[str, Moments] = {}
        if content:
            # "manner" was this function's name when the first caches were written.
            key = ("manner", options.content_target, options.content_layers, options.style_scale)
            moments = self._cached(measure_style_moments, region, area, options, key, Moments)
        strength = options.strength if region.strength is None else region.strength
        return StyleTarget(sums, region.mask, effect_of(strength).keep, moments)

    def _attended(self, area: int, options: Transfer) -> Adapt | None:
        """Adapts content to what each place learns from, where that is known."""
        kept = options.content_target == "adapted" and options.content_weight
        if not self.guide.learned or not kept:
            return None
        block, layers = self._block(area), list(options.content_layers)
        extract = extract_in_blocks(block) if block else extract_whole
        styles = [
            style_features(self.network, style, layers, area, options.style_scale, extract)
            for style in self.styles
        ]

        def adapt(layer: str, features: Tensor) -> Tensor:
            parts = zip(self.shares, styles, self.guide.learned, strict=True)
            adapted = [
                share * attention_target(features, style[layer], each.plan, each.grids)
                for share, style, each in parts
            ]
            return torch.stack(adapted).sum(0)

        return adapt

    def _cached(
        self,
        measure: Callable[..., Any],
        region: Region,
        area: int,
        options: Transfer,
        key: object,
        kind: type,
    ) -> dict[str, Any]:
        """A region's sums of ``kind`` by layer, measured where the cache has none."""
        block = self._block(area)
        extract = extract_in_blocks(block) if block else extract_whole
        shares = self._shares_of(region, len(self.styles))
        sources = region.sources

        def make() -> dict[str, Tensor]:
            return pack(measure(self.network, self.styles, shares, area, options, extract, sources))

        if not self.guide.fixed:
            return unpack(make(), kind, self.photo.device)
        counts = () if region.shares is sources is None else (shares, *(sources or ()))
        cached = self.caches.styles.get(
            fingerprint(self.style_key, area, key, block, *counts), make
        )
        return unpack(cached, kind, self.photo.device)

    def _start(self, init_image: Tensor | None, seed: int) -> Tensor:
        size, init = self.sizes[0], self.options.init
        if init not in INIT_WORDS:
            if init_image is None:
                raise EngineError(f"init is {init!r} but no init image was given", where="init")
            return cover(init_image, size)
        photo = resize(self.photo, size)
        if init == "content":
            # Not the paper: starting in the painting's colours saves the steps that mixing costs.
            return self.recolor(photo) if self.recolor else photo
        if init == "noise":
            # White noise (the paper), drawn on the CPU so that every device starts alike.
            generator = torch.Generator().manual_seed(seed)
            start = torch.rand((1, 3, *size), generator=generator).to(self.photo.device)
        else:
            start = cover(self.styles[0], size)
        return lerp_to(start, photo, self.guide.keep)

    def _optimise(self, carried: Tensor, objective: Objective, index: int) -> Tensor:
        """Run the steps of one scale; returns the best picture, which is always finite."""
        start = enlarge(carried, self.sizes[index])
        # By `depths` at most: where content layers are deeper, they keep forms that are there.
        depth = min(self.depths[index], deepest_block(objective.layers))
        search = Search(make_optimizer(start, self.options, depth), objective)
        for step in range(self.steps[index]):
            self.done += 1
            self.work_done += self.costs[index]
            self._report_iterate(search.step(), search, index, carried)
            if step % CHECK_EVERY == CHECK_EVERY - 1 and search.has_converged():
                self._skip(self.steps[index] - step - 1, index)
                break
        self.restarts += search.restarts
        return search.best(final=index == len(self.sizes) - 1)

    def _skip(self, steps: int, index: int) -> None:
        self.done += steps
        self.work_done += steps * self.costs[index]

    def _report_iterate(
        self, evaluation: Evaluation, search: Search, index: int, carried: Tensor
    ) -> None:
        if self.on_iterate is None:
            return
        self.on_iterate(
            Iterate(
                scale=index + 1,
                scales=len(self.sizes),
                step=self.done,
                steps=sum(self.steps),
                image=search.optimizer.image,
                carried=carried,
                evaluation=evaluation,
                seconds=time.monotonic() - self.began,
                restarts=self.restarts + search.restarts,
                work_done=self.work_done,
                work_left=self.work - self.work_done,
            )
        )


def _prepared(image: Tensor, name: str, device: torch.device) -> Tensor:
    return _checked(image, name, device).clamp(0, 1)


def _checked(image: Tensor, name: str, device: torch.device) -> Tensor:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise EngineError(f"should be (3, H, W), is {tuple(image.shape)}", where=name)
    if not image.isfinite().all():
        raise EngineError("contains NaN or infinity", where=name)
    return image.to(device, torch.float32).unsqueeze(0)


def split_layers(layers: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Layers of strokes and colours, and layers of motifs."""
    motifs = {name: weight for name, weight in layers.items() if int(name[4]) >= MOTIF_BLOCK}
    return {name: weight for name, weight in layers.items() if name not in motifs}, motifs


def _size(image: Tensor) -> tuple[int, int]:
    height, width = image.shape[-2:]
    return height, width
