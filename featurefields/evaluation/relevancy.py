"""Relevancy of text queries (`featurefields.maths.relevancy`), judged as LERF and LangSplat do.

Letters: n values (pixels or Gaussians) · h w pixels.

Localisation and masks as in LangSplat (Qin et al. 2024): the map is averaged over a square window; the query is
localised when the largest mean lies in one of the labelled boxes; for the mask, map and means are averaged, stretched
to 0..1, everything under one half is dropped and the rest is stretched to 0..1 again, taken above 0.4, and a majority
vote smooths the border.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

THRESHOLD = 0.4
WINDOW_PX, LABELLED_PX = 30, 986
"""Side of the averaging window, in pictures as wide as LERF's."""
VOTE_PX = 3
"""A pixel's vote is taken among those up to so many rows and columns away."""


def window_of(width: int) -> int:
    """The averaging window for pictures of this width."""
    return max(1, round(WINDOW_PX * width / LABELLED_PX))


def averaged(relevancy: Float[Tensor, "h w"], window: int) -> Float[Tensor, "h w"]:
    """Means over squares of `window` pixels, mirrored at the border (without repeating it)."""
    before, after = window // 2, window - 1 - window // 2
    before, after = (min(side, min(relevancy.shape) - 1) for side in (before, after))
    padded = pad(relevancy[None, None], (before, after, before, after), mode="reflect")
    return avg_pool2d(padded, before + after + 1, stride=1)[0, 0]


def localised(
    relevancy: Float[Tensor, "h w"], boxes: Sequence[tuple[float, float, float, float]], *, window: int
) -> bool:
    """Whether a largest mean lies in one of the boxes (x0 y0 x1 y1, in pixels of this map, borders included)."""
    means = averaged(relevancy, window)
    y, x = (index.numpy() for index in (means == means.max()).cpu().nonzero(as_tuple=True))
    return any(
        bool(np.any((x + 0.5 >= x0) & (x + 0.5 <= x1) & (y + 0.5 >= y0) & (y + 0.5 <= y1)))
        for x0, y0, x1, y1 in boxes
    )


def stretched(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Smallest to largest becomes 0..1, then 0.5..1 becomes 0..1; what is equal everywhere becomes 0."""
    low, high = values.min(), values.max()
    share = (values - low) / (high - low).clamp(min=1e-9)
    return (2 * share - 1).clamp(min=0)


def relevancy_mask(relevancy: Float[Tensor, "h w"], *, window: int) -> Bool[Tensor, "h w"]:
    """The pixels that a query means."""
    chosen = stretched((averaged(relevancy, window) + relevancy) / 2) > THRESHOLD
    return majority(chosen, VOTE_PX)


def majority(mask: Bool[Tensor, "h w"], reach: int) -> Bool[Tensor, "h w"]:
    """True where more than half of the pixels up to `reach` rows and columns away, inside the picture, are true."""
    weight = torch.stack([mask.float(), torch.ones_like(mask, dtype=torch.float32)])[:, None]
    votes, all_votes = avg_pool2d(weight, 2 * reach + 1, stride=1, padding=reach)[:, 0]
    return votes > 0.5 * all_votes + 1e-6
