"""Regions of a graph that grow together: a first coarse partition, then a tree of merges.

Letters: n nodes · e edges · r regions · d feature dimension.

Both steps are compiled loops over arrays; memory is linear in nodes and edges.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def superpoints(
    first: Ints, second: Ints, difference: Floats, size: Floats, *, scale: float, smallest: float
) -> Ints:
    """A partition of n nodes (sizes n) into regions that differ little inside; labels 0..r-1, of every node.

    Two regions join over an edge (first, second: e) that differs no more than the largest difference inside either
    plus `scale` over its size (Felzenszwalb and Huttenlocher 2004); then regions smaller than `smallest` join over
    their least different edge.
    """
    order = np.argsort(difference, kind="stable")
    roots = _joined(first[order], second[order], difference[order], size, scale, smallest)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class MergeCost:
    """How different two regions are that touch.

    (feature * sqrt(1 - cos of the mean features) + border * mean difference of the edges between them + colour *
    distance of the mean colours) * s / (s + small) * p^-touch, s being the size of the smaller one and p the part that
    the edges between them, by weight, are of all edges that lead out of one of them, where that is larger: what is
    enclosed by one neighbour belongs to it sooner than two that hardly touch belong together.
    """

    feature: float = 1.0
    border: float = 0.2
    colour: float = 0.5
    small: float = 0.0
    touch: float = 0.0


@dataclass(frozen=True)
class MergeTree:
    """A binary tree over regions 0..r-1 (leaves) and merged ones from r on; children come before parents.

    Attributes:
        parent: of every node; a root's is itself. There is a root for every connected part.
        height: how different the two sides were when they merged, never less than below; 0 at leaves.
        size: of every node.
    """

    parent: Ints
    height: Floats
    size: Floats

    @property
    def leaves(self) -> int:
        """How many regions there were at first: every merge took one root away."""
        return (len(self.parent) + int((self.parent == np.arange(len(self.parent))).sum())) // 2


def merge_tree(
    first: Ints,
    second: Ints,
    difference: Floats,
    weight: Floats,
    size: Floats,
    features: Floats,
    colours: Floats,
    cost: MergeCost,
) -> MergeTree:
    """Merge the two regions that differ least, again and again (average linkage over the borders).

    Edges (e) join different regions and count by `weight`; sizes (r), mean features (r d) and colours (r 3) describe
    the regions. Time e log e and the sum of the borders of all merged regions.
    """
    terms = np.array([cost.feature, cost.border, cost.colour, cost.small, cost.touch], dtype=np.float64)
    parent, height, sizes = _merged(
        first, second, difference, weight, size, features * size[:, None], colours * size[:, None], terms
    )
    return MergeTree(parent, height, sizes)


@_kernel
def _root(above: Ints, node: int) -> int:
    while above[node] != node:
        above[node] = above[above[node]]
        node = above[node]
    return node


@_kernel
def _joined(
    first: Ints, second: Ints, difference: Floats, size: Floats, scale: float, smallest: float
) -> Ints:
    n = len(size)
    above = np.arange(n)
    sizes = size.copy()
    within = scale / np.maximum(size, 1e-12)
    for e in range(len(first)):
        a, b = _root(above, first[e]), _root(above, second[e])
        if a != b and difference[e] <= within[a] and difference[e] <= within[b]:
            above[b] = a
            sizes[a] += sizes[b]
            within[a] = difference[e] + scale / sizes[a]
    for e in range(len(first)):
        a, b = _root(above, first[e]), _root(above, second[e])
        if a != b and (sizes[a] < smallest or sizes[b] < smallest):
            above[b] = a
            sizes[a] += sizes[b]
    for i in range(n):
        above[i] = _root(above, i)
    return above


@_kernel
def _difference(
    a: int,
    b: int,
    border: float,
    count: float,
    around: Floats,
    sizes: Floats,
    features: Floats,
    colours: Floats,
    terms: Floats,
) -> float:
    dot, aa, bb = 0.0, 0.0, 0.0
    for j in range(features.shape[1]):
        x, y = features[a, j], features[b, j]
        dot += x * y
        aa += x * x
        bb += y * y
    apart = max(0.0, 1.0 - dot / np.sqrt(aa * bb + 1e-30))
    hue = 0.0
    for j in range(colours.shape[1]):
        hue += (colours[a, j] / sizes[a] - colours[b, j] / sizes[b]) ** 2
    smaller = min(sizes[a], sizes[b])
    found = terms[0] * np.sqrt(apart) + terms[1] * border + terms[2] * np.sqrt(hue)
    part = min(1.0, count / min(around[a], around[b]))
    return found * smaller / (smaller + terms[3]) * part ** -terms[4]


@_kernel
def _merged(
    first: Ints,
    second: Ints,
    difference: Floats,
    weight: Floats,
    size: Floats,
    feature_sums: Floats,
    colour_sums: Floats,
    terms: Floats,
) -> tuple[Ints, Floats, Floats]:
    r, e = len(size), len(first)
    most = 2 * r
    parent, height, sizes = np.arange(most), np.zeros(most), np.ones(most)
    features, colours = np.zeros((most, feature_sums.shape[1])), np.zeros((most, colour_sums.shape[1]))
    sizes[:r], features[:r], colours[:r] = size, feature_sums, colour_sums
    # The borders of a region are a linked list of entries (a region on the other side, sums over the edges). Merged
    # regions hand their entries on; a side that has merged since it was entered is found by `above`.
    above = np.arange(most)
    head = np.full(most, -1)
    side, following = np.empty(2 * e, np.int64), np.empty(2 * e, np.int64)
    sums, counts = np.empty(2 * e), np.empty(2 * e)
    for k in range(e):
        for j, a, b in ((2 * k, first[k], second[k]), (2 * k + 1, second[k], first[k])):
            side[j], sums[j], counts[j], following[j] = b, difference[k] * weight[k], weight[k], head[a]
            head[a] = j
    place = np.full(most, -1)
    queue = [(0.0, 0, 0)]
    queue.pop()
    around = np.zeros(most)  # weights of the edges that lead out of a region
    for a in range(r):
        _gather(a, -1, a, head, side, following, sums, counts, above, place)
        around[a] = _outward(a, head, following, counts)
    for a in range(r):
        k = head[a]
        while k >= 0:
            if a < side[k]:
                found = _difference(
                    a, side[k], sums[k] / counts[k], counts[k], around, sizes, features, colours, terms
                )
                heapq.heappush(queue, (found, a, side[k]))
            k = following[k]
    new = r
    while len(queue) > 0:
        found, a, b = heapq.heappop(queue)
        if above[a] != a or above[b] != b:
            continue
        parent[a] = parent[b] = above[a] = above[b] = new
        height[new] = max(found, max(height[a], height[b]))
        sizes[new] = sizes[a] + sizes[b]
        features[new], colours[new] = features[a] + features[b], colours[a] + colours[b]
        _gather(a, b, new, head, side, following, sums, counts, above, place)
        around[new] = _outward(new, head, following, counts)
        k = head[new]
        while k >= 0:
            found = _difference(
                new, side[k], sums[k] / counts[k], counts[k], around, sizes, features, colours, terms
            )
            heapq.heappush(queue, (found, side[k], new))
            k = following[k]
        new += 1
    return parent[:new].copy(), height[:new].copy(), sizes[:new].copy()


@_kernel
def _outward(a: int, head: Ints, following: Ints, counts: Floats) -> float:
    found, k = 0.0, head[a]
    while k >= 0:
        found += counts[k]
        k = following[k]
    return found


@_kernel
def _gather(
    a: int,
    b: int,
    new: int,
    head: Ints,
    side: Ints,
    following: Ints,
    sums: Floats,
    counts: Floats,
    above: Ints,
    place: Ints,
) -> None:
    """The entries of a and b (-1: of a alone) become those of `new`, one for every region on the other side."""
    result = -1
    for source in (a, b):
        k = head[source] if source >= 0 else -1
        while k >= 0:
            after = following[k]
            other = _root(above, side[k])
            if other != new:
                if place[other] < 0:
                    place[other] = k
                    side[k], following[k] = other, result
                    result = k
                else:
                    sums[place[other]] += sums[k]
                    counts[place[other]] += counts[k]
            k = after
    head[new] = result
    while result >= 0:
        place[side[result]] = -1
        result = following[result]
