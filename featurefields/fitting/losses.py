"""What a fit minimises.

Letters: h w pixels · c channels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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
