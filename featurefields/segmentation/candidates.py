"""What may be meant by prompts: nested selections that stay the same over a wide range of the tree.

Letters: r smallest regions · s steps of the growth.

As regions merge, the one with the click grows in steps: it fills an object, stays as it is while others merge, and then
joins its neighbour. Selections that last long, as maximally stable regions do in pictures (Matas et al. 2002), are
candidates: a part, the object, a group of objects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurefields.segmentation.hierarchy import Hierarchy

SAME = 1.15
"""Selections whose sizes differ by less than this factor are the same one."""
LATE = 3
"""Lasting from height a to b counts b^LATE - a^LATE: late merges are between things."""
USUAL, SPREAD = 0.02, 1.5
"""How large things are that are clicked on, as a share of all that the pictures show, and how far the logarithm of
their size spreads about that (a normal distribution): neither a speck nor most of the scene is usually meant."""
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


def growth(hierarchy: Hierarchy, leaves: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Heights (s), ascending, at which a selection grows, and the regions it has from there on (s r).

    At a height every leaf brings its largest ancestor that is not higher.
    """
    height, spans = hierarchy.tree.height, hierarchy.spans
    chains = [hierarchy.chain(leaf) for leaf in dict.fromkeys(leaves)]
    heights = np.unique(np.concatenate([height[chain] for chain in chains]))
    chosen = np.zeros((len(heights), hierarchy.tree.leaves), bool)
    for chain in chains:
        reached = np.searchsorted(height[chain], heights, side="right") - 1
        for row, last in zip(chosen, reached, strict=True):
            row[slice(*spans[chain[last]])] = True
    return heights, chosen


def candidates(hierarchy: Hierarchy, leaves: Sequence[int]) -> tuple[Candidate, ...]:
    """At least one and at most `MOST` selections with these leaves, the most lasting one first."""
    heights, chosen = growth(hierarchy, leaves)
    total = hierarchy.sizes_in_order.sum()
    share = chosen @ hierarchy.sizes_in_order / total
    picked: list[Lasting] = []
    for one in lasting_steps(heights, share, 1.0, until=float(hierarchy.tree.height.max())):
        apart = all(one.last < other.first or one.first > other.last for other in picked)
        if len(picked) < MOST and (not picked or (one.evidence > 0 and apart)):
            picked.append(one)
    evidence = sum(one.evidence for one in picked)
    return tuple(
        Candidate(
            chosen[one.step],
            float(heights[one.step]),
            float(share[one.step]),
            one.evidence / evidence if evidence > 0 else 1 / len(picked),
        )
        for one in picked
    )


class Lasting(NamedTuple):
    """A growing selection that stays about the same.

    Attributes:
        evidence: how much speaks for it: how long it lasts, late heights counting more (`LATE`), and how usual its size
            is (`USUAL`).
        first: the step from which on it is.
        last: the last step through which it stays the same.
        step: that of them that itself lasts longest.
    """

    evidence: float
    first: int
    last: int
    step: int


def usual(share: float) -> float:
    """0..1: how usual it is to click on something of this size."""
    return float(np.exp(-0.5 * (np.log(max(share, 1e-12) / USUAL) / SPREAD) ** 2))


def lasting_steps(
    heights: NDArray[np.float64],
    sizes: NDArray[np.float64],
    total: float,
    *,
    until: float | None = None,
    likely: Callable[[float], float] = usual,
) -> list[Lasting]:
    """How long a growing selection (heights and sizes: s) stays the same from every step on, most evidence first.

    The last step lasts to `until`. `likely` is how usual it is to mean something of a size, as a share of the total;
    by default, with a single click.
    """
    ends = np.append(heights[1:], heights[-1] if until is None else max(until, heights[-1]))
    found = []
    for i in range(len(sizes)):
        j = int(np.searchsorted(sizes, sizes[i] * SAME, side="right")) - 1
        step = i + int((ends - heights)[i : j + 1].argmax())
        evidence = float(ends[j] ** LATE - heights[i] ** LATE) * likely(float(sizes[j] / total))
        found.append(Lasting(evidence, i, j, step))
    return sorted(found, key=lambda one: (-one.evidence, one.first))
