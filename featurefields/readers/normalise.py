"""The world frame: where its origin is and how long its unit.

Letters: v views · m points. All in float64: captures may lie far from their origin.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.maths.similarity import Similarity

PARALLEL = 0.01
"""Least mean squared sine of the axes' angles to their common direction for their nearest point to count."""


def normalising_similarity(
    poses: Float[Tensor, "v 4 4"], points: Float[Tensor, "m 3"] | None = None
) -> Similarity:
    """The similarity world_from_capture that gives every capture the same size; its rotation is the identity.

    The origin is the point nearest to all viewing axes in the least-squares sense: the object of an orbit,
    the middle of a room. When the axes are nearly parallel (`PARALLEL`, forward-facing captures) that point is
    badly determined along them and the mean camera centre is taken. The unit is the median distance of the
    camera centres from the origin; when the cameras share one centre, the median distance of the points; else
    the unit stays.
    """
    origin = _origin(poses)
    scale = 1.0
    extent = 1e-10 * max(1.0, float(poses[:, :3, 3].abs().max()))
    for places in (poses[:, :3, 3], points):
        if places is not None and len(places):
            distance = float((places - origin).norm(dim=-1).median())
            if distance > extent:
                scale = 1.0 / distance
                break
    return Similarity(scale, torch.eye(3, dtype=poses.dtype), -scale * origin)


def _origin(poses: Float[Tensor, "v 4 4"]) -> Float[Tensor, "3"]:
    centres, axes = poses[:, :3, 3], poses[:, :3, 2]
    mean = centres.mean(0)
    across = torch.eye(3, dtype=poses.dtype) - axes[:, :, None] * axes[:, None, :]
    system = across.mean(0)
    if torch.linalg.eigvalsh(system)[0] < PARALLEL:
        return mean
    return mean + torch.linalg.solve(system, (across @ (centres - mean)[..., None]).mean(0).squeeze(-1))


def mean_up(poses: Float[Tensor, "v 4 4"]) -> Float[Tensor, "3"] | None:
    """Unit mean of the cameras' up directions; None when they cancel out."""
    total = -poses[:, :3, 1].mean(0)
    return torch.nn.functional.normalize(total, dim=0) if float(total.norm()) > 1e-2 else None
