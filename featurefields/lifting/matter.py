"""A field's own pictures without reflections, in the place of the photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import FeatureField, render
from featurefields.heads.reflected import ReflectedHead
from featurefields.raster import Rasterizer
from featurefields.scene import Picture, View


@dataclass(frozen=True)
class InsteadOf:
    """A photo with another picture in its place, made whenever it is asked for; implements `Picture`."""

    picture: Picture
    make: Callable[[], Tensor]

    @property
    def path(self) -> Path:
        return self.picture.path

    def image(self) -> Tensor:
        return self.make()

    def mask(self) -> Tensor | None:
        return self.picture.mask()

    def depth(self) -> Tensor | None:
        return self.picture.depth()

    def layer(self, name: str) -> Tensor | None:
        return self.picture.layer(name)

    def photo_to_camera(self, x: float, y: float) -> tuple[float, float]:
        return self.picture.photo_to_camera(x, y)

    def photo_size(self) -> tuple[int, int]:
        return self.picture.photo_size()


def splits_colour(field: FeatureField) -> bool:
    """Whether the field knows what is matter: spherical harmonics have a constant band, but that is not it."""
    return isinstance(field.heads.get("rgb"), ReflectedHead)


def matter_views(field: FeatureField, views: Sequence[View], rasterizer: Rasterizer) -> tuple[View, ...]:
    """The views with pictures of matter for photos."""

    @torch.no_grad()
    def matter(camera: Camera) -> Tensor:
        drawn = render(field, camera.to(field.splats.means), rasterizer=rasterizer, heads=("rgb",))
        return drawn["rgb"]["indep"].clamp(0, 1).cpu()

    return tuple(
        replace(view, picture=InsteadOf(view.picture, partial(matter, view.camera))) for view in views
    )
