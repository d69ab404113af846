"""Lifted features against the extractor's own features of held-out pictures.

Letters: h w pixels · d stored and D extracted feature dimension.

Without a view-dependent part, features of a shiny object are a mixture of what is on it and what it reflects. The
view-independent features should therefore be those of the picture *without* reflections, and the total those of the
photo.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.errors import FittingError, UnknownNameError
from featurefields.evaluation.heldout import mean
from featurefields.evaluation.regions import (
    Region,
    RegionRows,
    SceneObject,
    instance_ids,
    regions_of,
)
from featurefields.field import About, FeatureField, render
from featurefields.raster import Rasterizer
from featurefields.scene import Scene, View

Extracted = Callable[[View], Float[Tensor, "h w D"] | None]
"""Extracted features of a view's pixels; None where the view has no such picture."""

CHUNK = 1 << 22
"""Numbers that are decoded at once."""


@dataclass(frozen=True)
class AgreementRow:
    """Mean cosines of a region; NaN where there is no such picture.

    `indep`: view-independent features with those of the diffuse picture. `total`: all with those of the photo.
    """

    name: str
    material: str
    indep: float
    total: float


@torch.no_grad()
def feature_agreement(
    field: FeatureField,
    scene: Scene,
    objects: Sequence[SceneObject],
    *,
    diffuse: Extracted,
    photo: Extracted,
    rasterizer: Rasterizer,
    head: str = "feature",
    on_view: Callable[[], object] = lambda: None,
) -> RegionRows[AgreementRow]:
    """Cosines on the scene's held-out views, one view at a time: mean over a region's pixels, then over views.

    Raises:
        UnknownNameError: the field has no such head.
        FittingError: the extracted features have another dimension than the field's.
    """
    if head not in field.heads:
        raise UnknownNameError(
            f"the field has no head '{head}' to compare (heads: {', '.join(field.heads) or 'none'})"
        )
    regions = regions_of(objects)
    found: dict[tuple[Region, str], list[float]] = {
        (region, layer): [] for region in regions for layer in ("indep", "total")
    }
    for view in scene.split("test"):
        ids = instance_ids(view)
        drawn = render(field, view.camera.to(field.splats.means), rasterizer=rasterizer, heads=(head,))[head]
        for layer, extracted in (("indep", diffuse), ("total", photo)):
            target = extracted(view)
            if target is None:
                continue
            cosine = cosine_map(drawn.get(layer, drawn["total"]), target, field.about).cpu()
            for region in regions:
                found[region, layer] += _region_mean(cosine, region, ids)
        on_view()
    rows = [
        AgreementRow(region.name, region.material, mean(found[region, "indep"]), mean(found[region, "total"]))
        for region in regions
    ]
    return RegionRows.of(regions, rows)


def cosine_map(
    stored: Float[Tensor, "h w d"], extracted: Float[Tensor, "h w D"], about: About
) -> Float[Tensor, "h w"]:
    """Cosine at every pixel between drawn stored features, decoded to the extracted dimension, and extracted ones.

    Raises:
        FittingError: the dimensions do not fit.
    """
    centre, basis = about.feature_mean, about.feature_basis
    dim = stored.shape[-1] if centre is None or basis is None else basis.shape[1]
    if extracted.shape[-1] != dim:
        raise FittingError(
            f"the field's features stand for {dim} extracted dimensions, these have {extracted.shape[-1]}; "
            "compare with the extractor that the field was fitted with"
        )
    height, width = stored.shape[:2]
    flat, target = stored.reshape(height * width, -1), extracted.reshape(height * width, -1)
    parts = []
    for rows in torch.arange(len(flat), device=flat.device).split(max(1, CHUNK // dim)):
        part = flat[rows]
        if centre is not None and basis is not None:
            part = centre.to(part) + part @ basis.to(part)
        parts.append(
            torch.nn.functional.cosine_similarity(part, target[rows.to(target.device)].to(part), dim=-1)
        )
    return torch.cat(parts).reshape(height, width)


def _region_mean(cosine: Float[Tensor, "h w"], region: Region, ids: Int[Tensor, "h w"]) -> list[float]:
    mask = region.seen(ids)
    return [] if mask is None else [float(cosine[mask].mean())]
