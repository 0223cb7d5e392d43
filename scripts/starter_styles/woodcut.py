"""Colour woodcut: flat inks, carved contour lines."""

import numpy as np
from PIL import Image, ImageDraw

from .primitives import Array, blur, colours, depth, grid, levels, noise, over, ramp, step


def _polygon(size: int, points: Array) -> Array:
    """Filled polygon as a mask in 0..1, with smooth edges."""
    sheet = Image.new("L", (4 * size, 4 * size))
    ImageDraw.Draw(sheet).polygon((points * 4 * size).ravel().tolist(), fill=255)
    return np.asarray(sheet.reduce(4), np.float64) / 255


def _breaker(base: float, crest: tuple[float, float], length: float, curl: float) -> Array:
    """Outline of a sea with one great curling wave per `length`, closed at the bottom: (n, 2)."""
    t = np.linspace(-1.5, 2.5, 2400)
    phase = (t - crest[0]) / length
    lift = np.exp(-4.2 * np.abs((phase + 0.5) % 1 - 0.5) * 1.6) * 1.0
    high = base - crest[1]
    px = t + curl * lift**3
    py = base - high * lift + 0.10 * curl * lift**8
    outline = np.stack([px, py], axis=-1)
    return np.concatenate([outline, [[2.5, 2.0], [-1.5, 2.0]]])


def woodcut_waves(size: int, rng: np.random.Generator) -> Array:
    """Breaking waves as a colour woodcut: flat inks, carved lines, foam claws, grain."""
    x, y = grid(size)
    grain = noise(rng, size, (2.5, 60), 3) + 0.6 * np.sin(160 * (y + 0.02 * noise(rng, size, 3, 2)))
    sky = ramp(np.clip(y / 0.62, 0, 1), "2a4a70 8fa8a8 e8d8b0 f2dcb0 f0b88c")
    sun = np.hypot(x - 0.70, y - 0.25)
    picture = over(sky, ramp(y / 0.4, "d8442c e86a3c f0a060"), step(0, 0.115 - sun, 0.001))
    for cy, cx, wide in (
        (0.14, 0.55, 0.18),
        (0.33, 0.83, 0.15),
        (0.20, 0.16, 0.12),
        (0.40, 0.50, 0.12),
    ):
        slim = 0.017 * np.sqrt(np.clip(1 - ((x - cx) / wide) ** 2, 0, 1))
        bar = slim - np.abs(y - cy - 0.005 * np.sin(x * 34) - 0.03 * (x - cx))
        picture = over(picture, colours("f7ecd0")[0], step(0, bar, 0.001))
        picture = over(
            picture, colours("3a4a68")[0], step(0, 0.0012 - np.abs(bar), 0.0006) * (slim > 0)
        )
    lines = step(0.80, np.sin(2 * np.pi * (y * 62 + 0.35 * noise(rng, size, (4, 3), 2))), 0.12)
    lines *= step(0, noise(rng, size, (5, 44), 2) + 0.5 - 1.5 * np.abs(y - 0.1), 0.1)
    picture = over(picture, picture * colours("8f98a0")[0], lines * 0.7)
    peak = 0.36 + 0.75 * np.abs(x - 0.46) ** 0.85 + 0.006 * noise(rng, size, 18, 2)
    picture = over(picture, colours("31506f")[0], step(0, y - peak, 0.001))
    snow = step(0, y - peak, 0.001) * step(0, 0.44 + 0.02 * np.sin(x * 90) - y, 0.001)
    picture = over(picture, colours("f7ecd0")[0], snow)
    swells = [
        (0.66, (0.93, 0.40), 1.05, -0.13, "7fb0b0 3f7f98 1f4f7c"),
        (0.80, (0.12, 0.20), 1.25, 0.24, "6fa8b8 2f6f98 143a6c"),
        (0.90, (0.80, 0.62), 0.80, -0.13, "5f9ab0 1f5a8c 0f2c5c"),
        (1.02, (0.30, 0.80), 0.75, 0.11, "4f8aa8 1a4a7c 0a1f48"),
    ]
    for base, crest, length, curl, inks in swells:
        picture = _wave(picture, _polygon(size, _breaker(base, crest, length, curl)), inks, rng)
    ink = 1 + 0.05 * grain
    washi = noise(rng, size, 120, 3)[..., None] * 0.02
    return levels(picture * ink[..., None] + washi, 0.5, 99.0)


def _spots(rng: np.random.Generator, size: int, count: int, radii: tuple[float, float]) -> Array:
    """Round spots of many sizes, scattered: a mask in 0..1."""
    sheet = Image.new("L", (4 * size, 4 * size))
    pen = ImageDraw.Draw(sheet)
    for cx, cy, t in rng.random((count, 3)) * (4 * size, 4 * size, 1):
        r = (radii[0] + (radii[1] - radii[0]) * t**2) * 4 * size
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), 255)
    return np.asarray(sheet.reduce(4), np.float64) / 255


def _wave(picture: Array, mask: Array, inks: str, rng: np.random.Generator) -> Array:
    """Print one wave: stripes that follow its outline, a foam rim with claws, a dark key line."""
    size = picture.shape[0]
    x, y = grid(size)
    cream, key = colours("f9f0d8 0b1734")
    inside = blur(depth(mask), 1.2)
    wide = blur(inside, 5) + 7 * noise(rng, size, 5, 2)
    body = ramp(np.clip(wide / 330, 0, 1), inks)
    stripe = 0.5 + 0.5 * np.sin(wide * (2 * np.pi / 34))
    broken = step(0.1, noise(rng, size, 26, 3) + 0.4, 0.1)
    swell = np.clip(1.0 - wide / 420, 0.25, 1)
    body = over(body, cream, step(1 - 0.42 * swell, stripe * (0.75 + 0.25 * broken), 0.10) * 0.95)
    body = over(
        body, key, step(0.93, 0.5 + 0.5 * np.sin(wide * (2 * np.pi / 34) + np.pi), 0.05) * 0.85
    )
    claws = (
        21
        + 16 * np.abs(np.sin(40 * (x + 0.6 * y) + 5 * noise(rng, size, 9, 2)))
        + 9 * noise(rng, size, 40, 1)
    )
    foam = step(0, claws - inside, 1.2)
    picture = over(picture, body, mask)
    picture = over(picture, cream, mask * foam)
    rim = step(0, 2.6 - np.abs(inside - claws), 0.8) + step(0, 3.4 - inside, 0.8)
    curls = step(0, 1.3 - np.abs(inside - claws * 0.5), 0.8) * 0.8
    picture = over(picture, key, np.clip(rim + curls, 0, 1) * (mask > 0.5) * 0.95)
    spray = step(0, depth(1 - (mask > 0.5)) - 6) * step(0, 60 - depth(1 - mask), 20)
    drops = _spots(rng, size, 520, (0.0018, 0.0062)) * spray
    return over(picture, cream, drops * step(0, 0.72 - y, 0.05))
