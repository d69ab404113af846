"""Overlapping views as one: every surface once, from the view that sees it most finely.

Letters: v views · h w pixels · n valid pixels of one view.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.lifting.consistency import Fused
from featurefields.lifting.surfaces_seen import Landing, SeenSurface

STEPS = 2
"""Pixel sizes are told apart in so many steps to each factor of two; within one step the earlier view is kept."""
TRUSTED = 0.5
"""A pixel is replaced by another view's only when that one's confidence is at least this share of its own."""


@torch.no_grad()
def kept_pixels(index: int, views: Sequence[Fused], others: Sequence[int]) -> Bool[Tensor, "h w"]:
    """The valid pixels of view `index` that no other view shows as well or better.

    A pixel gives way to another view's valid pixel of the same surface that ranks before it: one of smaller size, or
    of about the same size in an earlier view. Ranks are a strict order, so that what gives way is always shown by
    something that stays.
    """
    own = views[index]
    rows = torch.nonzero(own.valid, as_tuple=True)
    points = own.seen.camera.unproject(own.seen.depth)[rows]
    size, confidence = _size(own.seen)[rows], own.seen.confidence[rows]
    stays = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for place in others:
        other = views[place]
        land = Landing.of(points, other.seen.camera)
        same = land.inside & land.pick(other.valid)
        same &= (land.pick(other.seen.depth) - land.depth).abs() <= land.pick(other.seen.tolerance)
        same &= land.pick(other.seen.confidence) >= TRUSTED * confidence
        theirs = land.pick(_size(other.seen))
        before = (theirs < size) | ((theirs == size) & (place < index))
        stays &= ~(same & before)
    kept = torch.zeros_like(own.valid)
    kept[rows] = stays
    return kept


def _size(seen: SeenSurface) -> Float[Tensor, "h w"]:
    """Logarithm of the pixels' size on the surface, in whole steps."""
    area = seen.footprint.clamp(min=1e-12)
    return (torch.log2(area) * STEPS).round()
