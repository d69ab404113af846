"""Which rows of a table of splats can be drawn at all.

Letters: n Gaussians.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.splats import Splats


def drawable(splats: Splats) -> Bool[Tensor, "n"]:
    """True where place and shape are usable numbers.

    Infinite opacity logits (an opacity of exactly 0 or 1) and log scales of minus infinity (a flat splat) are
    usable; any NaN, and any other infinity, is not: one such splat spoils every pixel it is drawn into.
    """
    placed = torch.isfinite(splats.means).all(-1) & torch.isfinite(splats.quats).all(-1)
    sized = (splats.log_scales < torch.inf).all(-1)
    return placed & sized & ~torch.isnan(splats.opacity_logits)
