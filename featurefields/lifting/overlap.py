"""Which cameras look at the same things, from angles that can be matched.

Letters: v views · s sample points.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera

BEST_DEG = 8.0
"""Angle between two views' rays to one point at which matching is best: enough parallax, little change of looks."""
SPREAD_DEG = (5.0, 20.0)
"""How fast the score falls below and above that angle."""
GRID = (1 / 6, 1 / 2, 5 / 6)
"""Sample points lie on the rays through these shares of the picture's width and height."""


def matching_views(
    index: int, cameras: Sequence[Camera], depths: Sequence[float], count: int
) -> tuple[int, ...]:
    """The at most `count` other cameras that see most of what camera `index` sees at `depths`, best first.

    After the view selection of MVSNet (Yao et al. 2018), with sample points at the given depths along the optical
    axis in place of sparse tracks. Cameras that see none of them are left out; ties go to the lower index.
    """
    points = _samples(cameras[index], depths)
    scores = [-1.0 if other == index else _score(points, cameras[index], cameras[other])
              for other in range(len(cameras))]  # fmt: skip
    order = sorted(range(len(cameras)), key=lambda other: (-scores[other], other))
    return tuple(other for other in order[:count] if scores[other] > 0)


def _samples(camera: Camera, depths: Sequence[float]) -> Float[Tensor, "s 3"]:
    """Points on a grid of rays, at every depth."""
    share = torch.tensor(GRID).to(camera.position)
    x, y = torch.meshgrid(share * camera.width, share * camera.height, indexing="xy")
    local = (torch.stack([x, y], -1).reshape(-1, 2) - camera.centre_px) / camera.focal_px
    rays = torch.cat([local, torch.ones_like(local[:, :1])], -1) @ camera.world_from_camera[:3, :3].T
    return torch.cat([camera.position + depth * rays for depth in depths])


def _score(points: Float[Tensor, "s 3"], camera: Camera, other: Camera) -> float:
    """Mean over the points: 0 where `other` does not see one, else how well the angle suits."""
    pixels, depth = other.project(points)
    size = torch.tensor(other.size).to(pixels)
    seen = (depth > 1e-6) & (pixels >= 0).all(-1) & (pixels < size).all(-1)
    first = torch.nn.functional.normalize(points - camera.position, dim=-1)
    second = torch.nn.functional.normalize(points - other.position, dim=-1)
    off = torch.rad2deg(torch.acos((first * second).sum(-1).clamp(-1, 1))) - BEST_DEG
    width = torch.where(off < 0, SPREAD_DEG[0], SPREAD_DEG[1])
    return float(torch.where(seen, torch.exp(-0.5 * (off / width) ** 2), 0.0).mean())
