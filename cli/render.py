"""`ff render`: views and layers of a field as PNG files."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

import tyro

from featurefields.errors import UnknownNameError

from .console import Console, Summary
from .inputs import load_field
from .options import (
    ComputeOptions,
    Names,
    Number,
    OptionalPath,
    Output,
    RepeatedNames,
    ReportOptions,
    WriteOptions,
)
from .viewpoints import chosen_views, held_out, in_scene, orbit_views, sized

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer

UP_AXES = {"y-down": (0.0, -1.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
PREVIEWS = 4
PREVIEW_PX = 160
"""Colours of depth and features are chosen on so many small pictures, to be the same in every view."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Draw views and layers of a field to PNG files called <view>_<layer>.png.

    Draws the held-out views that the field remembers, or what --view, --all or --orbit choose.
    """

    field: tyro.conf.Positional[Path]
    """A .safetensors archive, a folder that `ff fit` wrote, or any 3DGS .ply."""
    output: Output
    """Folder for the pictures."""
    view: RepeatedNames = ()
    """Name of a view to draw (full name, file name, or file name without ending)."""
    all: bool = False
    """Draw every view, not only the held-out ones."""
    orbit: Number = None
    """Draw this many frames of an orbit around the scene instead of its views."""
    up: Literal["y-down", "y", "z"] = "y-down"
    """Which way is up when --orbit goes around a .ply that remembers no views."""
    scene: OptionalPath = None
    """Take the views from this folder of posed photos, for a .ply that was made from them."""
    layers: Names = ()
    """Which layers of rgb indep dep normal roughness feature feature_indep feature_dep depth alpha (default: all
    that the field has)."""
    size: Number = None
    """Longest side of the pictures in pixels (default: as the views are)."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: RenderOptions, console: Console) -> Summary:
    """Draw and write the pictures; nothing is drawn when one of the files exists and may not be replaced."""
    field = load_field(options.field)
    device, rasterizer = options.compute.torch_device(), options.compute.rasterizer()

    from featurefields.atomic import refuse_existing
    from featurefields.images import write_png
    from featurefields.visualization.layers import LayerPainter

    field, cameras = _viewpoints(options, field)
    field = field.to(device)
    cameras = {name: sized(camera, options.size).to(device) for name, camera in cameras.items()}
    spread = list(cameras.values())[:: -(-len(cameras) // PREVIEWS)]
    small = [sized(camera, min(PREVIEW_PX, max(camera.size))) for camera in spread]
    previews = [_drawn(field, camera, options.layers, rasterizer) for camera in small]
    layers = _chosen_layers(options.layers, previews[0])
    painter = LayerPainter.fit(previews)
    paths = {(view, layer): options.output / f"{view}_{layer}.png" for view in cameras for layer in layers}
    for path in paths.values():
        refuse_existing(path, options.write.overwrite)

    milliseconds = []
    with console.progress("drawing", len(cameras)) as advance:
        for view, camera in cameras.items():
            start = time.perf_counter()
            drawn = _drawn(field, camera, options.layers, rasterizer)
            milliseconds.append(1e3 * (time.perf_counter() - start))
            for layer in layers:
                write_png(paths[view, layer], painter.paint(layer, drawn), overwrite=options.write.overwrite)
            advance(ms=milliseconds[-1])
    sizes = dict.fromkeys(f"{camera.width} x {camera.height}" for camera in cameras.values())
    rows = {
        "views": len(cameras),
        "layers": layers,
        "size": list(sizes),
        "splats": len(field),
        "backend": rasterizer.name,
        "ms per view": median(milliseconds),
    }
    return Summary(f"drew {options.field} into {options.output}", rows, list(paths.values()))


def _viewpoints(options: RenderOptions, field: "FeatureField") -> "tuple[FeatureField, dict[str, Camera]]":
    """The field, in the frame of the scene if one is given, and the cameras by the names of their pictures."""
    cameras, preferred, up = dict(field.about.cameras), held_out(field), None
    if options.scene is not None:
        field, cameras, preferred, up = in_scene(field, options.scene)
    if options.orbit is not None:
        return field, orbit_views(field, cameras, options.orbit, up, UP_AXES[options.up])
    if not cameras:
        raise UnknownNameError(
            f"{options.field} remembers no views; pass --orbit N to circle it, or --scene FOLDER with the "
            "photos it was made from"
        )
    return field, chosen_views(cameras, options.view, () if options.all else preferred)


def _drawn(
    field: "FeatureField", camera: "Camera", wanted: tuple[str, ...], rasterizer: "Rasterizer"
) -> "dict[str, Tensor]":
    """The layers on the CPU, of all heads or of those that the wanted layers need."""
    import torch

    from featurefields.field import render
    from featurefields.visualization.layers import named_layers

    heads = {_head_of(layer, field.heads) for layer in wanted} - {""} if wanted else None
    with torch.no_grad():
        drawn = render(field, camera, rasterizer=rasterizer, heads=heads)
    layers = named_layers(drawn.layers, drawn.alpha, drawn.depth)
    return {name: layer.cpu() for name, layer in layers.items()}


def _head_of(layer: str, heads: Mapping[str, object]) -> str:
    """The head that gives `layer`, as `named_layers` calls it; "" for depth and alpha."""
    if layer in ("depth", "alpha"):
        return ""
    other = [head for head in heads if head != "rgb" and (layer == head or layer.startswith(f"{head}_"))]
    return max(other, key=len) if other else "rgb"


def _chosen_layers(wanted: tuple[str, ...], drawn: "Mapping[str, Tensor]") -> list[str]:
    for layer in wanted:
        if layer not in drawn:
            raise UnknownNameError(
                f"--layers asked for '{layer}', which this field does not have; the heads it needs draw: "
                f"{', '.join(drawn)}"
            )
    return list(dict.fromkeys(wanted)) or list(drawn)
