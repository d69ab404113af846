"""`ff segment`: clicks to a selection, its pictures and PLYs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from featurefields.errors import PromptError

from .baking import baked
from .console import Console, Summary
from .inputs import load_field
from .options import ComputeOptions, Decimal, OptionalName, OptionalPath, Output, ReportOptions, WriteOptions
from .photos import click_of, scene_of
from .viewpoints import chosen_views, held_out, view_name

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene
    from featurefields.selection import Selection

Clicks = tyro.conf.UseAppendAction[
    Annotated[tuple[str, ...], tyro.conf.arg(metavar="X,Y", help_behavior_hint="(may be repeated)")]
]
SELECTION_FILE = "selection.safetensors"
OVERLAYS = 4


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Select an object in 3D by clicking it in a photo.

    Writes the selection, the object and the rest as ordinary 3DGS .ply files, and pictures of the selection.
    """

    field: tyro.conf.Positional[Path]
    """A folder that `ff fit` wrote, or a .safetensors archive with features."""
    output: Output
    """Folder for the results."""
    view: OptionalName = None
    """Photo that is clicked (full name, file name, or file name without ending); the first one when not given."""
    click: Clicks = ()
    """Pixel of the photo that shows the object; the top left pixel is 0,0."""
    negative: Clicks = ()
    """Pixel of the photo that shows something else."""
    threshold: Decimal = None
    """Least similarity (cosine) with what was clicked; found automatically when not given."""
    everywhere: bool = False
    """Also select what is alike but not connected to a click."""
    data: OptionalPath = None
    """Folder of the photos, when it is not where it was fitted."""
    frame_world: bool = False
    """Write the .ply files in the field's own frame instead of the photos'."""
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: SegmentOptions, console: Console) -> Summary:
    """Click, select, write."""
    from featurefields.atomic import refuse_existing
    from featurefields.segmentation.select import SelectConfig, select

    for name in (SELECTION_FILE, "object.ply", "rest.ply"):
        refuse_existing(options.output / name, options.write.overwrite)
    if not options.click:
        raise PromptError("nothing was clicked; say which pixel shows the object with --click X,Y")
    rasterizer = options.compute.rasterizer()
    field = load_field(options.field)
    if not field.about.cameras:
        raise PromptError(
            f"{options.field} remembers no views to click in; give a field that `ff fit` wrote from photos"
        )
    names = list(field.about.cameras)
    view = names[0] if options.view is None else view_name(options.view, names)
    for name in overlay_views(field, view):
        refuse_existing(options.output / name, options.write.overwrite)
    scene = scene_of(field, options.data, console)
    if scene is None:
        console.note("the photos are not at hand: clicks are pixels of the drawn view")
    clicks = [click_of(text, view, field, scene) for text in options.click]
    clicks += [click_of(text, view, field, scene, positive=False) for text in options.negative]
    started = time.perf_counter()
    config = SelectConfig(threshold=options.threshold, connected=not options.everywhere)
    selection = select(field.to(options.compute.torch_device()), clicks, rasterizer=rasterizer, config=config)
    seconds = time.perf_counter() - started
    paths = write_selection_results(
        field, selection, options.output, view, scene, rasterizer, console,
        overwrite=options.write.overwrite, in_world=options.frame_world,
    )  # fmt: skip
    rows = {
        "view": view,
        "clicks": [f"{text}" for text in (*options.click, *(f"not {n}" for n in options.negative))],
        "splats selected": selection.count,
        "of": len(field),
        "threshold": round(float(str(selection.how["threshold"])), 3),
        "selecting ms": round(1000 * seconds),
    }
    return Summary(
        f"selected in {options.field}",
        rows,
        paths,
        [f"ff edit {options.field} --selection {paths[0]} --remove-specular -o {options.output}/edited"],
    )


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
    from featurefields.files.ply import write_ply
    from featurefields.files.selection import write_selection
    from featurefields.images import write_png

    paths = [write_selection(selection, folder / SELECTION_FILE, overwrite=overwrite)]
    ordinary = baked(field, console, in_world=in_world)
    for name, mask in (("object", selection.mask), ("rest", ~selection.mask)):
        if bool(mask.any()):
            paths.append(write_ply(ordinary.select(mask), folder / f"{name}.ply", overwrite=overwrite))
    views = overlay_views(field, view)
    with console.progress("drawing overlays", len(views)) as advance:
        for file, name in views.items():
            image = overlay_of(field, selection, name, scene, rasterizer)
            paths.append(write_png(folder / file, image, overwrite=overwrite))
            advance(1)
    return paths


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
