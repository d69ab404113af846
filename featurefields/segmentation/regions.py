"""Prompts on the tree of regions.

Letters: n Gaussians · r smallest regions.

Clicks and strokes are leaves; what they may mean are the selections that last as the tree grows. A box or a whole mask
says of everything that its picture shows whether it is meant; what the picture does not show follows the branch it is
on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from featurefields.camera import Camera
from featurefields.segmentation.candidates import Candidate, candidates
from featurefields.segmentation.corrections import Pointed, corrected, near, never
from featurefields.segmentation.evidence import MOSTLY, Evidence
from featurefields.segmentation.hierarchy import Hierarchy
from featurefields.segmentation.samples import Sample
from featurefields.segmentation.viewed import ViewedField

MAIN = 0.05
"""Regions that show less than this part of the most shown one's share in a prompt are not what it points at."""

BORDER = 1.5
"""A click this many extents from what it asks for is a correction of a border, not of a part."""

BORDER_PX, BORDER_SHARE = 3.0, 0.015
"""So is one this near, in pixels or as a share of the picture's shorter side, to a pixel of it."""

NEVER = 1e9
"""Weight of a click against a picture's."""


def region_candidates(
    hierarchy: Hierarchy, evidence: Sequence[Evidence], samples: Mapping[int, Sample], viewed: ViewedField
) -> tuple[Candidate, ...]:
    """What the prompts may mean, the likeliest first; `samples` by `id` of the evidence."""
    around = [one for one in evidence if one.positive and one.outside is not None]
    pointed = [
        Pointed(
            pointed_at(hierarchy, one, viewed),
            one.positive,
            beside_of(hierarchy, one, viewed),
            stretch_of(hierarchy, one, viewed),
        )
        for one in evidence
        if not any(one is other for other in around)
    ]
    if not around:
        place = next(i for i, one in enumerate(pointed) if one.positive)
        first, later = pointed[place], pointed[:place] + pointed[place + 1 :]
        return tuple(
            replace(one, chosen=corrected(hierarchy, one.chosen, first.leaves, later))
            for one in candidates(hierarchy, first.leaves)
        )
    inside, outside = (np.zeros(hierarchy.tree.leaves) for _ in range(2))
    for one in around:
        own, beside = _judged(hierarchy, one, samples[id(one)].seeds, viewed)
        inside += own
        outside += beside
    for prompt in pointed:
        (inside if prompt.positive else outside)[list(prompt.leaves)] += NEVER
    chosen = assigned(hierarchy, inside, outside)
    size = float(hierarchy.sizes_in_order[chosen].sum() / hierarchy.sizes_in_order.sum())
    return (Candidate(chosen, float("nan"), size, 1.0),)


def assigned(
    hierarchy: Hierarchy, inside: NDArray[np.float64], outside: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which leaves (r, in the order of `Hierarchy.spans`) are meant, by evidence for and against every leaf (r).

    A leaf without evidence goes with its nearest ancestor that has any; a root without any is not meant.
    """
    parent, leaves = hierarchy.tree.parent, hierarchy.tree.leaves
    balance = np.zeros(len(parent))
    known = np.zeros(len(parent), bool)
    balance[:leaves], known[:leaves] = inside - outside, (inside > 0) | (outside > 0)
    for node in range(len(parent)):
        if parent[node] != node:
            balance[parent[node]] += balance[node]
            known[parent[node]] |= known[node]
    meant = balance > 0
    for node in range(len(parent) - 1, -1, -1):
        if not known[node] and parent[node] != node:
            meant[node] = meant[parent[node]]
    chosen = np.zeros(leaves, bool)
    chosen[hierarchy.spans[:leaves, 0]] = meant[:leaves]
    return chosen


def pointed_at(hierarchy: Hierarchy, one: Evidence, viewed: ViewedField) -> list[int]:
    """The regions that a click, a stroke or a part of a mask points at: of an area, those that lie mostly in it."""
    if one.prototypes == 1 or one.camera is None:
        return [int(hierarchy.leaf_shares(one.rows, one.share).argmax())]
    shares = hierarchy.leaf_shares(one.rows[one.seeds], one.share[one.seeds])
    shown = viewed.visibility(one.camera).total
    own = one.rows[one.seeds]
    inside = hierarchy.leaf_shares(own, shown[own])
    seen = shown.nonzero().squeeze(-1)
    whole = hierarchy.leaf_shares(seen, shown[seen])
    found = np.flatnonzero((shares >= MAIN * shares.max()) & (inside > MOSTLY * whole))
    return [int(leaf) for leaf in found] or [int(shares.argmax())]


def beside_of(
    hierarchy: Hierarchy, one: Evidence, viewed: ViewedField
) -> Callable[[NDArray[np.bool_]], bool]:
    """Whether a click shows Gaussians that lie within `BORDER` of their extents from some that are chosen, or lies
    within `BORDER_PX` of a pixel that shows chosen ones.
    """
    if one.camera is None or one.prototypes > 1:
        return never
    splats, camera = viewed.field.splats, one.camera
    main = one.rows[one.seeds]
    weight = one.share[one.seeds] / one.share[one.seeds].sum()
    place = weight @ splats.means[main]
    reach = BORDER * float(weight @ splats.scales[main].amax(-1))
    around = _apart_px(place, camera) <= max(BORDER_PX, BORDER_SHARE * min(camera.size))

    def beside(chosen: NDArray[np.bool_]) -> bool:
        others = hierarchy.members(chosen) & (viewed.seen > 0)
        drawn = viewed.view(camera).draw(others.to(splats.means)[:, None])[..., 0]
        if bool((drawn[around] > MOSTLY).any()):
            return True
        others[main] = False
        close = (splats.means - place).norm(dim=-1) <= reach
        return bool((others & close).any())

    return beside


def stretch_of(
    hierarchy: Hierarchy, one: Evidence, viewed: ViewedField
) -> Callable[[NDArray[np.bool_]], float]:
    """How much larger than what is chosen something is, in the click's picture, that reaches from it to the click."""
    if one.camera is None or one.prototypes > 1:
        return near
    camera = one.camera
    place = one.share[one.seeds] @ viewed.field.splats.means[one.rows[one.seeds]] / one.share[one.seeds].sum()
    apart_px = _apart_px(place, camera)

    def stretch(chosen: NDArray[np.bool_]) -> float:
        members = hierarchy.members(chosen).to(place)
        shown = viewed.view(camera).draw(members[:, None])[..., 0] > MOSTLY
        area = int(shown.sum())
        return max(1.0, float(apart_px[shown].min()) ** 2 / area) if area else 1.0

    return stretch


def _apart_px(place: Float[Tensor, "3"], camera: Camera) -> Float[Tensor, "h w"]:
    """How far every pixel is from where a place shows."""
    at, _ = camera.to(place).project(place[None])
    return (camera.pixel_centres().to(at) - at[0]).norm(dim=-1)


def _judged(
    hierarchy: Hierarchy, one: Evidence, own: Bool[Tensor, "m"], viewed: ViewedField
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much a box's or mask's picture shows of every leaf as the object, and as something else."""
    assert one.camera is not None and one.outside is not None
    shown = viewed.visibility(one.camera).total
    object_rows, other_rows = one.rows[own], one.rows[one.seeds & ~own]
    beside = one.outside.nonzero().squeeze(-1)
    inside = hierarchy.leaf_shares(object_rows, shown[object_rows])
    outside = hierarchy.leaf_shares(beside, shown[beside])
    return inside, outside + hierarchy.leaf_shares(other_rows, shown[other_rows])
