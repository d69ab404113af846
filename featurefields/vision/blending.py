"""Features of pixels and the mean of their segment.

Letters: h w pixels · d feature dimension · s segments.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def segment_means(
    pixels: Float[Tensor, "h w d"], masks: Int[Tensor, "h w"], valid: Bool[Tensor, "h w"] | None = None
) -> Float[Tensor, "h w d"]:
    """At every pixel the mean over its segment's `valid` pixels (default: all); 0 where a segment has none."""
    ids, index = torch.unique(masks, return_inverse=True)
    flat, owner = pixels.flatten(0, 1), index.flatten()
    weight = flat.new_ones(len(flat)) if valid is None else valid.flatten().to(flat)
    sums = flat.new_zeros(len(ids), flat.shape[-1]).index_add(0, owner, flat * weight[:, None])
    counts = flat.new_zeros(len(ids)).index_add(0, owner, weight)
    return (sums / counts.clamp(min=1.0)[:, None])[owner].view_as(pixels)


def blend(
    pixels: Float[Tensor, "h w d"],
    masks: Int[Tensor, "h w"],
    own: float,
    *,
    valid: Bool[Tensor, "h w"] | None = None,
) -> Float[Tensor, "h w d"]:
    """`own` times the pixel's features plus 1 - `own` times the mean of its segment over `valid` pixels.

    1 leaves the features as they are. Invalid pixels lend nothing to the means.
    """
    if own == 1.0:
        return pixels
    return own * pixels + (1.0 - own) * segment_means(pixels, masks, valid)
