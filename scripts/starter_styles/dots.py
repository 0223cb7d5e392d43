"""Pointillism: a picture in dots of unmixed colour."""

import numpy as np
from PIL import Image, ImageDraw

from .primitives import Array, blur, colours, grid, levels, noise, over, ramp, sample, step, vary

# Dots from coarse to fine: radius in 1/1024, how often they cover the canvas, spread of colour.
DOTS = ((12.0, 1.8, 0.05), (9.5, 1.7, 0.08), (7.2, 0.9, 0.11), (5.0, 0.2, 0.14))


def pointillism(size: int, rng: np.random.Generator) -> Array:
    """A river on a bright afternoon, in dots of unmixed colour."""
    picture = _riverside(size, rng)
    canvas = Image.fromarray(
        (over(picture, np.array([0.93, 0.88, 0.76]), np.full((size, size), 0.55)) * 255).astype(
            np.uint8
        )
    )
    canvas = canvas.resize((2 * size, 2 * size))
    pen = ImageDraw.Draw(canvas)
    soft = blur(picture, 2)
    for radius, cover, jitter in DOTS:
        count = int(cover * 1024**2 / (np.pi * radius**2))
        spots = rng.random((count, 2))
        paint = vary(rng, sample(soft, spots), jitter * 0.7, 0.9)
        _divide(paint, rng)
        sizes = radius * rng.uniform(0.75, 1.2, count) * size / 512
        for (cx, cy), r, tint in zip(spots * 2 * size, sizes, paint, strict=True):
            pen.ellipse(
                (cx - r, cy - r * 0.9, cx + r, cy + r * 0.9),
                tuple((tint * 255).astype(int).tolist()),
            )
    return levels(np.asarray(canvas.reduce(2), np.float64) / 255)


def _divide(paint: Array, rng: np.random.Generator) -> None:
    """Divisionism: replace a fifth of the dots by a neighbour on the colour wheel, a few by the
    complement; dots stay saturated, the eye does the mixing."""
    grey = paint.mean(axis=1, keepdims=True)
    paint[:] = np.clip(grey + (paint - grey) * 1.25, 0, 1)
    chance = rng.random(len(paint))
    turned = np.roll(paint, 1, axis=1) * 0.3 + paint * 0.7
    other = np.clip(2 * grey - paint, 0, 1) * 0.5 + grey * 0.5 + 0.06
    paint[chance < 0.16] = turned[chance < 0.16]
    paint[chance > 0.93] = other[chance > 0.93]


def _riverside(size: int, rng: np.random.Generator) -> Array:
    """Sky, far bank, river with reflections, near lawn with long shadows, a tree at the left."""
    x, y = grid(size)
    cloud = noise(rng, size, (3, 7), 4)
    picture = ramp(np.clip(y / 0.36 + 0.15 * cloud, 0, 1), "3f7fd0 6fa8e0 a8d0f0 f0e8d0 fbdca8")
    picture = over(picture, np.array([1.0, 0.96, 0.90]), step(0.3, cloud, 0.2) * 0.8)
    bank = (
        0.37
        - 0.07 * np.abs(noise(rng, size, (9, 0.01), 3))
        - 0.05 * np.exp(-(((x - 0.85) / 0.15) ** 2))
    )
    leafy = noise(rng, size, 14, 3) * 0.5 + 0.5
    far = ramp(np.clip(leafy + (y - bank) * -2 + 0.2, 0, 1), "1c3a5c 2a6a5c 5a9a4a a8c84a")
    picture = over(picture, far, step(0, y - bank))
    ripple = noise(rng, size, (5, 44), 3)
    river = ramp(
        np.clip((y - 0.42) / 0.22 + 0.3 * ripple, 0, 1), "2f6a7c 4f98c0 8fc8e8 dce8e0 5fa0d8 2f60b0"
    )
    picture = over(picture, river, step(0.42, y + 0.004 * ripple))
    shine = step(0.42, y) * step(0.32, ripple - 3 * np.abs(x - 0.6) + 0.5, 0.1)
    picture = over(picture, np.array([1.0, 0.93, 0.66]), shine * 0.85)
    for at, tall, sail in ((0.44, 0.15, "fff8e8 f0d0a8"), (0.78, 0.10, "f8e0d0 e89a6c")):
        base = 0.475 if at < 0.6 else 0.455
        cloth = step(0, np.minimum((x - at) * 1.0, tall - (x - at) * 2.1 - (base - y)), 0.002)
        cloth *= step(0, base - y, 0.002)
        picture = over(picture, ramp((x - at) / 0.06, sail), cloth)
        hull = step(0, 0.008 - np.abs(y - base - 0.008), 0.002) * step(
            0, 0.06 - np.abs(x - at - 0.02), 0.004
        )
        picture = over(picture, colours("5a1c3c")[0], hull)
    lawn = 0.64 - 0.16 * np.clip(0.55 - x, 0, 1) ** 1.2 + 0.012 * noise(rng, size, 12, 2)
    sunlit = noise(rng, size, (4, 9), 3)
    grass = ramp(
        np.clip(0.55 + 0.3 * sunlit + 0.3 * (y - 0.8), 0, 1), "2a7a3c 6aa83a b8cc3c e8dc5a f2c84a"
    )
    picture = over(picture, grass, step(0, y - lawn))
    shade = step(0, noise(rng, size, (3, 8), 3) + 1.6 * (0.42 - x) + 2.2 * (y - 0.86), 0.12) * step(
        0, y - lawn
    )
    picture = over(picture, ramp(sunlit * 0.5 + 0.5, "1a1a5c 14485c 2a6a4a 4a4a8c"), shade * 0.92)
    poppies = step(0.55, noise(rng, size, 30, 1), 0.06) * step(0, y - lawn - 0.05)
    picture = over(picture, ramp(leafy, "d81c2c f0602c f890a8"), poppies)
    trunk = step(
        0, 0.022 + 0.05 * np.clip(y - 0.72, 0, 1) - np.abs(x - 0.17 + 0.03 * np.sin(y * 8)), 0.004
    )
    picture = over(
        picture,
        ramp((x - 0.14) / 0.06, "d88a4a 7a3a5c 1c1434"),
        trunk * step(0, 0.88 - y) * step(0.2, y),
    )
    crown = 0.30 + 0.06 * noise(rng, size, 9, 4) - np.hypot(x - 0.15, (y - 0.17) * 1.1)
    crown = np.maximum(
        crown, 0.16 + 0.05 * noise(rng, size, 11, 3) - np.hypot(x - 0.40, (y - 0.07) * 1.2)
    )
    lit = np.clip(0.5 + 0.55 * noise(rng, size, 9, 4) + 0.9 * (0.12 - y), 0, 1)
    return over(
        picture, ramp(lit, "0c1438 143c4c 1c6a4a 5a9a3c b8c84a f8e08c"), step(0, crown, 0.008)
    )
