"""One flat Gaussian a pixel, on the surface that a depth map shows.

Letters: h w pixels · n pixels of known depth.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.camera import Camera
from featurefields.maths.rotations import quat_from_matrix
from featurefields.raster import RasterConfig
from featurefields.splats import Splats

SPREAD_PX = 0.4
"""Standard deviation across the surface, in pixels of the picture: as little overlap as leaves no gaps, because of two
that overlap the nearer one hides the other, which would shift what is seen."""
FLATNESS = 0.2
"""Thickness as a share of that."""
STEEPEST = 0.3
"""Cosine between surface and sight below which a Gaussian is not drawn out any further."""
EDGE = 0.05
"""Where depth changes by more than this share from pixel to pixel there is an edge, not a slope."""
OPACITY_LOGIT = 2.0
"""Opacity .88."""
SHARP = RasterConfig(blur_px2=0.05)
"""How they are drawn: next to no blur, for the same reason."""


def pixel_surfels(
    camera: Camera, depth: Float[Tensor, "h w"], known: Bool[Tensor, "h w"]
) -> tuple[Splats, Bool[Tensor, "h w"]]:
    """Gaussians of the pixels with a depth (> 0) that are `known`, row by row, and which pixels these are.

    Each covers its pixel as the surface lies: drawn out along the slope, so that views from the side see no gaps.
    """
    known = known & (depth > 0)
    points = camera.unproject(depth)
    normals = _normals(points, depth, camera)[known]
    sight = normalize(points[known] - camera.position, dim=-1)
    away = (normals * sight).sum(-1, keepdim=True)
    along = sight - away * normals
    flat = along.norm(dim=-1, keepdim=True) < 1e-4
    along = normalize(torch.where(flat, camera.world_from_camera[:3, 0] + 1e-3 * sight, along), dim=-1)
    along = normalize(along - (along * normals).sum(-1, keepdim=True) * normals, dim=-1)
    axes = torch.stack([along, torch.linalg.cross(normals, along), normals], dim=-1)
    pixel = SPREAD_PX * depth[known] / camera.focal_px.mean()
    slope = away.squeeze(-1).abs().clamp(min=STEEPEST)
    scales = torch.stack([pixel / slope, pixel, FLATNESS * pixel], dim=-1)
    opacity = torch.full_like(pixel, OPACITY_LOGIT)
    return Splats(points[known], quat_from_matrix(axes), torch.log(scales), opacity), known


def _normals(
    points: Float[Tensor, "h w 3"], depth: Float[Tensor, "h w"], camera: Camera
) -> Float[Tensor, "h w 3"]:
    """Unit normals towards the camera, from differences of neighbouring points that lie on one surface."""
    across, down = _slope(points, depth, 1), _slope(points, depth, 0)
    unit = depth[..., None] / camera.focal_px.mean()
    right, below = camera.world_from_camera[:3, 0], camera.world_from_camera[:3, 1]
    across = torch.where(across.abs().sum(-1, keepdim=True) > 0, across, unit * right)
    down = torch.where(down.abs().sum(-1, keepdim=True) > 0, down, unit * below)
    normals = normalize(torch.linalg.cross(across, down), dim=-1, eps=1e-20)
    facing = (normals * (points - camera.position)).sum(-1, keepdim=True) > 0
    return torch.where(facing, -normals, normals)


def _slope(points: Float[Tensor, "h w 3"], depth: Float[Tensor, "h w"], axis: int) -> Float[Tensor, "h w 3"]:
    """The smaller of the two differences to the neighbours along an axis; 0 where both cross an edge."""
    step = points.diff(dim=axis)
    known = (depth.narrow(axis, 1, depth.shape[axis] - 1) > 0) & (
        depth.narrow(axis, 0, depth.shape[axis] - 1) > 0
    )
    jump = depth.diff(dim=axis).abs() / depth.narrow(axis, 1, depth.shape[axis] - 1).clamp(min=1e-12)
    jump = torch.where(known, jump, torch.inf)
    end = torch.full_like(jump.narrow(axis, 0, 1), torch.inf)
    zero = torch.zeros_like(step.narrow(axis, 0, 1))
    before, after = torch.cat([zero, step], axis), torch.cat([step, zero], axis)
    jump_before, jump_after = torch.cat([end, jump], axis), torch.cat([jump, end], axis)
    chosen = torch.where((jump_before < jump_after)[..., None], before, after)
    smooth = torch.minimum(jump_before, jump_after) < EDGE
    return torch.where(smooth[..., None], chosen, 0.0)
