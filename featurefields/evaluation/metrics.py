"""Numbers that compare pictures, masks, rankings and directions.

Letters: h w pixels · m values · `...` any batch.
"""

from collections.abc import Sequence
from math import log10, nan

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from featurefields.maths.ssim import WINDOW, window_indices

LEAST_ERROR = 1e-12
"""Smaller mean squared errors count as this, which is 120 dB."""


def decibel(errors: Sequence[float]) -> float:
    """The mean of some mean squared errors (values in 0..1) in dB; NaN without any."""
    return -10 * log10(max(sum(errors) / len(errors), LEAST_ERROR)) if len(errors) else nan


def squared_error(a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w"]:
    """Mean over the channels of the squared difference of two pictures clipped to 0..1."""
    return (a.clamp(0, 1) - b.clamp(0, 1)).square().mean(-1)


def psnr(
    a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"], mask: Bool[Tensor, "h w"] | None = None
) -> float:
    """Peak signal-to-noise ratio in dB of pictures clipped to 0..1, over the masked pixels; NaN without pixels."""
    error = squared_error(a, b)
    error = error.flatten() if mask is None else error[mask]
    return decibel([float(error.mean())]) if error.numel() else nan


def ssim(
    a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"], mask: Bool[Tensor, "h w"] | None = None
) -> float:
    """Mean structural similarity of pictures clipped to 0..1, over whole windows centred on masked pixels.

    Uniform windows of 7 x 7 pixels, as in `featurefields.maths.ssim` (Wang et al. 2004). NaN without a window.
    """
    index = ssim_map(a, b)
    index = (index if mask is None else index[mask]).flatten()
    index = index[index.isfinite()]
    return float(index.mean()) if index.numel() else nan


def ssim_map(a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w"]:
    """Structural similarity of the window around every pixel, mean over the channels; NaN where it does not fit."""
    if min(a.shape[:2]) < WINDOW:
        return a.new_full(a.shape[:2], nan)
    index = window_indices(*(x.clamp(0, 1).double() for x in (a, b))).mean(0)
    return pad(index, (WINDOW // 2,) * 4, value=nan).float()


def iou(a: Bool[Tensor, "h w"], b: Bool[Tensor, "h w"]) -> float:
    """Intersection over union of two masks; NaN when both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else nan


def average_precision(score: Float[Tensor, "m"], truth: Bool[Tensor, "m"]) -> float:
    """Area under precision over recall when values are taken from the highest score to the lowest.

    Sum over thresholds of the gain in recall times the precision, without interpolation; equal scores are taken
    together, so a constant score has the share of true values. NaN without a true value.
    """
    positives = int(truth.sum())
    if positives == 0:
        return nan
    ordered, order = score.sort(descending=True)
    found = truth[order].cumsum(0).double()
    last = torch.cat([ordered[1:] != ordered[:-1], truth.new_ones(1)])
    found, taken = found[last], torch.arange(1, len(score) + 1, device=score.device)[last]
    gained = torch.diff(found, prepend=found.new_zeros(1))
    return float((gained * found / taken).sum()) / positives


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation of the pairs in which both are finite; equal values share their mean rank.

    NaN with fewer than 3 pairs, or where all values of one side are equal.
    """
    from scipy.stats import rankdata

    pairs = torch.tensor(list(zip(a, b, strict=True)), dtype=torch.float64).reshape(-1, 2)
    pairs = pairs[pairs.isfinite().all(-1)]
    if len(pairs) < 3:
        return nan
    x, y = (torch.from_numpy(rankdata(column.numpy())) - (len(pairs) + 1) / 2 for column in pairs.T)
    spread = float(x.square().sum() * y.square().sum()) ** 0.5
    return float((x * y).sum()) / spread if spread else nan


def angle_deg(a: Float[Tensor, "... 3"], b: Float[Tensor, "... 3"]) -> Float[Tensor, "..."]:
    """Angle between vectors of any length in degrees, 0..180, exact for small angles too; NaN at a zero vector."""
    a, b = torch.broadcast_tensors(a.double(), b.double())
    angle = torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1))
    known = (a.norm(dim=-1) > 0) & (b.norm(dim=-1) > 0)
    return torch.where(known, torch.rad2deg(angle), nan).float()
