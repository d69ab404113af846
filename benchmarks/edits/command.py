"""Removing reflections from one object at a time, against pictures rendered without specular reflections.

For every object and held-out view: error inside the object's true mask against `diffuse/`, in dB of the mean over views

- of the field itself: as it is, after `RemoveSpecular`, and (metals) after `RemoveSpecular(metals="base-colour")`, this
  one against `albedo/` too;
- of the field baked into an ordinary splat (from the cameras of the training views only): as it is, after
  `ff edit --splat --remove-specular` with the training cameras, and from the hemisphere above;
- of an ordinary splat fitted to the same photos (--ordinary): as it is, with its view-dependent bands dropped, and the
  same edits;
- of the field's own pictures less the *true* reflections ("perfect"): the most that an edit of this field could gain.

Outside the mask, dilated by --margin pixels, the PSNR of each edited picture against the photo must stay. What is
edited is chosen by the true masks of all views (so that errors of segmentation stay out) and, for the field and its
baked splat, by one click as well. Recolouring, of matter and of everything: correlation of high-pass luminance with the
field as it is, inside the object, and the same change outside. Baked: PSNR of the baked splat against the photos beside
the field's own.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.edits.measurement import Row
    from benchmarks.edits.recolouring import Recoloured
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene


def main(arguments: list[str]) -> int:
    from benchmarks.quality import DEMO

    parser = argparse.ArgumentParser(prog="python -m benchmarks edits", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--field", type=Path, required=True, help="fitted field with reflections")
    parser.add_argument(
        "--ordinary", type=Path, help="the same scene as spherical harmonics: archive or .ply"
    )
    parser.add_argument("--data", type=Path, default=DEMO, help="scene folder (default: the demo scene)")
    parser.add_argument("--objects", nargs="+", metavar="NAME", help="only these objects")
    parser.add_argument(
        "--margin", type=int, default=5, help="pixels by which masks are dilated (default: 5)"
    )
    parser.add_argument("--quick", action="store_true", help="bake from fewer views")
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args(arguments)
    rows, recoloured, facts = measure(options)
    from benchmarks.edits.report import show

    summary = show(rows, recoloured, facts)
    if options.json:
        from featurefields.atomic import write_bytes

        content: dict[str, object] = {"facts": facts, "summary": summary}
        content |= {
            "rows": [asdict(row) for row in rows],
            "recoloured": [asdict(each) for each in recoloured],
        }
        write_bytes(options.json, json.dumps(content, indent=1).encode(), overwrite=True)
    return 0


def measure(options: argparse.Namespace) -> "tuple[list[Row], list[Recoloured], dict[str, object]]":
    """Every way to edit every object."""
    from benchmarks.edits.measurement import Subject, Truth, measure_object
    from benchmarks.edits.recolouring import measure_recolouring
    from featurefields.memory import keep_freed_memory
    from featurefields.raster import choose_rasterizer
    from featurefields_cli.console import Console
    from featurefields_cli.held_out import measured_on
    from featurefields_cli.inputs import load_field

    keep_freed_memory()
    rasterizer = choose_rasterizer()
    field, scene = measured_on(load_field(options.field), options.data, Console(json=True))
    truth = Truth.of(scene, options.margin)
    started = time.monotonic()
    baked = baked_field(field, scene, rasterizer, quick=options.quick)
    seconds = time.monotonic() - started
    subjects = [
        Subject("field", field, rasterizer, scene),
        Subject("baked", baked, rasterizer, scene, rows=len(field)),
    ]
    if options.ordinary:
        ordinary, _ = measured_on(load_field(options.ordinary), options.data, Console(json=True))
        subjects.append(Subject("ordinary", ordinary, rasterizer, scene))
    objects = [entry for entry in truth.objects if not options.objects or entry.name in options.objects]
    clicked = clicked_masks(field, scene, rasterizer)
    rows, recoloured = [], []
    for entry in objects:
        print(f"{entry.name} …", file=sys.stderr, flush=True)
        shown = subjects[0].shown_by(entry.id)
        recoloured += [
            measure_recolouring(subjects[0], truth, entry, shown, layer) for layer in ("indep", "total")
        ]
        for subject in subjects:
            rows += measure_object(subject, truth, entry, "masks", subject.shown_by(entry.id))
            mask = clicked.get(entry.id)
            if mask is not None and subject.name != "ordinary":
                rows += measure_object(subject, truth, entry, "click", subject.padded(mask))
    facts: dict[str, object] = {"scene": scene.name, "splats": len(field), "baking s": round(seconds, 1)}
    for subject in subjects:
        facts[f"PSNR of {subject.name}"] = round(truth.psnr(subject), 2)
    return rows, recoloured, facts


def baked_field(
    field: "FeatureField", scene: "Scene", rasterizer: "Rasterizer", *, quick: bool
) -> "FeatureField":
    """The field as an ordinary splat with its sky; held-out cameras are not looked from."""
    from dataclasses import replace

    from featurefields.editing.baking import QUICK, BakeConfig, bake_harmonics
    from featurefields.field import FeatureField
    from featurefields.heads.harmonics import HarmonicsHead

    cameras = {view.name: view.camera for view in scene.split("train")}
    told = replace(field, about=replace(field.about, cameras=cameras))
    splats = bake_harmonics(told, sky=True, rasterizer=rasterizer, config=QUICK if quick else BakeConfig())
    return FeatureField(splats, {"rgb": HarmonicsHead(3)}, field.about)


def clicked_masks(field: "FeatureField", scene: "Scene", rasterizer: "Rasterizer") -> "dict[int, Tensor]":
    """What one click selects, by the object's id; nothing where the field has no features or the scene no clicks."""
    from featurefields.errors import PromptError
    from featurefields.segmentation.select import select
    from featurefields_cli.clicks import read_clicks
    from featurefields_cli.photos import click_of

    found: dict[int, Tensor] = {}
    if "feature" not in field.heads:
        return found
    for click in read_clicks(scene):
        try:
            prompt = click_of(f"{click.x},{click.y}", click.view, field, scene)
            found[click.id] = select(field, [prompt], rasterizer=rasterizer).mask
        except PromptError as error:  # a hole in the reconstruction: the object cannot be clicked
            print(f"{click.name}: {error}", file=sys.stderr)
    return found
