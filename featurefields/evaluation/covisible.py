"""What some views have seen of what another view shows: lifted fields are judged there, and everywhere.

Letters: h w pixels · v views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.evaluation.agreement import Extracted, cosine_map
from featurefields.evaluation.heldout import mean
from featurefields.evaluation.metrics import psnr
from featurefields.field import FeatureField, render
from featurefields.raster import Rasterizer
from featurefields.scene import View
from featurefields.surface_depth import surface_depth

TOLERANCE = 0.03
"""Depths that differ by at most this share are of one surface."""


@dataclass(frozen=True)
class SeenReport:
    """Means over views; NaN where there is nothing.

    Attributes:
        share: of the pixels, whose surface a context view sees too.
        psnr_db: of these pixels.
        cosine: of all drawn features with those extracted from the photo, over these pixels.
    """

    share: float
    psnr_db: float
    cosine: float


@torch.no_grad()
def measure_seen(
    field: FeatureField,
    views: Sequence[View],
    contexts: Sequence[Camera],
    *,
    rasterizer: Rasterizer,
    photo: Extracted = lambda view: None,
    on_view: Callable[[], object] = lambda: None,
) -> SeenReport:
    """Pictures and features of held-out views, over the pixels that the context cameras have seen."""
    splats = field.splats
    cameras = [camera.to(splats.means) for camera in contexts]
    depths = [surface_depth(splats, camera, rasterizer).depth for camera in cameras]
    shares, qualities, cosines = [], [], []
    for view in views:
        camera = view.camera.to(splats.means)
        seen = seen_pixels(surface_depth(splats, camera, rasterizer).depth, camera, depths, cameras).cpu()
        mask = view.picture.mask()
        counts = seen if mask is None else seen & mask
        shares.append(float(seen.float().mean()))
        if bool(counts.any()):
            drawn = render(field, camera, rasterizer=rasterizer)
            qualities.append(psnr(drawn["rgb"]["total"].cpu(), view.picture.image(), counts))
            target = photo(view) if "feature" in field.heads else None
            if target is not None:
                cosines.append(
                    float(cosine_map(drawn["feature"]["total"], target, field.about).cpu()[counts].mean())
                )
        on_view()
    return SeenReport(mean(shares), mean(qualities), mean(cosines))


def seen_pixels(
    depth: Float[Tensor, "h w"],
    camera: Camera,
    depths: Sequence[Float[Tensor, "_ _"]],
    cameras: Sequence[Camera],
) -> Bool[Tensor, "h w"]:
    """Pixels whose surface, at `depth` (0: none), at least one of the cameras sees: it lies in the picture, at the
    depth that this camera sees there."""
    points = camera.unproject(depth).reshape(-1, 3)
    seen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for other, theirs in zip(cameras, depths, strict=True):
        pixels, along = other.project(points)
        size = torch.tensor(other.size).to(pixels)
        inside = (along > 1e-6) & (pixels >= 0).all(-1) & (pixels < size).all(-1)
        column, row = torch.where(inside[:, None], pixels, 0.0).floor().long().unbind(-1)
        seen |= inside & ((theirs[row, column] - along).abs() <= TOLERANCE * along)
    return (seen & (depth > 0).reshape(-1)).view_as(depth)
