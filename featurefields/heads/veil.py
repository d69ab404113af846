"""The even part of reflections, which lies on matter like a veil.

Letters: n Gaussians · m some of them · k neighbours.

Light that surfaces mirror alike from everywhere cannot be told from matter: with any constant c, surroundings brighter
by c and matter darker by c times what a surface mirrors make the same pictures, but for the Fresnel effect. A fit that
prefers dark reflections leaves that light in matter. All surfaces mirror the same surroundings, so one c serves them
all, and matter is not negative: where a mirroring surface is darkest, little else than the veil can be left. Hence c is
what the darkest mirroring places allow, as the haze of outdoor pictures is estimated from their darkest objects (Chavez
1988; He et al., "Single Image Haze Removal Using Dark Channel Prior", 2009), and no more than the light that the fit
found there itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.camera import Camera
from featurefields.heads.reflected import DIELECTRIC, ReflectedHead, diffuse_from_logit, logit_from_diffuse
from featurefields.maths.neighbours import nearest_to
from featurefields.maths.reflections import reflectance_factors
from featurefields.splats import Splats

NEIGHBOURS = 64
"""Gaussians that are taken together: single ones make up for one another's faults."""
SAMPLES = 20_000
"""Places of the scene that are looked at."""
CAMERAS = 24
"""Most cameras that say from where things are seen."""
MIRRORING = DIELECTRIC / 2
"""Places that mirror more than this share of the light say how strong the veil is. Where less is mirrored than any coat
does, it is likely a fault of the fit, and less of the veil is taken."""
DARKEST = 0.02
"""Share of those places that may be darker than the veil allows."""
FACING = 0.7
"""Cosine between normal and view, where no cameras are known."""
VISIBLE = 1e-4
"""Linear light below this is not taken: it would be lost on the way to a logit."""
BATCH = 50_000
"""Gaussians whose neighbours are held in memory at once."""


@dataclass(frozen=True)
class Veil:
    """What of the surroundings lies on matter.

    Attributes:
        strength: linear light of surroundings, the same from everywhere, that the head lacks and matter has.
        on_matter: linear light on the Gaussians' matter that is reflected, the mean over the cameras; not negative.
    """

    strength: float
    on_matter: Float[Tensor, "m 3"]

    def taken_off(self, logits: Float[Tensor, "m 3"], share: float = 1.0) -> Float[Tensor, "m 3"]:
        """The column "diffuse" without `share` (0..1) of it; where it cannot be seen nothing changes."""
        taken = share * self.on_matter
        matter = logit_from_diffuse((diffuse_from_logit(logits) - taken).clamp(min=0))
        return torch.where(taken > VISIBLE, matter, logits)


@torch.no_grad()
def veil(
    head: ReflectedHead,
    splats: Splats,
    cameras: Sequence[Camera],
    mask: Bool[Tensor, "n"] | None = None,
) -> Veil:
    """The veil on all Gaussians, or the masked ones; without cameras as if every one were seen at the same angle."""
    rows = torch.arange(len(splats), device=splats.means.device) if mask is None else mask.nonzero()[:, 0]
    weight = splats.footprints.clamp(min=1e-12)[:, None]
    mirrored = weight * _mirrored_share(splats, cameras)
    strength = _strength(head, splats, weight, mirrored)
    if strength == 0 or len(rows) == 0:
        return Veil(strength, torch.zeros_like(splats.means[rows]))
    parts = []
    for batch in rows.split(BATCH):
        around = _around(splats, batch)
        share = mirrored[around].sum(1) / weight[around].sum(1)
        parts.append(strength * share * (share.mean(-1, keepdim=True) / MIRRORING).clamp(max=1))
    return Veil(strength, torch.cat(parts))


def _strength(
    head: ReflectedHead, splats: Splats, weight: Float[Tensor, "n 1"], mirrored: Float[Tensor, "n 3"]
) -> float:
    """Linear light of surroundings that are hidden in matter, the same from everywhere; 0 where nothing mirrors."""
    count = min(SAMPLES, len(splats))
    rows = torch.arange(count, device=splats.means.device) * len(splats) // count
    around = _around(splats, rows)
    matter = (weight * diffuse_from_logit(splats.columns["diffuse"]))[around].sum(1)
    share = mirrored[around].sum(1)
    solid = share.mean(-1) > MIRRORING * weight[around].sum((1, 2))
    if not bool(solid.any()):
        return 0.0
    room = (matter[solid] / share[solid]).amin(-1).sort().values
    darkest = float(room[int(DARKEST * len(room))])
    return min(darkest, _found(head, splats.select(rows[solid])))


def _mirrored_share(splats: Splats, cameras: Sequence[Camera]) -> Float[Tensor, "n 3"]:
    """Share of the light in its lobe that every Gaussian mirrors, the mean over cameras that see its front."""
    columns = splats.columns
    gloss, roughness = torch.sigmoid(columns["gloss"]), torch.sigmoid(columns["roughness"])
    tint, normals = gloss * torch.sigmoid(columns["tint"]), normalize(columns["normals"], dim=-1)
    if not cameras:
        scale, bias = reflectance_factors(roughness, torch.full_like(gloss, FACING))
        return tint * scale + gloss * bias
    total, seen = torch.zeros_like(tint), torch.zeros_like(gloss)
    for camera in cameras[:: -(-len(cameras) // CAMERAS)]:
        towards = normalize(splats.means - camera.position.to(splats.means), dim=-1)
        facing = -(towards * normals).sum(-1, keepdim=True)
        scale, bias = reflectance_factors(roughness, facing)
        front = facing.clamp(min=1e-3)
        total, seen = total + front * (tint * scale + gloss * bias), seen + front
    return total / seen


def _found(head: ReflectedHead, part: Splats) -> float:
    """Mean light that the fit found in the surroundings which some Gaussians mirror, seen from above their surface."""
    normals = normalize(part.columns["normals"], dim=-1)
    towards = normals @ head.light_from_world.T if head.walls is None else head.walls(part.means, normals)
    light = head.light(towards, torch.sigmoid(part.columns["roughness"]))
    weight = part.footprints[:, None]
    return float((weight * light).sum() / (3 * weight.sum()).clamp(min=1e-12))


def _around(splats: Splats, rows: Int[Tensor, "m"]) -> Int[Tensor, "m k"]:
    return nearest_to(splats.means[rows], splats.means, NEIGHBOURS)[1]
