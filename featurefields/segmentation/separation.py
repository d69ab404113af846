"""The threshold that tells an object from what a picture shows beside it.

Letters: n Gaussians.

A box or a mask around a whole object says of everything its picture shows whether it is the object. So thresholds can
be judged there, and the one that is right there is right for what the picture does not show.
"""

import torch
from jaxtyping import Float
from torch import Tensor

STEP = 0.01

NEARLY = 0.97
"""Thresholds that separate nearly as well as the best count as equal; the lowest of them is taken."""


def separating_threshold(
    score: Float[Tensor, "n"],
    meant: Float[Tensor, "n"],
    beside: Float[Tensor, "n"],
    *,
    low: float,
    high: float,
) -> float:
    """The lowest threshold in low..high whose selection has nearly the best overlap (IoU) with what is meant.

    `meant` and `beside` are how much the picture shows of every Gaussian of the object and of what is beside it, 0
    elsewhere.
    """
    levels = torch.linspace(low, high, round((high - low) / STEP) + 1, dtype=torch.float64)
    place = torch.bucketize(score.double().cpu(), levels, right=True)  # how many levels it reaches
    count = len(levels) + 1
    reached = [
        torch.bincount(place, weights=weight.double().cpu(), minlength=count).flip(0).cumsum(0).flip(0)[1:]
        for weight in (meant, beside)
    ]
    overlap = reached[0] / (meant.double().sum().cpu() + reached[1]).clamp(min=1e-12)
    return float(levels[int((overlap >= NEARLY * overlap.max()).to(torch.int8).argmax())])
