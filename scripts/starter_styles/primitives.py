"""What every style is drawn with: coordinates, noise, palettes, masks, light.

Pictures are float arrays (size, size, 3) in 0..1, sRGB; masks and fields are (size, size).
x runs right and y runs down, both 0..1, so a style looks the same at every size.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[np.float64]


def grid(size: int) -> tuple[Array, Array]:
    """Pixel centres: x and y, each (size, size) in 0..1."""
    axis = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y


def noise(
    rng: np.random.Generator, size: int, cells: float | tuple[float, float], octaves: int = 4
) -> Array:
    """Smooth random field, about -1..1; `cells` features across at the coarsest (x, y)."""
    across, down = cells if isinstance(cells, tuple) else (cells, cells)
    total, norm = np.zeros((size, size)), 0.0
    for octave in range(octaves):
        columns, rows = (round(n * 2**octave) + 3 for n in (across, down))
        values = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        if max(rows, columns) > 2 * size:
            continue  # finer than the pixels; drawn all the same, to keep the seed in step
        layer = Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float64) * 0.5**octave
        norm += 0.5**octave
    return total / norm * 1.4


def colours(text: str) -> Array:
    """'0b1d3a f2d16b' -> (2, 3) in 0..1."""
    return np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in text.split()]) / 255


def ramp(t: Array, text: str) -> Array:
    """Map t in 0..1 onto a row of colours, evenly spaced: (..., 3)."""
    stops = colours(text)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(t, at, stops[:, k]) for k in range(3)], axis=-1)


def step(edge: float, value: Array, soft: float = 0.004) -> Array:
    """0 below the edge, 1 above it, smooth over `soft` on either side."""
    t = np.clip((value - edge) / (2 * soft) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def over(below: Array, above: Array, mask: Array) -> Array:
    """Lay `above` (a picture or one colour) over `below` where the mask is 1."""
    return below + (above - below) * mask[..., None]


def blur(field: Array, radius: float) -> Array:
    """Gaussian blur of the first two axes; radius in 1/1024 of the side."""
    sigma = radius * field.shape[0] / 1024
    return ndimage.gaussian_filter(field, (sigma, sigma) + (0,) * (field.ndim - 2))


def depth(mask: Array) -> Array:
    """Distance into the mask from its edge, in 1/1024 of the side; 0 outside."""
    return ndimage.distance_transform_edt(mask > 0.5) * 1024 / mask.shape[0]


def slope(field: Array) -> tuple[Array, Array]:
    """d/dx and d/dy in units of the side."""
    dy, dx = np.gradient(field)
    return dx * field.shape[1], dy * field.shape[0]


def light(height: Array, strength: float, toward: float = -2.2) -> Array:
    """Shade of a relief lit from the direction `toward` (radians): 1 where flat, 0.55 to 1.45."""
    dx, dy = slope(height)
    along = -(dx * np.cos(toward) + dy * np.sin(toward)) * strength
    return 1 + 0.45 * np.tanh(along)


def levels(picture: Array, low: float = 0.5, high: float = 99.5) -> Array:
    """Stretch so that the darkest parts reach near black and the lightest near white."""
    grey = picture.mean(axis=-1)
    black, white = np.percentile(grey, [low, high])
    return np.clip((picture - black) / (white - black) * 0.95 + 0.025, 0, 1)


def vary(rng: np.random.Generator, colour: Array, amount: float, hue: float = 0.5) -> Array:
    """Colours (n, 3) each a little lighter or darker, and (by `hue`) a little off in tint."""
    shape = (len(colour), 1)
    tint = rng.normal(0, amount * hue, (len(colour), 3))
    return np.clip(colour * (1 + rng.normal(0, amount, shape)) + tint, 0, 1)


def sample(field: Array, points: Array) -> Array:
    """Read a field (size, size, ...) at points (..., 2) given as (x, y) in 0..1."""
    size = field.shape[0]
    column, row = (np.clip((points[..., k] * size).astype(int), 0, size - 1) for k in (0, 1))
    return field[row, column]
