"""Later prompts correct what the first one selected.

Letters: r smallest regions.

Whoever clicks again has seen the selection, so a correction is local. A part that is missing brings the whole to which
it and the first prompt belong, unless that is far larger; else what it is a lasting part of; else as much around it as
is no larger than the selection. A part too much takes away in the same way, but for the last; where it is the larger
side of the merge with what was meant, and that is a lasting selection of its own, everything on its side goes. Of a
spot at a border one knows nothing more than what it shows: only the Gaussians that were clicked change, and a region
if it is no more than a spot itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurefields.segmentation.candidates import lasting_steps, usual
from featurefields.segmentation.hierarchy import Hierarchy

GROW = 3.0
"""Whole things that a correction brings or takes are at most this many times the selection, or what reaches from it to
the click."""
CLEAR, SOME = 0.7, 0.3
"""Shares of the longest lasting selection around a leaf: a part, and an object from which something larger is taken,
last at least as long as the first, a whole as the second."""
PART = 0.5
"""Parts that a correction brings or takes are at most this share of the selection."""
LARGE, ALL = 0.5, 0.9
"""From LARGE to ALL, as shares of what the tree holds, things are ever less likely meant."""
SPOT = 0.02
"""A region of at most this share of the selection changes as a whole."""


def never(chosen: NDArray[np.bool_]) -> bool:
    """Not at a border."""
    del chosen
    return False


def near(chosen: NDArray[np.bool_]) -> float:
    """Not far from the selection."""
    del chosen
    return 1.0


def any_size(share: float) -> float:
    """0..1: how likely something is meant of which several places were clicked: all but everything."""
    return float(np.clip(np.log(ALL / max(share, 1e-12)) / np.log(ALL / LARGE), 0, 1))


@dataclass(frozen=True)
class Pointed:
    """Regions that one prompt points at, and whether they are meant."""

    leaves: Sequence[int]
    positive: bool
    beside: Callable[[NDArray[np.bool_]], bool] = never
    """Whether it is at the border of regions that are chosen (r): beside what it asks for."""
    stretch: Callable[[NDArray[np.bool_]], float] = near
    """How many times larger than the regions that are chosen (r) something must be that reaches from them to here."""


def corrected(
    hierarchy: Hierarchy, chosen: NDArray[np.bool_], first: Sequence[int], later: Sequence[Pointed]
) -> NDArray[np.bool_]:
    """The selection (r, in the order of `Hierarchy.spans`) that `first` led to, after `later` prompts, one by one."""
    spans, chosen = hierarchy.spans, chosen.copy()
    meant, unwanted = set(first), set()
    for prompt in later:
        border = prompt.beside(chosen if prompt.positive else ~chosen)
        for leaf in prompt.leaves:
            right = bool(chosen[spans[leaf, 0]]) == prompt.positive
            if border and not right:  # only the Gaussians that it shows, unless the region is a spot
                if hierarchy.tree.size[leaf] <= SPOT * hierarchy.sizes_in_order[chosen].sum():
                    chosen[spans[leaf, 0]] = prompt.positive
                continue
            if prompt.positive:
                unwanted.discard(leaf)
                if not right:
                    _bring(hierarchy, chosen, leaf, first, unwanted, prompt.stretch(chosen))
                meant.add(leaf)
            elif leaf not in meant:  # else it is the region that is meant: only the Gaussians shown go
                if not right:
                    _take(hierarchy, chosen, leaf, meant)
                unwanted.add(leaf)
    return chosen


def _bring(
    hierarchy: Hierarchy,
    chosen: NDArray[np.bool_],
    leaf: int,
    first: Sequence[int],
    unwanted: set[int],
    stretch: float,
) -> None:
    """Add what a positive correction means."""
    now = stretch * hierarchy.sizes_in_order[chosen].sum()
    chain = [node for node in hierarchy.chain(leaf) if not _holds(hierarchy, node, unwanted)] or [leaf]
    whole = next((node for node in chain if _holds(hierarchy, node, first)), None)
    if whole is not None and hierarchy.tree.size[whole] <= GROW * now:
        path = next(path for path in map(hierarchy.chain, first) if whole in path)
        if _lasts(hierarchy, path, path.index(whole), any_size) >= SOME:
            chosen[slice(*hierarchy.spans[whole])] = True
            return
    part = _part(hierarchy, chain, now, any_size)
    if part is None:  # something is missing here: as much as is no larger than what there is
        part = next((node for node in reversed(chain) if hierarchy.tree.size[node] <= now), None)
    if part is not None:
        chosen[slice(*hierarchy.spans[part])] = True


def _take(hierarchy: Hierarchy, chosen: NDArray[np.bool_], leaf: int, meant: set[int]) -> None:
    """Take away what a negative correction means."""
    now = hierarchy.sizes_in_order[chosen].sum()
    chain = [node for node in hierarchy.chain(leaf) if not _holds(hierarchy, node, meant)] or [leaf]
    side, tree = chain[-1], hierarchy.tree
    merge = int(tree.parent[side])
    if merge != side and tree.size[side] > tree.size[merge] - tree.size[side]:
        for other in meant:
            path = hierarchy.chain(other)
            if merge in path and _lasts(hierarchy, path, path.index(merge) - 1, usual) >= CLEAR:
                chosen[slice(*hierarchy.spans[side])] = False
                return
    part = _part(hierarchy, chain, now, usual)
    if part is not None:
        chosen[slice(*hierarchy.spans[part])] = False


def _part(
    hierarchy: Hierarchy, chain: Sequence[int], now: float, likely: Callable[[float], float]
) -> int | None:
    """What a leaf, the first of `chain`, is a part of: the node that lasts longest among those that are no large
    share of the selection, whose size is `now`; or another thing, if that is what lasts longest of all.

    None when others of its ancestors last longer, unless the leaf itself is small.
    """
    tree, whole = hierarchy.tree, hierarchy.chain(chain[0])
    sizes = tree.size[whole]
    steps = lasting_steps(tree.height[whole], sizes, sizes.max(), likely=likely)
    longest = steps[0].evidence
    for place, one in enumerate(steps):
        most = GROW if place == 0 else PART
        if one.last < len(chain) and sizes[one.last] <= most * now and one.evidence >= CLEAR * longest > 0:
            return chain[one.last]
    return chain[0] if sizes[0] <= SPOT * now else None


def _lasts(hierarchy: Hierarchy, path: list[int], place: int, likely: Callable[[float], float]) -> float:
    """How long the selection that the first of `path` has grown to at a place on it lasts, beside the longest."""
    tree = hierarchy.tree
    steps = lasting_steps(tree.height[path], tree.size[path], tree.size[path].max(), likely=likely)
    here = max((one.evidence for one in steps if one.first <= place <= one.last), default=0.0)
    return here / steps[0].evidence if steps[0].evidence > 0 else 0.0


def _holds(hierarchy: Hierarchy, node: int, leaves: Sequence[int] | set[int]) -> bool:
    start, stop = hierarchy.spans[node]
    return any(start <= hierarchy.spans[leaf, 0] < stop for leaf in leaves)
