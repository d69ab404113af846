"""A field's own pictures without reflections, in the place of the photos."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Picture, View


@dataclass(frozen=True)
class MatterPicture:
    """What a view's photo would show without reflections, drawn whenever it is asked for; implements `Picture`."""

    picture: "Picture"
    field: "FeatureField"
    camera: "Camera"
    rasterizer: "Rasterizer"

    @property
    def path(self) -> Path:
        return self.picture.path

    def image(self) -> "Tensor":
        import torch

        from featurefields.field import render

        splats = self.field.splats
        with torch.no_grad():
            layers = render(
                self.field, self.camera.to(splats.means), rasterizer=self.rasterizer, heads=("rgb",)
            )["rgb"]
        return layers["indep"].clamp(0, 1).cpu()

    def mask(self) -> "Tensor | None":
        return self.picture.mask()

    def depth(self) -> "Tensor | None":
        return self.picture.depth()

    def layer(self, name: str) -> "Tensor | None":
        return self.picture.layer(name)

    def photo_to_camera(self, x: float, y: float) -> tuple[float, float]:
        return self.picture.photo_to_camera(x, y)

    def photo_size(self) -> tuple[int, int]:
        return self.picture.photo_size()


def splits_colour(field: "FeatureField") -> bool:
    """Whether the field knows what is matter: spherical harmonics have a constant band, but that is not it."""
    from featurefields.heads.reflected import ReflectedHead

    return isinstance(field.heads.get("rgb"), ReflectedHead)


def matter_views(
    field: "FeatureField", views: "Sequence[View]", rasterizer: "Rasterizer"
) -> "tuple[View, ...]":
    """The views with pictures of matter for photos."""
    return tuple(
        replace(view, picture=MatterPicture(view.picture, field, view.camera, rasterizer)) for view in views
    )
