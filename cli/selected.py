"""What `ff segment` writes: the selection, the object and the rest as PLYs, and overlays."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .baking import baked
from .console import Console
from .existing import splat_file, write_parts
from .viewpoints import chosen_views, held_out

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene
    from featurefields.selection import Selection

SELECTION_FILE = "selection.safetensors"
OBJECT, REST = "object", "rest"
OVERLAYS = 4


def write_selection_results(
    field: "FeatureField",
    selection: "Selection",
    folder: Path,
    view: str,
    scene: "Scene | None",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    overwrite: bool,
    in_world: bool = False,
) -> list[Path]:
    """The selection file, object and rest as PLY, and overlays of the clicked and some other views."""
    from featurefields.files.selection import write_selection
    from featurefields.images import write_png

    paths = [write_selection(selection, folder / SELECTION_FILE, overwrite=overwrite)]
    parts = {OBJECT: selection.mask, REST: ~selection.mask}
    paths += write_parts_of(field, parts, folder, console, overwrite=overwrite, in_world=in_world)
    views = overlay_views(field, view)
    with console.progress("drawing overlays", len(views)) as advance:
        for file, name in views.items():
            image = overlay_of(field, selection, name, scene, rasterizer)
            paths.append(write_png(folder / file, image, overwrite=overwrite))
            advance(1)
    return paths


def write_parts_of(
    field: "FeatureField",
    parts: "Mapping[str, Tensor]",
    folder: Path,
    console: Console,
    *,
    overwrite: bool,
    in_world: bool = False,
) -> list[Path]:
    """NAME.ply for every part (a mask over all Gaussians) that is not empty.

    In the frame of the photos, or in the field's own with `in_world`. Of a field that came from a splat file which is
    still there, they are that file's rows as they are, in its frame.
    """
    from featurefields.files.ply import write_ply

    source = None if in_world else splat_file(field)
    if source is not None:
        return write_parts(source, dict(parts), folder, console, overwrite=overwrite)
    ordinary = baked(field, console, in_world=in_world)
    return [
        write_ply(ordinary.select(mask), folder / f"{name}.ply", overwrite=overwrite)
        for name, mask in parts.items()
        if bool(mask.any())
    ]


def overlay_views(field: "FeatureField", view: str) -> dict[str, str]:
    """File name → view of the pictures of a selection: the clicked view and a few others, held-out ones first."""
    others = [name for name in dict.fromkeys((*held_out(field), *field.about.cameras)) if name != view]
    views = [view, *others[:: max(1, len(others) // OVERLAYS)][:OVERLAYS]]
    titles = chosen_views(field.about.cameras, views, ())
    return {f"overlay_{title}.png": name for title, name in zip(titles, views, strict=True)}


def overlay_of(
    field: "FeatureField",
    selection: "Selection",
    view: str,
    scene: "Scene | None",
    rasterizer: "Rasterizer",
) -> "Tensor":
    """The selection over the photo (h w 3); over the drawn view where the photo is gone."""
    import torch

    from featurefields.field import render
    from featurefields.segmentation.masks import mask_share
    from featurefields.visualization.sheets import overlay

    photos: Mapping = {} if scene is None else {entry.name: entry for entry in scene.views}
    if view in photos:
        image = photos[view].picture.image()
    else:
        with torch.no_grad():
            drawn = render(field, field.about.cameras[view], rasterizer=rasterizer, heads=("rgb",))
        image = drawn["rgb"]["total"]
    mask = mask_share(field, selection.mask, field.about.cameras[view], rasterizer=rasterizer) > 0.5
    return overlay(image.clamp(0, 1), mask, (1.0, 0.55, 0.0))


def threshold_of(selection: "Selection") -> float | None:
    """The threshold that prompts led to; None where something else decided."""
    threshold = selection.how.get("threshold")
    return round(threshold, 3) if isinstance(threshold, float) else None


def candidates_of(selection: "Selection") -> list[str]:
    """What prompts may mean, in words; nothing where there was no choice."""
    told = selection.how.get("candidates")
    return [
        f"{number}: {one['share']:.2%} of what is seen ({one['confidence']:.0%} sure)"
        for number, one in enumerate(told if isinstance(told, list) else [], start=1)
    ]
