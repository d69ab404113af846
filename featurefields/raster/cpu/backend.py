"""The CPU rasterizer: torch in, numba in the middle, torch out.

Letters: n Gaussians · v visible ones · c channels · h w pixels.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import UnavailableError
from featurefields.raster.cpu.composite import composite_tiles
from featurefields.raster.cpu.frame import Frame, Geometry, prepare
from featurefields.raster.cpu.transpose import MOMENTS, add_up, finish_geometry, transpose_tiles
from featurefields.raster.interface import Raster, RasterConfig
from featurefields.splats import Splats
from featurefields.threads import run_parallel, share

Array = NDArray


def _array(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


def _padded(channels: Array, order: Array) -> Array:
    """Channel rows of the visible Gaussians in depth order, padded with zeros to a multiple of 16 columns."""
    wide = -(-max(1, channels.shape[1]) // 16) * 16
    out = np.zeros((len(order), wide), np.float32)
    out[:, : channels.shape[1]] = channels[order]
    return out


def _draw(frame: Frame, padded: Array, channels: int) -> tuple[Array, Array]:
    width, height = frame.size
    image, alpha = np.empty((height, width, channels), np.float32), np.empty((height, width), np.float32)

    def run(part: int) -> None:
        composite_tiles(
            frame.ordered, padded, frame.starts, frame.members, frame.shares[part], frame.shares[part + 1],
            frame.tiles_x, frame.camera, width, height, image, alpha,
        )  # fmt: skip

    run_parallel(run, frame.threads)
    return image, alpha


def _transpose(
    frame: Frame,
    padded: Array,
    image: Array,
    alpha: Array,
    g_image: Array,
    g_alpha: Array,
    with_geometry: bool,
) -> tuple[Array, Array]:
    """Channel gradients (n c) and, per thread, moments (threads v 8; empty without geometry)."""
    visible, wide = padded.shape
    parts = np.zeros((frame.threads, visible, wide), np.float32)
    moments = np.zeros((frame.threads, visible if with_geometry else 0, MOMENTS), np.float32)

    def run(part: int) -> None:
        transpose_tiles(
            frame.ordered, padded, frame.starts, frame.members, frame.shares[part], frame.shares[part + 1],
            frame.tiles_x, frame.camera, *frame.size, image, alpha, g_image, g_alpha, with_geometry,
            parts[part], moments[part],
        )  # fmt: skip

    run_parallel(run, frame.threads)
    channels = g_image.shape[2]
    gradient = np.zeros((len(frame.geometry.means), channels), np.float32)

    def collect(part: int) -> None:
        add_up(parts, frame.order, *share(visible, part, frame.threads), channels, gradient)

    run_parallel(collect, frame.threads)
    return gradient, moments


def _geometry_gradients(frame: Frame, moments: Array) -> tuple[Array, Array, Array, Array]:
    g = frame.geometry
    outputs = (
        np.zeros_like(g.means),
        np.zeros_like(g.quats),
        np.zeros_like(g.scales),
        np.zeros_like(g.opacities),
    )

    def run(part: int) -> None:
        finish_geometry(
            moments, frame.ordered, frame.order, *share(len(frame.order), part, frame.threads),
            g.means, g.quats, g.scales, g.opacities, frame.camera, *outputs,
        )  # fmt: skip

    run_parallel(run, frame.threads)
    return outputs


class _Draw(torch.autograd.Function):
    """Drawing with its hand-written derivative."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quats: Tensor, log_scales: Tensor, opacity_logits: Tensor, channels: Tensor,
        camera: Camera, config: RasterConfig,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        geometry = Geometry(
            _array(means), _array(quats), _array(log_scales.exp()), _array(opacity_logits.sigmoid())
        )
        frame = prepare(geometry, camera, config)
        padded = _padded(_array(channels), frame.order)
        image, alpha = _draw(frame, padded, channels.shape[1])
        ctx.kept = (frame, padded, image, alpha)
        return torch.from_numpy(image), torch.from_numpy(alpha)

    @staticmethod
    def backward(ctx: Any, g_image: Tensor, g_alpha: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        frame, padded, image, alpha = ctx.kept
        with_geometry = any(ctx.needs_input_grad[:4])
        gradient, moments = _transpose(
            frame, padded, image, alpha, _array(g_image), _array(g_alpha), with_geometry
        )
        geometry: tuple[Tensor | None, ...] = (None, None, None, None)
        if with_geometry:
            geometry = tuple(torch.from_numpy(array) for array in _geometry_gradients(frame, moments))
        return (*geometry, torch.from_numpy(gradient), None, None)


class CpuRasterizer:
    """Draws on the CPU with all threads torch uses; float32; same bits for the same number of threads."""

    name = "cpu"

    def draw(
        self, splats: Splats, channels: Float[Tensor, "n c"], camera: Camera, config: RasterConfig
    ) -> Raster:
        """See `Rasterizer.draw`. Camera poses get no gradient.

        Raises:
            UnavailableError: tensors are not on the CPU or not float32.
        """
        self._check(splats, channels)
        image, alpha = _Draw.apply(
            splats.means, splats.quats, splats.log_scales, splats.opacity_logits, channels, camera, config
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
        g_image = _array(maps)
        blank = np.zeros(g_image.shape[:2], np.float32)
        padded = np.empty((len(frame.order), -(-max(1, g_image.shape[2]) // 16) * 16), np.float32)
        gradient, _ = _transpose(frame, padded, g_image, blank, g_image, blank, False)
        return torch.from_numpy(gradient)

    @staticmethod
    def _check(splats: Splats, other: Tensor) -> None:
        for tensor in (splats.means, other):
            if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
                raise UnavailableError(
                    f"backend 'cpu' draws float32 tensors on the CPU, got {tensor.dtype} on {tensor.device}; "
                    "use --backend gsplat on a GPU or reference for other precisions"
                )
