"""Parts, objects and groups of a field: regions of Gaussians that merge into ever larger ones.

Letters: n Gaussians · r smallest regions · e pairs of neighbours · d feature dimension.

A threshold on the likeness to what was clicked compares every Gaussian with the click alone, and one weak spot between
an object and its neighbour lets the selection run over. Here regions are compared with the regions that they touch, by
means over whole regions and whole borders (average linkage), so single weak spots do not count; and it is done once
for a field, not once for a click. A click then is a leaf of the tree, and its ancestors are what may be meant.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.field import FeatureField
from featurefields.maths.affinity import angular_differences, averaged, surface_differences
from featurefields.maths.lab import lab_from_srgb
from featurefields.maths.merging import MergeCost, MergeTree, merge_tree, superpoints
from featurefields.maths.neighbours import neighbour_pairs
from featurefields.segmentation.scores import average_features

NEIGHBOURS = 10
REACH = 3.0
"""Neighbours farther apart than this many of their extents do not touch."""

FEATURE, COLOUR, CONCAVE, CONVEX = 7.7, 2.0, 5.2, 0.7
"""What makes two neighbours differ: the root of 1 - cos of their features, the distance of their matter colours (Lab,
lightness 0..1), and how far their surfaces bend towards or away from each other (sine of about the angle). Logistic
regression on neighbours of the same and of different objects in a synthetic scene, but for concave bends, which count
twice as much: they tell objects apart that stand on each other, convex ones hardly do (as in Stein et al. 2014)."""

ROUNDS, SHARP = 3, 2.0
"""Features are averaged so often over the nearest neighbours before they are compared, those counting by
exp(-SHARP * their difference in colour and bend). A feature is of a patch of a picture, many Gaussians wide: what it
varies by from one to the next is noise of lifting."""

SCALE = 5e-5
SMALLEST = 2.5e-5
SMALL = 1.5e-4
"""Sizes of the smallest regions (both steps of `superpoints`) and of those that merge more easily, as shares of all
that the pictures show."""

TOUCH = 0.1
"""How much sooner regions merge that share much of their borders, see `MergeCost`."""


@dataclass(frozen=True)
class Hierarchy:
    """A tree of regions.

    Attributes:
        leaf: the smallest region of every Gaussian.
        tree: how they merge.
    """

    leaf: Int[Tensor, "n"]
    tree: MergeTree

    def leaf_shares(self, rows: Int[Tensor, "m"], share: Float[Tensor, "m"]) -> NDArray[np.float64]:
        """What a prompt shows of every smallest region (r), from its shares of Gaussians."""
        count = self.tree.leaves
        leaves = self.leaf[rows].cpu()
        return torch.bincount(leaves, weights=share.double().cpu(), minlength=count).double().numpy()

    def chain(self, node: int) -> list[int]:
        """A node and its ancestors, up to a root."""
        found = [node]
        while self.tree.parent[found[-1]] != found[-1]:
            found.append(int(self.tree.parent[found[-1]]))
        return found

    @cached_property
    def spans(self) -> NDArray[np.int64]:
        """First and one past the last place (2r-1 2) of every node's leaves in an order that keeps all nodes whole."""
        parent, leaves = self.tree.parent, self.tree.leaves
        counts = np.zeros(len(parent), np.int64)
        counts[:leaves] = 1
        for node in range(len(parent)):
            if parent[node] != node:
                counts[parent[node]] += counts[node]
        starts, taken, roots = np.zeros_like(counts), np.zeros_like(counts), 0
        for node in range(len(parent) - 1, -1, -1):
            above = parent[node]
            if above == node:
                starts[node], roots = roots, roots + counts[node]
            else:
                starts[node] = starts[above] + taken[above]
                taken[above] += counts[node]
        return np.stack([starts, starts + counts], axis=-1)

    @cached_property
    def sizes_in_order(self) -> NDArray[np.float64]:
        """Sizes (r) of the leaves in the order of `spans`."""
        leaves = self.tree.leaves
        sizes = np.empty(leaves)
        sizes[self.spans[:leaves, 0]] = self.tree.size[:leaves]
        return sizes

    def members(self, chosen: NDArray[np.bool_]) -> Bool[Tensor, "n"]:
        """Gaussians of the leaves that are chosen (r, in the order of `spans`)."""
        by_leaf = torch.from_numpy(chosen[self.spans[: self.tree.leaves, 0]])
        return by_leaf.to(self.leaf.device)[self.leaf]


@torch.no_grad()
def hierarchy_of(
    field: FeatureField, seen: Float[Tensor, "n"], *, features: Float[Tensor, "n d"] | None = None
) -> Hierarchy:
    """Regions of the Gaussians by features (`average_features` when not given), colour and surface.

    `seen` is how much pictures show of every Gaussian: what is hardly seen says little about its region.

    Raises:
        PromptError: the field has no features and none are given.
    """
    features = average_features(field) if features is None else features
    size = seen.double().cpu().numpy()
    total = max(size.sum(), 1e-12)
    size = np.maximum(size, 1e-9 * total)
    first, second, _ = neighbour_pairs(
        field.splats.means, NEIGHBOURS, within=REACH * field.splats.scales.amax(-1)
    )
    colours = lab_from_srgb(matter_colours(field)).float().cpu().numpy()
    apart = _apart(field, colours, first, second)
    table = np.ascontiguousarray(features.float().cpu().numpy())
    smooth = averaged(table, first, second, np.exp(-SHARP * apart), size, rounds=ROUNDS)
    units = normalize(torch.from_numpy(smooth), dim=-1).numpy()
    difference = apart + FEATURE * angular_differences(first, second, units)
    leaf = superpoints(first, second, difference, size, scale=SCALE * total, smallest=SMALLEST * total)
    across = leaf[first] != leaf[second]
    count = int(leaf.max()) + 1 if len(leaf) else 0
    sizes = np.bincount(leaf, size, count).astype(np.float64)
    tree = merge_tree(
        leaf[first[across]],
        leaf[second[across]],
        difference[across],
        np.minimum(size[first], size[second])[across],
        sizes,
        _means(smooth, leaf, size, sizes),
        _means(colours, leaf, size, sizes),
        MergeCost(small=SMALL * total, touch=TOUCH),
    )
    return Hierarchy(torch.from_numpy(leaf).to(field.splats.means.device), tree)


def matter_colours(field: FeatureField) -> Float[Tensor, "n 3"]:
    """sRGB of every Gaussian without what depends on the view; grey where the field does not tell."""
    head, means = field.heads.get("rgb"), field.splats.means
    known = head is not None and set(head.reads) <= set(field.splats.columns)
    colours = head.matter(field.splats) if head is not None and known else None
    return torch.full_like(means, 0.5) if colours is None else colours.detach().clamp(0, 1)


def _apart(
    field: FeatureField,
    colours: NDArray[np.float32],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> NDArray[np.float64]:
    """How different the surfaces of neighbours are (e), whatever their features."""
    means = field.splats.means.float().cpu().numpy()
    normals = np.zeros_like(means)
    if "normals" in field.splats.columns:
        normals = normalize(field.splats.columns["normals"].float(), dim=-1).cpu().numpy()
    return surface_differences(first, second, colours, normals, means, (COLOUR, CONCAVE, CONVEX))


def _means(
    values: NDArray[np.float32],
    leaf: NDArray[np.int64],
    size: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Means of values (n d) over regions, by size (r d)."""
    sums = [np.bincount(leaf, column * size, len(sizes)) for column in values.T]
    return np.stack(sums, axis=-1) / sizes[:, None]
