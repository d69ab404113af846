"""Where the surface is that a camera sees.

Letters: n Gaussians · h w pixels · p pixels of a part · k contributors of a pixel.

The depth of one Gaussian at a pixel is that of the point on the pixel's ray where its density is largest: for
d the ray and m the mean seen from the camera, A the inverse covariance, t = m'Ad / d'Ad. For a flat Gaussian this is
where the ray meets its plane, so that large slanted Gaussians are no steps, as when the depth of the mean counts.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.rotations import matrix_from_quat
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.splats import Splats

DepthKind = Literal["median", "mean"]
CONTRIBUTORS = 24
"""So many of the strongest Gaussians of a pixel decide its depth."""
PART = 1 << 15
"""Pixels worked on at once."""
REACH = 3.0
"""A Gaussian's depth at a pixel lies at most so many of its largest deviations from that of its mean."""
FLATTEST = 1e-3
"""Deviations below this share of the largest are taken for it: the inverse covariance stays within float32."""


@dataclass(frozen=True)
class SurfaceDepth:
    """What one camera sees of surfaces.

    Attributes:
        depth: along the optical axis, world units; 0 where nothing is.
        spread: mean distance of the contributors from `depth`: large where the pixel shows several surfaces.
        alpha: coverage.
    """

    depth: Float[Tensor, "h w"]
    spread: Float[Tensor, "h w"]
    alpha: Float[Tensor, "h w"]


@torch.no_grad()
def surface_depth(
    splats: Splats,
    camera: Camera,
    rasterizer: Rasterizer,
    *,
    kind: DepthKind = "median",
    config: RasterConfig = RasterConfig(),
) -> SurfaceDepth:
    """The median (or mean) depth of the Gaussians that a pixel shows, weighted by how much each shows."""
    view = rasterizer.freeze(splats, camera, config)
    shown = view.contributors(CONTRIBUTORS)
    rays = _rays(camera).reshape(-1, 3).to(splats.means)
    ids, weights = shown.ids.reshape(len(rays), -1), shown.weights.reshape(len(rays), -1)
    quadrics = _quadrics(splats, camera)
    middle = (splats.means - camera.position) @ camera.forward
    reach = REACH * splats.scales.amax(-1)
    depth, spread = rays.new_zeros(len(rays)), rays.new_zeros(len(rays))
    for first in range(0, len(rays), PART):
        part = slice(first, first + PART)
        chosen = ids[part].clamp(min=0).long()
        depths = _peaks(quadrics[chosen], rays[part])
        depths = torch.clamp(depths, middle[chosen] - reach[chosen], middle[chosen] + reach[chosen])
        depth[part], spread[part] = _middle(depths, weights[part].to(depths), kind)
    size = (camera.height, camera.width)
    return SurfaceDepth(depth.reshape(size), spread.reshape(size), view.alpha)


def _rays(camera: Camera) -> Float[Tensor, "h w 3"]:
    """World directions through the pixels that go on by 1 along the optical axis."""
    xy = (camera.pixel_centres() - camera.centre_px) / camera.focal_px
    local = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)
    return local @ camera.world_from_camera[:3, :3].T


def _quadrics(splats: Splats, camera: Camera) -> Float[Tensor, "n 9"]:
    """A of every Gaussian, up to a factor, as xx yy zz 2xy 2xz 2yz, and A m."""
    scales = splats.scales
    largest = scales.amax(-1, keepdim=True).clamp(min=1e-30)
    relative = (scales / largest).clamp(min=FLATTEST)
    axes = matrix_from_quat(splats.quats)
    inverse = (axes / relative[:, None, :] ** 2) @ axes.transpose(1, 2)
    along = (inverse @ (splats.means - camera.position)[..., None]).squeeze(-1)
    diagonal = inverse.diagonal(dim1=1, dim2=2)
    mixed = 2 * torch.stack([inverse[:, 0, 1], inverse[:, 0, 2], inverse[:, 1, 2]], dim=-1)
    return torch.cat([diagonal, mixed, along], dim=-1).contiguous()


def _peaks(quadrics: Float[Tensor, "p k 9"], rays: Float[Tensor, "p 3"]) -> Float[Tensor, "p k"]:
    """Depth of the largest density of every contributor on its pixel's ray: m'Ad / d'Ad."""
    x, y, z = rays.unbind(-1)
    products = torch.stack([x * x, y * y, z * z, x * y, x * z, y * z], dim=-1)
    over = torch.matmul(quadrics[..., 6:], rays[..., None]).squeeze(-1)
    under = torch.matmul(quadrics[..., :6], products[..., None]).squeeze(-1)
    return over / under.clamp(min=1e-12)


def _middle(
    depths: Float[Tensor, "p k"], weights: Float[Tensor, "p k"], kind: DepthKind
) -> tuple[Float[Tensor, "p"], Float[Tensor, "p"]]:
    """Weighted median or mean, and the weighted mean distance from it; 0 where there is no weight."""
    total = weights.sum(-1)
    share = weights / total.clamp(min=1e-12)[:, None]
    if kind == "mean":
        middle = (share * depths).sum(-1)
    else:
        ordered, order = depths.sort(dim=-1)
        reached = share.gather(-1, order).cumsum(-1)
        middle = ordered.gather(
            -1, (reached < 0.5 - 1e-6).sum(-1, keepdim=True).clamp(max=depths.shape[-1] - 1)
        )
        middle = middle.squeeze(-1)
    spread = (share * (depths - middle[:, None]).abs()).sum(-1)
    some = total > 0
    return torch.where(some, middle, 0.0), torch.where(some, spread, 0.0)
