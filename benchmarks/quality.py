"""Quality of the main job against ground truth, on a scene with masks and, if it has them, diffuse-only pictures.

Fits a scene (or takes a field) and measures it as `ff eval` does (docs/evaluation.md): PSNR, one click an object with
the automatic and with the best threshold. Besides:

- reflections: for every object, `RemoveSpecular` on the Gaussians that show it in the *true* masks of all views (so
  that segmentation errors stay out); mean squared error inside the object's mask over all held-out views against the
  diffuse picture, before and after, in dB.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene

DEMO = Path(__file__).parent.parent / "assets" / "demo_scene"


@dataclass(frozen=True)
class ObjectRow:
    """Results for one object; NaN where the scene has no truth for it."""

    name: str
    material: str
    iou: float
    oracle: float
    photo_psnr: float
    before_db: float
    after_db: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", type=Path, default=DEMO, help="scene folder (default: the demo scene)")
    parser.add_argument("--field", type=Path, help="fitted field; fitted now when not given")
    parser.add_argument("--features", default="classical", help="extractor (default: classical)")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--splats", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args(arguments)
    rows, facts = measure(options)
    show(rows, facts)
    if options.json:
        from featurefields.atomic import write_bytes

        content = {"facts": facts, "objects": [asdict(row) for row in rows]}
        write_bytes(options.json, json.dumps(content, indent=1).encode(), overwrite=True)
    return 0


def measure(options: argparse.Namespace) -> tuple[list[ObjectRow], dict[str, object]]:
    """Fit (or read) and measure every object that has a click."""
    from featurefields.evaluation.colour import measure_colour
    from featurefields.evaluation.regions import scene_objects
    from featurefields.memory import keep_freed_memory
    from featurefields.raster import choose_rasterizer
    from featurefields_cli.clicks import ClickTrial, read_clicks
    from featurefields_cli.queries import seen_features, with_features

    keep_freed_memory()
    rasterizer = choose_rasterizer()
    started = time.monotonic()
    field, scene = fitted_field(options, rasterizer)
    seconds = time.monotonic() - started
    objects, clicks = scene_objects(scene), read_clicks(scene)
    colour = measure_colour(field, scene, objects, rasterizer=rasterizer).rows
    shown = dict(zip((entry.id for entry in objects), colour.objects, strict=True))
    trial = ClickTrial.of(field, scene, clicks, objects, rasterizer=rasterizer)
    clicked = trial.measure(lambda camera: with_features(field, seen_features(field, camera, "indep")))
    rows = []
    for click, row in zip(clicks, clicked.objects, strict=True):
        psnr = shown[click.id].psnr_db if click.id in shown else float("nan")
        before, after = reflections(field, scene, click.id, rasterizer)
        rows.append(ObjectRow(row.name, row.material, row.iou, row.oracle, psnr, before, after))
    wide, total = colour.region("objects") or colour.regions[0], clicked.region("objects")
    facts: dict[str, object] = {
        "scene": scene.name, "splats": len(field), "seconds": round(seconds, 1), "features": options.features,
        "PSNR of held-out views (ids > 0)": round(wide.psnr_db, 2),
    }  # fmt: skip
    if total is not None:
        facts |= {
            "single click mIoU": round(total.iou, 4),
            "with oracle threshold": round(total.oracle, 4),
        }
    return rows, facts


def fitted_field(options: argparse.Namespace, rasterizer: "Rasterizer") -> "tuple[FeatureField, Scene]":
    """The given field, or one fitted now with the command line's own functions; features lifted anew if asked for."""
    from featurefields.fitting.appearance import AppearanceConfig
    from featurefields.fitting.densify import DensifyConfig
    from featurefields.readers import read_scene
    from featurefields.vision.select import choose_extractor
    from featurefields_cli.console import Console
    from featurefields_cli.features import lift_features
    from featurefields_cli.fit import fit_appearance
    from featurefields_cli.held_out import measured_on
    from featurefields_cli.inputs import load_field

    console = Console()
    if options.field:
        field = load_field(options.field)
    else:
        config = AppearanceConfig(
            steps=options.steps, seed=options.seed, densify=DensifyConfig(budget=options.splats)
        )
        field = fit_appearance(read_scene(options.data), config, rasterizer, console)
    field, scene = measured_on(field, options.data, console)
    extractor = choose_extractor(options.features)
    if field.about.extractor != extractor.fingerprint:
        field = lift_features(field, scene, extractor, rasterizer, console)
    return field, scene


def reflections(
    field: "FeatureField", scene: "Scene", id: int, rasterizer: "Rasterizer"
) -> tuple[float, float]:
    """dB against the diffuse pictures inside the object, before and after its reflections are removed."""
    import torch

    from featurefields.editing.edits import RemoveSpecular, apply
    from featurefields.evaluation.metrics import decibel, squared_error
    from featurefields.evaluation.regions import MIN_PIXELS, instance_ids
    from featurefields.field import render

    edited = apply(RemoveSpecular(), field, true_gaussians(field, scene, id, rasterizer))
    errors: dict[str, list[float]] = {"before": [], "after": []}
    for view in scene.split("test"):
        diffuse, mask = view.picture.layer("diffuse"), instance_ids(view) == id
        if diffuse is None or int(mask.sum()) < MIN_PIXELS:
            continue
        for name, shown in (("before", field), ("after", edited)):
            with torch.no_grad():
                drawn = render(shown, view.camera, rasterizer=rasterizer, heads=("rgb",))["rgb"]["total"]
            errors[name].append(float(squared_error(drawn, diffuse)[mask].mean()))
    return decibel(errors["before"]), decibel(errors["after"])


def true_gaussians(field: "FeatureField", scene: "Scene", id: int, rasterizer: "Rasterizer") -> "Tensor":
    """Gaussians more than half of whose visible weight, over the views with ids, falls on the object."""
    import torch

    from featurefields.evaluation.regions import instance_ids
    from featurefields.raster import RasterConfig

    total = torch.zeros(len(field), 2)
    for view in scene.views:
        if view.picture.layer("instance") is None:
            continue
        ids = instance_ids(view)
        maps = torch.stack([ids == id, torch.ones_like(ids, dtype=torch.bool)], -1).float()
        total += rasterizer.gather(field.splats, maps, view.camera, RasterConfig())
    return (total[:, 0] > 0.5 * total[:, 1]) & (total[:, 1] > 0)


def show(rows: list[ObjectRow], facts: dict[str, object]) -> None:
    """Tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout)
    for label, value in facts.items():
        console.print(f"{label}: {value}")
    table = Table(
        "object", "material", "click IoU", "oracle IoU", "PSNR", "before → diffuse dB", "after → diffuse dB"
    )
    for row in rows:
        numbers = (row.iou, row.oracle, row.photo_psnr, row.before_db, row.after_db)
        table.add_row(
            row.name,
            row.material,
            *(f"{number:.3f}" if i < 2 else f"{number:.2f}" for i, number in enumerate(numbers)),
        )
    console.print(table)
