"""Places on a camera path, as `ff render --path` reads them: JSON in the frame of the photos' poses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from featurefields.atomic import write_bytes
from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.files.camera_path import read_camera_path
from featurefields.viewer.cameras import Pose

OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
"""Camera axes of the file (y up, z backwards) from ours."""


@dataclass
class CameraList:
    """Keyframes that a browser recorded.

    Attributes:
        keyframes: entries of the file.
        seconds: how long the flight from one to the next takes.
        fps: frames per second.
        closed: whether it ends where it begins.
    """

    keyframes: list[Mapping[str, Any]] = field(default_factory=list)
    seconds: float = 2.0
    fps: float = 24.0
    closed: bool = False

    def add(self, pose: Pose, scene: FeatureField) -> None:
        """One more place, at the end."""
        camera = pose.camera(1000)
        moved = scene.about.world_from_capture.inverse.pose(camera.world_from_camera.double())
        entry = {
            "camera_to_world": (moved @ OPENGL).flatten().tolist(),
            "fov": float(torch.rad2deg(torch.tensor(pose.fov))),
        }
        self.keyframes.append(entry)

    def document(self, size: tuple[int, int]) -> dict[str, Any]:
        """The file's content for pictures of this size."""
        entries = [{**entry, "seconds": self.seconds} for entry in self.keyframes]
        return {"keyframes": entries, "fps": self.fps, "closed": self.closed, "size": [*size]}

    def write(self, path: Path, size: tuple[int, int]) -> Path:
        """Write the file. Raises `PromptError` when there are fewer than two places, `WriteError` as usual."""
        if len(self.keyframes) < 2:
            raise PromptError(
                f"a path needs two places or more, there are {len(self.keyframes)}; add this one with r"
            )
        content = json.dumps(self.document(size), indent=1) + "\n"
        return write_bytes(path, content.encode(), overwrite=True)


def flown(path: Path, scene: FeatureField) -> tuple[Sequence[Camera], float]:
    """Cameras of a path's frames in the field's world, and frames per second. Raises as `read_camera_path`."""
    world_from_capture = scene.about.world_from_capture
    read = read_camera_path(path, {})
    frames = [
        replace(camera, world_from_camera=world_from_capture.pose(camera.world_from_camera.double()).float())
        for camera in read.cameras
    ]
    return frames, read.fps
