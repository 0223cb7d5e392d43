"""Styles put together from pieces: mosaic and stained glass."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .primitives import (
    Array,
    blur,
    colours,
    grid,
    levels,
    light,
    noise,
    over,
    ramp,
    sample,
    slope,
    step,
    vary,
)


def _tesserae(
    x: Array, y: Array, angle: Array, side: float, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Square-ish tiles turned along the angles (Voronoi cells in a turned maximum norm).

    Gives each pixel's tile number, its distance from the tile's rim in tile sides, and the
    centres (n, 2). After Hausner, "Simulating Decorative Mosaics" (2001), with fewer rounds.
    """
    count = int(1 / side)
    rows = (np.stack(np.meshgrid(*[np.arange(-1, count + 1)] * 2), -1).reshape(-1, 2) + 0.5) / count
    centres = rows + rng.uniform(-0.3, 0.3, rows.shape) * side
    coarse = slice(None, None, max(1, round(side * x.shape[0] / 8)))
    small = np.stack([x[coarse, coarse], y[coarse, coarse]], -1).reshape(-1, 2)
    for _ in range(14):
        owner = _nearest(small, centres, angle)[0]
        total = np.bincount(owner, minlength=len(centres))
        for k in (0, 1):
            mean = np.bincount(owner, small[:, k], len(centres)) / np.maximum(total, 1)
            centres[:, k] = np.where(total > 0, mean, centres[:, k])
    owner, rim = _nearest(np.stack([x, y], -1).reshape(-1, 2), centres, angle)
    return owner.reshape(x.shape), rim.reshape(x.shape) / side, centres


def _nearest(points: Array, centres: Array, angle: Array) -> tuple[Array, Array]:
    """The nearest centre in its own turned maximum norm, and the lead over the second."""
    near = cKDTree(centres).query(points, k=6)[1]
    delta = points[:, None] - centres[near]
    theta = sample(angle, centres)[near]
    cos, sin = np.cos(theta), np.sin(theta)
    along = np.abs(delta[..., 0] * cos + delta[..., 1] * sin)
    across = np.abs(delta[..., 1] * cos - delta[..., 0] * sin)
    far = np.maximum(along, across) + 0.12 * np.hypot(along, across)
    best = np.argsort(far, axis=1)[:, :2]
    first, second = np.take_along_axis(far, best, axis=1).T
    return np.take_along_axis(near, best[:, :1], axis=1)[:, 0], (second - first) / 2


def mosaic(size: int, rng: np.random.Generator) -> Array:
    """A Roman floor: a sun over the sea, tesserae laid along every contour, lime grout."""
    x, y = grid(size)
    cx, cy = 0.66, 0.30
    far, turn = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    sky = ramp(np.clip((far - 0.2) / 0.55, 0, 1), "f3dfae e0b878 7fb4b0 2f7f98 16466f 0d2444")
    contour = far.copy()
    rays = 0.5 + 0.5 * np.cos(turn * 16 + 9 * (far - 0.2))
    reach = step(0.0, 0.20 + 0.13 * rays - far, 0.004)
    picture = over(sky, ramp((far - 0.16) / 0.18, "b8342a d8642a eba23a f5d27a"), reach)
    disc = step(0, 0.165 - far)
    face = ramp(far / 0.165, "fff4d0 fbe08c f4bc3c d98a24 8f3a1c f4bc3c 6b1f1a")
    picture = over(picture, face, disc)
    for k, (base, tall, waves) in enumerate(
        [(0.64, 0.035, 3), (0.74, 0.04, 2.5), (0.85, 0.045, 2)]
    ):
        phase = 2 * np.pi * (waves * x + 0.37 * k)
        crest = base + tall * (np.abs(np.sin(phase / 2 + 0.4 * np.sin(phase))) - 0.5) * -1.6
        below = y - crest
        tint = ramp(
            (below % 0.085) / 0.085,
            [
                "f4f0dc 8fd0c8 2f8fa8 14507c",
                "e8f0e0 5fb0b8 1f6f98 0f3460",
                "cfe0d8 3f8fa0 14508c 0a1c40",
            ][k],
        )
        sea = step(0, below, 0.002)
        picture, contour = over(picture, tint, sea), np.where(sea > 0.5, below, contour)
    dx, dy = slope(blur(contour, 3))
    owner, rim, centres = _tesserae(x, y, np.arctan2(dy, dx), 0.0235, rng)
    stones = vary(rng, sample(blur(picture, 1), centres), 0.10, 0.32)
    stone = stones[owner] * (1 + 0.09 * noise(rng, size, 150, 2))[..., None]
    tilt = rng.normal(0, 0.9, (len(centres), 2))[owner]
    dome = np.minimum(rim, 0.18) * 0.028
    shade = light(blur(dome, 0.8), 0.8) * (1 + 0.05 * tilt[..., 0])
    grout = ramp(0.5 + 0.5 * noise(rng, size, 120, 3), "1c1814 4a4034")
    joint = step(0.07, rim, 0.025)
    return levels(over(grout, stone * shade[..., None], joint))


def _glass_pieces(x: Array, y: Array) -> tuple[Array, Array]:
    """Stained glass cut: each pixel's piece number and its zone (which paints to use)."""
    far, turn = np.hypot(x - 0.36, y - 0.31), np.arctan2(y - 0.31, x - 0.36)
    bend = turn + 1.3 * far
    rings = np.searchsorted([0.05, 0.10, 0.155, 0.215, 0.29, 0.375, 0.47, 0.58, 0.72], far)
    spokes = np.array([1, 8, 8, 16, 16, 24, 24, 36, 36, 36])[rings]
    sector = np.floor((bend / (2 * np.pi) + 0.5 * (rings % 2) / spokes) % 1 * spokes)
    zone = np.array([0, 1, 2, 2, 3, 4, 5, 5, 10, 10])[rings]
    piece = rings * 100 + sector
    hills = [
        (0.66 + 0.05 * np.sin(6.0 * x + 0.5), 6, 11.0, 0.6),
        (0.76 + 0.06 * np.sin(5.0 * x + 2.4), 7, 10.0, -0.7),
        (0.86 + 0.05 * np.sin(7.0 * x + 4.4), 8, 11.0, 0.5),
    ]
    for crest, at, cuts, lean in hills:
        strip = np.floor(x * cuts + lean * (y - crest) * 6 + 0.35 * np.sin(9 * y))
        course = np.floor((y - crest) / 0.055)
        under = y > crest
        zone = np.where(under, at, zone)
        piece = np.where(under, at * 1000 + strip * 10 + course, piece)
    river = 0.56 + 0.10 * np.sin(10 * y) * (y - 0.6) / 0.3
    inside = (y > 0.66) & (np.abs(x - river) < 0.012 + 0.22 * np.clip(y - 0.66, 0, 1))
    zone = np.where(inside, 9, zone)
    piece = np.where(inside, 20000 + np.floor((y - 0.02 * np.sin(20 * x)) / 0.036), piece)
    return np.unique(piece, return_inverse=True)[1].reshape(x.shape), zone


GLASS = (
    "fff6c8 ffe680,ffd84a ffb420,ff9a1c f2641c,e03a1c b81430,7a1a6c c02a6c 3a1a7c,"
    "10247c 1c50b8 2f8fe0 0c1450 5a2a9c 62c0e8,1c5a3c 3f9a4a 0f3f3c,7ab83a c8d84a 2f7f3c,"
    "0f4a3c 1c8f6c 0a2f3c,7fd0e8 3fb0e0 1c6fc8 c8ecf0,0a1448 10247c 2a1a6c 1c4a9c"
)


def stained_glass(size: int, rng: np.random.Generator) -> Array:
    """A sun over hills in jewel-coloured glass, leaded, with the daylight behind it."""
    x, y = grid(size)
    warp = 0.006
    piece, zone = _glass_pieces(
        x + warp * noise(rng, size, 5, 2), y + warp * noise(rng, size, 5, 2)
    )
    count = piece.max() + 1
    zones = np.zeros(count, int)
    zones[piece.ravel()] = zone.ravel()
    paints = [colours(text) for text in GLASS.split(",")]
    tint = np.array([paints[z][rng.integers(len(paints[z]))] for z in zones])
    tint = vary(rng, tint, 0.10, 0.35)

    theta = rng.uniform(0, np.pi, count)
    streaks = np.stack([noise(rng, size, cells, 4) for cells in ((5, 34), (34, 5), (18, 18))])
    kind = (theta / np.pi * 3).astype(int)[piece]
    streak = np.take_along_axis(streaks, kind[None], axis=0)[0]
    daylight = 1.0 + 0.22 * noise(rng, size, 3, 3) + 0.30 * streak
    edges = (ndimage.maximum_filter(piece, 3) != ndimage.minimum_filter(piece, 3)).astype(float)
    inward = ndimage.distance_transform_edt(edges < 0.5) * 1024 / size
    daylight *= 0.62 + 0.48 * (1 - np.exp(-inward / 16))
    glass = np.clip(tint[piece], 0.015, 1) ** (1 / np.clip(daylight, 0.35, 1.9))[..., None]
    glass = over(glass, np.ones(3), np.clip(daylight - 1.15, 0, 0.45) * 0.6)
    reamy = light(blur(streak, 2), 0.012) + 0.10 * noise(rng, size, 130, 2)
    glass = np.clip(glass * reamy[..., None], 0, 1)
    glass = np.clip(glass + 0.22 * blur(glass * glass, 14), 0, 1)

    came = 5.0 + 1.6 * noise(rng, size, 10, 2)
    lead = step(0, came - inward, 1.0)
    bead = np.sqrt(np.clip(1 - (inward / (came + 1)) ** 2, 0, 1)) * 0.006
    metal = ramp(0.35 + 0.2 * noise(rng, size, 90, 3), "08080c 24242c 4a4a52")
    return levels(over(glass, metal * light(bead, 1.1)[..., None] ** 2, lead))
