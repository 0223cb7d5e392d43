"""A brush: strokes that follow a field of angles, each made of many coloured bristles."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .primitives import Array, sample, vary


@dataclass(frozen=True)
class Brush:
    """Lengths in 1/1024 of the side."""

    width: float
    length: float
    cover: float = 2.0  # how many times over the strokes would cover the canvas
    bristles: int = 9
    jitter: float = 0.10  # spread of colour from stroke to stroke
    streak: float = 0.06  # spread of colour from bristle to bristle
    wander: float = 0.15  # spread of direction, radians
    rough: float = 0.8  # how uneven the paint lies: a bristle brush 0.8, a knife 0.1


class Canvas:
    """Paint and its thickness, drawn at twice the size and halved at the end (smooth edges)."""

    def __init__(self, ground: Array) -> None:
        self.size = 2 * ground.shape[0]
        under = Image.fromarray((ground * 255).astype(np.uint8))
        self.paint = under.resize((self.size, self.size))
        self.relief = Image.new("L", (self.size, self.size), 90)
        self._pens = ImageDraw.Draw(self.paint), ImageDraw.Draw(self.relief)

    def picture(self) -> Array:
        return np.asarray(self.paint.reduce(2), np.float64) / 255

    def height(self) -> Array:
        return np.asarray(self.relief.reduce(2), np.float64) / 255

    def line(self, points: Array, width: float, colour: Array, height: float) -> None:
        """One bristle's mark; points (n, 2) in 0..1, width in 1/1024."""
        path = (points * self.size).ravel().tolist()
        thick = max(1, round(width * self.size / 1024))
        self._pens[0].line(path, tuple(int(255 * c) for c in colour), thick)
        self._pens[1].line(path, int(np.clip(height, 0, 1) * 255), thick)

    def stroke(self, path: Array, brush: Brush, colour: Array, rng: np.random.Generator) -> None:
        """path (n, 2): bristles side by side, ragged at both ends, thick at the rims."""
        across = np.gradient(path, axis=0)[:, ::-1] * (-1, 1)
        across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
        count, last = brush.bristles, len(path)
        offsets = np.linspace(-0.5, 0.5, count)
        # Neighbouring bristles carry similar paint, as on a real brush: a short random walk.
        walk = np.cumsum(rng.normal(0, brush.streak, count))
        tints = np.clip(colour + (walk - walk.mean())[:, None], 0, 1)
        rim = np.abs(offsets) * 0.5 + 0.3 + rng.uniform(-0.2, 0.2, count) * brush.rough
        most = 1 + int(last * 0.25 * min(1, brush.rough + 0.2))
        ragged = rng.integers(0, most, (count, 2))
        for k in rng.permutation(count):
            part = slice(ragged[k, 0], last - ragged[k, 1])
            moved = path[part] + across[part] * (offsets[k] * brush.width / 1024)
            self.line(moved, brush.width / count * 1.7, tints[k], rim[k])

    def cover(
        self,
        picture: Array,
        angle: Array,
        brush: Brush,
        rng: np.random.Generator,
        where: Array | None = None,
    ) -> None:
        """Strokes all over, coloured by the picture, along the angles, thinned out by `where`."""
        margin = brush.length / 1024  # strokes that begin outside still reach the edges
        area = (1 + 2 * margin) ** 2 * 1024**2
        side = round((brush.cover * area / (brush.width * brush.length)) ** 0.5)
        cells = rng.permutation(side * side)  # one start per cell leaves no bare patches
        starts = np.stack([cells % side, cells // side], axis=-1) + rng.random((side**2, 2))
        starts = starts / side * (1 + 2 * margin) - margin
        if where is not None:
            starts = starts[rng.random(len(starts)) < sample(where, starts)]
        paths = follow(angle, starts, brush.length / 1024, rng.normal(0, brush.wander, len(starts)))
        tints = vary(rng, sample(picture, paths[:, paths.shape[1] // 2]), brush.jitter, 0.35)
        for path, tint in zip(paths, tints, strict=True):
            self.stroke(path, brush, tint, rng)


def follow(angle: Array, starts: Array, length: float, turn: Array, steps: int = 9) -> Array:
    """Trace every start (n, 2) along the field: (n, steps, 2)."""
    points, paths = starts, [starts]
    for _ in range(steps - 1):
        theta = sample(angle, points) + turn
        points = points + np.stack([np.cos(theta), np.sin(theta)], axis=-1) * length / steps
        paths.append(points)
    return np.stack(paths, axis=1)
