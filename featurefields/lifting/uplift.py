"""One-pass lifting: the transpose of drawing, normalised.

Letters: n Gaussians · v views · d feature dimension · k directional functions · h w pixels.

With w_ip the weight of Gaussian i at pixel p, f_i = sum_p w_ip F_p / sum_p w_ip over all pixels of all views is the
average of what the Gaussian is seen to be. It lifts a constant map to that constant, needs one transpose pass a
view, and holds one map at a time. The view-dependent part is then a ridge regression of every Gaussian by itself:
what a view shows beyond the drawn average, averaged over the Gaussian's pixels, against centred directional
functions of the reflected viewing direction.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.field import FeatureField
from featurefields.heads.directional import DirectionalHead
from featurefields.maths.compositing import over_alpha
from featurefields.raster import FROZEN_BYTES, FrozenView, FrozenViews, RasterConfig, Rasterizer
from featurefields.scene import View

Maps = Mapping[str, Callable[[], Float[Tensor, "h w d"]]]
"""View name → a function that makes the view's feature picture at its camera's size; called when needed."""

RIDGE = 0.1
"""Ridge of the directional regression, relative to the mean variance of the directional functions."""


def _masked(view: View, pixels: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
    mask = view.picture.mask()
    return pixels if mask is None else pixels * mask[..., None].to(pixels)


def uplift_mean(
    field: FeatureField,
    views: Sequence[View],
    maps: Maps,
    *,
    rasterizer: Rasterizer,
    config: RasterConfig = RasterConfig(),
    frozen: Sequence[FrozenView] | None = None,
    on_view: Callable[[], object] = lambda: None,
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Weighted mean of the maps on every Gaussian, and the summed weights (0: never seen, its feature is 0).

    `frozen`: the views with the field's geometry, where the caller has them.

    Raises:
        FittingError: there is no view to lift from.
    """
    if not views:
        raise FittingError("there is no view to lift features from; give at least one photo with a pose")
    splats, total, weight = field.splats, None, None
    for place, view in enumerate(views):
        picture = maps[view.name]().to(splats.means)
        drawn = _masked(view, torch.cat([picture, torch.ones_like(picture[..., :1])], dim=-1))
        if frozen is not None:
            gathered = frozen[place].gather(drawn)
        else:
            gathered = rasterizer.gather(splats, drawn, view.camera.to(splats.means), config)
        total = gathered if total is None else total + gathered
        on_view()
    assert total is not None
    total, weight = total[:, :-1], total[:, -1]
    seen = weight > 1e-6
    return torch.where(seen[:, None], total / weight.clamp(min=1e-6)[:, None], 0.0), torch.where(
        seen, weight, 0.0
    )


def uplift(
    field: FeatureField,
    views: Sequence[View],
    maps: Maps,
    *,
    rasterizer: Rasterizer,
    name: str = "feature",
    degree: int = 1,
    config: RasterConfig = RasterConfig(),
    budget_bytes: int = FROZEN_BYTES,
    on_view: Callable[[], object] = lambda: None,
) -> FeatureField:
    """The field with a `DirectionalHead` called `name` whose columns are lifted from the maps; two passes over them.

    Frozen views are kept between the passes as far as `budget_bytes` go. `on_view` is called 2 v times.

    Raises:
        FittingError: there is no view to lift from.
    """
    splats = field.splats
    head = DirectionalHead(name, degree)
    cameras = [view.camera.to(splats.means) for view in views]
    frozen = FrozenViews(rasterizer, splats, cameras, config, budget_bytes=budget_bytes)
    mean, _ = uplift_mean(
        field, views, maps, rasterizer=rasterizer, config=config, frozen=frozen, on_view=on_view
    )
    n, k, d = len(splats), (degree + 1) ** 2 - 1, mean.shape[1]
    weight = mean.new_zeros(n)
    first = mean.new_zeros(n, k)
    second = mean.new_zeros(n, k, k)
    cross = mean.new_zeros(n, k, d)
    residual_sum = mean.new_zeros(n, d)
    for place, view in enumerate(views):
        seen_from = frozen[place]
        residual = maps[view.name]().to(mean) - over_alpha(seen_from.draw(mean), seen_from.alpha)
        pixels = _masked(view, torch.cat([residual, torch.ones_like(residual[..., :1])], dim=-1))
        gathered = seen_from.gather(pixels)
        lifted, w = gathered[:, :-1], gathered[:, -1]
        basis = head.basis(splats, cameras[place])
        weight += w
        first += w[:, None] * basis
        second += w[:, None, None] * basis[:, :, None] * basis[:, None, :]
        cross += basis[:, :, None] * lifted[:, None, :]
        residual_sum += lifted
        on_view()
    seen = weight > 1e-6
    safe = weight.clamp(min=1e-6)[:, None]
    centre = torch.where(seen[:, None], first / safe, 0.0)
    covariance = second / safe[..., None] - centre[:, :, None] * centre[:, None, :]
    slope_target = cross / safe[..., None] - centre[:, :, None] * (residual_sum / safe)[:, None, :]
    ridge = RIDGE * float(covariance[seen].diagonal(dim1=1, dim2=2).mean()) if bool(seen.any()) else 1.0
    eye = torch.eye(k).to(mean)
    slopes = torch.linalg.solve(covariance + max(ridge, 1e-6) * eye, slope_target)
    slopes = torch.where(seen[:, None, None], slopes, 0.0)
    columns = {name: mean, f"{name}_dep": slopes, f"{name}_centre": centre}
    return FeatureField(splats.with_columns(**columns), {**field.heads, name: head}, field.about)
