"""One picture's worth of prepared geometry: projected, sorted, binned.

Letters: n Gaussians · v visible ones · t tiles.
"""

from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

from featurefields.camera import Camera
from featurefields.raster.cpu import binning, kernels
from featurefields.raster.cpu.projection import project
from featurefields.raster.interface import RasterConfig
from featurefields.threads import run_parallel, share, thread_count

Array = NDArray


@dataclass(frozen=True)
class Geometry:
    """Contiguous float32 arrays of n Gaussians: means (n 3), quats (n 4), scales (n 3), opacities (n)."""

    means: Array
    quats: Array
    scales: Array
    opacities: Array


@dataclass(frozen=True)
class Frame:
    """What drawing and its transpose share for one camera.

    Attributes:
        geometry: the Gaussians.
        camera: packed camera and constants (24), see `kernels`.
        size: (width, height).
        order: index of every visible Gaussian, nearest first (v).
        ordered: projected Gaussians in that order (v 8).
        starts: where every tile's members start (t + 1).
        members: ranks (rows of `ordered`) tile by tile.
        shares: tile range of every thread, balanced by cost.
    """

    geometry: Geometry
    camera: Array
    size: tuple[int, int]
    order: Array
    ordered: Array
    starts: Array
    members: Array
    shares: Array

    @property
    def tiles_x(self) -> int:
        return -(-self.size[0] // kernels.TILE)

    @property
    def threads(self) -> int:
        return len(self.shares) - 1


def pack_camera(camera: Camera, config: RasterConfig) -> Array:
    """Camera and drawing constants as the 24 floats the kernels read."""
    matrix = camera.camera_from_world.detach().cpu().double().numpy()
    packed = np.zeros(kernels.CAMERA, np.float32)
    packed[kernels.ROTATION : kernels.ROTATION + 9] = matrix[:3, :3].reshape(-1)
    packed[kernels.TRANSLATION : kernels.TRANSLATION + 3] = matrix[:3, 3]
    packed[kernels.FOCAL : kernels.FOCAL + 2] = camera.focal_px.detach().cpu().numpy()
    packed[kernels.CENTRE : kernels.CENTRE + 2] = camera.centre_px.detach().cpu().numpy()
    packed[kernels.WIDTH], packed[kernels.HEIGHT] = camera.size
    packed[kernels.NEAR], packed[kernels.BLUR] = config.near, config.blur_px2
    packed[kernels.MARGIN] = config.clip_margin
    packed[kernels.LOG2_ALPHA_MIN] = log2(config.alpha_min)
    packed[kernels.ALPHA_MAX], packed[kernels.STOP] = config.alpha_max, config.transmittance_min
    return packed


def prepare(geometry: Geometry, camera: Camera, config: RasterConfig) -> Frame:
    """Project, sort by depth and bin into tiles."""
    packed = pack_camera(camera, config)
    order, projected = _visible(geometry, packed)
    width, height = camera.size
    tiles_x, tiles_y = -(-width // kernels.TILE), -(-height // kernels.TILE)
    threads = thread_count()
    ordered = np.empty((len(order), kernels.PROJECTED), np.float32)
    cursor = np.zeros((threads, tiles_x * tiles_y), np.int64)
    starts = np.empty(tiles_x * tiles_y + 1, np.int64)
    shares = np.empty(threads + 1, np.int64)
    level = packed[kernels.LOG2_ALPHA_MIN]
    none = np.empty(0, np.int32)

    def count(part: int) -> None:
        first, last = share(len(order), part, threads)
        binning.compact(projected, order, first, last, ordered)
        binning.list_tiles(ordered, level, first, last, width, height, tiles_x, cursor[part], none, True)

    def fill(part: int) -> None:
        first, last = share(len(order), part, threads)
        binning.list_tiles(ordered, level, first, last, width, height, tiles_x, cursor[part], members, False)

    run_parallel(count, threads)
    members = np.empty(binning.offsets(cursor, starts, shares), np.int32)
    run_parallel(fill, threads)
    return Frame(geometry, packed, camera.size, order, ordered, starts, members, shares)


def _visible(geometry: Geometry, packed: Array) -> tuple[Array, Array]:
    """Indices of the Gaussians that can touch a pixel, nearest first, and the projected table (n 8)."""
    n, threads = len(geometry.means), thread_count()
    projected = np.empty((n, kernels.PROJECTED), np.float32)
    depths = np.empty(n, np.float32)
    visible = np.empty(n, np.int32)
    counts = np.zeros(threads, np.int64)

    def run(part: int) -> None:
        first, last = share(n, part, threads)
        counts[part] = project(
            geometry.means, geometry.quats, geometry.scales, geometry.opacities,
            packed, first, last, projected, depths, visible[first:last],
        )  # fmt: skip

    run_parallel(run, threads)
    firsts = [share(n, part, threads)[0] for part in range(threads)]
    order = np.concatenate([visible[first : first + k] for first, k in zip(firsts, counts, strict=True)])
    keys = depths[order].view(np.uint32)  # positive floats sort like their bits
    binning.sort_by_depth(keys, order, np.empty_like(keys), np.empty_like(order))
    return order, projected
