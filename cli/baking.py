"""Baking with progress: what every command that writes an ordinary .ply does first."""

from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.splats import Splats


def baked(field: "FeatureField", console: Console, *, in_world: bool = False, degree: int = 3) -> "Splats":
    """The field's Gaussians with spherical harmonics, in the frame of the photos unless `in_world`."""
    from featurefields.editing.baking import bake_harmonics

    placed = field if in_world else field.moved(field.about.world_from_capture.inverse)
    with console.progress(f"baking {len(field):,} splats into spherical harmonics") as advance:
        return bake_harmonics(placed, degree, on_view=lambda: advance(1))
