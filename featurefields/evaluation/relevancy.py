"""Text queries in a field of features that a text tower knows, judged as LERF and LangSplat do.

Letters: n values (pixels or Gaussians) · d stored and D extracted feature dimension · t phrases · h w pixels.

Relevancy (Kerr et al. 2023, LERF): with s the cosine of a feature with the query and s_c that with a phrase that means
nothing in particular, the least over these phrases of the softmax of (10 s, 10 s_c). Localisation and masks as in
LangSplat (Qin et al. 2024): the map is averaged over a square window; the query is localised when the largest mean
lies in one of the labelled boxes; for the mask, map and means are averaged, stretched to 0..1, everything under one
half is dropped and the rest is stretched to 0..1 again, taken above 0.4, and a majority vote smooths the border.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize, pad

from featurefields.maths.cosine import CosineSpace

CANONICAL = ("object", "things", "stuff", "texture")
"""Phrases that mean nothing in particular."""
SHARPNESS = 10.0
THRESHOLD = 0.4
WINDOW_PX, LABELLED_PX = 30, 986
"""Side of the averaging window, in pictures as wide as LERF's."""
VOTE_PX = 3
"""A pixel's vote is taken among those up to so many rows and columns away."""


@dataclass(frozen=True)
class TextQuery:
    """Cosines with a query and with what means nothing, of features that are stored as mean + stored @ basis.

    Attributes:
        constant: inner products of the mean with the texts' unit vectors; the query is the first of them.
        linear: the same of the basis' rows.
        space: lengths of stored features.
    """

    constant: Float[Tensor, "t"]
    linear: Float[Tensor, "d t"]
    space: CosineSpace

    @staticmethod
    def of(texts: Float[Tensor, "t D"], mean: Float[Tensor, "D"], basis: Float[Tensor, "d D"]) -> "TextQuery":
        """The first row of `texts` is the query, the others mean nothing in particular."""
        units = normalize(texts.double(), dim=-1).to(mean)
        return TextQuery(units @ mean, basis @ units.T, CosineSpace.of(mean, basis))

    def relevancy(self, stored: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """0..1; features of length 0 have one half."""
        length = self.space.embed(stored).norm(dim=-1, keepdim=True).clamp(min=1e-6)
        cosines = (self.constant.to(stored) + stored @ self.linear.to(stored)) / length
        return torch.sigmoid(SHARPNESS * (cosines[:, :1] - cosines[:, 1:])).amin(-1)


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
