"""A lifted field with features beside a fitted one: pictures, features and clicks on the same held-out views."""

import argparse
import tempfile
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from benchmarks.lift.subjects import lifted_field, pictures_of, provider_of, the_scene
from featurefields.field import About, FeatureField
from featurefields.files.archive import write_archive
from featurefields.lifting.context import spread_views
from featurefields.raster import Rasterizer, choose_rasterizer
from featurefields.scene import Scene
from featurefields.vision.cache import extract_features
from featurefields.vision.interface import Extractor
from featurefields_cli.console import Console
from featurefields_cli.eval import evaluate, main_rows
from featurefields_cli.features import FeatureOptions, find_extractor, lift_features
from featurefields_cli.held_out import measured_on
from featurefields_cli.inputs import load_field


def measure_features(options: argparse.Namespace) -> list[dict[str, object]]:
    """One row a source of geometry, and one for the fitted field where there is one."""
    console, rasterizer, scene = Console(json=True), choose_rasterizer(), the_scene(options)
    extractor = find_extractor(options.features, "cpu", console)
    assert extractor is not None
    views = spread_views(scene.split("train"), options.views)
    extract_features(views, extractor)  # into the cache: extraction does not count
    names = {view.name for view in views}
    chosen = replace(
        scene,
        views=tuple(view for view in scene.views if view.name in names or view.split == "test"),
    )
    rows: list[dict[str, object]] = []
    for name in options.geometry:
        field, seconds, processor = _lifted(name, chosen, extractor, rasterizer, console)
        again, _, _ = _lifted(name, chosen, extractor, rasterizer, console)
        row: dict[str, object] = {"what": f"{name}, {options.views} views", "splats": len(field)}
        row |= _numbers(field, chosen, extractor, rasterizer, console)
        rows.append(row | {"wall s": seconds, "s": processor, "same bytes": _digest(field) == _digest(again)})
    if options.field is not None:
        fitted, everything = measured_on(load_field(options.field), options.data, console)
        row = {"what": "fitted", "splats": len(fitted)}
        rows.append(row | _numbers(fitted, everything, extractor, rasterizer, console))
    return rows


def _lifted(
    name: str, scene: Scene, extractor: Extractor, rasterizer: Rasterizer, console: Console
) -> tuple[FeatureField, float, float]:
    """The field with features, and the wall and processor seconds from reading the photos on."""
    wall, processor = time.monotonic(), time.process_time()
    pictures = pictures_of(scene, scene.split("train"))
    field = lifted_field(pictures, provider_of(scene, name, rasterizer)(pictures), rasterizer)
    about = About(
        scene=scene.name, world_from_capture=scene.world_from_capture, cameras=dict(scene.cameras()),
        notes={"test_views": [view.name for view in scene.split("test")]},
    )  # fmt: skip
    field = lift_features(
        replace(field, about=about), scene, extractor, rasterizer, console, FeatureOptions()
    )
    return field, time.monotonic() - wall, time.process_time() - processor


def _numbers(
    field: FeatureField, scene: Scene, extractor: Extractor, rasterizer: Rasterizer, console: Console
) -> dict[str, object]:
    """PSNR; agreement of all pixels and of objects; click mIoU, all with the stored features."""
    found = evaluate(field, scene, rasterizer, console, extractor=extractor)
    rows: dict[str, object] = {"PSNR dB": main_rows(found).get("PSNR dB")}
    agreement = found.agreement.get("stored")
    if agreement is not None:
        for label in ("everything", "objects"):
            region = agreement.region(label)
            if region is not None:
                rows[f"cosine, {label}"] = region.total
    for name in ("indep", "total"):
        clicks = found.clicks.get(name)
        row = None if clicks is None else clicks.region("objects") or clicks.regions[0]
        if row is not None:
            rows |= {f"click mIoU {name}": row.iou}
    return rows


def _digest(field: FeatureField) -> str:
    """Of the archive's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_archive(field, Path(folder) / "field.safetensors")
        return sha256(path.read_bytes()).hexdigest()
