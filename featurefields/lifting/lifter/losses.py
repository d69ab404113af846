"""What training minimises.

Letters: k planes · h w pixels of a sweep · H W of the picture.

Depth maps have 0 where nothing is known; beyond `far` there are only surroundings, which count as lying at the far
plane.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from featurefields.lifting.lifter.network import Lifter, Swept

RIGHT_WITHIN = 0.02
"""A depth counts as right within this relative error: what the confidence foretells."""
SURROUNDINGS_WEIGHT = 0.2
HOPELESS = 3.0
"""Planes by which an answer is off when only the first sweep can mend it: no gradient comes from farther ones."""


class Truth(NamedTuple):
    """The right places of a padded picture's pixels, and what is known about them."""

    place: Float[Tensor, "H W"]
    weight: Float[Tensor, "H W"]
    surface: Bool[Tensor, "H W"]


def truth_of(
    lifter: Lifter, depth: Float[Tensor, "h w"], near: float, far: float, size: tuple[int, int]
) -> Truth:
    """The truth of a depth map, padded to `size` = (H, W) with unknown pixels."""
    h, w = depth.shape
    depth = torch.nn.functional.pad(depth, (0, size[1] - w, 0, size[0] - h))
    known, surface = depth > 0, (depth > 0) & (depth <= far)
    place = lifter.place(torch.where(surface, depth, torch.full_like(depth, far)), near, far)
    place = place.clamp(0, lifter.config.planes - 1.0)
    return Truth(place, known * torch.where(surface, 1.0, SURROUNDINGS_WEIGHT), surface)


def reduced(truth: Truth, stride: int) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Places and weights at the centres of stride x stride blocks: the mean of the four pixels around, where those
    agree; the upper left one's where they do not."""
    at = stride // 2 - 1

    def corners(x: Tensor) -> Tensor:
        return torch.stack([x[at + i :: stride, at + j :: stride] for i in (0, 1) for j in (0, 1)])

    places, weights = corners(truth.place), corners(truth.weight)
    agree = (places.amax(0) - places.amin(0) < 0.7) & (weights.amin(0) > 0)
    return torch.where(agree, places.mean(0), places[0]), torch.where(agree, weights.mean(0), weights[0])


def plane_loss(
    logits: Float[Tensor, "k h w"], position: Float[Tensor, "h w"], weight: Float[Tensor, "h w"]
) -> Float[Tensor, ""]:
    """Cross entropy against the two planes around the right position, each in proportion; 0 outside the planes."""
    k = logits.shape[0]
    inside = weight * ((position >= 0) & (position <= k - 1))
    position = position.clamp(0, k - 1)
    lower = position.floor().clamp_max(k - 2).long()
    share = position - lower
    logs = torch.log_softmax(logits, 0)
    pair = logs.gather(0, torch.stack([lower, lower + 1]))
    loss = -((1 - share) * pair[0] + share * pair[1])
    return (loss * inside).sum() / inside.sum().clamp_min(1.0)


def losses(
    lifter: Lifter, swept: Swept, truth: Truth, near: float, far: float
) -> dict[str, Float[Tensor, ""]]:
    """The parts of the loss of one reference, by name, weighted."""
    place4, weight4 = reduced(truth, 4)
    place2, weight2 = reduced(truth, 2)
    position = (place2 - swept.base) / lifter.config.fine_step + (lifter.config.fine_planes - 1) / 2
    nu, right = lifter.nu(swept.place, near, far), lifter.nu(truth.place, near, far)
    total = truth.weight.sum().clamp_min(1.0)
    off = smooth_l1_loss(swept.place, truth.place, reduction="none", beta=0.3)
    parts = {
        "coarse": plane_loss(swept.coarse_logits, place4, weight4),
        "fine": 0.5 * plane_loss(swept.fine_logits, position, weight2),
        "place": (off.clamp_max(HOPELESS) * truth.weight).sum() / total,
    }  # fmt: skip
    error = (right / nu - 1).abs().detach()
    good = (error < RIGHT_WITHIN) & truth.surface
    known = truth.weight > 0
    parts["confidence"] = 0.3 * _binary(swept.said[0], good, known)
    parts["surface"] = 0.2 * _binary(swept.said[1], truth.surface, known)
    return parts


def _binary(logit: Tensor, target: Tensor, known: Tensor) -> Tensor:
    loss = binary_cross_entropy_with_logits(logit, target.to(logit.dtype), reduction="none")
    return (loss * known).sum() / known.sum().clamp_min(1.0)


def depth_errors(lifter: Lifter, swept: Swept, truth: Truth, near: float, far: float) -> Float[Tensor, "p"]:
    """Relative errors of the depth on all known surfaces."""
    nu, right = lifter.nu(swept.place, near, far), lifter.nu(truth.place, near, far)
    return (right / nu - 1).abs()[truth.surface]
