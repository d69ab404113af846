"""Quality of the main job against ground truth, on a scene with masks and, if it has them, diffuse-only pictures.

A scene folder needs clicks.json (object → id, image, x, y) and instance ids in its held-out views; meta.json (names and
materials) and diffuse pictures are used where they are. Protocols:

- PSNR: mean over held-out views of the dB over pixels with an id > 0.
- click: one click an object (clicks.json); the selection is drawn into every held-out view that shows at least
  MIN_PIXELS of the object; a pixel is selected when selected Gaussians show more than half of it; IoU with the ids;
  mean over views, then over objects. "oracle" is the best single threshold for each object, for comparison.
- reflections: for every object, `RemoveSpecular` on the Gaussians that show it in the *true* masks of the fitted views
  (so that segmentation errors stay out); mean squared error inside the object's mask over all held-out views against
  the diffuse picture, before and after, in dB.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MIN_PIXELS = 30
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

        content = {"facts": facts, "objects": [row.__dict__ for row in rows]}
        write_bytes(options.json, json.dumps(content, indent=1).encode(), overwrite=True)
    return 0


def measure(options: argparse.Namespace) -> tuple[list[ObjectRow], dict[str, object]]:
    """Fit (or read) and measure every object that has a click."""
    from featurefields.memory import keep_freed_memory
    from featurefields.raster import choose_rasterizer
    from featurefields.readers import read_scene

    keep_freed_memory()
    rasterizer = choose_rasterizer()
    scene = read_scene(options.data)
    started = time.monotonic()
    field = fitted_field(scene, options, rasterizer)
    seconds = time.monotonic() - started
    clicks = json.loads((options.data / "clicks.json").read_text(encoding="utf-8"))
    materials = {}
    if (options.data / "meta.json").exists():
        meta = json.loads((options.data / "meta.json").read_text(encoding="utf-8"))
        materials = {entry["name"]: entry.get("kind", "") for entry in meta.get("objects", [])}
    truth = Truth.of(scene, field, rasterizer)
    rows = [truth.row(name, click, materials.get(name, "")) for name, click in clicks.items()]
    facts: dict[str, object] = {
        "scene": scene.name, "splats": len(field), "seconds": round(seconds, 1), "features": options.features,
        "PSNR of held-out views (ids > 0)": round(truth.psnr(), 2),
        "single click mIoU": round(float(np.nanmean([row.iou for row in rows])), 4),
        "with oracle threshold": round(float(np.nanmean([row.oracle for row in rows])), 4),
    }  # fmt: skip
    return rows, facts


def fitted_field(scene, options: argparse.Namespace, rasterizer):
    """The given field, or one fitted now with the command line's own functions; features lifted anew if asked for."""
    from featurefields.fitting.appearance import AppearanceConfig
    from featurefields.fitting.densify import DensifyConfig
    from featurefields.vision.select import choose_extractor
    from featurefields_cli.console import Console
    from featurefields_cli.features import lift_features
    from featurefields_cli.fit import fit_appearance
    from featurefields_cli.inputs import load_field

    console = Console()
    if options.field:
        field = load_field(options.field)
    else:
        config = AppearanceConfig(
            steps=options.steps, seed=options.seed, densify=DensifyConfig(budget=options.splats)
        )
        field = fit_appearance(scene, config, rasterizer, console)
    extractor = choose_extractor(options.features)
    if field.about.extractor == extractor.fingerprint:
        return field
    return lift_features(field, scene, extractor, rasterizer, console, dim=32, cache=None)


@dataclass(frozen=True)
class Truth:
    """A field beside its scene's ground truth, drawn once per held-out view."""

    scene: object
    field: object
    rasterizer: object
    ids: dict
    drawn: dict

    @staticmethod
    def of(scene, field, rasterizer) -> "Truth":
        import torch

        from featurefields.field import render

        ids, drawn = {}, {}
        with torch.no_grad():
            for view in scene.split("test"):
                picture = view.picture.layer("instance")
                ids[view.name] = picture.reshape(view.camera.height, view.camera.width).long()
                drawn[view.name] = render(field, view.camera, rasterizer=rasterizer, heads=("rgb",))["rgb"][
                    "total"
                ]
        return Truth(scene, field, rasterizer, ids, drawn)

    def views(self):
        return self.scene.split("test")

    def psnr(self) -> float:
        from featurefields.evaluation.metrics import psnr

        values = [
            psnr(self.drawn[view.name], view.picture.image(), self.ids[view.name] > 0)
            for view in self.views()
        ]
        return float(np.mean(values))

    def row(self, name: str, click: dict, material: str) -> ObjectRow:
        automatic, oracle = self.click_ious(click)
        before, after = self.reflections(click["id"])
        return ObjectRow(name, material, automatic, oracle, self.object_psnr(click["id"]), before, after)

    def object_psnr(self, number: int) -> float:
        errors = []
        for view in self.views():
            mask = self.ids[view.name] == number
            if int(mask.sum()) >= MIN_PIXELS:
                error = (self.drawn[view.name].clamp(0, 1) - view.picture.image())[mask]
                errors.append(float(error.square().mean()))
        return decibel(errors)

    def click_ious(self, click: dict) -> tuple[float, float]:
        """Mean IoU with the automatic threshold, and with the best one."""
        from featurefields.raster import RasterConfig
        from featurefields.segmentation.grouping import path_scores
        from featurefields.segmentation.prompts import hit
        from featurefields.segmentation.select import select
        from featurefields_cli.photos import click_of

        prompt = click_of(f"{click['x']},{click['y']}", click["image"], self.field, self.scene)
        selection = select(self.field, [prompt], rasterizer=self.rasterizer)
        frozen = self.rasterizer.freeze(self.field.splats, prompt.camera, RasterConfig())
        share = hit(frozen, prompt).share
        reach = path_scores(self.field.splats, selection.score, share >= 0.1 * share.max())
        levels = np.linspace(0.0, 0.98, 50)
        best = max(self.mean_iou(reach >= level, click["id"]) for level in levels[::2])
        return self.mean_iou(selection.mask, click["id"]), best

    def mean_iou(self, mask, number: int) -> float:
        from featurefields.evaluation.metrics import iou
        from featurefields.segmentation.masks import mask_share

        values = []
        for view in self.views():
            truth = self.ids[view.name] == number
            if int(truth.sum()) < MIN_PIXELS:
                continue
            share = mask_share(self.field, mask, view.camera, rasterizer=self.rasterizer)
            values.append(iou(share > 0.5, truth))
        return float(np.mean(values)) if values else float("nan")

    def reflections(self, number: int) -> tuple[float, float]:
        """dB against the diffuse pictures inside the object, before and after its reflections are removed."""
        import torch

        from featurefields.editing.edits import RemoveSpecular, apply
        from featurefields.field import render

        edited = apply(RemoveSpecular(), self.field, self.true_gaussians(number))
        before, after = [], []
        for view in self.views():
            diffuse, mask = view.picture.layer("diffuse"), self.ids[view.name] == number
            if diffuse is None or int(mask.sum()) < MIN_PIXELS:
                continue
            with torch.no_grad():
                drawn = render(edited, view.camera, rasterizer=self.rasterizer, heads=("rgb",))["rgb"][
                    "total"
                ]
            for values, picture in ((before, self.drawn[view.name]), (after, drawn)):
                values.append(float((picture.clamp(0, 1) - diffuse)[mask].square().mean()))
        return decibel(before), decibel(after)

    def true_gaussians(self, number: int):
        """Gaussians more than half of whose visible weight, over the views with ids, falls on the object."""
        import torch

        from featurefields.raster import RasterConfig

        total = torch.zeros(len(self.field), 2)
        for view in self.scene.views:
            picture = view.picture.layer("instance")
            if picture is None:
                continue
            ids = picture.reshape(view.camera.height, view.camera.width).long()
            maps = torch.stack([ids == number, torch.ones_like(ids, dtype=torch.bool)], -1).float()
            total += self.rasterizer.gather(self.field.splats, maps, view.camera, RasterConfig())
        return (total[:, 0] > 0.5 * total[:, 1]) & (total[:, 1] > 0)


def decibel(errors: list[float]) -> float:
    return float(-10 * np.log10(max(np.mean(errors), 1e-12))) if errors else float("nan")


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
