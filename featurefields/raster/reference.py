"""The definition of drawing in plain torch: any dtype and device, differentiable by autograd.

Letters: n Gaussians · m Gaussians of one tile · p pixels of one tile · c channels · h w pixels.

Written to be read; used as truth in tests and where no fast backend fits. Memory is m p per tile of the
backward pass, so pictures of tens of thousands of Gaussians are slow but possible.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.rotations import matrix_from_quat
from featurefields.raster.adjoint import gather_by_autograd
from featurefields.raster.interface import Raster, RasterConfig
from featurefields.splats import Splats

TILE = 16


@dataclass(frozen=True)
class Projected:
    """Gaussians in the picture: means, covariances incl. blur, their determinants (pixels); depths (world units)."""

    means: Float[Tensor, "n 2"]
    covariances: Float[Tensor, "n 2 2"]
    determinants: Float[Tensor, "n"]
    depths: Float[Tensor, "n"]


def project(splats: Splats, camera: Camera, config: RasterConfig) -> Projected:
    """Perspective projection of means, and of covariances by the Jacobian at the (clamped) means."""
    to_camera = camera.camera_from_world.to(splats.means)
    focal, centre = camera.focal_px.to(splats.means), camera.centre_px.to(splats.means)
    size = torch.tensor(camera.size).to(splats.means)
    local = splats.means @ to_camera[:3, :3].T + to_camera[:3, 3]
    depths = local[:, 2]
    in_front = depths >= config.near
    z = torch.where(in_front, depths, torch.ones_like(depths))[:, None]
    slopes = local[:, :2] / z
    margin = config.clip_margin * 0.5 * size / focal
    clamped = torch.minimum(torch.maximum(slopes, -centre / focal - margin), (size - centre) / focal + margin)
    jacobian = torch.cat([torch.diag_embed(focal / z), (-focal * clamped / z)[..., None]], dim=-1)
    spread = jacobian @ to_camera[:3, :3] @ (matrix_from_quat(splats.quats) * splats.scales[:, None, :])
    covariances = spread @ spread.mT + config.blur_px2 * torch.eye(2).to(spread)
    areas = torch.linalg.cross(spread[:, 0], spread[:, 1]).square().sum(-1)
    traces = spread.square().sum((1, 2))
    determinants = areas + config.blur_px2 * (
        traces + config.blur_px2
    )  # Lagrange's identity: nothing cancels
    return Projected(slopes * focal + centre, covariances, determinants, depths)


def _candidates(splats: Splats, projected: Projected, config: RasterConfig) -> Int[Tensor, "m"]:
    """Gaussians in front that are visible at all, nearest first, ties by index."""
    order = torch.argsort(projected.depths.detach(), stable=True)
    seen = (projected.depths >= config.near) & (splats.opacities > config.alpha_min)
    return order[seen[order]]


def _weights(
    projected: Projected,
    opacities: Tensor,
    rows: Int[Tensor, "m"],
    pixels: Float[Tensor, "p 2"],
    config: RasterConfig,
) -> Float[Tensor, "p m"]:
    offset = pixels[:, None] - projected.means[rows]
    a, b, c = (projected.covariances[rows][:, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    determinant = projected.determinants[rows].clamp(min=1e-10)
    dx, dy = offset.unbind(-1)
    power = -0.5 * (c * dx * dx - 2 * b * dx * dy + a * dy * dy) / determinant
    alpha = (opacities[rows] * torch.exp(power)).clamp(max=config.alpha_max)
    alpha = torch.where(alpha >= config.alpha_min, alpha, torch.zeros_like(alpha))
    alive = torch.cumprod(1 - alpha.detach(), dim=1) > config.transmittance_min
    alpha = torch.where(alive, alpha, torch.zeros_like(alpha))
    light = torch.cumprod(1 - alpha, dim=1)
    return alpha * torch.cat([torch.ones_like(light[:, :1]), light[:, :-1]], dim=1)


class ReferenceRasterizer:
    """Exact per-pixel compositing, differentiable in everything, the camera pose included."""

    name = "reference"

    def draw(
        self, splats: Splats, channels: Float[Tensor, "n c"], camera: Camera, config: RasterConfig
    ) -> Raster:
        """See `Rasterizer.draw`."""
        projected = project(splats, camera, config)
        candidates = _candidates(splats, projected, config)
        with torch.no_grad():
            reach = (2 * torch.log(splats.opacities / config.alpha_min)).clamp(min=0)
            variances = projected.covariances.diagonal(dim1=1, dim2=2)
            extent = torch.sqrt(reach[:, None] * variances) + 1
            low, high = projected.means - extent, projected.means + extent
        opacities = splats.opacities
        ones = torch.ones_like(channels[:, :1])
        drawn = torch.cat([channels, ones], dim=-1)
        grid = camera.pixel_centres().to(splats.means)
        strips = []
        for top in range(0, camera.height, TILE):
            strip = []
            for left in range(0, camera.width, TILE):
                pixels = grid[top : top + TILE, left : left + TILE]
                first, last = pixels[0, 0], pixels[-1, -1]
                touches = ((high[candidates] > first) & (low[candidates] < last)).all(-1)
                rows = candidates[touches]
                weights = _weights(projected, opacities, rows, pixels.reshape(-1, 2), config)
                strip.append((weights @ drawn[rows]).reshape(*pixels.shape[:2], -1))
            strips.append(torch.cat(strip, dim=1))
        picture = torch.cat(strips, dim=0)
        return Raster(picture[..., :-1], picture[..., -1])

    def gather(
        self, splats: Splats, maps: Float[Tensor, "h w c"], camera: Camera, config: RasterConfig
    ) -> Float[Tensor, "n c"]:
        """See `Rasterizer.gather`."""
        return gather_by_autograd(self, splats, maps, camera, config)
