"""From where a thing is looked at for its surface.

Letters: m points · v cameras.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.visualization.paths import encircle

INNER = (0.02, 0.98)
"""The box of points spans these quantiles: a few strays do not count."""
MARGIN = 0.15
"""Room around a framed thing, as a share of its box."""
RINGS_DEG = (-25.0, 10.0, 40.0, 70.0)
"""Elevations of the circles from which a thing that came without cameras is looked at."""


def framed(camera: Camera, points: Float[Tensor, "m 3"], *, longest: int, zoom: float = 2.0) -> Camera | None:
    """The camera from the same place, cropped and enlarged so that the points fill the picture.

    Its longer side has at most `longest` pixels and it is enlarged at most `zoom` times. None when the camera does not
    see the middle of the points in its picture: photos say nothing about what lies outside of them.
    """
    pixels, depth = camera.project(points.to(camera.world_from_camera))
    front = depth > 1e-6
    if front.float().mean() < 0.9:
        return None
    pixels = pixels[front]
    quantiles = torch.tensor(INNER).to(pixels)
    low, high = _quantiles(pixels, quantiles)
    middle = (low + high) / 2
    size = torch.tensor([camera.width, camera.height]).to(pixels)
    if (middle < 0).any() or (middle > size).any():
        return None
    room = MARGIN * (high - low).amax()
    low, high = (low - room).clamp(min=0), torch.minimum(high + room, size)
    span = (high - low).clamp(min=2.0)
    factor = min(zoom, longest / float(span.amax()))
    width, height = (max(2, round(float(side) * factor)) for side in span)
    return Camera(
        camera.world_from_camera, camera.focal_px * factor, (camera.centre_px - low) * factor, (width, height)
    )


def all_around(
    points: Float[Tensor, "m 3"], up: Float[Tensor, "3"], *, longest: int, count: int = 48
) -> list[Camera]:
    """About `count` cameras on circles around points that came without cameras."""
    each = math.ceil(count / len(RINGS_DEG))
    return [
        camera
        for elevation in RINGS_DEG
        for camera in encircle(points, up, each, size=(longest, longest), elevation_deg=elevation)
    ]


def evenly(cameras: Sequence[Camera], count: int) -> list[Camera]:
    """At most `count` of them, spread evenly."""
    return list(cameras[:: max(1, -(-len(cameras) // count))])


def _quantiles(
    values: Float[Tensor, "m 2"], at: Float[Tensor, "2"]
) -> tuple[Float[Tensor, "2"], Float[Tensor, "2"]]:
    ordered = values.sort(dim=0).values
    low, high = (ordered[round(float(fraction) * (len(ordered) - 1))] for fraction in at)
    return low, high
