"""What is compared at every pixel of one view.

Letters: h w pixels · c channels.
"""

from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.evaluation.metrics import angle_deg, squared_error, ssim_map
from featurefields.heads.interface import Layers
from featurefields.maths.colour import linear_from_srgb
from featurefields.scene import Picture

PER_VIEW = ("error", "ssim", "photo_error", "indep_error")
"""Maps that are averaged in every view."""
POOLED = ("normal", "roughness", "true_roughness", "share", "reflected", "specular")
"""Maps whose pixels of all views are taken together."""
COVERED = 0.5
"""Normals and roughness are looked at where the Gaussians cover more than this."""
DARK = 1e-6
"""Pixels with less linear light than this (all channels together) have no share of anything."""
UNIT = (0.5, 1.3)
"""Lengths of what counts as a stored normal; backgrounds are stored as other colours."""


def view_maps(
    drawn: Layers, alpha: Float[Tensor, "h w"], picture: Picture, world_from_capture: Float[Tensor, "3 3"]
) -> dict[str, Float[Tensor, "h w"]]:
    """Every map of `PER_VIEW` and `POOLED`; NaN where it is not known.

    Args:
        drawn: layers of the head "rgb".
        alpha: coverage.
        picture: the photo and what truth lies beside it.
        world_from_capture: rotation into the field's frame; true normals are those of the photos' poses.
    """
    photo, total = picture.image(), drawn["total"]
    indep = drawn.get("indep", total)
    light, matter = linear_from_srgb(total), linear_from_srgb(indep)
    reflected = (light - matter).clamp(min=0)
    brightness = light.sum(-1)
    unknown = torch.full_like(alpha, nan)
    maps = dict.fromkeys((*PER_VIEW, *POOLED), unknown) | {
        "error": squared_error(total, photo),
        "ssim": ssim_map(total, photo),
        "share": torch.where(brightness > DARK, reflected.sum(-1) / brightness.clamp(min=DARK), nan),
        "reflected": reflected.amax(-1),
    }
    diffuse = picture.layer("diffuse")
    if diffuse is not None:
        diffuse = diffuse[..., :3].expand(*alpha.shape, 3)
        maps |= {
            "photo_error": squared_error(photo, diffuse),
            "indep_error": squared_error(indep, diffuse),
            "specular": (linear_from_srgb(photo) - linear_from_srgb(diffuse)).amax(-1),
        }
    covered = alpha > COVERED
    true_normal, true_roughness = picture.layer("normal"), picture.layer("roughness")
    if true_normal is not None and "normal" in drawn:
        maps["normal"] = torch.where(
            covered, _normal_error(drawn["normal"], true_normal, world_from_capture), nan
        )
    if "roughness" in drawn:
        maps["roughness"] = torch.where(covered, drawn["roughness"][..., 0], nan)
    if true_roughness is not None:
        maps["true_roughness"] = true_roughness[..., 0]
    return maps


def _normal_error(
    drawn: Float[Tensor, "h w 3"], stored: Float[Tensor, "h w c"], world_from_capture: Float[Tensor, "3 3"]
) -> Float[Tensor, "h w"]:
    """Degrees between a drawn normal and one that is stored as (n + 1) / 2; NaN where none is stored."""
    true = 2 * stored[..., :3] - 1
    length = true.norm(dim=-1)
    known = (length > UNIT[0]) & (length < UNIT[1])
    return torch.where(known, angle_deg(drawn, true @ world_from_capture.to(true).T), nan)
