"""The CPU rasterizer: torch in, numba in the middle, torch out.

Letters: n Gaussians · c channels · h w pixels.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import UnavailableError
from featurefields.raster.cpu.contributions import Contributions
from featurefields.raster.cpu.frame import Geometry, prepare
from featurefields.raster.cpu.frozen import CpuView, as_array
from featurefields.raster.cpu.products import apply, derive, geometry_gradients, padded, transpose
from featurefields.raster.interface import FROZEN_BYTES, Raster, RasterConfig
from featurefields.splats import Splats


class _Draw(torch.autograd.Function):
    """Drawing with its hand-written derivative."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quats: Tensor, log_scales: Tensor, opacity_logits: Tensor, channels: Tensor,
        camera_from_world: Tensor, camera: Camera, config: RasterConfig, budget_bytes: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        geometry = Geometry(
            as_array(means), as_array(quats), as_array(log_scales.exp()), as_array(opacity_logits.sigmoid())
        )
        contributions = Contributions(
            prepare(geometry, camera, config), budget_bytes if any(ctx.needs_input_grad) else 0
        )
        table = padded(as_array(channels), contributions.frame.threads)
        image = apply(contributions, table, channels.shape[1])
        ctx.kept = (contributions, geometry, table)
        ctx.pose_type = camera_from_world.dtype
        return torch.from_numpy(image), torch.from_numpy(contributions.alpha)

    @staticmethod
    def backward(ctx: Any, g_image: Tensor, g_alpha: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        contributions, geometry, table = ctx.kept
        if not (any(ctx.needs_input_grad[:4]) or ctx.needs_input_grad[5]):
            gradient = transpose(contributions, as_array(g_image))
            return (None, None, None, None, torch.from_numpy(gradient), None, None, None, None)
        gradient, moments = derive(contributions, table, as_array(g_image), as_array(g_alpha))
        by_geometry, pose = geometry_gradients(contributions.frame, geometry, moments)
        by_camera = torch.zeros(4, 4, dtype=ctx.pose_type)
        by_camera[:3] = torch.from_numpy(pose)
        return (*map(torch.from_numpy, by_geometry), torch.from_numpy(gradient), by_camera, None, None, None)


@dataclass(frozen=True)
class CpuRasterizer:
    """Draws on the CPU with all threads torch uses; float32; same bits for the same number of threads.

    Attributes:
        budget_bytes: contributions kept from drawing for its derivative; those beyond are calculated again.
    """

    budget_bytes: int = FROZEN_BYTES
    name: ClassVar[str] = "cpu"

    def draw(
        self, splats: Splats, channels: Float[Tensor, "n c"], camera: Camera, config: RasterConfig
    ) -> Raster:
        """See `Rasterizer.draw`. Camera poses get gradients, focal lengths and principal points none.

        Raises:
            UnavailableError: tensors are not on the CPU or not float32.
        """
        _check(splats, channels)
        image, alpha = _Draw.apply(
            splats.means, splats.quats, splats.log_scales, splats.opacity_logits, channels,
            camera.camera_from_world, camera, config, self.budget_bytes if torch.is_grad_enabled() else 0,
        )  # type: ignore[misc]  # fmt: skip
        return Raster(image, alpha)

    def gather(
        self, splats: Splats, maps: Float[Tensor, "h w c"], camera: Camera, config: RasterConfig
    ) -> Float[Tensor, "n c"]:
        """See `Rasterizer.gather`: one pass over the tiles that keeps nothing."""
        _check(splats, maps)
        return torch.from_numpy(transpose(_contributions(splats, camera, config, 0), as_array(maps)))

    def freeze(
        self, splats: Splats, camera: Camera, config: RasterConfig, *, budget_bytes: int = FROZEN_BYTES
    ) -> CpuView:
        """See `Rasterizer.freeze`: about 7 bytes per contribution of a Gaussian to a pixel are kept, and 50 bytes
        per visible Gaussian, which every view needs whatever the budget.
        """
        _check(splats, splats.means)
        return CpuView(_contributions(splats, camera, config, budget_bytes))


def _contributions(splats: Splats, camera: Camera, config: RasterConfig, budget_bytes: int) -> Contributions:
    tensors = (splats.means, splats.quats, splats.scales, splats.opacities)
    return Contributions(prepare(Geometry(*map(as_array, tensors)), camera, config), budget_bytes)


def _check(splats: Splats, other: Tensor) -> None:
    for tensor in (splats.means, other):
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            raise UnavailableError(
                f"backend 'cpu' draws float32 tensors on the CPU, got {tensor.dtype} on {tensor.device}; "
                "use --backend gsplat on a GPU or reference for other precisions"
            )
