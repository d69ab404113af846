"""What a fit minimises.

Letters: h w pixels · c channels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.camera import Camera
from featurefields.maths.ssim import WINDOW, ssim


def open_top(prediction: Float[Tensor, "h w c"], target: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
    """The prediction, set to the target where the photo is saturated and the prediction brighter still."""
    return torch.where((target >= 0.998) & (prediction > target), target, prediction)


def photometric(
    prediction: Float[Tensor, "h w 3"],
    target: Float[Tensor, "h w 3"],
    mask: Bool[Tensor, "h w"] | None,
    *,
    ssim_weight: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "h w"]]:
    """(1 - ssim_weight) L1 + ssim_weight (1 - SSIM) over the masked pixels, and the absolute error per pixel."""
    prediction = open_top(prediction, target)
    if mask is not None:
        prediction = torch.where(mask[..., None], prediction, target)
    error = (prediction - target).abs().mean(-1)
    share = 1.0 if mask is None else max(float(mask.float().mean()), 1e-6)
    loss = (1 - ssim_weight) * error.mean() / share
    if ssim_weight > 0 and min(target.shape[:2]) >= WINDOW:
        loss = loss + ssim_weight * (1 - ssim(prediction, target)) / share
    return loss, error.detach()


def normals_from_depth(depth: Float[Tensor, "h w"], camera: Camera) -> Float[Tensor, "h w 3"]:
    """Unit world normals, towards the camera, of the surface that a depth map describes; borders repeat."""
    points = camera.unproject(depth).permute(2, 0, 1)[None]
    points = torch.nn.functional.pad(points, (1, 1, 1, 1), mode="replicate")[0].permute(1, 2, 0)
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    return normalize(torch.linalg.cross(down, across), dim=-1)


def normal_consistency(
    normals: Float[Tensor, "h w 3"], depth: Float[Tensor, "h w"], alpha: Float[Tensor, "h w"], camera: Camera
) -> Float[Tensor, ""]:
    """Mean of 1 - <drawn normal, normal of the drawn depth>, weighted by coverage and blind across depth edges.

    The depth is held fixed: normals learn from geometry, not the other way round.
    """
    depth, alpha = depth.detach(), alpha.detach()
    target = normals_from_depth(depth, camera)
    far = torch.nn.functional.max_pool2d(depth[None, None], 3, stride=1, padding=1)[0, 0]
    near = -torch.nn.functional.max_pool2d(-depth[None, None], 3, stride=1, padding=1)[0, 0]
    weight = torch.where((far < 1.1 * near) & (near > 0), alpha, torch.zeros_like(alpha))
    return (weight * (1 - (normals * target).sum(-1))).sum() / weight.sum().clamp(min=1.0)
