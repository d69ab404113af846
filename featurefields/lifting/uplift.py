"""One-pass lifting: the transpose of drawing, normalised.

Letters: n Gaussians · v views · d feature dimension · k directional functions · h w pixels.

With w_ip the weight of Gaussian i at pixel p, f_i = sum_p w_ip F_p / sum_p w_ip over all pixels of all views is the
average of what the Gaussian is seen to be. It lifts a constant map to that constant, needs one transpose pass a
view, and holds one map at a time. The view-dependent part is then a ridge regression of every Gaussian by itself:
what a view shows beyond the drawn average, averaged over the Gaussian's pixels, against centred directional
functions of the reflected viewing direction.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.field import FeatureField
from featurefields.lifting.maps import Maps, counted, weighted
from featurefields.lifting.moments import SEEN, Moments, basis_of
from featurefields.lifting.solution import with_directional
from featurefields.maths.compositing import over_alpha
from featurefields.raster import FROZEN_BYTES, FrozenView, FrozenViews, RasterConfig, Rasterizer
from featurefields.scene import View

RIDGE = 0.1
"""Ridge of the directional regression, relative to the mean variance of the directional functions."""
PICTURES = 6
"""Pictures of the feature dimension that there are at once."""


@torch.no_grad()
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
    refuse_nothing(views)
    splats, total = field.splats, None
    for place, view in enumerate(views):
        drawn = weighted(maps[view.name](), counted(view, splats.means).to(splats.means))
        if frozen is not None:
            gathered = frozen[place].gather(drawn)
        else:
            gathered = rasterizer.gather(splats, drawn, view.camera.to(splats.means), config)
        total = gathered if total is None else total.add_(gathered)
        on_view()
    assert total is not None
    total, weight = total[:, :-1], total[:, -1]
    seen = weight > SEEN
    mean = torch.where(seen[:, None], total / weight.clamp(min=SEEN)[:, None], 0.0)
    return mean, torch.where(seen, weight, 0.0)


def working_bytes(count: int, dim: int, views: int, pixels: int, degree: int = 1) -> int:
    """About how much memory `uplift` takes beside the frozen views, for views of `pixels` pixels each."""
    del views
    m = (degree + 1) ** 2
    return 4 * (count * ((3 * m + 2) * dim + 3 * m * m) + PICTURES * pixels * dim)


@torch.no_grad()
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

    Degree 0 gives a `DirectHead`, the mean alone, in one pass. Frozen views are kept between the passes as far as
    `budget_bytes` go. `on_view` is called once a view and pass.

    Raises:
        FittingError: there is no view to lift from.
    """
    splats = field.splats
    cameras = [view.camera.to(splats.means) for view in views]
    frozen = FrozenViews(rasterizer, splats, cameras, config, budget_bytes=budget_bytes if degree else 0)
    mean, _ = uplift_mean(
        field, views, maps, rasterizer=rasterizer, config=config, frozen=frozen, on_view=on_view
    )
    if degree == 0:
        nothing = mean.new_zeros(len(mean), 0)
        return with_directional(
            field, name, 0, mean, nothing[..., None].expand(-1, -1, mean.shape[1]), nothing
        )
    moments = Moments(mean.new_empty(len(mean), mean.shape[1] + 1), (degree + 1) ** 2 - 1)
    for place, view in enumerate(views):
        seen_from = frozen[place]
        residual = maps[view.name]().to(mean) - over_alpha(seen_from.draw(mean), seen_from.alpha)
        pixels = weighted(residual, counted(view, mean).to(mean))
        moments.add(seen_from.gather(pixels), basis_of(degree, splats, cameras[place]))
        on_view()
    sums = moments.centred()
    ridge = RIDGE * sums.spread * torch.eye(sums.centre.shape[1]).to(mean)
    slopes = torch.linalg.solve(
        sums.covariance + ridge, sums.crossed[:, 1:] / sums.safe_weight[:, None, None]
    )
    slopes = torch.where(sums.seen[:, None, None], slopes, 0.0)
    return with_directional(field, name, degree, mean, slopes, sums.centre)


def refuse_nothing(views: Sequence[View]) -> None:
    """Raise `FittingError` when there is no view."""
    if not views:
        raise FittingError("there is no view to lift features from; give at least one photo with a pose")
