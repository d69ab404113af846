"""The CPU rasterizer: torch in, numba in the middle, torch out.

Letters: n Gaussians · v visible ones · c channels · h w pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import UnavailableError
from featurefields.raster.cpu.apply import apply_tiles
from featurefields.raster.cpu.contributions import Contributions
from featurefields.raster.cpu.derivative import derive_tiles
from featurefields.raster.cpu.frame import Frame, Geometry, prepare
from featurefields.raster.cpu.kernels import ALPHA_MAX
from featurefields.raster.cpu.projection_back import MOMENTS, POSE, project_back
from featurefields.raster.cpu.transpose import add_up, gather_tiles
from featurefields.raster.interface import Raster, RasterConfig
from featurefields.splats import Splats
from featurefields.threads import run_parallel, share

Array = NDArray
KEEP = 2**30


def _array(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


@dataclass(frozen=True)
class _Rows:
    """Channel rows as the kernels read them: a table (rows c), c a multiple of 4, and the row of every rank (v)."""

    table: Array
    row_of_rank: Array


def _rows(channels: Array, order: Array) -> _Rows:
    """The channels themselves where their width allows, else the visible ones in depth order, padded with zeros."""
    depth = channels.shape[1]
    if depth % 4 == 0 and depth > 0:
        return _Rows(channels, order)
    table = np.zeros((len(order), -(-max(1, depth) // 4) * 4), np.float32)
    table[:, :depth] = channels[order]
    return _Rows(table, np.arange(len(order), dtype=np.int32))


def apply(contributions: Contributions, channels: Array) -> Array:
    """W times channels (n c): a picture (h w c)."""
    frame = contributions.frame
    width, height = frame.size
    image = np.empty((height, width, channels.shape[1]), np.float32)
    rows = _rows(channels, frame.order)

    def run(part: int) -> None:
        for chunk in contributions.chunks(part):
            apply_tiles(
                chunk.ranks, chunk.weights, chunk.lists, frame.starts, frame.members, chunk.first_tile, chunk.last_tile, frame.tiles_x,
                width, height, rows.table, rows.row_of_rank, image,
            )  # fmt: skip

    run_parallel(run, frame.threads)
    return image


def _collect(frame: Frame, parts: Array, depth: int) -> Array:
    """The threads' sums (threads v c) of visible Gaussians as one table of all Gaussians (n d)."""
    n = len(frame.geometry.means)
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
                chunk.ranks, chunk.weights, chunk.lists, frame.starts, frame.members, chunk.first_tile, chunk.last_tile, frame.tiles_x,
                *frame.size, maps, ranks, parts[part],
            )  # fmt: skip

    run_parallel(run, frame.threads)
    return _collect(frame, parts, depth)


def derive(
    contributions: Contributions, channels: Array, g_image: Array, g_alpha: Array
) -> tuple[Array, Array]:
    """Channel gradients (n c) and, per thread, moments (threads v 8)."""
    frame, depth = contributions.frame, channels.shape[1]
    rows, parts = _rows(channels, frame.order), _parts(frame, depth)
    moments = np.zeros((frame.threads, len(frame.order), MOMENTS), np.float32)

    def run(part: int) -> None:
        for chunk in contributions.chunks(part):
            derive_tiles(
                chunk.ranks, chunk.weights, chunk.lists, frame.starts, frame.members, chunk.first_tile, chunk.last_tile, frame.tiles_x,
                *frame.size, frame.camera[ALPHA_MAX], frame.ordered, rows.table, rows.row_of_rank,
                g_image, g_alpha, parts[part], moments[part],
            )  # fmt: skip

    run_parallel(run, frame.threads)
    return _collect(frame, parts, depth), moments


def _geometry_gradients(frame: Frame, moments: Array) -> tuple[tuple[Array, Array, Array, Array], Array]:
    """Gradients of means, quats, log scales and opacity logits, and of the world-to-camera matrix (3 4)."""
    g = frame.geometry
    outputs = (
        np.zeros_like(g.means),
        np.zeros_like(g.quats),
        np.zeros_like(g.scales),
        np.zeros_like(g.opacities),
    )
    poses = np.zeros((frame.threads, POSE))
    flat = [output.reshape(-1) for output in outputs]

    def run(part: int) -> None:
        project_back(
            moments, frame.ordered, frame.order, *share(len(frame.order), part, frame.threads),
            g.means, g.quats, g.scales, g.opacities, frame.camera, *flat, poses[part],
        )  # fmt: skip

    run_parallel(run, frame.threads)
    pose = poses.sum(0)
    return outputs, np.concatenate([pose[:9].reshape(3, 3), pose[9:, None]], axis=1)


class _Draw(torch.autograd.Function):
    """Drawing with its hand-written derivative."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quats: Tensor, log_scales: Tensor, opacity_logits: Tensor, channels: Tensor,
        camera_from_world: Tensor, camera: Camera, config: RasterConfig,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        geometry = Geometry(
            _array(means), _array(quats), _array(log_scales.exp()), _array(opacity_logits.sigmoid())
        )
        contributions = Contributions(
            prepare(geometry, camera, config), KEEP if any(ctx.needs_input_grad) else 0
        )
        array = _array(channels)
        image = apply(contributions, array)
        ctx.kept = (contributions, array)
        ctx.pose_type = camera_from_world.dtype
        return torch.from_numpy(image), torch.from_numpy(contributions.alpha)

    @staticmethod
    def backward(ctx: Any, g_image: Tensor, g_alpha: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        contributions, channels = ctx.kept
        if not (any(ctx.needs_input_grad[:4]) or ctx.needs_input_grad[5]):
            gradient = transpose(contributions, _array(g_image))
            return (None, None, None, None, torch.from_numpy(gradient), None, None, None)
        gradient, moments = derive(contributions, channels, _array(g_image), _array(g_alpha))
        geometry, pose = _geometry_gradients(contributions.frame, moments)
        by_camera = torch.zeros(4, 4, dtype=ctx.pose_type)
        by_camera[:3] = torch.from_numpy(pose)
        return (*map(torch.from_numpy, geometry), torch.from_numpy(gradient), by_camera, None, None)


class CpuRasterizer:
    """Draws on the CPU with all threads torch uses; float32; same bits for the same number of threads."""

    name = "cpu"

    def draw(
        self, splats: Splats, channels: Float[Tensor, "n c"], camera: Camera, config: RasterConfig
    ) -> Raster:
        """See `Rasterizer.draw`. Camera poses get gradients, focal lengths and principal points none.

        Raises:
            UnavailableError: tensors are not on the CPU or not float32.
        """
        self._check(splats, channels)
        image, alpha = _Draw.apply(
            splats.means,
            splats.quats,
            splats.log_scales,
            splats.opacity_logits,
            channels,
            camera.camera_from_world,
            camera,
            config,
        )  # type: ignore[misc]
        return Raster(image, alpha)

    def gather(
        self, splats: Splats, maps: Float[Tensor, "h w c"], camera: Camera, config: RasterConfig
    ) -> Float[Tensor, "n c"]:
        """See `Rasterizer.gather`: one pass over the tiles, no forward drawing."""
        self._check(splats, maps)
        frame = prepare(
            Geometry(*(_array(t) for t in (splats.means, splats.quats, splats.scales, splats.opacities))),
            camera,
            config,
        )
        return torch.from_numpy(transpose(Contributions(frame, 0), _array(maps)))

    @staticmethod
    def _check(splats: Splats, other: Tensor) -> None:
        for tensor in (splats.means, other):
            if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
                raise UnavailableError(
                    f"backend 'cpu' draws float32 tensors on the CPU, got {tensor.dtype} on {tensor.device}; "
                    "use --backend gsplat on a GPU or reference for other precisions"
                )
