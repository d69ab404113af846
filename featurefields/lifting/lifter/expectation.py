"""From logits of planes to one inverse depth.

Letters: k planes · h w pixels.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Estimate(NamedTuple):
    """A position among the planes (0 … k-1, fractional), the share of probability around it, and the entropy."""

    place: Float[Tensor, "h w"]
    peak: Float[Tensor, "h w"]
    entropy: Float[Tensor, "h w"]


def expected_place(logits: Float[Tensor, "k h w"], reach: int = 2) -> Estimate:
    """The mean of the probability within `reach` planes of its maximum: other maxima do not pull."""
    k = logits.shape[0]
    probability = torch.softmax(logits, 0)
    planes = torch.arange(k, device=logits.device, dtype=logits.dtype)[:, None, None]
    near = ((planes - probability.argmax(0)).abs() <= reach).to(logits.dtype)
    local = probability * near
    peak = local.sum(0)
    place = (local * planes).sum(0) / peak
    entropy = -(probability * torch.log(probability.clamp_min(1e-9))).sum(0) / math.log(k)
    return Estimate(place, peak, entropy)
