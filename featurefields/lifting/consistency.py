"""What other views say about a view's depths: confirmed, contradicted, improved.

Letters: v views · h w pixels · n known pixels of one view.

A surface that another view sees at the same place supports it; one that another view looks through to something
behind contradicts it, whoever of the two is wrong; one that another view sees something in front of is hidden there,
which says nothing. (The free-space argument of depth-map fusion, Merrell et al. 2007.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from featurefields.camera import Camera
from featurefields.lifting.surfaces_seen import Landing, SeenSurface

THROUGH = 2.0
"""A view looks through a point when what it sees there is this many tolerances behind."""
GRAZING = 0.2
"""Cosine below which a surface's normal tells no shift along a ray."""
STEEPER = 2.0
"""A step along one ray is at most so many times that along another."""
OTHERS = 0.5
"""Weight of another view's depth and colour beside a pixel's own, for equal confidence and pixel size."""


@dataclass(frozen=True)
class Fused:
    """One view's surfaces after the others were asked.

    Attributes:
        seen: the view, with depth, colours and confidence improved by those who confirm them.
        valid: known, and not contradicted by more than confirm it.
    """

    seen: SeenSurface
    valid: Bool[Tensor, "h w"]


@torch.no_grad()
def fused(own: SeenSurface, others: Sequence[SeenSurface]) -> Fused:
    """`own` as the other views make it."""
    known = own.depth > 0
    rows = torch.nonzero(known, as_tuple=True)
    points = own.camera.unproject(own.depth)[rows]
    confidence, normals, width = own.confidence[rows], own.normals[rows], own.footprint[rows]
    rays = _rays(points, own.camera)
    weight, shift = confidence.clone().clamp(min=1e-3), torch.zeros_like(confidence)
    painted, colours = weight.clone(), weight[:, None] * own.colours[rows]
    doubt, against = 1 - confidence, torch.zeros_like(confidence)
    support = confidence.clone()
    for other in others:
        land = Landing.of(points, other.camera)
        theirs, tolerance, trust = (
            land.pick(each) for each in (other.depth, other.tolerance, other.confidence)
        )
        compared = land.inside & (theirs > 0)
        agrees = compared & ((theirs - land.depth).abs() <= tolerance)
        trust = torch.where(agrees, trust, 0.0)
        seen_through = compared & (theirs - land.depth > THROUGH * tolerance)
        against += torch.where(seen_through, land.pick(other.confidence), 0.0)
        support += trust
        doubt = doubt * (1 - trust)
        finer = (width / other.footprint[land.row, land.column].clamp(min=1e-12)).clamp(max=2.0) ** 2
        share = OTHERS * trust * finer
        weight += share
        step = _between(other.depth, land.pixels, theirs, tolerance) - land.depth
        shift += share * _along(rays, _rays(points, other.camera), normals, step)
        painted += share
        colours += share[:, None] * _bilinear(other.colours, land.pixels)
    depth, picture = own.depth.clone(), own.colours.clone()
    moved = (shift / weight).clamp(-own.tolerance[rows], own.tolerance[rows])
    depth[rows] = depth[rows] + moved
    picture[rows] = colours / painted[:, None]
    sure, valid = own.confidence.clone(), known.clone()
    sure[rows], valid[rows] = 1 - doubt, support >= against
    return Fused(replace(own, depth=depth, colours=picture, confidence=sure), valid)


@torch.no_grad()
def looked_through(points: Float[Tensor, "n 3"], views: Sequence[SeenSurface]) -> Bool[Tensor, "n"]:
    """Whether views look through a place with more confidence than views see a surface there."""
    balance = torch.zeros_like(points[:, 0])
    for view in views:
        land = Landing.of(points, view.camera)
        behind = land.pick(view.depth) - land.depth
        tolerance, trust = land.pick(view.tolerance), land.pick(view.confidence)
        compared = land.inside & (land.pick(view.depth) > 0)
        balance += torch.where(compared & (behind.abs() <= tolerance), trust, 0.0)
        balance -= torch.where(compared & (behind > THROUGH * tolerance), trust, 0.0)
    return balance < 0


def _rays(points: Float[Tensor, "n 3"], camera: Camera) -> Float[Tensor, "n 3"]:
    """Vectors through the points that go on by 1 along the camera's axis."""
    towards = points - camera.position
    return towards / (towards @ camera.forward)[:, None]


def _along(
    own: Float[Tensor, "n 3"],
    other: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    step: Float[Tensor, "n"],
) -> Float[Tensor, "n"]:
    """How far the own ray must go on to meet the surface that lies `step` farther along the other one's ray."""
    across, own_across = (other * normals).sum(-1), (own * normals).sum(-1)
    usable = (own_across.abs() > GRAZING * own.norm(dim=-1)) & (across.abs() > GRAZING * other.norm(dim=-1))
    ratio = torch.where(usable, across / torch.where(usable, own_across, 1.0), 1.0)
    return step * ratio.clamp(1 / STEEPER, STEEPER)


def _between(
    depth: Float[Tensor, "h w"],
    pixels: Float[Tensor, "n 2"],
    nearest: Float[Tensor, "n"],
    tolerance: Float[Tensor, "n"],
) -> Float[Tensor, "n"]:
    """Depth between pixel centres, where the four around lie on one surface; else that of the `nearest` pixel.

    The inverse depth of a plane is linear in the picture.
    """
    inverse = torch.where(depth > 0, 1 / depth.clamp(min=1e-12), 0.0)
    known = (depth > 0).to(depth)
    found, whole = _bilinear(torch.stack([inverse, known], dim=-1), pixels).unbind(-1)
    smooth = 1 / found.clamp(min=1e-12)
    return torch.where((whole > 0.999) & ((smooth - nearest).abs() <= tolerance), smooth, nearest)


def _bilinear(picture: Float[Tensor, "h w c"], pixels: Float[Tensor, "n 2"]) -> Float[Tensor, "n c"]:
    """The picture at places between pixel centres; the border continues."""
    size = torch.tensor([picture.shape[1], picture.shape[0]]).to(pixels)
    places = (pixels * 2 / size - 1)[None, None]
    taken = grid_sample(picture.permute(2, 0, 1)[None], places, padding_mode="border", align_corners=False)
    return taken[0, :, 0].T
