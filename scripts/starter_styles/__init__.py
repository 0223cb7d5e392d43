"""The starter styles by name: each draws (size, rng) -> picture (size, size, 3) in 0..1."""

from collections.abc import Callable

import numpy as np

from .dots import pointillism
from .ink import ink_hatching
from .paint import brush_strokes, oil_impasto, watercolor
from .primitives import Array
from .tiles import mosaic, stained_glass
from .woodcut import woodcut_waves

STYLES: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "mosaic": mosaic,
    "stained_glass": stained_glass,
    "brush_strokes": brush_strokes,
    "ink_hatching": ink_hatching,
    "pointillism": pointillism,
    "woodcut_waves": woodcut_waves,
    "watercolor": watercolor,
    "oil_impasto": oil_impasto,
}
