"""Every object at once: Gaussians in groups, without a prompt.

Letters: n Gaussians · e pairs of neighbours · r regions · d feature dimension.

Regions start as single Gaussians and grow together over the graph of nearest neighbours. Two regions differ by what
their mean features say, the less the better their surfaces go on into each other where they touch: a pattern on a
table top changes the features but not the direction of the surface, and what stands on the table changes both. Small
regions differ less, so that everything small ends up with what is most like it. In every round all pairs of regions
merge that are each other's most alike neighbour; no pair of regions that are left is alike. Memory is linear in n.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.camera import Camera
from featurefields.field import FeatureField
from featurefields.maths.cosine import CosineSpace
from featurefields.maths.neighbours import nearest
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.segmentation.scores import stored_features

NEIGHBOURS = 10
REACH = 3.0
"""Neighbours farther apart than this many of their extents do not touch."""
BENT = 1.2
"""Where surfaces meet at an angle t, the difference of features counts this less the square of the mean |cos t|."""
BORDERS_AT_ONCE = 1 << 18
"""Features are compared for so many borders at a time, which bounds memory."""
SEEN = 1e-3
"""Gaussians that all pictures together show less of, in pixels, keep their object."""


@dataclass(frozen=True, kw_only=True)
class EverythingConfig:
    """When two groups are one object."""

    difference: float = 0.24
    """Groups that differ less than this are one object: lower finds more and smaller objects."""
    smallest: int | None = None
    """Objects have at least this many Gaussians; 1 of 500, and at least 50, when not given."""

    def least(self, count: int) -> int:
        """The smallest object of a field with `count` Gaussians."""
        return max(50, count // 500) if self.smallest is None else max(self.smallest, 1)


@dataclass
class _Regions:
    """Regions and their borders while they grow; numpy because every round is a few passes over small arrays.

    Attributes:
        sums: summed unit features (r d).
        counts: numbers of Gaussians (r).
        first, second: regions on either side of every border, first < second (e).
        contacts: neighbouring pairs of Gaussians of every border (e).
        parallel: summed |cos| between their surfaces (e).
    """

    sums: NDArray[np.float32]
    counts: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    contacts: NDArray[np.float64]
    parallel: NDArray[np.float64]


@torch.no_grad()
def everything(field: FeatureField, *, config: EverythingConfig = EverythingConfig()) -> Int[Tensor, "n"]:
    """The object of every Gaussian, 1 and on from the largest; 0 for those of groups too small to be one.

    Raises:
        PromptError: the field has no features.
    """
    features = stored_features(field)
    units = CosineSpace.plain(features.shape[1]).units(features).detach().cpu().float().numpy()
    least = config.least(len(field))
    regions = _single(field, units)
    region_of = np.arange(len(field))
    while len(regions.first):
        pairs = _most_alike(regions, config.difference, least)
        if not len(pairs):
            break
        renamed = _merge(regions, pairs)
        region_of = renamed[region_of]
    return by_size(torch.from_numpy(region_of) + 1, least).to(features.device)


@torch.no_grad()
def by_votes(
    field: FeatureField,
    ids: Int[Tensor, "n"],
    cameras: Iterable[Camera],
    *,
    rasterizer: Rasterizer,
    on_view: Callable[[], object] = lambda: None,
) -> Int[Tensor, "n"]:
    """The object of every Gaussian by what it shows: that of most of the pixels it contributes to, in all pictures.

    A pixel is the object's that shows most in it. Gaussians that no picture shows keep their object. `on_view` is
    called after each picture.
    """
    count = int(ids.max()) + 1 if len(ids) else 1
    votes = torch.zeros(len(field), count, device=ids.device)
    channels = torch.nn.functional.one_hot(ids, count).to(field.splats.means)
    for camera in cameras:
        view = rasterizer.freeze(field.splats, camera.to(field.splats.means), RasterConfig())
        winner = view.draw(channels).argmax(-1)
        votes += view.gather(torch.nn.functional.one_hot(winner, count).to(channels))
        on_view()
    return torch.where(votes.sum(-1) > SEEN, votes.argmax(-1), ids)


def by_size(ids: Int[Tensor, "n"], least: int) -> Int[Tensor, "n"]:
    """Objects numbered from the largest, 1 and on; those of fewer than `least` Gaussians, and 0, become 0."""
    counts = torch.bincount(ids)
    counts[0] = 0
    order = counts.argsort(descending=True, stable=True)
    kept = order[counts[order] >= least]
    numbers = torch.zeros_like(counts)
    numbers[kept] = torch.arange(1, len(kept) + 1, device=ids.device)
    return numbers[ids]


def _single(field: FeatureField, units: NDArray[np.float32]) -> _Regions:
    """Every Gaussian a region; borders between neighbours that touch."""
    splats, n = field.splats, len(field)
    distance, index = nearest(splats.means, NEIGHBOURS)
    extent = splats.scales.amax(-1)
    touching = (distance <= REACH * torch.maximum(extent[:, None], extent[index])) & (n > 1)
    own = torch.arange(n, device=index.device)[:, None].expand_as(index)[touching].cpu().numpy()
    other = index[touching].cpu().numpy()
    key = np.unique(np.minimum(own, other) * n + np.maximum(own, other))
    first, second = key // max(n, 1), key % max(n, 1)
    normals = normalize(_normals(field), dim=-1).detach().cpu().double().numpy()
    parallel = np.abs((normals[first] * normals[second]).sum(-1))
    return _Regions(units, np.ones(n, np.int64), first, second, np.ones(len(first)), parallel)


def _normals(field: FeatureField) -> Float[Tensor, "n 3"]:
    """Directions of the surfaces; of the shortest axes where the field knows no better."""
    stored = field.splats.columns.get("normals")
    return field.splats.shortest_axes if stored is None else stored


def _most_alike(regions: _Regions, limit: float, least: int) -> NDArray[np.int64]:
    """Borders to give up: of regions that are each other's most alike neighbour and differ less than `limit`.

    No region is in two of them.
    """
    small = np.minimum(regions.counts[regions.first], regions.counts[regions.second])
    bend = BENT - (regions.parallel / regions.contacts) ** 2
    difference = _apart(regions) * bend * np.minimum(1.0, small / least)
    border = np.arange(len(difference))
    lowest = np.full(len(regions.counts), np.inf)
    for side in (regions.first, regions.second):
        np.minimum.at(lowest, side, difference)
    chosen = np.full(len(regions.counts), len(border))  # the first of equally alike neighbours
    for side in (regions.first, regions.second):
        among = difference == lowest[side]
        np.minimum.at(chosen, side[among], border[among])
    mutual = (chosen[regions.first] == border) & (chosen[regions.second] == border)
    return np.flatnonzero(mutual & (difference < limit))


def _apart(regions: _Regions) -> NDArray[np.float64]:
    """1 - cosine of the mean features on either side of every border (e)."""
    means = regions.sums / np.maximum(np.linalg.norm(regions.sums, axis=-1, keepdims=True), 1e-12)
    found = np.empty(len(regions.first))
    for start in range(0, len(found), BORDERS_AT_ONCE):
        part = slice(start, start + BORDERS_AT_ONCE)
        one, other = means[regions.first[part]], means[regions.second[part]]
        found[part] = 1.0 - np.einsum("ed,ed->e", one, other, dtype=np.float64)
    return found


def _merge(regions: _Regions, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give up these borders; the new number of every old region."""
    into, gone = regions.first[pairs], regions.second[pairs]
    regions.sums[into] += regions.sums[gone]
    regions.counts[into] += regions.counts[gone]
    stays = np.ones(len(regions.counts), dtype=bool)
    stays[gone] = False
    renamed = np.cumsum(stays) - 1
    renamed[gone] = renamed[into]
    regions.sums, regions.counts = regions.sums[stays], regions.counts[stays]
    one, other = renamed[regions.first], renamed[regions.second]
    count = len(regions.counts)
    key = np.minimum(one, other) * count + np.maximum(one, other)
    border = one != other
    unique, group = np.unique(key[border], return_inverse=True)
    group = group.reshape(-1)
    regions.contacts = _summed(group, regions.contacts[border], len(unique))
    regions.parallel = _summed(group, regions.parallel[border], len(unique))
    regions.first, regions.second = unique // count, unique % count
    return renamed


def _summed(group: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.bincount(group, values, minlength=count).astype(np.float64)
