"""The CUDA backend: gsplat (1.4 and later) draws any number of channels in chunks."""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import UnavailableError
from featurefields.raster.adjoint import gather_by_autograd
from featurefields.raster.frozen import RedrawnView
from featurefields.raster.interface import FROZEN_BYTES, FrozenView, Raster, RasterConfig
from featurefields.splats import Splats

CHUNK = 32  # channels gsplat's kernels draw at once


class GsplatRasterizer:
    """Draws on a CUDA device through gsplat.

    gsplat bounds every Gaussian by about three standard deviations and has its own alpha clamp, so pictures
    differ from the other backends' in the faint tails (below 1/255 of a Gaussian's peak opacity).

    Raises:
        UnavailableError: no CUDA device, or gsplat cannot be imported; the message keeps the reason.
    """

    name = "gsplat"

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise UnavailableError(
                "backend 'gsplat' needs a CUDA device and torch finds none; use --backend cpu, or install a CUDA build "
                "of torch and a driver"
            )
        try:
            from gsplat import rasterization
        except Exception as error:  # gsplat compiles on import in some releases and may raise anything
            raise UnavailableError(
                f"backend 'gsplat' cannot be loaded: {error}; install it with: pip install 'featurefields[cuda]'"
            ) from error
        self._rasterization = rasterization

    def draw(
        self, splats: Splats, channels: Float[Tensor, "n c"], camera: Camera, config: RasterConfig
    ) -> Raster:
        """See `Rasterizer.draw`."""
        pictures, alphas, _ = self._rasterization(
            means=splats.means,
            quats=torch.nn.functional.normalize(splats.quats, dim=-1),
            scales=splats.scales,
            opacities=splats.opacities,
            colors=channels,
            viewmats=camera.camera_from_world.to(splats.means)[None],
            Ks=camera.intrinsics.to(splats.means)[None],
            width=camera.width,
            height=camera.height,
            near_plane=config.near,
            eps2d=config.blur_px2,
            packed=False,
            channel_chunk=CHUNK,
        )
        return Raster(pictures[0], alphas[0, ..., 0])

    def gather(
        self, splats: Splats, maps: Float[Tensor, "h w c"], camera: Camera, config: RasterConfig
    ) -> Float[Tensor, "n c"]:
        """See `Rasterizer.gather`."""
        return gather_by_autograd(self, splats, maps, camera, config)

    def freeze(
        self, splats: Splats, camera: Camera, config: RasterConfig, *, budget_bytes: int = FROZEN_BYTES
    ) -> FrozenView:
        """See `Rasterizer.freeze`; nothing is kept."""
        return RedrawnView(self, splats, camera, config)
