"""One Gaussian a pixel, on the surface that the pixel sees.

Letters: n kept pixels · h w pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.lifting.surfaces_seen import SeenSurface
from featurefields.maths.harmonics import CONSTANT
from featurefields.maths.rotations import quat_from_matrix
from featurefields.splats import Splats


@dataclass(frozen=True, kw_only=True)
class GaussianConfig:
    """Shape and opacity of a pixel's Gaussian where the geometry does not tell."""

    width_px: float = 0.4
    """Standard deviation across the surface, in pixel sizes."""
    thickness: float = 0.2
    """Standard deviation along the normal, in those of a pixel that looks at it straight."""
    steepest: float = 0.25
    """Cosine of the slant beyond which Gaussians are not stretched further."""
    opacity: tuple[float, float] = (0.05, 0.98)
    """Opacity of a pixel without and with full confidence."""


@torch.no_grad()
def pixel_gaussians(
    seen: SeenSurface, kept: Bool[Tensor, "h w"], config: GaussianConfig = GaussianConfig()
) -> Splats:
    """Gaussians of the kept pixels; columns "harmonics" (n 1 3: the constant band) and "normals" (n 3).

    Means lie on the rays through the pixels' centres. Axes: along the surface where it slants away (stretched by
    1 / cos, so that slanted surfaces have no gaps), along the surface across that, and the normal.
    """
    rows = torch.nonzero(kept, as_tuple=True)
    depth, normals = seen.depth[rows], seen.normals[rows]
    points = seen.camera.unproject(seen.depth)[rows]
    facing = normalize(seen.camera.position - points, dim=-1)
    axes, cosine = _axes(normals, facing)
    width = seen.scale_px[rows] if seen.scale_px is not None else torch.full_like(depth, config.width_px)
    size = width * seen.footprint[rows]
    stretched = size / cosine.clamp(min=config.steepest)
    scales = torch.stack([stretched, size, config.thickness * size], dim=-1)
    low, high = config.opacity
    opacity = low + (high - low) * seen.confidence[rows]
    if seen.opacity is not None:
        opacity = seen.opacity[rows]
    bands = ((seen.colours[rows] - 0.5) / CONSTANT)[:, None]
    return Splats(
        points,
        quat_from_matrix(axes),
        torch.log(scales.clamp(min=1e-9)),
        torch.logit(opacity.clamp(1e-3, 0.999)),
        {"harmonics": bands, "normals": normals},
    )


def _axes(
    normals: Float[Tensor, "n 3"], facing: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n"]]:
    """Columns: where the surface slants away, across that, the normal; and the cosine of the slant."""
    cosine = (normals * facing).sum(-1)
    slant = facing - cosine[:, None] * normals
    turned = slant.norm(dim=-1, keepdim=True) > 1e-4
    unit = torch.eye(3).to(normals)
    least = unit[normals.abs().argmin(-1)]
    any_way = least - (least * normals).sum(-1, keepdim=True) * normals
    first = normalize(torch.where(turned, slant, any_way), dim=-1)
    return torch.stack([first, torch.linalg.cross(normals, first), normals], dim=-1), cosine
