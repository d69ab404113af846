"""Pictures of a textured floor and a ball whose depth is known exactly, for tests of lifting.

World: z up, the floor is z = 0, the ball stands on it; above the horizon there is a sky.
"""

import math
from dataclasses import replace

import torch
from tiny_fields import looking
from torch import Tensor

from featurefields.camera import Camera
from featurefields.lifting.geometry import PosedPicture, ViewGeometry

BALL, RADIUS = (0.0, 0.0, 0.4), 0.4
EDGE = 1.6
"""The floor is a square of twice this side."""
SKY = (0.55, 0.7, 0.9)


def cameras(count: int = 4, size: int = 64, apart: float = 0.18) -> list[Camera]:
    """Neighbours on an arc, all looking at the ball."""
    turns = [apart * (index - (count - 1) / 2) for index in range(count)]
    return [
        looking((2.4 * math.cos(turn), 2.4 * math.sin(turn), 1.1), (0.0, 0.0, 0.3), (size, size), 1.15 * size)
        for turn in turns
    ]


def depth_and_colour(camera: Camera) -> tuple[Tensor, Tensor]:
    """Depth along the axis (h w), 0 in the sky, and sRGB colours (h w 3)."""
    rays = camera.directions().double()
    origin, ball = camera.position.double(), torch.tensor(BALL, dtype=torch.float64)
    floor = -origin[2] / rays[..., 2]
    place = origin + floor[..., None] * rays
    floor = torch.where((floor > 0) & (place[..., :2].abs().amax(-1) < EDGE), floor, torch.inf)
    towards = ball - origin
    along = rays @ towards
    inside = RADIUS**2 - (towards @ towards - along**2)
    sphere = torch.where(inside > 0, along - inside.clamp(min=0).sqrt(), torch.inf)
    distance = torch.minimum(floor, sphere)
    seen = torch.isfinite(distance)
    points = origin + torch.where(seen, distance, 0.0)[..., None] * rays
    colours = torch.where(
        seen[..., None], texture(points), torch.tensor(SKY, dtype=torch.float64).expand_as(points)
    )
    depth = torch.where(seen, distance * (rays @ camera.forward.double()), 0.0)
    return depth.float(), colours.float()


def texture(points: Tensor) -> Tensor:
    """Smooth, unrepeated colours of places."""
    x, y, z = (5 * points).unbind(-1)
    waves = [
        torch.sin(2.1 * x + 1.3 * y * y / 7 + z) * torch.cos(1.7 * y - 0.6 * x),
        torch.sin(1.1 * x * x / 7 - 2.3 * y) * torch.cos(2 * z + 0.9 * y),
        torch.cos(1.5 * x + 2.6 * y + 1.2 * z) * torch.sin(0.8 * x - y * y / 9),
    ]
    return 0.5 + 0.4 * torch.stack(waves, dim=-1)


def posed(camera: Camera, name: str = "view") -> PosedPicture:
    """The picture that the camera takes, with its depth map."""
    depth, colours = depth_and_colour(camera)
    return PosedPicture(name, camera, colours.permute(2, 0, 1).contiguous(), 0.9, 5.0, measured=lambda: depth)


def pictures(count: int = 4, size: int = 64) -> list[PosedPicture]:
    return [posed(camera, f"{index}.png") for index, camera in enumerate(cameras(count, size))]


def true_geometry(picture: PosedPicture) -> ViewGeometry:
    """Depth as it is, fully trusted."""
    depth, _ = depth_and_colour(picture.camera)
    return ViewGeometry(depth, (depth > 0).float())


def moved_camera(camera: Camera, motion: Tensor) -> Camera:
    """The camera after the world was moved by a rigid motion (4 4)."""
    return replace(camera, world_from_camera=motion @ camera.world_from_camera)
