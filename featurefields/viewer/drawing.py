"""Pictures of a scene for a camera: one layer in colours, selections over it.

Letters: n Gaussians · m marks · h w pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from featurefields.camera import Camera
from featurefields.field import FeatureField, render
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.scene import View
from featurefields.viewer.cameras import nearest
from featurefields.viewer.palette import Colour
from featurefields.visualization.colours import scalar_colours
from featurefields.visualization.layers import LayerPainter, named_layers
from featurefields.visualization.sheets import overlay

LAYERS: Mapping[str, str] = {
    "colour": "rgb",
    "matter (view-independent)": "indep",
    "reflections (view-dependent)": "dep",
    "features": "feature",
    "features of matter": "feature_indep",
    "features of reflections": "feature_dep",
    "normals": "normal",
    "roughness": "roughness",
    "depth": "depth",
}
"""What the viewer calls the layers that fields may have, in its order → their names."""
SIMILARITY, PHOTO = "similarity", "photo"
PREVIEWS, PREVIEW_PX = 4, 160
"""Colours of depth and features are chosen on so many small pictures, to be the same from everywhere."""
STRENGTH = 0.4
"""How strongly selections are tinted."""


@dataclass(frozen=True, eq=False)
class Mark:
    """Gaussians that are outlined, and tinted as strongly as it says (0..1)."""

    rows: Bool[Tensor, "n"]
    colour: Colour
    strength: float = STRENGTH


@dataclass(frozen=True, eq=False)
class Seen:
    """What is shown: a field, the Gaussians that are marked, and likeness to what is selected (-1..1)."""

    field: FeatureField
    marks: tuple[Mark, ...] = ()
    score: Float[Tensor, "n"] | None = None


class Painter:
    """Draws layers of a field and of what edits make of it.

    Attributes:
        layers: what can be drawn, as the viewer calls it.
    """

    def __init__(self, field: FeatureField, rasterizer: Rasterizer, views: Sequence[View] = ()) -> None:
        self._rasterizer, self._views = rasterizer, {view.name: view for view in views}
        self._cameras = {view.name: view.camera for view in views}
        self._painter, names = _fitted(field, rasterizer)
        layers = [name for name, layer in LAYERS.items() if layer in names]
        features = [SIMILARITY] if "feature" in field.heads else []
        self.layers = (*layers, *features, *([PHOTO] if views else []))
        self._photo: tuple[str, Tensor] | None = None

    @torch.no_grad()
    def picture(
        self, seen: Seen, camera: Camera, layer: str, *, marked: bool = True
    ) -> Float[Tensor, "h w 3"]:
        """Display colours in 0..1 on the CPU: a layer, with the marks over it unless not `marked`."""
        image = self.plain(seen, camera, layer)
        return self.marked(image, seen, camera) if marked else image

    @torch.no_grad()
    def plain(self, seen: Seen, camera: Camera, layer: str) -> Float[Tensor, "h w 3"]:
        """A layer without marks."""
        if layer == PHOTO and self._views:
            return self._photo_seen_by(camera)
        field = seen.field
        on_device = camera.to(field.splats.means)
        if layer == SIMILARITY:
            return self._similarity(seen, on_device)
        name = LAYERS.get(layer, "rgb")
        head = "feature" if name.startswith("feature") else "rgb"
        heads = () if name == "depth" else (head,)
        drawn = render(field, on_device, rasterizer=self._rasterizer, heads=heads)
        layers = named_layers(drawn.layers, drawn.alpha, drawn.depth)
        return self._painter.paint(name, {key: value.cpu() for key, value in layers.items()})

    @torch.no_grad()
    def marked(self, image: Float[Tensor, "h w 3"], seen: Seen, camera: Camera) -> Float[Tensor, "h w 3"]:
        """A picture with the marks over it."""
        marks = [mark for mark in seen.marks if bool(mark.rows.any())]
        if not marks:
            return image
        splats = seen.field.splats
        channels = torch.stack([mark.rows for mark in marks], dim=-1).to(splats.means)
        shares = self._rasterizer.draw(splats, channels, camera.to(splats.means), RasterConfig()).image.cpu()
        for mark, share in zip(marks, shares.unbind(-1), strict=True):
            image = overlay(image, share, mark.colour, strength=mark.strength)
        return image

    def _similarity(self, seen: Seen, camera: Camera) -> Float[Tensor, "h w 3"]:
        splats = seen.field.splats
        score = torch.zeros(len(splats)) if seen.score is None else seen.score.clamp(0, 1)
        drawn = self._rasterizer.draw(splats, score[:, None].to(splats.means), camera, RasterConfig())
        return scalar_colours(drawn.image[..., 0].cpu()) * drawn.alpha[..., None].clamp(0, 1).cpu()

    def _photo_seen_by(self, camera: Camera) -> Float[Tensor, "h w 3"]:
        """The nearest photo, turned into the camera's direction; exact from where it was taken."""
        name = nearest(self._cameras, camera)
        if self._photo is None or self._photo[0] != name:
            self._photo = name, self._views[name].picture.image()
        photo, taken = self._photo[1], self._cameras[name]
        moved = replace(camera, world_from_camera=camera.world_from_camera.clone())
        moved.world_from_camera[:3, 3] = taken.position.to(camera.world_from_camera)
        at, depth = taken.project((moved.position + moved.directions()).reshape(-1, 3))
        size = torch.tensor([taken.width, taken.height]).to(at)
        places = (2 * at / size - 1).reshape(1, camera.height, camera.width, 2)
        places = torch.where((depth > 0).reshape(1, camera.height, camera.width, 1), places, 9.0)
        return grid_sample(photo.permute(2, 0, 1)[None].to(places), places, align_corners=False)[0].permute(
            1, 2, 0
        )


def _fitted(field: FeatureField, rasterizer: Rasterizer) -> tuple[LayerPainter, frozenset[str]]:
    """A painter whose colours suit the field, and the layers that the field has."""
    cameras = list(field.about.cameras.values()) or [overview(field)]
    chosen = cameras[:: max(1, len(cameras) // PREVIEWS)][:PREVIEWS]
    views = []
    with torch.no_grad():
        for camera in chosen:
            ratio = min(1.0, PREVIEW_PX / max(camera.size))
            small = camera.resized(
                (max(1, round(ratio * camera.width)), max(1, round(ratio * camera.height)))
            )
            drawn = render(field, small.to(field.splats.means), rasterizer=rasterizer)
            layers = named_layers(drawn.layers, drawn.alpha, drawn.depth)
            views.append({name: layer.cpu() for name, layer in layers.items()})
    return LayerPainter.fit(views), frozenset(views[0])


def overview(field: FeatureField) -> Camera:
    """A camera that sees a field which remembers none."""
    from featurefields.visualization.paths import encircle

    return encircle(field.splats.means.detach().cpu(), torch.tensor([0.0, 0.0, 1.0]), 1)[0]
