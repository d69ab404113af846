"""What would be left of a thing that is taken out: its halo, and bits that hang in the air without it.

Letters: n Gaussians · m candidates · k neighbours.

The border of an object is rarely clean: half-transparent Gaussians straddle it, belong to no selection, and stay
behind as a veil. They are told by what they show: a Gaussian next to the object whose visible weight falls mostly on
pixels that show the object is a part of its look. A thing behind or beneath it is hidden where the object is seen, and
a thing in front of it hides it; both stay. Without cameras, and for what no camera sees, places have to tell: whether
the ends of a half-transparent Gaussian's axes are nearest to Gaussians that are taken out.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.maths.neighbours import nearest
from featurefields.maths.rotations import matrix_from_quat
from featurefields.raster import RasterConfig, Rasterizer, choose_rasterizer
from featurefields.splats import Splats

VIEWS = 24
"""At most so many cameras are looked from, evenly chosen."""
BESIDE = 2.0
"""Gaussians are beside each other up to this many of their larger deviations, added."""
LOOK = 0.5
"""Share of a Gaussian's visible weight on pixels of the object from which on it is part of the object's look."""
SEEN_PX = 0.5
"""Visible weight, pixels over all views, below which a Gaussian counts as unseen."""
VEIL = 0.5
"""Opacity below which an unseen Gaussian counts as half-transparent."""
STRADDLING, INSIDE = 5, 7
"""Of the seven points of a Gaussian (centre and ends of the axes), so many have to be the object's: without cameras,
and of unseen ones."""
NEIGHBOURS, TOUCHING = 10, 2.0
"""Among its nearest neighbours a Gaussian touches those within this many of the larger one's deviations."""
SMALL, FEW = 0.01, 50
"""What can be left hanging in the air: less than this share of the footprint of what is taken out, and so many
Gaussians at most. Whatever is more is a thing that stood on it."""


@torch.no_grad()
def residue(
    field: FeatureField, mask: Bool[Tensor, "n"], *, rasterizer: Rasterizer | None = None
) -> Bool[Tensor, "n"]:
    """Which Gaussians besides the masked ones should go when those are taken out.

    The field's cameras are looked from, with the backend of the splats' device when `rasterizer` is None.
    """
    if not bool(mask.any()) or bool(mask.all()):
        return torch.zeros_like(mask)
    halo = _halo(field, mask, rasterizer or choose_rasterizer(device=field.splats.means.device))
    return halo | _hanging(field.splats, mask | halo)


def _halo(field: FeatureField, mask: Bool[Tensor, "n"], rasterizer: Rasterizer) -> Bool[Tensor, "n"]:
    splats, cameras = field.splats, list(field.about.cameras.values())
    halo, extent = torch.zeros_like(mask), splats.scales.amax(-1)
    taken = KDTree(_points(splats.means[mask]))
    distance, index = taken.query(_points(splats.means), workers=-1)
    reach = BESIDE * (extent + extent[mask][torch.from_numpy(np.asarray(index)).to(mask.device)])
    rows = (~mask & (torch.from_numpy(np.asarray(distance)).to(extent) <= reach)).nonzero()[:, 0]
    if not len(rows):
        return halo
    owned = _owned_points(splats, mask, rows, taken)
    veil = splats.opacities[rows] < VEIL
    if not cameras:
        halo[rows] = veil & (owned >= STRADDLING)
        return halo
    weight = splats.means.new_zeros(len(splats), 2)
    for camera in cameras[:: -(-len(cameras) // VIEWS)]:
        camera = camera.to(splats.means)
        share = rasterizer.draw(splats, mask[:, None].to(splats.means), camera, RasterConfig()).image
        maps = torch.cat([share, torch.ones_like(share)], dim=-1)
        weight += rasterizer.gather(splats, maps, camera, RasterConfig())
    on_object, seen = weight[rows].unbind(-1)
    unseen = seen < SEEN_PX
    halo[rows] = torch.where(unseen, veil & (owned >= INSIDE), on_object > LOOK * seen)
    return halo


def _owned_points(splats: Splats, mask: Bool[Tensor, "n"], rows: Tensor, taken: KDTree) -> Float[Tensor, "m"]:
    """How many of a Gaussian's seven points are nearer to what is taken out than to any other Gaussian."""
    part = splats.select(rows)
    axes = matrix_from_quat(part.quats).mT * part.scales[..., None]
    points = part.means[:, None] + torch.cat([torch.zeros_like(axes[:, :1]), axes, -axes], dim=1)
    away = taken.query(_points(points), workers=-1)[0]
    kept = (~mask).nonzero()[:, 0].cpu().numpy()
    distance, index = KDTree(_points(splats.means[~mask])).query(
        _points(points), k=min(2, len(kept)), workers=-1
    )
    distance, index = np.atleast_3d(distance), kept[np.atleast_3d(index)]
    distance = np.where(index == rows.cpu().numpy()[:, None, None], np.inf, distance)
    return torch.from_numpy((away < distance.min(-1)).sum(-1)).to(splats.means)


def _hanging(splats: Splats, taken: Bool[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """Small bits that touched what is taken out, and touch nothing else."""
    low, high = splats.means[taken].amin(0), splats.means[taken].amax(0)
    margin = 0.5 * (high - low).norm()
    around = ((splats.means > low - margin) & (splats.means < high + margin)).all(-1)
    rows = around.nonzero()[:, 0]
    part, gone = splats.select(rows), taken[rows]
    hanging, extent = torch.zeros_like(taken), part.scales.amax(-1)
    distance, index = nearest(part.means, NEIGHBOURS)
    close = distance <= TOUCHING * torch.maximum(extent[:, None], extent[index])
    first = torch.arange(len(rows), device=rows.device)[:, None].expand_as(index)[close]
    second = index[close]
    stays = ~gone[first] & ~gone[second]
    graph = coo_array(
        (np.ones(int(stays.sum())), (first[stays].cpu().numpy(), second[stays].cpu().numpy())),
        shape=(len(rows), len(rows)),
    )
    count, label = connected_components(graph, directed=False)
    labels = torch.from_numpy(label).long().to(rows.device)
    across = gone[first] != gone[second]
    touched = torch.zeros(count, dtype=torch.bool, device=rows.device)
    touched[labels[torch.where(gone[first], second, first)[across]]] = True
    footprint = part.footprints.new_zeros(count).index_add_(0, labels, part.footprints)
    inner = ((part.means > low - margin / 2) & (part.means < high + margin / 2)).all(-1)
    reaches_out = torch.zeros(count, dtype=torch.bool, device=rows.device)
    reaches_out[labels[~inner]] = True
    small = footprint < SMALL * splats.footprints[taken].sum()
    small &= torch.bincount(labels, minlength=count) <= FEW
    hanging[rows] = (touched & small & ~reaches_out)[labels] & ~gone
    return hanging


def _points(points: Tensor) -> np.ndarray:
    return points.detach().cpu().double().numpy()
