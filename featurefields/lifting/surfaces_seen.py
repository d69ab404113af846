"""What one view sees: depths as surfaces.

Letters: h w pixels · n places.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

from featurefields.camera import Camera
from featurefields.lifting.geometry import PosedPicture, ViewGeometry

TOLERANCE = 0.01
"""Depths of one surface in two views differ by at most this share of them, and what slant adds."""
STEEPEST = 0.05
"""Slant adds at most this share of the depth to the tolerance: beyond, neighbouring pixels are two surfaces."""


@dataclass(frozen=True)
class SeenSurface:
    """One picture's surfaces; all pictures are (h w …) and on one device.

    Attributes:
        camera: the picture's camera.
        colours: sRGB in 0..1.
        depth: along the optical axis, 0 where unknown.
        confidence: 0..1, 0 where unknown.
        normals: unit, world, towards the camera; of the surface through neighbouring pixels.
        tolerance: how far a depth may be from this one and still be that of the same surface, world units.
        scale_px: standard deviation of each pixel's Gaussian in pixels, or None.
        opacity: of each pixel's Gaussian, or None.
    """

    camera: Camera
    colours: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    confidence: Float[Tensor, "h w"]
    normals: Float[Tensor, "h w 3"]
    tolerance: Float[Tensor, "h w"]
    scale_px: Float[Tensor, "h w"] | None = None
    opacity: Float[Tensor, "h w"] | None = None

    @staticmethod
    def of(picture: PosedPicture, geometry: ViewGeometry) -> "SeenSurface":
        """Masked-out pixels are unknown."""
        depth = geometry.depth.to(picture.picture)
        known = (depth > 0) & torch.isfinite(depth)
        if picture.mask is not None:
            known &= picture.mask
        depth = torch.where(known, depth, 0.0)
        return SeenSurface(
            picture.camera,
            picture.picture.permute(1, 2, 0),
            depth,
            torch.where(known, geometry.confidence.to(depth).clamp(0, 1), 0.0),
            depth_normals(depth, picture.camera),
            depth_tolerance(depth),
            geometry.scale_px,
            geometry.opacity,
        )

    @property
    def footprint(self) -> Float[Tensor, "h w"]:
        """Width of a pixel at its depth, world units; 0 where unknown."""
        return self.depth / self.camera.focal_px.mean()


def depth_normals(depth: Float[Tensor, "h w"], camera: Camera) -> Float[Tensor, "h w 3"]:
    """Unit world normals towards the camera, from the neighbours that lie nearest in depth.

    Along each axis of the picture the side with the smaller step counts, so that an edge does not tilt the surfaces
    beside it. Where a pixel has no neighbour along an axis the normal points to the camera.
    """
    points = camera.unproject(depth)
    across, has_across = _step(points, depth, 1)
    down, has_down = _step(points, depth, 0)
    facing = normalize(camera.position - points, dim=-1)
    crossed = torch.linalg.cross(down, across)
    normals = torch.where((has_across & has_down)[..., None], normalize(crossed, dim=-1), facing)
    away = (normals * facing).sum(-1, keepdim=True) < 0
    return torch.where(away, -normals, normals)


def _step(
    points: Float[Tensor, "h w 3"], depth: Float[Tensor, "h w"], axis: int
) -> tuple[Float[Tensor, "h w 3"], Bool[Tensor, "h w"]]:
    """Vector to the next place on the surface along an axis of the picture, and whether there is one."""
    forward = torch.roll(points, -1, axis) - points
    backward = points - torch.roll(points, 1, axis)
    ahead, behind = torch.roll(depth, -1, axis), torch.roll(depth, 1, axis)
    ahead.select(axis, -1).zero_()
    behind.select(axis, 0).zero_()
    nothing = torch.full_like(depth, torch.inf)
    to_ahead = torch.where(ahead > 0, (ahead - depth).abs(), nothing)
    to_behind = torch.where(behind > 0, (behind - depth).abs(), nothing)
    there = (depth > 0) & (torch.minimum(to_ahead, to_behind) < torch.inf)
    return torch.where((to_ahead <= to_behind)[..., None], forward, backward), there


def depth_tolerance(depth: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """A share of the depth, and the largest step to a neighbour that still looks like slant."""
    known = depth > 0
    high = max_pool2d(torch.where(known, depth, -torch.inf)[None], 3, 1, 1)[0]
    low = -max_pool2d(torch.where(known, -depth, -torch.inf)[None], 3, 1, 1)[0]
    slant = torch.where(known, (high - low) / 2, 0.0)
    return TOLERANCE * depth + torch.where(slant < STEEPEST * depth, slant, 0.0)


@dataclass(frozen=True)
class Landing:
    """Where world points land in a view.

    Attributes:
        inside: whether the view's picture shows their place (n).
        row, column: the pixel in which they lie (n); 0 outside.
        pixels: their place (n 2).
        depth: their depth along the view's axis (n).
    """

    inside: Bool[Tensor, "n"]
    row: Tensor
    column: Tensor
    pixels: Float[Tensor, "n 2"]
    depth: Float[Tensor, "n"]

    @staticmethod
    def of(points: Float[Tensor, "n 3"], camera: Camera) -> "Landing":
        pixels, depth = camera.project(points)
        size = torch.tensor(camera.size).to(pixels)
        inside = (depth > 1e-6) & (pixels >= 0).all(-1) & (pixels < size).all(-1)
        pixels = torch.where(inside[:, None], pixels, 0.0)
        column, row = pixels.floor().long().unbind(-1)
        return Landing(inside, row, column, pixels, depth)

    def pick(self, picture: Tensor) -> Tensor:
        """The value of the pixel in which each point lies; of the first pixel outside."""
        return picture[self.row, self.column]
