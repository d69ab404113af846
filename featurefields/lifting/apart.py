"""Matter's features from pictures of matter, and what reflections add to them.

Letters: n Gaussians · v views · d feature dimension · k directional functions · h w pixels.

A field whose colours are split can draw every photo without its reflections. Features of these pictures are features
of matter: reflections are gone before the network sees them, also where they are there from all sides, as on metal,
and no average over views could take them out. What photos show beyond is the reflective part: a constant and
directional functions for every Gaussian.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.heads.directional import DirectionalHead
from featurefields.lifting.maps import Maps
from featurefields.lifting.solution import Solution, with_head
from featurefields.maths.compositing import over_alpha
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.scene import View

Lift = Callable[[FeatureField, Maps, int], Solution]
"""A solver: (field, maps, degree of the directional functions) → the field with a `DirectionalHead`, for degree 0 with
a `DirectHead`."""

PICTURES = 4
"""Pictures of the feature dimension that there are at once, beside those of the solver."""


def working_bytes(count: int, dim: int, pixels: int) -> int:
    """About how much memory `lift_apart` takes beside the solver, for views of `pixels` pixels each."""
    return 4 * dim * (2 * count + PICTURES * pixels)


@torch.no_grad()
def lift_apart(
    field: FeatureField,
    views: Sequence[View],
    photos: Maps,
    matter: Maps,
    lift: Lift,
    *,
    rasterizer: Rasterizer,
    name: str = "feature",
    degree: int = 1,
    raster: RasterConfig = RasterConfig(),
) -> Solution:
    """The field with a `DirectionalHead` called `name`: f_indep lifted from `matter`, the rest from `photos`.

    `photos` and `matter` are features, in one basis, of the views' photos and of the same views drawn without
    reflections. `lift` makes a head called `name`. Degree 0 leaves the reflective part out. The losses are those of
    the last lift: of what the photos' features are explained by in all.
    """
    solved = lift(field, matter, 0)
    if degree == 0:
        return solved
    indep = solved.field.splats.columns[name]

    def beyond(view: View) -> Float[Tensor, "h w d"]:
        drawn = rasterizer.draw(field.splats, indep, view.camera.to(indep), raster)
        return photos[view.name]().to(indep) - over_alpha(drawn.image, drawn.alpha)

    rest = lift(field, {view.name: lambda view=view: beyond(view) for view in views}, degree)
    columns = rest.field.splats.columns
    slopes, centre = columns[f"{name}_dep"], columns[f"{name}_centre"]
    head = DirectionalHead(name, degree, constant=True)
    made = {
        name: indep,
        f"{name}_dep": torch.cat([columns[name][:, None], slopes], dim=1),
        f"{name}_centre": torch.cat([torch.zeros_like(centre[:, :1]), centre], dim=1),
    }
    return Solution(with_head(rest.field, name, head, made), rest.losses)
