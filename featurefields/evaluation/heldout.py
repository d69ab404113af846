"""How well a field shows the photos it was not fitted to."""

from collections.abc import Callable, Sequence
from math import nan

import torch

from featurefields.evaluation.metrics import psnr
from featurefields.field import FeatureField, render
from featurefields.raster import Rasterizer
from featurefields.scene import View


@torch.no_grad()
def held_out_psnr(
    field: FeatureField,
    views: Sequence[View],
    *,
    rasterizer: Rasterizer,
    on_view: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """PSNR in dB of every view (pixels that the view's mask leaves out do not count), by name."""
    values = {}
    for view in views:
        drawn = render(field, view.camera.to(field.splats.means), rasterizer=rasterizer, heads=("rgb",))
        values[view.name] = psnr(drawn["rgb"]["total"].cpu(), view.picture.image(), view.picture.mask())
        on_view()
    return values


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values; NaN when there is none."""
    finite = [value for value in values if value == value]
    return sum(finite) / len(finite) if finite else nan
