"""Drawing a field's layers in colours that stay the same in every picture of a command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurefields.errors import UnknownNameError

from .flights import Flight, spread
from .viewpoints import sized

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.visualization.layers import LayerPainter

PREVIEWS = 4
PREVIEW_PX = 160
"""Colours of depth and features are chosen on so many small pictures, to be the same in every view."""


@dataclass(frozen=True)
class LayerDrawer:
    """Draws layers of fields that share their colours."""

    rasterizer: "Rasterizer"
    layers: tuple[str, ...]
    painter: "LayerPainter"

    def drawn(self, field: "FeatureField", camera: "Camera") -> "dict[str, Tensor]":
        """What `camera` sees: every layer (h w d) by name, on the CPU."""
        return drawn_layers(field, camera.to(field.splats.means.device), self.layers, self.rasterizer)

    def painted(self, drawn: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Display colours (h w 3) of the chosen layers."""
        return {layer: self.painter.paint(layer, drawn) for layer in self.layers}


def layer_drawer(
    fields: "Sequence[FeatureField]", flight: Flight, wanted: tuple[str, ...], rasterizer: "Rasterizer"
) -> LayerDrawer:
    """A drawer of the wanted layers (default: all) whose colours suit the fields.

    They are chosen on cameras of the scene where there are any, so that they do not depend on the path.

    Raises:
        UnknownNameError: a field does not have a wanted layer.
    """
    from featurefields.visualization.layers import LayerPainter

    cameras = spread(list(flight.known) or list(flight.cameras.values()), PREVIEWS)
    small = [sized(camera, min(PREVIEW_PX, max(camera.size))) for camera in cameras]
    previews = [
        drawn_layers(field, camera.to(field.splats.means.device), wanted, rasterizer)
        for field in fields
        for camera in small
    ]
    for drawn in previews[:: len(small)]:
        _check(wanted, drawn)
    chosen = tuple(dict.fromkeys(wanted)) or tuple(previews[0])
    return LayerDrawer(rasterizer, chosen, LayerPainter.fit(previews))


def drawn_layers(
    field: "FeatureField", camera: "Camera", wanted: tuple[str, ...], rasterizer: "Rasterizer"
) -> "dict[str, Tensor]":
    """The layers on the CPU, of all heads or of those that the wanted layers need."""
    import torch

    from featurefields.field import render
    from featurefields.visualization.layers import named_layers

    heads = {head_of(layer, field.heads) for layer in wanted} - {""} if wanted else None
    with torch.no_grad():
        drawn = render(field, camera, rasterizer=rasterizer, heads=heads)
    layers = named_layers(drawn.layers, drawn.alpha, drawn.depth)
    return {name: layer.cpu() for name, layer in layers.items()}


def head_of(layer: str, heads: Mapping[str, object]) -> str:
    """The head that gives `layer`, as `named_layers` calls it; "" for depth and alpha."""
    if layer in ("depth", "alpha"):
        return ""
    other = [head for head in heads if head != "rgb" and (layer == head or layer.startswith(f"{head}_"))]
    return max(other, key=len) if other else "rgb"


def _check(wanted: tuple[str, ...], drawn: "Mapping[str, Tensor]") -> None:
    for layer in wanted:
        if layer not in drawn:
            raise UnknownNameError(
                f"--layers asked for '{layer}', which this field does not have; the heads it needs draw: "
                f"{', '.join(drawn)}"
            )
