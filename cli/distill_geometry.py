"""Depths that `ff lift`'s sources of geometry find, for `ff distill`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from featurefields.distillation.reconstruct import DepthSource
    from featurefields.distillation.seen import Seen
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene

CONFIDENT = 0.25
"""Depths that are less likely right count as unknown."""


def provided_depths(
    geometry: str, scenes: Sequence["Scene"], rasterizer: "Rasterizer", device: "torch.device"
) -> "DepthSource":
    """Depths of context views, found from these views alone by the provider called `geometry`.

    Raises:
        UnknownNameError, UnavailableError: see `choose_provider`.
    """
    from featurefields.distillation.seen import nearest
    from featurefields.lifting.context import posed_pictures
    from featurefields.lifting.geometry import Given, choose_provider

    providers = {
        scene.name: choose_provider(
            geometry,
            Given(
                device=device,
                points=None if scene.points is None else scene.points.positions,
                world_from_capture=scene.world_from_capture,
                rasterizer=rasterizer,
            ),
        )
        for scene in scenes
    }
    views = {(scene.name, view.name): view for scene in scenes for view in scene.views}
    points = {scene.name: None if scene.points is None else scene.points.positions for scene in scenes}

    def depths(contexts: Sequence["Seen"]) -> "list[Tensor]":
        name = contexts[0].scene
        pictures = posed_pictures([views[name, seen.name] for seen in contexts], points[name], device=device)
        found = providers[name](pictures)
        sure = [one.depth.where(one.confidence >= CONFIDENT, one.depth.new_zeros(())) for one in found]
        return [nearest(depth, seen.camera.size) for depth, seen in zip(sure, contexts, strict=True)]

    return depths
