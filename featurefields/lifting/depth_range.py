"""Between which depths a camera's scene lies.

Letters: m points · s points that are seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera

FEWEST = 32
"""Points in a picture that tell its depths; with fewer the cameras do."""
QUANTILES = (0.005, 0.98)
"""Shares of a picture's points that are nearer than the near and the far end of the scene."""
MARGIN = 1.25
"""The range reaches so much farther than these points on both sides."""
SKY = 4.0
"""Points so many times as far as the median are surroundings, not scene."""
FROM_CAMERAS = (0.3, 3.0)
"""Without points: depths as shares of the camera's distance from where all cameras look."""


@dataclass(frozen=True)
class DepthRange:
    """Least and largest depth along the optical axis, world units, 0 < near < far."""

    near: float
    far: float


def depth_range(camera: Camera, points: Float[Tensor, "m 3"] | None, cameras: Sequence[Camera]) -> DepthRange:
    """The range of the points that the camera sees; without enough of them, of where the cameras look."""
    depths = _seen_depths(camera, points)
    if len(depths) >= FEWEST:
        near, far = torch.quantile(depths, depths.new_tensor(QUANTILES)).tolist()
        return DepthRange(near / MARGIN, far * MARGIN)
    distance = _focus_distance(camera, cameras)
    return DepthRange(FROM_CAMERAS[0] * distance, FROM_CAMERAS[1] * distance)


def _seen_depths(camera: Camera, points: Float[Tensor, "m 3"] | None) -> Float[Tensor, "s"]:
    """Depths of the points inside the picture, without those of the surroundings."""
    if points is None or len(points) == 0:
        return torch.zeros(0)
    pixels, depths = camera.project(points.to(camera.position))
    size = torch.tensor(camera.size).to(pixels)
    depths = depths[(depths > 1e-6) & (pixels >= 0).all(-1) & (pixels < size).all(-1)]
    return depths[depths < SKY * depths.median()] if len(depths) else depths


def _focus_distance(camera: Camera, cameras: Sequence[Camera]) -> float:
    """Distance along the optical axis of the point nearest to all axes; of the world's unit where there is none."""
    centres = torch.stack([other.position for other in cameras]).double().cpu()
    axes = torch.stack([other.forward for other in cameras]).double().cpu()
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]
    system = across.mean(0)
    if torch.linalg.eigvalsh(system)[0] > 1e-3:
        focus = torch.linalg.solve(system, (across @ centres[..., None]).mean(0).squeeze(-1))
        distance = float((focus - camera.position.double().cpu()) @ camera.forward.double().cpu())
        if distance > 1e-3:
            return distance
    return 1.0
