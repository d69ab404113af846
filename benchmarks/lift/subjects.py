"""What the parts share: the scene, held-out views and their contexts, sources of geometry."""

import argparse
from collections.abc import Sequence

from featurefields.field import About, FeatureField
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.lifting.context import posed_pictures, views_around
from featurefields.lifting.feedforward import lift_pictures
from featurefields.lifting.geometry import (
    GeometryProvider,
    Given,
    PosedPicture,
    ViewGeometry,
    choose_provider,
)
from featurefields.raster import Rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene, View


def the_scene(options: argparse.Namespace) -> Scene:
    return read_scene(options.data, downscale=options.downscale)


def contexts(scene: Scene, targets: int, count: int) -> list[tuple[View, tuple[View, ...]]]:
    """Held-out views, evenly from all, each with the training views nearest to it."""
    held, usable = scene.split("test"), scene.split("train")
    step = max(1, len(held) // targets)
    return [(target, views_around(usable, target, count)) for target in held[::step][:targets]]


def pictures_of(scene: Scene, views: Sequence[View]) -> list[PosedPicture]:
    return posed_pictures(views, None if scene.points is None else scene.points.positions)


def provider_of(scene: Scene, name: str, rasterizer: Rasterizer) -> GeometryProvider:
    points = None if scene.points is None else scene.points.positions
    return choose_provider(
        name, Given(points=points, world_from_capture=scene.world_from_capture, rasterizer=rasterizer)
    )


def lifted_field(
    pictures: Sequence[PosedPicture], geometry: Sequence[ViewGeometry], rasterizer: Rasterizer
) -> FeatureField:
    """A field with colours alone."""
    splats = lift_pictures(pictures, geometry, rasterizer).splats
    return FeatureField(splats, {"rgb": HarmonicsHead(0)}, About())
