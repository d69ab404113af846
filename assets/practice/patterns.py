"""Random square textures: sRGB in 0..1, (n n 3); every pattern comes with its own random inks and dirt."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

Array = NDArray[np.floating]


def inks(rng: np.random.Generator, count: int) -> Array:
    """`count` colours (count 3): a palette around one hue, or any colours."""
    if rng.random() < 0.5:
        return rng.uniform(0.04, 0.96, (count, 3))
    base, spread = rng.uniform(0.15, 0.85, 3), rng.uniform(0.1, 0.4)
    light = rng.uniform(-0.35, 0.35, (count, 1))
    return np.clip(base + light + spread * rng.normal(size=(count, 3)) * 0.5, 0.03, 0.97)


def smooth(
    rng: np.random.Generator, size: int, sigma: float | tuple[float, float], octaves: int = 3
) -> Array:
    """Tileable noise (n n) in 0..1 with features of about `sigma` texels and finer ones."""
    total = np.zeros((size, size))
    for octave in range(octaves):
        layer = ndimage.gaussian_filter(rng.random((size, size)), np.array(sigma) / 2**octave, mode="wrap")
        total += 0.6**octave * (layer - layer.mean()) / max(layer.std(), 1e-9)
    return (total - total.min()) / max(float(np.ptp(total)), 1e-9)


def _grid(size: int) -> tuple[Array, Array]:
    v, u = np.mgrid[0:size, 0:size] / size
    return u, v


def plain(rng: np.random.Generator, size: int) -> Array:
    """One colour, with hardly any variation."""
    wear = smooth(rng, size, size / rng.uniform(4, 40))
    return inks(rng, 1)[0] * (1 - rng.uniform(0.0, 0.15) * wear[..., None])


def marble(rng: np.random.Generator, size: int) -> Array:
    u, v = _grid(size)
    phase = rng.uniform(1, 8) * smooth(rng, size, size / rng.uniform(4, 12), 4) + rng.integers(0, 4) * (u + v)
    a, b = inks(rng, 2)
    return a + (b - a) * (0.5 + 0.5 * np.sin(2 * np.pi * phase))[..., None] ** rng.uniform(0.4, 3)


def cells(rng: np.random.Generator, size: int) -> Array:
    """Cells around random points, each of one colour, with or without seams."""
    seeds = rng.random((int(rng.integers(12, 220)), 2))
    u, v = _grid(size)
    distance, index = cKDTree(seeds, boxsize=1.0).query(np.stack([u, v], -1).reshape(-1, 2), k=2)
    image = inks(rng, len(seeds))[index[:, 0]].reshape(size, size, 3)
    if rng.random() < 0.6:
        seam = (distance[:, 1] - distance[:, 0] < rng.uniform(0.004, 0.02)).reshape(size, size)
        image[seam] = inks(rng, 1)[0]
    return image


def stripes(rng: np.random.Generator, size: int) -> Array:
    """Bands, straight or wavy, along or across."""
    u, v = _grid(size)
    if rng.random() < 0.5:
        u, v = v, u
    wave = rng.uniform(0, 0.3) * np.sin(2 * np.pi * rng.integers(1, 8) * u)
    palette = inks(rng, int(rng.integers(2, 6)))
    return palette[np.floor(rng.integers(3, 24) * v + wave).astype(int) % len(palette)]


def checks(rng: np.random.Generator, size: int) -> Array:
    """A chessboard, bricks or tiles with seams."""
    u, v = _grid(size)
    rows, columns = rng.integers(2, 14, 2)
    row = np.floor(v * rows).astype(int)
    x = u * columns + 0.5 * (row % 2) * (rng.random() < 0.5)
    tone = rng.random((rows, columns + 1))[row, np.floor(x).astype(int) % (columns + 1)]
    if rng.random() < 0.4:
        tone = ((np.floor(x).astype(int) + row) % 2).astype(float)
    a, b, seam = inks(rng, 3)
    image = a + (b - a) * tone[..., None]
    width = rng.uniform(0, 0.06)
    return np.where(((x % 1 < width) | ((v * rows) % 1 < width))[..., None], seam, image)


def wood(rng: np.random.Generator, size: int) -> Array:
    """Planks with grain."""
    v = _grid(size)[1]
    count = int(rng.integers(2, 14))
    plank = np.floor(v * count).astype(int)
    tone = rng.random(count)[plank]
    grain = smooth(rng, size, (rng.uniform(1, 4), size / rng.uniform(3, 12)))
    a, b = inks(rng, 2)
    a, b = np.sort(np.array([a, b]) * [0.9, 0.65, 0.45], axis=0) if rng.random() < 0.6 else (a, b)
    image = a + (b - a) * (0.5 * tone + 0.5 * grain)[..., None]
    return np.where((v * count % 1 < 0.03)[..., None], 0.3 * a, image)


def marks(rng: np.random.Generator, size: int) -> Array:
    """Rows of signs, like print."""
    palette = inks(rng, 4)
    image = Image.fromarray(np.uint8(255 * np.broadcast_to(palette[0], (size, size, 3))))
    draw, rows = ImageDraw.Draw(image), int(rng.integers(4, 20))
    high = size / rows
    for row in range(rows):
        x = rng.uniform(0, high)
        while x < size:
            wide = high * rng.uniform(0.3, 1.2)
            box = [x, (row + 0.15) * high, x + wide, (row + 0.85) * high]
            colour = tuple(int(255 * c) for c in palette[rng.integers(1, 4)])
            line = max(1, int(high / rng.uniform(5, 10)))
            match rng.integers(4):
                case 0:
                    draw.ellipse(box, outline=colour, width=line)
                case 1:
                    draw.rectangle(box, fill=colour)
                case 2:
                    draw.line(box, fill=colour, width=line)
                case _:
                    draw.arc(box, *rng.uniform(0, 360, 2), fill=colour, width=line)
            x += wide + high * rng.uniform(0.05, 0.5)
    return np.asarray(image) / 255.0


def dots(rng: np.random.Generator, size: int) -> Array:
    """Discs and rings of any size, anywhere or in a lattice."""
    u, v = _grid(size)
    palette = inks(rng, 5)
    if rng.random() < 0.4:
        rows = rng.integers(4, 18)
        x, y = u * rows + 0.5 * (np.floor(v * rows) % 2), v * rows
        inside = (x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2 < rng.uniform(0.03, 0.2)
        return np.where(inside[..., None], palette[1], palette[0])
    image = np.broadcast_to(palette[0], (size, size, 3)).copy()
    for number in range(int(rng.integers(10, 90))):
        du, dv = np.abs(u - rng.random()), np.abs(v - rng.random())
        distance, radius = np.hypot(np.minimum(du, 1 - du), np.minimum(dv, 1 - dv)), rng.uniform(0.015, 0.12)
        image[(distance < radius) & ((number % 3 > 0) | (distance > 0.6 * radius))] = palette[1 + number % 4]
    return image


PATTERNS: tuple[Callable[[np.random.Generator, int], Array], ...] = (
    plain, marble, cells, stripes, checks, wood, marks, dots,
)  # fmt: skip


def pattern(rng: np.random.Generator, size: int, *, plainness: float = 0.2) -> Array:
    """Any pattern, with dirt and speckle of any strength; one colour with probability `plainness`."""
    if rng.random() < plainness:
        return plain(rng, size)
    image = PATTERNS[rng.integers(1, len(PATTERNS))](rng, size)
    dirt = 1 - rng.uniform(0, 0.4) * smooth(rng, size, size / rng.uniform(4, 32))[..., None]
    speckle = rng.uniform(0, 0.08) * ndimage.gaussian_filter(rng.normal(size=(size, size)), 0.7, mode="wrap")
    return np.clip(image * dirt + speckle[..., None], 0, 1)


def surroundings(rng: np.random.Generator, height: int = 128) -> Array:
    """Linear light from all sides, (n 2n 3), rows from the zenith down: sky, ground, skyline and bright panels."""
    elevation = np.linspace(90, -90, height)[:, None] * np.ones((1, 2 * height))
    azimuth = np.linspace(0, 360, 2 * height, endpoint=False)[None] * np.ones((height, 1))
    low, high, ground = rng.uniform(0.3, 1.0, 3), rng.uniform(0.1, 0.9, 3), rng.uniform(0.05, 0.5, 3)
    light = low + (high - low) * (np.clip(elevation / 70, 0, 1) ** 0.6)[..., None]
    light = np.where((elevation < 0)[..., None], ground, light)
    noise = ndimage.zoom(smooth(rng, height, height / 8), (1, 2), order=1)
    light = light * (0.6 + 0.8 * noise[..., None])
    for _ in range(int(rng.integers(0, 24))):
        at, wide, top = rng.uniform(0, 360), rng.uniform(2, 12), rng.uniform(1, 16)
        block = (np.abs((azimuth - at + 180) % 360 - 180) < wide) & (np.abs(elevation) < top)
        light[block] = rng.uniform(0.02, 0.4, 3)
    for _ in range(int(rng.integers(1, 7))):
        at, up, wide, high_deg = rng.uniform(0, 360), rng.uniform(10, 75), *rng.uniform(4, 28, 2)
        panel = (np.abs((azimuth - at + 180) % 360 - 180) < wide) & (np.abs(elevation - up) < high_deg / 2)
        light[panel] = rng.uniform(1.0, 7.0) * rng.uniform(0.6, 1.0, 3)
    return light
