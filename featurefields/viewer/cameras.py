"""viser's cameras as ours and back. Both look along +z with y down; viser's has its centre in the middle."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from featurefields.camera import Camera
from featurefields.maths.rotations import matrix_from_quat, quat_from_matrix

SAME_TURN = 1e-4


@dataclass(frozen=True)
class Pose:
    """Where a browser looks from.

    Attributes:
        wxyz: rotation of the world from the camera.
        position: centre of the camera in the world.
        fov: vertical angle of view, radians.
        aspect: width over height of its canvas.
    """

    wxyz: tuple[float, float, float, float]
    position: tuple[float, float, float]
    fov: float
    aspect: float

    @staticmethod
    def of(camera: Camera) -> "Pose":
        """The pose from which a browser sees at least what a camera's picture shows."""
        quat = quat_from_matrix(camera.world_from_camera[:3, :3].double())
        w, x, y, z = quat.tolist()
        px, py, pz = camera.position.double().tolist()
        fov = 2 * math.atan(camera.height / (2 * float(camera.focal_px[1])))
        return Pose((w, x, y, z), (px, py, pz), fov, camera.width / camera.height)

    def is_near(self, other: "Pose", reach: float, turn: float = SAME_TURN) -> bool:
        """Whether both stand within `reach` and look the same way, but for `turn` (1 - |cosine| of half the angle)."""
        turned = 1 - abs(sum(a * b for a, b in zip(self.wxyz, other.wxyz, strict=True)))
        return math.dist(self.position, other.position) < reach and turned <= turn

    def camera(self, longest: int) -> Camera:
        """The camera of its canvas, with `longest` pixels on the longer side."""
        aspect = min(max(self.aspect, 0.05), 20.0)
        width = longest if aspect >= 1 else max(1, round(longest * aspect))
        height = longest if aspect < 1 else max(1, round(longest / aspect))
        world_from_camera = torch.eye(4, dtype=torch.float64)
        world_from_camera[:3, :3] = matrix_from_quat(torch.tensor(self.wxyz, dtype=torch.float64))
        world_from_camera[:3, 3] = torch.tensor(self.position, dtype=torch.float64)
        focal = height / (2 * math.tan(min(max(self.fov, 1e-3), 3.1) / 2))
        return Camera(
            world_from_camera.float(),
            torch.tensor([focal, focal]),
            torch.tensor([width / 2, height / 2]),
            (width, height),
        )


def up_and_target(camera: Camera, distance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A camera's up direction, and the point it looks at so far away."""
    axes = camera.world_from_camera[:3, :3].double()
    target = camera.position.double() + distance * axes[:, 2]
    return (-axes[:, 1]).cpu().numpy(), target.cpu().numpy()


def nearest(cameras: dict[str, Camera], camera: Camera) -> str:
    """The name of the camera that is nearest and looks the same way."""

    def distance(other: Camera) -> float:
        apart = float((other.position.double() - camera.position.double()).norm())
        turned = 1.0 - float(other.forward.double() @ camera.forward.double())
        return apart + turned

    return min(cameras, key=lambda name: distance(cameras[name]))
