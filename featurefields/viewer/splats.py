"""A field's Gaussians as the browser draws them while it moves: covariances and one colour each.

Letters: n Gaussians.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import FeatureField
from featurefields.maths.rotations import matrix_from_quat
from featurefields.viewer.drawing import Seen

FAINT = 0.02
"""Gaussians less opaque than this are not sent."""


@dataclass(frozen=True, eq=False)
class BrowserSplats:
    """Arrays of float32: centres (n 3), covariances (n 3 3), colours (n 3) and opacities (n 1) in 0..1."""

    centers: NDArray[np.float32]
    covariances: NDArray[np.float32]
    rgbs: NDArray[np.float32]
    opacities: NDArray[np.float32]


@torch.no_grad()
def browser_splats(seen: Seen, camera: Camera) -> BrowserSplats:
    """All but the faintest Gaussians, coloured as `camera` sees them, marked ones tinted."""
    field, splats = seen.field, seen.field.splats
    opacity = torch.sigmoid(splats.opacity_logits)
    shown = opacity > FAINT
    axes = matrix_from_quat(torch.nn.functional.normalize(splats.quats[shown], dim=-1))
    axes = axes * splats.log_scales[shown].exp()[:, None, :]
    colours = _colours(field, camera).clamp(0, 1)
    for mark in seen.marks:
        rows = mark.rows.to(colours.device)
        colours[rows] = torch.lerp(colours[rows], torch.tensor(mark.colour).to(colours), mark.strength)
    return BrowserSplats(
        _array(splats.means[shown]),
        _array(axes @ axes.transpose(1, 2)),
        _array(colours[shown]),
        _array(opacity[shown, None]),
    )


def _colours(field: FeatureField, camera: Camera) -> Float[Tensor, "n 3"]:
    head = field.heads.get("rgb")
    if head is None:
        return torch.full_like(field.splats.means, 0.6)
    return head.at_gaussians(field.splats, camera.to(field.splats.means))["total"]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy().astype(np.float32))
