"""Baking with progress: what every command that writes an ordinary .ply does first."""

from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.splats import Splats


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
