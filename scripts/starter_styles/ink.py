"""Pen and ink: rows of strokes that swell with the dark, crossed where it is deepest."""

import numpy as np

from .primitives import Array, blur, grid, levels, noise, over, ramp, step


def _hatch(
    along: Array, across: Array, dark: Array, pitch: float, rng: np.random.Generator
) -> Array:
    """Ink of one set of pen strokes: parallel rows along a coordinate, swelling with darkness.

    `along` and `across` are in units of the side; pitch is the row spacing in 1/1024.
    """
    row = across * 1024 / pitch
    line = np.floor(row).astype(int)
    shift, stretch = rng.random(4096), rng.uniform(0.75, 1.35, 4096)
    run = along * 1024 / (pitch * 13) * stretch[line % 4096] + shift[line % 4096] * 7
    within = run % 1  # 0..1 along one stroke
    stroke = rng.uniform(-0.10, 0.10, (4096,))[(line * 31 + np.floor(run).astype(int) * 17) % 4096]
    taper = np.clip(np.minimum(within * 9, (1 - within) * 3.0), 0, 1) ** 0.6
    taper = np.maximum(taper, step(0.62, dark, 0.2))  # in deep shade strokes run together
    half = np.clip(dark + stroke, 0, 1) * 0.56 * taper  # half width, in rows
    centre = np.abs(row - line - 0.5)
    return step(0, half - centre, 0.12) * step(0.08, half, 0.04)


def ink_hatching(size: int, rng: np.random.Generator) -> Array:
    """A moonlit valley in pen and ink on cream paper: swelling, crossing hatches."""
    x, y = grid(size)
    moon = np.hypot(x - 0.66, y - 0.22)
    wobble = 0.0025 * noise(rng, size, 26, 2)
    cloud = noise(rng, size, (2.5, 5), 3)
    dark = np.clip(0.10 + 0.75 * (moon - 0.07) - 0.42 * cloud, 0.0, 0.72)
    dark = np.where(moon < 0.08, np.clip(0.5 * noise(rng, size, 14, 2) - 0.12, 0, 0.4), dark)
    along, across = x, y + 0.03 * cloud + 0.05 * np.sin(3 * x + 1) + wobble
    edge = np.abs(moon - 0.08) * 1024
    for k, (base, tall, cells) in enumerate(VALLEY):
        below = y - base + tall * np.abs(noise(rng, size, (cells, 0.01), 4)) + wobble
        land = below > 0
        dark = np.where(land, _hillside(below, k, cells, rng), dark)
        slant = (0.75, -0.85, 0.55, -0.5)[k]  # the pen's direction on this hill, radians
        bend = 0.012 * noise(rng, size, 5, 2) + wobble
        along = np.where(land, x * np.cos(slant) + y * np.sin(slant), along)
        across = np.where(land, y * np.cos(slant) - x * np.sin(slant) + bend, across)
        edge = np.where(land, below * 1024, edge)
        if k == 1:
            lake = step(0.66, y + wobble, 0.001) > 0.5
            path = np.exp(-(((x - 0.66) / 0.07) ** 2))
            gleam = np.clip(0.62 - 0.55 * path + 0.4 * noise(rng, size, (6, 34), 2), 0, 0.85)
            dark, along = np.where(lake, gleam, dark), np.where(lake, x, along)
            across = np.where(lake, y + wobble, across)
    dark, along, across, edge = _firs(x, y, rng, (dark, along, across, edge))
    ink = _hatch(along, across, dark, 10.5, rng)
    u, v = x * 0.81 - y * 0.59, x * 0.59 + y * 0.81
    ink = np.maximum(ink, _hatch(u, v + wobble, np.clip(dark * 1.4 - 0.60, 0, 0.7), 10.0, rng))
    ink = np.maximum(ink, _hatch(v, u + wobble, np.clip(dark * 1.8 - 1.15, 0, 0.7), 9.5, rng))
    ink = np.maximum(ink, step(0, 2.1 - edge, 0.7))
    paper = ramp(0.5 + 0.5 * noise(rng, size, 4, 5), "ecdcb8 f5e9cc fbf4e0")
    wash = ramp(np.clip(blur(dark, 6) + 0.12 * cloud, 0, 1), "fff4dc f0d8a8 c89a6c 8a6a5c")
    paper = over(paper, wash * paper, np.full((size, size), 0.7))
    tone = ramp(0.5 + 0.5 * noise(rng, size, 60, 3), "0a0e20 121a34 2a1c30")
    return levels(over(paper, tone, ink * 0.96), 0.5, 99)


# The hills from far to near: base line, height, number of summits.
VALLEY = ((0.56, 0.24, 3.2), (0.66, 0.13, 4.2), (0.90, 0.13, 2.6), (1.01, 0.10, 4.0))


def _hillside(below: Array, k: int, cells: float, rng: np.random.Generator) -> Array:
    """Darkness of a hill lit from the moon's side: facets, mist at the foot, nearer is darker."""
    size = below.shape[0]
    relief = blur(noise(rng, size, (cells * 1.6, cells * 0.9), 4), 5)
    facing = np.gradient(relief, axis=1) * size / 9
    mist = np.clip(below / (0.16 + 0.02 * k), 0, 1) * (0.34 - 0.10 * k)
    return np.clip(0.42 + 0.11 * k - 0.42 * np.tanh(facing) - mist, 0.0, 0.97)


def _firs(
    x: Array, y: Array, rng: np.random.Generator, drawing: tuple[Array, ...]
) -> tuple[Array, ...]:
    """Firs on the near slopes: dark on the far side from the moon, boughs drawn downward."""
    dark, along, across, edge = drawing
    stand = [(rng.uniform(0, 1), rng.uniform(0.76, 0.9), rng.uniform(0.10, 0.2)) for _ in range(16)]
    stand += [(0.07, 1.02, 0.62), (0.19, 1.05, 0.48), (0.94, 1.04, 0.42)]
    for at, foot, tall in sorted(stand, key=lambda tree: tree[1]):
        t = (y - foot + tall) / tall  # 0 at the top, 1 at the foot
        tiers = 0.5 + 0.5 * ((t * 11 + 0.6 * np.sin(60 * x)) % 1)
        half = 0.26 * tall * np.clip(t, 0, 1) ** 0.9 * tiers + 0.002
        side = (x - at) / half
        tree = (np.abs(side) < 1) & (t > 0) & (t < 1)
        shade = np.clip(0.78 - 0.42 * side + 0.25 * (1 - tiers), 0.12, 1)
        dark = np.where(tree, shade, dark)
        droop = y - 0.55 * np.abs(x - at)
        along, across = np.where(tree, x, along), np.where(tree, droop, across)
        rim = (1 - np.abs(side)) * half * 1024 + 0.6
        edge = np.where(tree, rim, edge)
    return dark, along, across, edge
