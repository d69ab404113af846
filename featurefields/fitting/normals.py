"""Normals for Gaussians that have none.

Letters: n Gaussians · v cameras.

Features that a small network makes from reflected directions need them, facing the viewer: they are averaged over a
pixel. Harmonics of every Gaussian's own reflected direction do without: a reflection turns each order into itself.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import FeatureField
from featurefields.splats import Splats


def shortest_axis_normals(splats: Splats, positions: Float[Tensor, "v 3"]) -> Float[Tensor, "n 3"]:
    """The unit direction of every Gaussian's smallest extent, on the side from which most `positions` see it.

    Gaussians that fit surfaces are flat along them. A round one has no such direction; it gets any.
    """
    axes = splats.shortest_axes
    votes = torch.zeros_like(axes[:, 0])
    for position in positions.to(axes):
        votes += torch.sign(((position - splats.means) * axes).sum(-1))
    return torch.where(votes[:, None] < 0, -axes, axes)


def with_normals(field: FeatureField, cameras: Sequence[Camera]) -> FeatureField:
    """The field with a column "normals" (n 3): its own where it has one, else the shortest axes."""
    if "normals" in field.splats.columns or not cameras:
        return field
    positions = torch.stack([camera.position for camera in cameras])
    normals = shortest_axis_normals(field.splats, positions)
    return field.with_splats(field.splats.with_columns(normals=normals))
