"""Coloured points with normals: the Gaussians that are seen, as a cloud.

Letters: n Gaussians · m points · v cameras.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.raster import RasterConfig, Rasterizer

LEAST_SEEN = 0.05
"""A Gaussian that no pixel of any view shows with at least this weight is no point of a surface."""


@dataclass(frozen=True)
class Points:
    """A cloud.

    Attributes:
        positions: centres of Gaussians, world units.
        normals: unit, towards the cameras that see them.
        colours: sRGB in 0..1.
        rows: which Gaussians they are.
    """

    positions: Float[Tensor, "m 3"]
    normals: Float[Tensor, "m 3"]
    colours: Float[Tensor, "m 3"]
    rows: Int[Tensor, "m"]


@torch.no_grad()
def seen_points(
    field: FeatureField,
    cameras: Sequence[Camera],
    rasterizer: Rasterizer,
    *,
    least_opacity: float = 0.5,
    colour: Literal["total", "matter"] = "total",
    on_view: Callable[[], object] = lambda: None,
) -> Points:
    """The centres of all Gaussians that are at least so opaque and that some camera sees.

    Colours are the mean over the views, each counted by how much of the Gaussian it shows: "total" with reflections,
    "matter" without. Normals are the field's where it has any, else the shortest axes. `on_view` is called after each
    camera.

    Raises:
        PromptError: the field has no colours, or nothing is seen or opaque enough.
    """
    head = field.heads.get("rgb")
    if head is None:
        raise PromptError(f"the field has no colours: its heads are {', '.join(field.heads) or 'none'}")
    splats = field.splats
    count = splats.means.new_zeros(len(splats), 1)
    peak, sums, towards = (
        count[:, 0].clone(),
        splats.means.new_zeros(len(splats), 3),
        torch.zeros_like(splats.means),
    )
    for camera in cameras:
        shown = rasterizer.freeze(splats, camera, RasterConfig()).visibility()
        layers = head.at_gaussians(splats, camera)
        picture = layers["indep"] if colour == "matter" and "indep" in layers else layers["total"]
        weight = shown.total[:, None]
        count += weight
        sums += weight * picture.clamp(0, 1)
        towards += weight * torch.nn.functional.normalize(camera.position - splats.means, dim=-1)
        peak = torch.maximum(peak, shown.peak)
        on_view()
    chosen = (peak >= LEAST_SEEN) & (splats.opacities >= least_opacity)
    if not chosen.any():
        raise PromptError(
            f"none of the {len(splats)} splats is both seen by the views and at least {least_opacity:g} opaque; "
            "ask for less opacity, or look from other places"
        )
    normals = splats.columns.get("normals", splats.shortest_axes)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    normals = torch.where((normals * towards).sum(-1, keepdim=True) < 0, -normals, normals)
    colours = sums / count.clamp(min=1e-12)
    rows = chosen.nonzero().squeeze(-1)
    return Points(splats.means[rows], normals[rows], colours[rows], rows)
