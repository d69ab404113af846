"""The definition of drawing in plain torch: any dtype and device, differentiable by autograd.

Letters: n Gaussians · m Gaussians of one tile · p pixels of one tile · c channels · h w pixels.

Written to be read; used as truth in tests and where no fast backend fits. Memory is m p per tile of the
backward pass, so pictures of tens of thousands of Gaussians are slow but possible.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.rotations import matrix_from_quat
from featurefields.raster.adjoint import gather_by_autograd
from featurefields.raster.interface import (
    FROZEN_BYTES,
    Contributors,
    FrozenView,
    Raster,
    RasterConfig,
    Visibility,
)
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


@dataclass(frozen=True)
class Tile:
    """A tile's corner (pixels), its size (h, w), the Gaussians that can touch it, nearest first, and their weights."""

    top: int
    left: int
    size: tuple[int, int]
    rows: Int[Tensor, "m"]
    weights: Float[Tensor, "p m"]


def tiles(splats: Splats, camera: Camera, config: RasterConfig) -> Iterator[Tile]:
    """The picture tile by tile, row after row."""
    projected = project(splats, camera, config)
    candidates = _candidates(splats, projected, config)
    opacities = splats.opacities
    with torch.no_grad():
        reach = (2 * torch.log(opacities / config.alpha_min)).clamp(min=0)
        variances = projected.covariances.diagonal(dim1=1, dim2=2)
        extent = torch.sqrt(reach[:, None] * variances) + 1
        low, high = (projected.means - extent)[candidates], (projected.means + extent)[candidates]
    grid = camera.pixel_centres().to(splats.means)
    for top in range(0, camera.height, TILE):
        strip = (high[:, 1] > grid[top, 0, 1]) & (low[:, 1] < grid[min(top + TILE, camera.height) - 1, 0, 1])
        for left in range(0, camera.width, TILE):
            pixels = grid[top : top + TILE, left : left + TILE]
            touches = strip & (high[:, 0] > pixels[0, 0, 0]) & (low[:, 0] < pixels[-1, -1, 0])
            rows = candidates[touches]
            weights = _weights(projected, opacities, rows, pixels.reshape(-1, 2), config)
            yield Tile(top, left, (pixels.shape[0], pixels.shape[1]), rows, weights)


@torch.no_grad()
def strongest(splats: Splats, camera: Camera, config: RasterConfig, count: int) -> Contributors:
    """The Gaussians with the `count` largest weights at every pixel, ties nearest first."""
    device, shape = splats.means.device, (camera.height, camera.width, count)
    ids = torch.full(shape, -1, dtype=torch.int64, device=device)
    values = torch.zeros(shape).to(splats.means)
    for tile in tiles(splats, camera, config):
        weights, order = torch.sort(tile.weights, dim=1, descending=True, stable=True)
        weights, order = weights[:, :count], order[:, :count]
        area = (*tile.size, weights.shape[1])
        place = (slice(tile.top, tile.top + area[0]), slice(tile.left, tile.left + area[1]), slice(area[2]))
        ids[place] = torch.where(weights > 0, tile.rows[order], -1).reshape(area)
        values[place] = weights.reshape(area)
    return Contributors(ids, values)


@torch.no_grad()
def visibility(splats: Splats, camera: Camera, config: RasterConfig) -> Visibility:
    """Sum and largest of every Gaussian's weights."""
    total, peak = torch.zeros_like(splats.opacity_logits), torch.zeros_like(splats.opacity_logits)
    for tile in tiles(splats, camera, config):
        total.index_add_(0, tile.rows, tile.weights.sum(0))
        peak[tile.rows] = torch.maximum(peak[tile.rows], tile.weights.amax(0))
    return Visibility(total, peak)


class ReferenceRasterizer:
    """Exact per-pixel compositing, differentiable in everything, the camera pose included."""

    name = "reference"

    def draw(
        self, splats: Splats, channels: Float[Tensor, "n c"], camera: Camera, config: RasterConfig
    ) -> Raster:
        """See `Rasterizer.draw`."""
        drawn = torch.cat([channels, channels.new_ones(len(channels), 1)], dim=-1)
        strips: list[list[Tensor]] = []
        for tile in tiles(splats, camera, config):
            if tile.left == 0:
                strips.append([])
            strips[-1].append((tile.weights @ drawn[tile.rows]).reshape(*tile.size, -1))
        picture = torch.cat([torch.cat(strip, dim=1) for strip in strips], dim=0)
        return Raster(picture[..., :-1], picture[..., -1])

    def gather(
        self, splats: Splats, maps: Float[Tensor, "h w c"], camera: Camera, config: RasterConfig
    ) -> Float[Tensor, "n c"]:
        """See `Rasterizer.gather`."""
        return gather_by_autograd(self, splats, maps, camera, config)

    def freeze(
        self, splats: Splats, camera: Camera, config: RasterConfig, *, budget_bytes: int = FROZEN_BYTES
    ) -> FrozenView:
        """See `Rasterizer.freeze`; nothing is kept."""
        from featurefields.raster.frozen import RedrawnView  # which needs the reference for contributors

        return RedrawnView(self, splats, camera, config)
