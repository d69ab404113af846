"""The sRGB transfer curve, both ways (IEC 61966-2-1, the exact piecewise form).

Letters: `...` any batch of values; nominal range 0..1, both ends inclusive. Values below 0 follow the linear
part of the curve, values above 1 its power part, so nothing is clipped and gradients never vanish.
"""

import torch
from jaxtyping import Float
from torch import Tensor

SLOPE = 12.92
LINEAR_KNEE = 0.0031308
SRGB_KNEE = 0.04045


def srgb_from_linear(linear: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Encode linear light. Differentiable everywhere, with finite gradients at 0."""
    power = 1.055 * linear.clamp_min(LINEAR_KNEE) ** (1 / 2.4) - 0.055
    return torch.where(linear <= LINEAR_KNEE, SLOPE * linear, power)


def linear_from_srgb(srgb: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Decode to linear light. Differentiable everywhere, with finite gradients at 0."""
    power = ((srgb.clamp_min(SRGB_KNEE) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= SRGB_KNEE, srgb / SLOPE, power)
