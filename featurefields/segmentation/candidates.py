"""What may be meant by prompts: nested selections that stay the same over a wide range of the tree.

Letters: r smallest regions · s steps of the growth.

As regions merge, the one with the click grows in steps: it fills an object, stays as it is while others merge, and then
joins its neighbour. Selections that last long, as maximally stable regions do in pictures (Matas et al. 2002), are
candidates: a part, the object, a group of objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurefields.segmentation.hierarchy import Hierarchy

SAME = 1.15
"""Selections whose sizes differ by less than this factor are the same one."""
BASE = 0.3
"""Lasting from height a to b counts (b + BASE)^2 - (a + BASE)^2: late merges are between things."""
TINY, USUAL, LARGE, ALL = 0.0005, 0.005, 0.5, 0.72
"""Shares of all that the pictures show: selections up to TINY and from ALL on are not what is meant, those between
USUAL and LARGE may well be."""
MOST = 4
"""Candidates that are told at most."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One selection that may be meant.

    Attributes:
        chosen: which smallest regions, in the order of `Hierarchy.spans` (r).
        height: up to which difference regions were merged.
        size: of the selection, as a share of all that the pictures show.
        confidence: its share of the evidence for all candidates, 0..1.
    """

    chosen: NDArray[np.bool_]
    height: float
    size: float
    confidence: float


def growth(
    hierarchy: Hierarchy, positive: Sequence[int], negative: Sequence[int] = ()
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Heights (s), ascending, at which the selection grows, and the regions it has from there on (s r).

    At a height every positive leaf brings its largest ancestor that is not higher. A negative leaf takes away: where
    its side of the merge with a positive one is the smaller side, that side is a hole in the selection; where it is
    the larger one, the positive leaf never grows past that merge.
    """
    height, spans = hierarchy.tree.height, hierarchy.spans
    bounds = [_bounded(hierarchy, leaf, negative) for leaf in dict.fromkeys(positive)]
    heights = np.unique(np.concatenate([height[chain] for chain, _ in bounds]))
    chosen = np.zeros((len(heights), hierarchy.tree.leaves), bool)
    for chain, holes in bounds:
        reached = np.searchsorted(height[chain], heights, side="right") - 1
        for row, level, last in zip(chosen, heights, reached, strict=True):
            brought = np.zeros_like(row)
            brought[slice(*spans[chain[last]])] = True
            for merge, side in holes:
                if height[merge] <= level:
                    brought[slice(*spans[side])] = False
            row |= brought
    return heights, chosen


def _bounded(
    hierarchy: Hierarchy, leaf: int, negative: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The ancestors of a positive leaf that negative ones allow, and holes as (merge, side that is taken away)."""
    chain, holes = hierarchy.chain(leaf), []
    for other in negative:
        place = {node: i for i, node in enumerate(chain)}
        path = hierarchy.chain(other)
        side = [node for node in path if node not in place]
        if not side or len(side) == len(path):  # the same leaf; or they never merge
            continue
        merge = path[len(side)]
        ours = chain[place[merge] - 1]
        if hierarchy.tree.size[side[-1]] <= hierarchy.tree.size[ours]:
            holes.append((merge, side[-1]))
        else:
            chain = chain[: place[merge]]
    return chain, holes


def candidates(
    hierarchy: Hierarchy, positive: Sequence[int], negative: Sequence[int] = ()
) -> tuple[Candidate, ...]:
    """At least one and at most `MOST` selections with these leaves and without those, the most lasting one first."""
    heights, chosen = growth(hierarchy, positive, negative)
    total = hierarchy.sizes_in_order.sum()
    share = chosen @ hierarchy.sizes_in_order / total
    until = np.append(heights[1:], max(heights[-1], hierarchy.tree.height.max()))
    found = []
    for i in range(len(share)):
        j = _last(share, i)
        lasting = (until[j] + BASE) ** 2 - (heights[i] + BASE) ** 2
        found.append((lasting * _likely(float(share[j])), i, j))
    picked: list[tuple[float, int, int]] = []
    for value, i, j in sorted(found, key=lambda one: (-one[0], one[1])):
        if len(picked) < MOST and (not picked or (value > 0 and all(j < a or i > b for _, a, b in picked))):
            picked.append((value, i, j))
    evidence = sum(value for value, _, _ in picked)
    return tuple(
        Candidate(
            chosen[j],
            float(heights[j]),
            float(share[j]),
            value / evidence if evidence > 0 else 1 / len(picked),
        )
        for value, _, j in picked
    )


def _last(share: NDArray[np.float64], first: int) -> int:
    """The last step from `first` on through which the size stays the same."""
    last = first
    while last + 1 < len(share) and share[first] / SAME <= share[last + 1] <= share[first] * SAME:
        last += 1
    return last


def _likely(share: float) -> float:
    """0..1: how usual it is to mean something of this size."""
    small = np.log(max(share, 1e-12) / TINY) / np.log(USUAL / TINY)
    large = np.log(ALL / max(share, 1e-12)) / np.log(ALL / LARGE)
    return float(np.clip(small, 0, 1) * np.clip(large, 0, 1))
