"""Pixels premultiplied by coverage.

Letters: `...` any batch of pixels · c channels.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def over_alpha(pixels: Float[Tensor, "... c"], alpha: Float[Tensor, "..."]) -> Float[Tensor, "... c"]:
    """Premultiplied pixels divided by their coverage; 0 where (almost) nothing covers the pixel."""
    covered = alpha > 1e-3
    return torch.where(covered[..., None], pixels / torch.where(covered, alpha, 1.0)[..., None], 0.0)
