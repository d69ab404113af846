"""Picture and mask metrics.

Letters: h w pixels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def psnr(
    a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"], mask: Bool[Tensor, "h w"] | None = None
) -> float:
    """Peak signal-to-noise ratio in dB of pictures clipped to 0..1, over the masked pixels; NaN without pixels."""
    error = (a.clamp(0, 1) - b.clamp(0, 1)).square()
    error = error if mask is None else error[mask]
    return float(-10 * torch.log10(error.mean().clamp(min=1e-12))) if error.numel() else float("nan")


def iou(a: Bool[Tensor, "h w"], b: Bool[Tensor, "h w"]) -> float:
    """Intersection over union of two masks; NaN when both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else float("nan")
