"""Similarity transforms x -> scale * rotation @ x + translation.

Letters: 3 3 rotation · 3 translation · `...` any batch of points.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """One similarity. Named by its frames, right to left: `world_from_capture` takes capture points to world."""

    scale: float
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]

    @staticmethod
    def identity() -> "Similarity":
        return Similarity(1.0, torch.eye(3), torch.zeros(3))

    @property
    def inverse(self) -> "Similarity":
        turned_back = self.rotation.T
        return Similarity(1.0 / self.scale, turned_back, -(turned_back @ self.translation) / self.scale)

    def after(self, first: "Similarity") -> "Similarity":
        """`first`, then this one."""
        rotation, translation = self.rotation.to(first.rotation), self.translation.to(first.translation)
        moved = self.scale * (rotation @ first.translation) + translation
        return Similarity(self.scale * first.scale, rotation @ first.rotation, moved)

    def points(self, points: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
        """Transformed points."""
        rotation, translation = self.rotation.to(points), self.translation.to(points)
        return self.scale * (points @ rotation.T) + translation

    def pose(self, pose: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """A rigid camera pose (columns = camera axes, last = centre) seen in the new frame; it stays rigid."""
        moved = pose.clone()
        moved[:3, :3] = self.rotation.to(pose) @ pose[:3, :3]
        moved[:3, 3] = self.points(pose[:3, 3])
        return moved
