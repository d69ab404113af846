"""What a set of weighted features is like: a few centres in the space of cosines.

Letters: m rows with weights · q centres · d feature dimension · e = d + 1.

Spherical k-means without chance: the first centre is the weighted mean, each further one starts at the row that is
heaviest and farthest from those before; centres that are alike become one.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from featurefields.maths.cosine import CosineSpace

MOST = 4
"""At most so many prototypes describe one prompt."""

ALIKE = 0.7
"""Centres with a larger cosine are one."""

SMALL = 0.05
"""Centres that stand for less than this share of the weight are left out."""

ROWS = 4096
"""The heaviest rows, at most so many, stand for all."""

ROUNDS = 12


def prototypes(
    features: Float[Tensor, "m d"], weights: Float[Tensor, "m"], space: CosineSpace, *, most: int = MOST
) -> Float[Tensor, "q d"]:
    """At most `most` weighted means of rows that are alike, the one with the largest weight first; at least one."""
    heavy = weights.argsort(descending=True, stable=True)[:ROWS]
    features, weights = features[heavy], weights[heavy]
    units = space.units(features)
    owner = merged(units, weights, clusters(units, weights, most))
    members = one_hot(owner, most).to(weights).T * weights
    sums = members.sum(1)
    order = sums.argsort(descending=True, stable=True)
    kept = order[sums[order] >= SMALL * sums.sum()]
    return (members[kept] / sums[kept, None].clamp(min=1e-20)) @ features


def clusters(units: Float[Tensor, "m e"], weights: Float[Tensor, "m"], most: int) -> Int[Tensor, "m"]:
    """The number, below `most`, of every row's cluster by cosine. Clusters may be empty."""
    first = normalize(weights @ units, dim=-1, eps=1e-12)
    centres = first[None]
    best = units @ first
    for _ in range(most - 1):
        farthest = units[int((weights * (1 - best)).argmax())]
        centres = torch.cat([centres, farthest[None]])
        best = torch.maximum(best, units @ farthest)
    owner = (units @ centres.T).argmax(-1)
    for _ in range(ROUNDS):
        sums = (one_hot(owner, most).to(weights).T * weights) @ units
        centres = torch.where(sums.norm(dim=-1, keepdim=True) > 0, normalize(sums, dim=-1), centres)
        moved = (units @ centres.T).argmax(-1)
        if torch.equal(moved, owner):
            break
        owner = moved
    return owner


def merged(
    units: Float[Tensor, "m e"], weights: Float[Tensor, "m"], owner: Int[Tensor, "m"]
) -> Int[Tensor, "m"]:
    """Clusters with the most similar centres become one, the lower number, until no two are alike."""
    owner = owner.clone()
    while True:
        names = owner.unique()
        centres = normalize((weights * (owner == names[:, None])) @ units, dim=-1)
        cosines = (centres @ centres.T).tril(-1).T
        best = int(cosines.argmax())
        if float(cosines.flatten()[best]) <= ALIKE:
            return owner
        owner[owner == names[best % len(names)]] = names[best // len(names)]
