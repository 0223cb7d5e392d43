"""Painted styles: flowing brush strokes, palette-knife oil, watercolour."""

import numpy as np

from .brush import Brush, Canvas
from .primitives import (
    Array,
    blur,
    grid,
    levels,
    light,
    noise,
    over,
    ramp,
    slope,
    step,
)


def _swirls(x: Array, y: Array, eddies: list[tuple[float, float, float, float]]) -> Array:
    """A stream function: wind along x, with eddies (x, y, radius, turn)."""
    stream = y.copy()
    for ex, ey, radius, turn in eddies:
        far = np.hypot(x - ex, y - ey) / radius
        stream += turn * radius * np.exp(-(far**1.5))
    return stream


def _along(stream: Array) -> Array:
    """Angle of the flow that keeps to the stream function's contours."""
    dx, dy = slope(stream)
    return np.arctan2(-dx, dy)


def brush_strokes(size: int, rng: np.random.Generator) -> Array:
    """Evening wind over a wheat field: rivers of oil paint, coarse to fine."""
    x, y = grid(size)
    sun = (0.70, 0.30)
    eddies = [(*sun, 0.20, 1.6), (0.24, 0.22, 0.15, -1.7), (0.45, 0.46, 0.10, 1.5)]
    stream = _swirls(x, y, eddies) + 0.05 * noise(rng, size, 3, 3)
    angle = _along(stream)
    far = np.hypot(x - sun[0], y - sun[1])
    bands = 0.5 + 0.5 * np.sin(stream * 42 + 2 * noise(rng, size, 4, 2))
    night = ramp(bands * 0.75 + 0.25 * y / 0.6, "0a1238 14286b 1d4a9c 2f7db0 7db8b4 d8dca4")
    glow = ramp(far / 0.26, "fffbe0 ffe98a fcc22e f08a1c c9552a 5b5a8c 1d4a9c")
    picture = over(night, glow, np.exp(-((far / 0.17) ** 3)) * 0.97)

    hills = 0.60 + 0.05 * np.sin(x * 7 + 0.6) + 0.02 * np.sin(x * 17)
    ridge = step(0, y - hills)
    picture = over(picture, ramp(0.5 + bands / 2, "0e1c4a 24408c 3d63a8"), ridge)
    angle = np.where(ridge > 0.5, 0.25 * np.cos(x * 7 + 0.6) * 1.4, angle)

    field_top = 0.71 - 0.05 * np.sin(x * 5 + 1.2)
    wheat = step(0, y - field_top)
    rows = noise(rng, size, (5, 22), 3) * 0.5 + 0.5
    gold = ramp(np.clip(rows * 1.1, 0, 1), "3a1f0c 8a4a12 c98a1c efc23a fbe88c 5f7a2c")
    picture = over(picture, gold, wheat)
    sway = -1.25 + 0.55 * np.sin(x * 9 + y * 13) + 0.3 * noise(rng, size, 4, 2)
    angle = np.where(wheat > 0.5, sway, angle)

    lean = 0.13 + 0.02 * np.sin(y * 9)
    spread = 0.085 * np.sqrt(np.clip((y - 0.08) / 0.9, 0, 1)) * (1 + 0.25 * np.sin(y * 30))
    tree = step(0, spread - np.abs(x - lean))
    leaf = noise(rng, size, (14, 5), 3) * 0.5 + 0.5
    picture = over(picture, ramp(leaf, "04100f 0a2a22 14452f 3d6b35 8c8a3a"), tree)
    angle = np.where(tree > 0.5, -1.57 + 0.5 * np.sin(y * 24 + x * 20), angle)

    canvas = Canvas(blur(picture, 8) * 0.75)
    canvas.cover(blur(picture, 10), angle, Brush(46, 190, 2.6, 12, 0.08), rng)
    canvas.cover(blur(picture, 5), angle, Brush(26, 120, 1.8, 9, 0.11), rng)
    canvas.cover(blur(picture, 2), angle, Brush(14, 70, 1.3, 6, 0.14), rng)
    canvas.cover(picture, angle, Brush(8, 40, 0.35, 4, 0.2), rng, where=1.2 - far)
    shade = light(blur(canvas.height(), 1.2), 0.06)
    return levels(canvas.picture() * shade[..., None])


def oil_impasto(size: int, rng: np.random.Generator) -> Array:
    """A harbour at sundown in slabs of thick paint, laid with a palette knife."""
    x, y = grid(size)
    shore = 0.56
    mirrored = np.where(y > shore, 2 * shore - y, y)
    sky = ramp(
        np.clip(mirrored / shore + 0.12 * noise(rng, size, 3, 3), 0, 1),
        "16365c 2a6f8f 6fb0a8 e8d9a8 f7b45a ee6c2c c23a2e",
    )
    far = np.hypot(x - 0.62, (mirrored - 0.36) * 1.05)
    picture = over(sky, ramp(far / 0.12, "fffce8 fff0a8 fccb4a f7943a"), step(0, 0.10 - far, 0.02))

    column = np.floor(x * 15 + 0.4 * np.sin(x * 20)).astype(int)
    tall = rng.uniform(0.05, 0.27, 40)[column] * np.clip(0.25 + 1.4 * np.abs(x - 0.62), 0, 1.1)
    towns = step(0, tall - (shore - mirrored), 0.003)
    facade = rng.integers(0, 7, 40)[column] / 6
    walls = ramp(
        np.clip(facade + 0.1 * noise(rng, size, 20, 2), 0, 1),
        "0a1020 14243f 3a1a30 6b2430 1a3f4c 0d1a30 14243f",
    )
    lamps = step(0.72, noise(rng, size, (26, 30), 1), 0.03) * towns
    picture = over(over(picture, walls, towns), ramp(lamps, "f7a83a fff0b0"), lamps)

    ripple = noise(rng, size, (6, 40), 3)
    water = step(shore, y)
    deep = ramp(np.clip((y - shore) / 0.44, 0, 1), "2a6f8f 154a6c 0a2440 061226")
    mix = np.clip(0.2 + 1.1 * (y - shore) / 0.44 + 0.5 * ripple, 0, 1) * water
    picture = over(picture, deep, mix * 0.9)
    glint = water * step(0.15, ripple - 4.5 * np.abs(x - 0.62) + 0.45, 0.1)
    picture = over(picture, ramp(0.5 + ripple / 2, "ee6c2c f9b24a fff0b8"), glint * 0.9)

    hull = water * step(0, 0.035 - np.abs(y - 0.80) - 0.5 * np.maximum(np.abs(x - 0.27) - 0.11, 0))
    sail = step(0, 0.15 - np.abs(x - 0.27) * 1.7 - np.abs(y - 0.66)) * step(0.27, x, 0.003)
    picture = over(picture, np.array([0.95, 0.90, 0.80]), sail)
    picture = over(picture, ramp(y * 0 + ripple, "3a0f14 8f2420 16121f"), hull)

    tilt = noise(rng, size, 3, 2)
    angle = np.where(y > shore, 0.12 * tilt, 0.5 * tilt + 0.25)
    angle = np.where(towns * (y <= shore) > 0.5, 1.57 + 0.12 * tilt, angle)
    canvas = Canvas(blur(picture, 6) * 0.8)
    canvas.cover(blur(picture, 8), angle, Brush(74, 150, 3.0, 24, 0.07, 0.02, 0.3, 0.15), rng)
    canvas.cover(blur(picture, 4), angle, Brush(46, 96, 1.6, 16, 0.09, 0.025, 0.3, 0.15), rng)
    canvas.cover(blur(picture, 1), angle, Brush(26, 58, 0.8, 10, 0.11, 0.03, 0.25, 0.15), rng)
    relief = canvas.height() * 0.6 + blur(canvas.height(), 2) * 0.8
    return levels(canvas.picture() * light(relief, 0.05)[..., None])


def _wash(
    paper: Array, shape: Array, pigment: Array, grain: Array, wet: Array, strength: float = 1.0
) -> Array:
    """One transparent wash: multiplies the paper, pools at its edges, settles in the grain."""
    mask = step(0, shape, 0.004)
    pooled = np.clip(mask - blur(mask, 9), 0, 1) * 1.3 + 0.5 * np.clip(mask - blur(mask, 3), 0, 1)
    dose = mask * np.clip(0.62 + 0.34 * wet + 0.16 * grain, 0.05, 2) + pooled
    return paper * np.clip(pigment, 0.02, 1) ** (dose[..., None] * strength)


def watercolor(size: int, rng: np.random.Generator) -> Array:
    """Misty mountains over a lake: transparent washes, hard edges, blooms, granulation."""
    x, y = grid(size)
    tooth = noise(rng, size, 170, 2)
    wobble = 0.012 * noise(rng, size, 14, 4)

    def wet(cells: float = 4) -> Array:
        return noise(rng, size, cells, 5)

    picture = np.ones((size, size, 3)) * [0.985, 0.965, 0.925] + 0.015 * tooth[..., None]
    sky = ramp(np.clip(y / 0.5 + 0.2 * wet(3), 0, 1), "3f7fb8 7fb4d0 e8c8b0 f4a582 f6c98a")
    sun = np.hypot(x - 0.66, y - 0.27)
    cloud = step(0.25, wet(3) - 0.5 * np.exp(-((sun / 0.1) ** 2)), 0.05)
    picture = _wash(
        picture, 0.5 - y + wobble, over(sky, np.ones(3) * 0.97, cloud * 0.8), tooth, wet()
    )
    bloom = sun - 0.065 + wobble
    picture = over(picture, np.array([1.0, 0.93, 0.72]), step(0, -bloom, 0.006))
    picture = _wash(picture, -bloom, ramp(y, "f9c24a ee6c4a"), tooth, wet())
    layers = [
        (0.36, 0.10, 3, "8f9fd0 c0a8d0 f0d8d8"),
        (0.43, 0.09, 4, "5a78b8 8a7fb8 e0c0c8"),
        (0.49, 0.075, 6, "2f5a8f 4a8a9c b8d8c8"),
        (0.55, 0.05, 9, "1c4a5c 3f7f5a a8c07a"),
    ]
    for base, tall, cells, pigment in layers:
        ridge = base + tall * noise(rng, size, (cells, 0.01), 5) + wobble
        fade = np.clip((y - ridge) / 0.17, 0, 1)
        shape = np.minimum(y - ridge, 0.605 + wobble - y)
        picture = _wash(picture, shape, ramp(fade + 0.12 * wet(), pigment), tooth, wet(6), 1.1)
    ripple = noise(rng, size, (5, 34), 3)
    lake = ramp(np.clip((y - 0.6) / 0.4 + 0.15 * wet(), 0, 1), "f0c0a0 8fc0c8 3a8aa8 1c5a8c 163a6c")
    picture = _wash(picture, np.minimum(y - 0.61 - wobble, 0.9 * y), lake, tooth, wet(3))
    streaks = np.minimum(ripple - 0.36 + 0.4 * (y - 0.8), y - 0.63)
    picture = _wash(picture, streaks, ramp(y, "8fb8d0 5a9ac0 2f6f9c"), tooth, wet(8), 0.7)
    picture = _pines(picture, rng, tooth, wobble)
    picture = _meadow(picture, rng, tooth, wobble)
    return levels(picture * (1 + 0.03 * light(tooth, 0.002)[..., None] - 0.03), 0.3, 99.7)


def _pines(picture: Array, rng: np.random.Generator, tooth: Array, wobble: Array) -> Array:
    """Dark firs at the lake's left and right, wet in wet."""
    size = picture.shape[0]
    x, y = grid(size)
    trees = [(0.06, 0.22, 0.95), (0.15, 0.36, 0.93), (0.235, 0.47, 0.90), (0.94, 0.33, 0.88)]
    trees += [(0.87, 0.50, 0.84), (0.31, 0.58, 0.88)]
    for at, top, foot in trees:
        tall = (y - top) / (foot - top)
        boughs = 0.55 + 0.45 * np.abs(((tall * 9 + 2 * wobble * 20) % 1) - 0.1)
        shape = (
            np.minimum(0.24 * (foot - top) * tall * boughs, foot - y)
            - np.abs(x - at)
            + 2 * wobble * np.clip(tall * 4, 0, 1)
        )
        shape = np.where((tall > 0) & (tall < 1), shape, -0.1)
        pigment = ramp(0.5 + 0.5 * noise(rng, size, 7, 4), "06182c 0c3038 1c5040 4a6a2c")
        picture = _wash(picture, shape, pigment, tooth, noise(rng, size, 8, 4), 1.1)
    return picture


def _meadow(picture: Array, rng: np.random.Generator, tooth: Array, wobble: Array) -> Array:
    """The near bank, with flowers dropped in."""
    size = picture.shape[0]
    x, y = grid(size)
    bank = y - 0.90 + 0.05 * np.sin(x * 5 + 0.5) + wobble * 2
    pigment = ramp(0.5 + 0.5 * noise(rng, size, 5, 4), "1c3a1c 4a6a1c a88a1c d8a83a 6a8a3a")
    picture = _wash(picture, bank, pigment, tooth, noise(rng, size, 5, 4), 1.1)
    blots = [(*rng.uniform((0, 0.87), (1, 1.02)), rng.uniform(0.004, 0.015)) for _ in range(150)]
    inks = ["c8202c", "e8542c", "8a2a7c", "f0a020", "2a4a9c"]
    for k, ink in enumerate(inks):
        near = np.full((size, size), -1.0)
        for bx, by, radius in blots[k :: len(inks)]:
            near = np.maximum(near, radius - np.hypot(x - bx, (y - by) * 1.2))
        soft = near + wobble * 0.6
        picture = over(picture, np.array([0.97, 0.93, 0.86]), step(0, soft, 0.003) * 0.75)
        picture = _wash(picture, soft, ramp(x * 0, f"{ink} {ink}"), tooth, noise(rng, size, 30, 2))
    return picture
