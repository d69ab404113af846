"""What a Gaussian is seen to be, against the directions that it is seen from.

Letters: n Gaussians · d feature dimension · e = d + 1 · k directional functions · m = 1 + k.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.heads.directional import DirectionalHead
from featurefields.splats import Splats

SEEN = 1e-6
"""A Gaussian whose weights over all pixels of all views sum to no more counts as never seen."""
SPREAD_MIN = 1e-4
"""Smaller variances of the directional functions are rounding: the views look from one direction."""


def basis_of(degree: int, splats: Splats, camera: Camera) -> Float[Tensor, "n k"]:
    """The directional functions of a `DirectionalHead` of this degree; none of them (k = 0) for degree 0."""
    if degree == 0:
        return splats.means.new_zeros(len(splats), 0)
    return DirectionalHead(degree=degree).basis(splats, camera)


@dataclass(frozen=True)
class Centred:
    """Sums over all views, with the directional functions centred on their weighted mean.

    Attributes:
        weight: sum of the weights (n).
        seen: whether that is more than nothing (n).
        centre: weighted mean of the directional functions (n k); 0 where never seen.
        covariance: theirs (n k k).
        spread: mean variance of the directional functions over all Gaussians.
        crossed: weighted sum of what was seen, and of the same times each centred function (n m d).
    """

    weight: Float[Tensor, "n"]
    seen: Bool[Tensor, "n"]
    centre: Float[Tensor, "n k"]
    covariance: Float[Tensor, "n k k"]
    spread: float
    crossed: Float[Tensor, "n m d"]

    @property
    def safe_weight(self) -> Float[Tensor, "n"]:
        """The weight, kept from zero."""
        return self.weight.clamp(min=SEEN)

    @property
    def mean(self) -> Float[Tensor, "n d"]:
        """Weighted mean of what was seen; 0 where nothing was."""
        return torch.where(self.seen[:, None], self.crossed[:, 0] / self.safe_weight[:, None], 0.0)


class Moments:
    """Sums that grow with every view."""

    def __init__(self, like: Float[Tensor, "n e"], k: int) -> None:
        n, d = like.shape[0], like.shape[1] - 1
        self.weight, self.first = like.new_zeros(n), like.new_zeros(n, k)
        self.second, self.crossed = like.new_zeros(n, k, k), like.new_zeros(n, 1 + k, d)

    def add(self, gathered: Float[Tensor, "n e"], basis: Float[Tensor, "n k"]) -> None:
        """One more view: what it gathered on every Gaussian (the weight last) and its directional functions."""
        weight, seen = gathered[:, -1], gathered[:, :-1]
        self.weight += weight
        self.first += weight[:, None] * basis
        self.second += weight[:, None, None] * basis[:, :, None] * basis[:, None, :]
        with_constant = torch.cat([weight.new_ones(len(weight), 1), basis], dim=1)
        self.crossed.addcmul_(with_constant[:, :, None], seen[:, None, :])

    def centred(self) -> Centred:
        """The sums about the mean directions; takes over this object's memory."""
        seen, safe = self.weight > SEEN, self.weight.clamp(min=SEEN)[:, None]
        centre = torch.where(seen[:, None], self.first / safe, 0.0)
        covariance = self.second / safe[..., None] - centre[:, :, None] * centre[:, None, :]
        covariance = torch.where(seen[:, None, None], covariance, 0.0)
        self.crossed[:, 1:].addcmul_(centre[:, :, None], self.crossed[:, :1], value=-1)
        variances = covariance[seen].diagonal(dim1=1, dim2=2)
        spread = float(variances.mean()) if variances.numel() else 0.0
        return Centred(self.weight, seen, centre, covariance, max(spread, SPREAD_MIN), self.crossed)
