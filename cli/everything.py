"""`ff segment FIELD --all`: every object at once, without a prompt."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import PromptError

from .baking import baked
from .console import Console, Summary
from .options import ComputeOptions
from .viewpoints import chosen_views, held_out

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.files.labels import Labels
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene

SCENE_FILE, OBJECTS_FOLDER = "scene.ply", "objects"
OVERLAYS = 4


def refuse(output: Path, overwrite: bool) -> None:
    """Raise `WriteError` when results of an earlier call are in the folder and may not be replaced."""
    from featurefields.atomic import refuse_existing

    for path in (output / SCENE_FILE, *_objects(output), *output.glob("overlay_*.png")):
        refuse_existing(path, overwrite)


def run(
    field: "FeatureField",
    scene: "Scene | None",
    output: Path,
    console: Console,
    *,
    source: Path,
    compute: ComputeOptions,
    overwrite: bool = False,
    in_world: bool = False,
) -> Summary:
    """Find all objects of a field and write them into the folder `output`.

    scene.ply with the property "label" and its .labels.json; objects/object_01.ply and on from the largest, each with
    its selection beside it; pictures of the objects over the photos of a few views.

    Args:
        field: what is looked at, on the CPU.
        scene: its photos, None when they are gone.
        output: folder for the results.
        console: tells progress.
        source: what the summary calls the field.
        compute: device and backend.
        overwrite: replace what is there, objects of an earlier call with more objects included.
        in_world: write .ply files in the field's own frame instead of the photos'.

    Raises:
        PromptError: the field has no features, or nothing in it is large enough to be an object.
        WriteError: results are there already and `overwrite` is False.
    """
    import time

    refuse(output, overwrite)
    rasterizer, device = compute.rasterizer(), compute.torch_device()
    started = time.perf_counter()
    placed = field.to(device)
    labels = find(placed, rasterizer, console)
    seconds = time.perf_counter() - started
    stale = set(_objects(output))
    paths = _write_splats(field, labels, output, console, overwrite=overwrite, in_world=in_world)
    paths += _write_overlays(placed, labels, output, scene, rasterizer, console, overwrite=overwrite)
    for path in stale - set(paths):
        path.unlink()
    counts = {name: labels.count(number) for number, name in labels.names().items()}
    rows = {
        "objects": len(counts),
        "splats of the largest": max(counts.values()),
        "splats of the smallest": min(counts.values()),
        "splats of none": labels.count(0),
        "splats": len(field),
        "seconds": round(seconds, 2),
    }
    photos = scene.folder if scene is not None else "PHOTOS"
    following = [f"ff masks {output / SCENE_FILE} --data {photos} -o {output / 'masks'}"]
    return Summary(f"all objects of {source}", rows, paths, following, details={"labels": counts})


def find(field: "FeatureField", rasterizer: "Rasterizer", console: Console) -> "Labels":
    """The objects of a field, from the largest, called "object 1" and on.

    Raises:
        PromptError: the field has no features, or nothing in it is large enough to be an object.
    """
    from dataclasses import asdict

    from featurefields.files.labels import Label, Labels
    from featurefields.segmentation.everything import EverythingConfig, by_size, by_votes, everything

    config = EverythingConfig()
    with console.progress(f"grouping {len(field):,} splats"):
        ids = everything(field, config=config)
    views = [name for name in field.about.cameras if name not in set(held_out(field))]
    with console.progress("asking what the views show", len(views)) as advance:
        cameras = (field.about.cameras[name] for name in views)
        ids = by_votes(field, ids, cameras, rasterizer=rasterizer, on_view=lambda: advance(1))
    ids = by_size(ids, config.least(len(field))).cpu()
    count = int(ids.max()) if len(ids) else 0
    if count == 0:
        raise PromptError(
            f"of {len(field)} splats no group of {config.least(len(field))} or more is an object; select with clicks"
        )
    how = {"everything": {**asdict(config), "smallest": config.least(len(field))}, "views": len(views)}
    entries = {number: Label(f"object {number}", {**how, "object": number}) for number in range(1, count + 1)}
    return Labels(ids, entries, field.fingerprint())


def _objects(output: Path) -> list[Path]:
    """What an earlier call wrote for single objects."""
    folder = output / OBJECTS_FOLDER
    return [
        path for path in folder.glob("object_*") if re.fullmatch(r"object_\d+\.(ply|safetensors)", path.name)
    ]


def _write_splats(
    field: "FeatureField",
    labels: "Labels",
    output: Path,
    console: Console,
    *,
    overwrite: bool,
    in_world: bool,
) -> list[Path]:
    """The whole scene with labels, and every object by itself with its selection."""
    from featurefields.files.labels import write_labels
    from featurefields.files.ply import write_ply
    from featurefields.files.selection import write_selection
    from featurefields.segmentation.scores import stored_features
    from featurefields.selection import Selection

    ordinary = baked(field, console, in_world=in_world)
    paths = list(write_labels(ordinary, labels, output / SCENE_FILE, overwrite=overwrite))
    features = stored_features(field)
    with console.progress("writing objects", len(labels.entries)) as advance:
        for number, entry in labels.entries.items():
            mask = labels.ids == number
            stem = output / OBJECTS_FOLDER / f"object_{number:02d}"
            paths.append(write_ply(ordinary.select(mask), stem.with_suffix(".ply"), overwrite=overwrite))
            selection = Selection(mask, _likeness(features, mask), labels.field_id, dict(entry.how))
            paths.append(write_selection(selection, stem.with_suffix(".safetensors"), overwrite=overwrite))
            advance(1)
    return paths


def _likeness(features: "Tensor", mask: "Tensor") -> "Tensor":
    """Cosine (n) of every Gaussian's feature with the mean direction of the masked ones'."""
    from torch.nn.functional import normalize

    units = normalize(features, dim=-1)
    return units @ normalize(units[mask].mean(0), dim=-1)


def _write_overlays(
    field: "FeatureField",
    labels: "Labels",
    output: Path,
    scene: "Scene | None",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    overwrite: bool,
) -> list[Path]:
    """The objects in colours over a few photos, held-out ones first; over drawn views where the photos are gone."""
    import torch

    from featurefields.field import render
    from featurefields.images import write_png
    from featurefields.segmentation.masks import label_picture, mask_shares
    from featurefields.visualization.categories import distinct_colours, labels_over

    cameras, count = field.about.cameras, len(labels.entries)
    names = [name for name in held_out(field) if name in cameras] or list(cameras)
    names = names[:: max(1, len(names) // OVERLAYS)][:OVERLAYS]
    if not names:
        return []
    pictures = {view.name: view.picture for view in scene.views} if scene is not None else {}
    masks, colours = labels.ids[:, None] == torch.arange(1, count + 1), distinct_colours(count)
    paths = []
    with console.progress("drawing overlays", len(names)) as advance:
        for title, name in zip(chosen_views(cameras, names, ()), names, strict=True):
            camera, image = cameras[name].to(field.splats.means), None
            with torch.no_grad():
                shares = mask_shares(field, masks, camera, rasterizer=rasterizer).cpu()
                if name not in pictures:
                    image = render(field, camera, rasterizer=rasterizer, heads=("rgb",))["rgb"]["total"].cpu()
            image = pictures[name].image() if image is None else image
            picture = labels_over(image.clamp(0, 1), label_picture(shares > 0.5, shares), colours)
            paths.append(write_png(output / f"overlay_{title}.png", picture, overwrite=overwrite))
            advance(1)
    return paths
