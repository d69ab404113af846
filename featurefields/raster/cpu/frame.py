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
        count: how many Gaussians there are (n).
        camera: packed camera and constants (24), see `kernels`.
        size: (width, height).
        order: index of every visible Gaussian, nearest first (v).
        ordered: projected Gaussians in that order (v 8).
        starts: where every tile's members start (t + 1).
        members: ranks (rows of `ordered`) tile by tile.
        shares: tile range of every thread, balanced by cost.
    """

    count: int
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
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in (self.order, self.ordered, self.starts, self.members))

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
    packed, threads = pack_camera(camera, config), thread_count()
    rows, depths, indices = _visible(geometry, packed, threads)
    width, height = camera.size
    tiles_x, tiles_y = -(-width // kernels.TILE), -(-height // kernels.TILE)
    visible = len(indices)
    places = binning.sort_by_depth(
        depths.view(np.uint32),  # positive floats sort like their bits
        np.arange(visible, dtype=np.int32),
        np.empty(visible, np.uint32),
        np.empty(visible, np.int32),
    )
    ordered = np.empty((visible, kernels.PROJECTED), np.float32)
    order = np.empty(visible, np.int32)
    cursor = np.zeros((threads, tiles_x * tiles_y), np.int64)
    starts = np.empty(tiles_x * tiles_y + 1, np.int64)
    shares = np.empty(threads + 1, np.int64)
    spans: list[Array] = [np.empty(0, np.int32)] * threads

    def count(part: int) -> None:
        spans[part] = binning.list_spans(
            rows, places, indices, packed[kernels.LOG2_ALPHA_MIN], *share(visible, part, threads), width, height,
            tiles_x, ordered, order, cursor[part],
        )  # fmt: skip

    run_parallel(count, threads)
    members = np.empty(binning.offsets(cursor, starts, shares), np.int32)
    run_parallel(lambda part: binning.fill_tiles(spans[part], cursor[part], members), threads)
    return Frame(len(geometry.means), packed, camera.size, order, ordered, starts, members, shares)


def _visible(geometry: Geometry, packed: Array, threads: int) -> tuple[Array, Array, Array]:
    """Projected rows (v 8), depths (v) and indices (v) of the Gaussians that can touch a pixel, in index order."""
    n = len(geometry.means)
    rows = np.empty((n, kernels.PROJECTED), np.float32)
    depths, indices = np.empty(n, np.float32), np.empty(n, np.int32)
    means, quats, scales = (table.reshape(-1) for table in (geometry.means, geometry.quats, geometry.scales))
    bounds = [share(n, part, threads) for part in range(threads)]
    counts = [0] * threads

    def run(part: int) -> None:
        first, last = bounds[part]
        counts[part] = project(
            means, quats, scales, geometry.opacities, packed, first, last, rows, depths, indices
        )

    run_parallel(run, threads)
    used = counts[0]
    for (first, _), count in zip(
        bounds[1:], counts[1:], strict=True
    ):  # close the gaps between the threads' parts
        for table in (rows, depths, indices):
            table[used : used + count] = table[first : first + count]
        used += count
    return rows[:used], depths[:used], indices[:used]
