"""What a prompt is like in the features that are compared.

Letters: n Gaussians · m Gaussians that a prompt shows · q r prototypes · d feature dimension.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot

from featurefields.maths.cosine import CosineSpace
from featurefields.segmentation.evidence import Evidence
from featurefields.segmentation.prototypes import ALIKE, clusters, prototypes

BOX_CLUSTERS = 8
"""Kinds of things that are told apart in and around a box."""

OWN = 0.7
"""What shows in the box at least this many times out of all, in equal areas inside and around, is the object."""


@dataclass(frozen=True)
class Sample:
    """Prototypes of what a prompt means, of what it says is beside that, and where a selection grows from."""

    meant: Float[Tensor, "q d"]
    beside: Float[Tensor, "r d"]
    seeds: Bool[Tensor, "m"]


def sample_of(evidence: Evidence, features: Float[Tensor, "n d"], space: CosineSpace) -> Sample:
    """The prototypes of one prompt, among the features of all Gaussians."""
    shown = features[evidence.rows]
    exact = evidence.prototypes > 1 and bool(evidence.sure.any())  # what shines through an area is not meant
    share = evidence.share * evidence.sure if exact else evidence.share
    if evidence.ring is None:
        meant = prototypes(shown, share, space, most=evidence.prototypes)
        return Sample(meant, shown[:0], evidence.seeds)
    own = evidence.sure if exact else boxed(shown, evidence.share, evidence.ring, space)
    meant = prototypes(shown, evidence.share * own, space)
    around = evidence.ring + evidence.share * ~own
    beside = prototypes(shown, around, space) if bool((around > 0).any()) else shown[:0]
    unlike = space.cosine(beside, meant).amax(-1) < ALIKE
    seeds = evidence.seeds & own
    return Sample(meant, beside[unlike], seeds if bool(seeds.any()) else evidence.seeds)


def boxed(
    shown: Float[Tensor, "m d"], inside: Float[Tensor, "m"], ring: Float[Tensor, "m"], space: CosineSpace
) -> Bool[Tensor, "m"]:
    """Which Gaussians are the object of a box, given their shares of it and of the ring around it.

    What shows inside and around is sorted into kinds; the kinds that show mostly inside are the object. Everything is
    where none does: the box lies within something, or cuts it.
    """
    units = space.units(shown)
    weights = inside + ring
    kinds = one_hot(clusters(units, weights, BOX_CLUSTERS), BOX_CLUSTERS).to(weights)
    own = inside @ kinds >= OWN * (weights @ kinds).clamp(min=1e-12)
    chosen = (kinds @ own.to(kinds)) > 0
    if float(inside[chosen].sum()) < SMALLEST_OBJECT:
        return torch.ones_like(chosen)
    return chosen


SMALLEST_OBJECT = 0.05
"""An object that fills less of its box than this is not believed."""
