"""Products with the contribution matrix W, on all threads: drawing, lifting, differentiating, looking.

Letters: n Gaussians · v visible ones · c channels · h w pixels · k contributors.
"""

import numpy as np
from numpy.typing import NDArray

from featurefields.raster.cpu.apply import apply_tiles, pad_rows
from featurefields.raster.cpu.contributions import Contributions
from featurefields.raster.cpu.derivative import derive_tiles
from featurefields.raster.cpu.frame import Frame, Geometry
from featurefields.raster.cpu.kernels import ALPHA_MAX
from featurefields.raster.cpu.projection_back import MOMENTS, POSE, project_back
from featurefields.raster.cpu.strongest import measure_tiles, rank_tiles
from featurefields.raster.cpu.transpose import add_up, gather_tiles
from featurefields.threads import run_parallel, share

Array = NDArray


def padded(channels: Array, threads: int) -> Array:
    """Channels (n d) as the kernels read them: (n c), c a multiple of 4; the same array where d is one."""
    n, depth = channels.shape
    if depth % 4 == 0 and depth > 0:
        return channels
    table = np.empty((n, -(-max(1, depth) // 4) * 4), np.float32)

    def run(part: int) -> None:
        first, last = share(n, part, threads)
        pad_rows(channels, first, last, table)

    run_parallel(run, threads)
    return table


def apply(contributions: Contributions, table: Array, depth: int) -> Array:
    """W times the first `depth` columns of a padded table: a picture (h w depth)."""
    frame = contributions.frame
    width, height = frame.size
    image = np.empty((height, width, depth), np.float32)

    def run(part: int) -> None:
        for chunk in contributions.chunks(part):
            apply_tiles(
                *chunk.entries, frame.starts, frame.members, chunk.first_tile, chunk.last_tile, frame.tiles_x,
                width, height, table, frame.order, image,
            )  # fmt: skip

    run_parallel(run, frame.threads)
    return image


def _collect(frame: Frame, parts: Array, depth: int) -> Array:
    """The threads' sums (threads v c) of visible Gaussians as one table of all Gaussians (n d)."""
    n = frame.count
    gathered, rank_of = np.empty((n, depth), np.float32), np.full(n, -1, np.int32)
    rank_of[frame.order] = np.arange(len(frame.order), dtype=np.int32)
    run_parallel(lambda part: add_up(parts, rank_of, *share(n, part, frame.threads), gathered), frame.threads)
    return gathered


def _parts(frame: Frame, depth: int) -> Array:
    return np.zeros((frame.threads, len(frame.order) + 1, -(-max(1, depth) // 4) * 4), np.float32)


def transpose(contributions: Contributions, maps: Array) -> Array:
    """W' times maps (h w c): what every Gaussian gathers (n c)."""
    frame, depth = contributions.frame, maps.shape[2]
    parts, ranks = _parts(frame, depth), np.arange(len(frame.order), dtype=np.int32)

    def run(part: int) -> None:
        for chunk in contributions.chunks(part):
            gather_tiles(
                *chunk.entries, frame.starts, frame.members, chunk.first_tile, chunk.last_tile, frame.tiles_x,
                *frame.size, maps, ranks, parts[part],
            )  # fmt: skip

    run_parallel(run, frame.threads)
    return _collect(frame, parts, depth)


def derive(contributions: Contributions, table: Array, g_image: Array, g_alpha: Array) -> tuple[Array, Array]:
    """Gradients (n c) of the c channels at the head of a padded table and, per thread, moments (threads v 8)."""
    frame, depth = contributions.frame, g_image.shape[2]
    parts = _parts(frame, depth)
    moments = np.zeros((frame.threads, len(frame.order), MOMENTS), np.float32)

    def run(part: int) -> None:
        for chunk in contributions.chunks(part):
            derive_tiles(
                *chunk.entries, frame.starts, frame.members, chunk.first_tile, chunk.last_tile, frame.tiles_x,
                *frame.size, frame.camera[ALPHA_MAX], frame.ordered, table, frame.order,
                g_image, g_alpha, parts[part], moments[part],
            )  # fmt: skip

    run_parallel(run, frame.threads)
    return _collect(frame, parts, depth), moments


def geometry_gradients(
    frame: Frame, geometry: Geometry, moments: Array
) -> tuple[tuple[Array, Array, Array, Array], Array]:
    """Gradients of means, quats, log scales and opacity logits, and of the world-to-camera matrix (3 4)."""
    g = geometry
    outputs = (
        np.zeros_like(g.means),
        np.zeros_like(g.quats),
        np.zeros_like(g.scales),
        np.zeros_like(g.opacities),
    )
    poses = np.zeros((frame.threads, POSE))
    means, quats, scales, opacities = (output.reshape(-1) for output in outputs)

    def run(part: int) -> None:
        first, last = share(len(frame.order), part, frame.threads)
        project_back(
            moments, frame.ordered, frame.order, first, last, g.means, g.quats, g.scales, g.opacities, frame.camera,
            means, quats, scales, opacities, poses[part],
        )  # fmt: skip

    run_parallel(run, frame.threads)
    pose = poses.sum(0)
    return outputs, np.concatenate([pose[:9].reshape(3, 3), pose[9:, None]], axis=1)


def strongest(contributions: Contributions, count: int) -> tuple[Array, Array]:
    """Per pixel the `count` Gaussians with the largest weights, largest first: indices (h w k), -1 where there are
    fewer, and weights (h w k).
    """
    frame, (width, height) = contributions.frame, contributions.frame.size
    ids, weights = np.full((height, width, count), -1, np.int64), np.zeros((height, width, count), np.float32)

    def run(part: int) -> None:
        for chunk in contributions.chunks(part):
            rank_tiles(
                *chunk.entries, chunk.first_tile, chunk.last_tile, frame.tiles_x, width, height, frame.order,
                ids, weights,
            )  # fmt: skip

    run_parallel(run, frame.threads)
    return ids, weights


def measure(contributions: Contributions) -> tuple[Array, Array]:
    """Of every Gaussian: the sum of its weights over all pixels (n), and the largest of them (n)."""
    frame, n = contributions.frame, contributions.frame.count
    totals = np.zeros((frame.threads, len(frame.order)), np.float32)
    peaks = np.zeros_like(totals)

    def run(part: int) -> None:
        for chunk in contributions.chunks(part):
            measure_tiles(*chunk.entries, totals[part], peaks[part])

    run_parallel(run, frame.threads)
    total, peak = np.zeros(n, np.float32), np.zeros(n, np.float32)
    total[frame.order], peak[frame.order] = totals.sum(0), peaks.max(0)
    return total, peak
