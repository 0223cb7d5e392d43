"""The enhancement: what each step does to pictures, and what it costs beside the painting.

Style distance is measured twice: as the limit measures it, and by the encoder of
`benchmarks.quality`, which the enhancement never sees. Of both 1 is the photo's from the painting.
"""

import time
from collections.abc import Mapping

from torch import Tensor

from benchmarks.pictures import painting, photo, sized
from benchmarks.quality import Encoder
from benchmarks.rows import Row
from pipeline.config.enhancement import ORDER, PRESETS, Enhance
from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.enhance import StyleDistance, enhance
from pipeline.enhance.style_guard import MAX_STYLE_SHIFT
from pipeline.nst import Iterate, Vgg19, load_weights, stylize
from pipeline.nst.objective import layers_used
from pipeline.nst.pyramid import options_by_scale, per_scale, scale_sides, step_cost, target_size

SIDE = 1024  # px
PAIRS = (("coffee", "oil_impasto"), ("astronaut", "brush_strokes"))
TIMED = resolve_transfer("draft", Transfer(size=256, scales=(256,), steps=(4,)))


def report() -> list[Row]:
    """A row for each step at full strength, and for each preset."""
    network, encoder = Vgg19(load_weights()), Encoder()
    content = photo("coffee")
    fine = fine_seconds(content, painting("oil_impasto"), network)
    seen = [_Pair(*names, network, encoder) for names in PAIRS]
    rows = [Row("fine, 1024 px: painting it (estimated from steps at 256 px)", f"{fine:.0f} s")]
    rows += [_step_row(name, seen) for name in ORDER]
    return rows + [_preset_row(name, seen, fine) for name in PRESETS]


class _Pair:
    """A painted photo, and how far pictures are from its painting."""

    def __init__(self, name: str, style: str, network: Vgg19, encoder: Encoder) -> None:
        self.photo, self.painting = photo(name), painting(style)
        self.network, self.encoder = network, encoder
        self.picture = stylize(
            self.photo, self.painting, resolve_transfer("draft"), network=network
        )
        self.unit = encoder.distance(self.photo, self.painting)

    def enhanced(self, options: Enhance) -> tuple[Tensor, tuple[Mapping[str, object], ...]]:
        """The picture, and what its steps did."""
        return enhance(self.picture, options, self.photo, distance=self.bound())

    def bound(self) -> StyleDistance:
        """A new style distance, as each job makes one."""
        return StyleDistance(self.network, self.photo, [self.painting], [1.0])

    def distance(self, picture: Tensor) -> float:
        """Style distance by the encoder, the photo's being 1."""
        return self.encoder.distance(picture, self.painting) / self.unit


def _step_row(name: str, pairs: list[_Pair]) -> Row:
    options = Enhance.model_validate({"preset": "none", name: 1.0})
    made = [(pair, *pair.enhanced(options)) for pair in pairs]
    moved = max(abs(p.distance(after) - p.distance(p.picture)) for p, after, _ in made)
    figures = [steps[0] for _, _, steps in made]

    def most(key: str) -> float:
        return max((float(str(found[key])) for found in figures), key=abs)

    value = (
        f"style {most('style_shift'):+.3f} (encoder {moved:.3f}), mean {most('mean_shift'):.4f}, "
        f"clipped {most('clipped'):.2%}, detail x {most('detail'):.2f}, "
        f"{1000 * cost(pairs[0], options):.0f} ms at 1024 px"
    )
    aim = f"style at most {MAX_STYLE_SHIFT:.2f}, clipped at most 0.50%"
    return Row(f"step {name}, strength 1", value, aim)


def _preset_row(name: str, pairs: list[_Pair], fine: float) -> Row:
    options = Enhance.model_validate({"preset": name})
    moved = [(p.distance(p.picture), p.distance(p.enhanced(options)[0])) for p in pairs]
    styles = ", ".join(f"{before:.3f} to {after:.3f}" for before, after in moved)
    took = cost(pairs[0], options)
    value = f"{took:.2f} s at 1024 px, {took / fine:.1%} of fine; encoder {styles}"
    return Row(f"preset {name}", value, "at most 5 % of the painting's time")


def cost(pair: _Pair, options: Enhance) -> float:
    """Seconds of a chain at 1024 px, its bounds measured too; the better of two runs."""
    large, took = sized(pair.picture, SIDE), []
    for _ in range(2):
        began = time.perf_counter()
        enhance(large, options, pair.photo, distance=pair.bound())
        took.append(time.perf_counter() - began)
    return min(took)


def fine_seconds(content: Tensor, style: Tensor, network: Vgg19) -> float:
    """Seconds that `fine` takes here: its steps' costs, times what a unit took at 256 px."""
    ends: list[tuple[float, float]] = []

    def watch(iterate: Iterate) -> None:
        ends.append((iterate.seconds, iterate.work_done))

    stylize(content, style, TIMED, watch, network=network)
    (began, first), (ended, last) = ends[0], ends[-1]
    options = resolve_transfer("fine")
    sides = scale_sides(options, SIDE)
    plan = zip(
        sides,
        per_scale(options.steps, len(sides)),
        options_by_scale(options, len(sides)),
        strict=True,
    )
    units = 0.0
    for side, steps, there in plan:
        height, width = target_size(*content.shape[1:], side)
        units += steps * step_cost(height * width, layers_used(there))
    return (ended - began) / (last - first) * units
