"""A lifted field with features beside a fitted one: pictures, features and clicks on the same held-out views."""

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from benchmarks.lift.subjects import lifted_field, pictures_of, provider_of, the_scene
from featurefields.camera import Camera
from featurefields.evaluation.agreement import feature_agreement
from featurefields.evaluation.heldout import held_out_psnr, mean
from featurefields.evaluation.regions import scene_objects
from featurefields.field import About, FeatureField
from featurefields.files.archive import write_archive
from featurefields.lifting.context import spread_views
from featurefields.raster import Rasterizer, choose_rasterizer
from featurefields.scene import Scene
from featurefields.vision.cache import extract_features
from featurefields.vision.interface import Extractor
from featurefields_cli.clicks import ClickTrial, read_clicks
from featurefields_cli.console import Console
from featurefields_cli.features import FeatureOptions, find_extractor, lift_features
from featurefields_cli.held_out import measured_on
from featurefields_cli.inputs import load_field
from featurefields_cli.queries import extracted_from, seen_features, with_features


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
        field, seconds, processor = _lifted(name, chosen, scene.cameras(), extractor, rasterizer, console)
        again, _, _ = _lifted(name, chosen, scene.cameras(), extractor, rasterizer, console)
        row: dict[str, object] = {"what": f"{name}, {options.views} views", "splats": len(field)}
        row |= _numbers(field, scene, extractor, rasterizer)
        rows.append(row | {"wall s": seconds, "s": processor, "same bytes": _digest(field) == _digest(again)})
    if options.field is not None:
        fitted, everything = measured_on(load_field(options.field), options.data, console)
        row = {"what": "fitted", "splats": len(fitted)}
        rows.append(row | _numbers(fitted, everything, extractor, rasterizer))
    return rows


def _lifted(
    name: str,
    scene: Scene,
    cameras: Mapping[str, Camera],
    extractor: Extractor,
    rasterizer: Rasterizer,
    console: Console,
) -> tuple[FeatureField, float, float]:
    """The field with features, and the wall and processor seconds from reading the photos on."""
    wall, processor = time.monotonic(), time.process_time()
    pictures = pictures_of(scene, scene.split("train"))
    field = lifted_field(pictures, provider_of(scene, name, rasterizer)(pictures), rasterizer)
    about = About(
        scene=scene.name, world_from_capture=scene.world_from_capture, cameras=dict(cameras),
        notes={"test_views": [view.name for view in scene.split("test")]},
    )  # fmt: skip
    field = lift_features(
        replace(field, about=about), scene, extractor, rasterizer, console, FeatureOptions()
    )
    return field, time.monotonic() - wall, time.process_time() - processor


def _numbers(
    field: FeatureField, scene: Scene, extractor: Extractor, rasterizer: Rasterizer
) -> dict[str, object]:
    """PSNR; agreement of all pixels and of objects; one click an object, all with the stored features."""
    held, objects, clicks = scene.split("test"), scene_objects(scene), read_clicks(scene)
    rows: dict[str, object] = {
        "PSNR dB": mean(list(held_out_psnr(field, held, rasterizer=rasterizer).values()))
    }
    agreement = feature_agreement(
        field, scene, objects, diffuse=lambda view: None, photo=extracted_from(scene, extractor, None, cache=None),
        rasterizer=rasterizer,
    )  # fmt: skip
    for label in ("everything", "objects"):
        region = agreement.region(label)
        if region is not None:
            rows[f"cosine, {label}"] = region.total
    if clicks and objects:
        trial = ClickTrial.of(field, scene, clicks, objects, rasterizer=rasterizer)

        def clicked(camera: Camera) -> FeatureField:
            return with_features(field, seen_features(field, camera, "indep"))

        found = trial.measure(clicked, lambda: None)
        row = found.region("objects") or found.regions[0]
        rows |= {"click mIoU": row.iou, "best size": row.oracle}
    return rows


def _digest(field: FeatureField) -> str:
    """Of the archive's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_archive(field, Path(folder) / "field.safetensors")
        return sha256(path.read_bytes()).hexdigest()
