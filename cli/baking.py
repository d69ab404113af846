"""Baking with progress: what every command that writes an ordinary .ply does first."""

from statistics import mean
from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.splats import Splats


CHECKED = 12
"""Places from which a baked splat is compared with its field."""
SHOWN = 0.5
"""Compared are the pixels that the field's Gaussians cover more than this."""


def baked(
    field: "FeatureField",
    console: Console,
    *,
    in_world: bool = False,
    degree: int = 3,
    sky: bool = False,
    quick: bool = True,
) -> "Splats":
    """The field's Gaussians with spherical harmonics, in the frame of the photos unless `in_world`.

    With `sky`, splats that show the field's sky follow its own. `quick` is for results on the way; what is exported is
    baked from more views and longer, which shiny things need.
    """
    from featurefields.editing.baking import QUICK, BakeConfig, bake_harmonics, passes

    config = QUICK if quick else BakeConfig()
    placed = field if in_world else field.moved(field.about.world_from_capture.inverse)
    title = f"baking {len(field):,} splats into spherical harmonics"
    with console.progress(title, passes(placed, config)) as advance:
        return bake_harmonics(placed, degree, sky=sky, config=config, on_view=lambda: advance(1))


def baking_error(
    field: "FeatureField",
    splats: "Splats",
    *,
    in_world: bool = False,
    sky: bool = False,
    rasterizer: "Rasterizer | None" = None,
) -> dict[str, object]:
    """How far what `baked` made of a field is from it, between the places that it was baked from: rows of a summary.

    PSNR in dB over the pixels that the field's Gaussians cover, the sky behind them only with `sky`. No rows where
    nothing was baked, or nothing is seen.
    """
    from dataclasses import replace

    import torch

    from featurefields.editing.viewpoints import ViewpointsConfig, checking_cameras
    from featurefields.evaluation.metrics import psnr
    from featurefields.field import FeatureField, render
    from featurefields.heads.harmonics import HarmonicsHead
    from featurefields.heads.reflected import ReflectedHead

    head = field.heads.get("rgb")
    if not isinstance(head, ReflectedHead):
        return {}
    field = field if sky else replace(field, heads={"rgb": head.without_surroundings()})
    placed = field if in_world else field.moved(field.about.world_from_capture.inverse)
    degree = round(splats.columns["harmonics"].shape[1] ** 0.5) - 1
    found = FeatureField(splats, {"rgb": HarmonicsHead(degree)})
    values = []
    with torch.no_grad():
        for camera in checking_cameras(placed, CHECKED, ViewpointsConfig()):
            one, two = (render(f, camera, rasterizer=rasterizer, heads=("rgb",)) for f in (placed, found))
            covered = one.alpha > SHOWN
            if bool(covered.any()):
                values.append(psnr(one["rgb"]["total"], two["rgb"]["total"], covered))
    if not values:
        return {}
    return {"baked, dB to the field": mean(values), "in the worst view": min(values)}
