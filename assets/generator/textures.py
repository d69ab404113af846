"""Procedural pictures: sRGB textures in 0..1 and a sky in linear light, all (h w 3)."""

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, ndimage, special

Array = NDArray[np.floating]


def linear_from_srgb(x: Array) -> Array:
    return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def clouds(rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float]) -> Array:
    """Tileable smooth noise in 0..1 with features of about `sigma` (rows, columns) and finer ones."""
    total = np.zeros(shape)
    for octave in range(4):
        layer = ndimage.gaussian_filter(rng.random(shape), np.array(sigma) / 2**octave, mode="wrap")
        total += 0.6**octave * (layer - layer.mean()) / layer.std()
    return (total - total.min()) / np.ptp(total)


def blend(first, second, amount: Array) -> Array:
    return np.asarray(first) + (np.asarray(second) - np.asarray(first)) * np.asarray(amount)[..., None]


def parquet(rng: np.random.Generator, size: int = 1024, cells: int = 8, planks: int = 4) -> Array:
    """Squares of short planks laid crosswise."""
    row, column = np.mgrid[0:size, 0:size] * cells / size
    crossed = ((row.astype(int) + column.astype(int)) % 2).astype(bool)
    across, side = np.where(crossed, row % 1, column % 1), np.where(crossed, column % 1, row % 1)
    plank = (row.astype(int) * cells + column.astype(int)) * planks + (across * planks).astype(int)
    tone = rng.uniform(0, 1, cells * cells * planks)[plank]
    grain = np.where(crossed, clouds(rng, (size, size), (4, 60)), clouds(rng, (size, size), (60, 4)))
    wood = blend((0.36, 0.20, 0.10), (0.86, 0.64, 0.40), 0.6 * tone + 0.4 * grain)
    gap = (np.abs((across * planks) % 1 - 0.5) > 0.465) | (np.abs(side - 0.5) > 0.49)
    return np.where(gap[..., None], (0.10, 0.06, 0.04), wood)


def bands(rng: np.random.Generator, size: int = 512) -> Array:
    """Horizontal bands, every other one a zigzag."""
    v, u = np.mgrid[0:size, 0:size] / size
    level = 7 * v + 0.16 * np.abs((u * 14) % 2 - 1)
    cream = (0.93, 0.86, 0.70)
    inks = np.array([(0.74, 0.34, 0.20), cream, (0.20, 0.30, 0.42), cream, (0.85, 0.58, 0.20)])
    return (
        inks[np.floor(level).astype(int) % len(inks)]
        * (0.8 + 0.2 * clouds(rng, (size, size), (9, 9)))[..., None]
    )


def confetti(rng: np.random.Generator, size: int = 512, count: int = 90) -> Array:
    """Discs and rings in five inks on a dark ground; wraps around."""
    v, u = np.mgrid[0:size, 0:size] / size
    image = np.broadcast_to((0.06, 0.10, 0.26), (size, size, 3)).copy()
    inks = [
        (0.96, 0.80, 0.20),
        (0.92, 0.93, 0.90),
        (0.90, 0.28, 0.25),
        (0.25, 0.72, 0.60),
        (0.60, 0.45, 0.85),
    ]
    for number in range(count):
        du, dv = np.abs(u - rng.random()), np.abs(v - rng.uniform(0.05, 0.95))
        distance = np.hypot(2 * np.minimum(du, 1 - du), dv)  # a ball's texture is twice as wide as high
        radius, hollow = rng.uniform(0.03, 0.075), number % 3 == 0
        image[(distance < radius) & (not hollow or distance > 0.55 * radius)] = inks[number % len(inks)]
    return image


def crate(rng: np.random.Generator, size: int = 192) -> Array:
    """A 3 x 2 atlas: a different simple pattern in two colours on every face of a box."""
    v, u = np.mgrid[0:size, 0:size] / size
    patterns = [
        (np.floor(5 * u) + np.floor(5 * v)) % 2,
        np.floor(9 * np.hypot(u - 0.5, v - 0.5)) % 2,
        np.floor(5 * (u + v)) % 2,
        (np.abs(u - 0.5) + np.abs(v - 0.5) < 0.33) * 1.0,
        np.floor(6 * u) % 2,
        np.maximum(np.abs(u - 0.5) < 0.12, np.abs(v - 0.5) < 0.12) * 1.0,
    ]
    grounds = [(0.30, 0.50, 0.25), (0.86, 0.82, 0.72), (0.70, 0.78, 0.84)]
    inks = [(0.90, 0.87, 0.60), (0.72, 0.22, 0.30), (0.22, 0.34, 0.30)]
    faces = [blend(grounds[k % 3], inks[k % 3], pattern) for k, pattern in enumerate(patterns)]
    atlas = np.concatenate([np.concatenate(faces[:3], 1), np.concatenate(faces[3:], 1)], 0)
    return atlas * (0.82 + 0.18 * clouds(rng, atlas.shape[:2], (6, 6)))[..., None]


def sky(rng: np.random.Generator, height: int = 512) -> Array:
    """Linear light from all sides (rows: from the zenith down): haze, clouds, hills, fields and five lamps."""
    elevation = np.linspace(90, -90, height)[:, None] * np.ones((1, 2 * height))
    azimuth = np.linspace(0, 360, 2 * height, endpoint=False)[None] * np.ones((height, 1))
    light = blend((0.80, 0.66, 0.52), (0.16, 0.30, 0.62), np.clip(elevation / 60, 0, 1) ** 0.6)
    light = blend(light, (0.95, 0.93, 0.90), 0.7 * clouds(rng, elevation.shape, (26, 60)) ** 2)
    field_tone = clouds(rng, elevation.shape, (22, 44))
    ground = blend((0.10, 0.13, 0.07), (0.46, 0.38, 0.22), np.floor(field_tone * 7) / 7)
    hills = 5 + 9 * interpolate.interp1d(
        np.linspace(0, 360, 25), np.r_[(h := rng.random(24)), h[0]], "cubic"
    )(azimuth)
    light = np.where((elevation < hills)[..., None], (0.10, 0.17, 0.16), light)
    light = np.where((elevation < 0)[..., None], ground, light)
    lamps = [  # azimuth, elevation, half width, half height (degrees), radiance, panes
        (30, 50, 24, 13, (8.5, 8.0, 7.2), 1),
        (150, 38, 15, 17, (5.5, 5.8, 6.4), 3),
        (265, 56, 30, 7, (6.5, 5.6, 4.2), 1),
        (95, 24, 5, 8, (2.6, 0.5, 0.3), 1),
        (215, 24, 6, 8, (0.3, 1.0, 2.6), 1),
    ]
    for centre, height_deg, half_width, half_height, radiance, panes in lamps:
        x = ((azimuth - centre + 180) % 360 - 180) / half_width
        y = (elevation - height_deg) / half_height
        inside = special.expit(60 * (1 - np.maximum(np.abs(x), np.abs(y))))
        bars = (np.abs((x + 1) * panes / 2 % 1 - 0.5) < 0.45) & (np.abs((y + 1) * panes / 2 % 1 - 0.5) < 0.45)
        light = blend(light, radiance, inside * (bars if panes > 1 else 1))
    return light.astype(np.float32)
