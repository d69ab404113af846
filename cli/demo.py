"""`ff demo`: the bundled scene through every step, ending in a page of pictures."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from .console import Console, Summary
from .inputs import FIELD_FILE
from .options import ComputeOptions, Number, Output, ReportOptions, SeedOptions, WriteOptions

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene
    from featurefields.selection import Selection

OBJECT = "ring-orange-gloss"
"""The object of the demo scene that is clicked and loses its reflections."""
BESIDE = "75,115"
"""A pixel of the same photo that shows the table beside it: a click that says "not this"."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Fit the bundled scene, click an object, take its reflections away, export; ends in a page of pictures."""

    output: Output = Path("outputs/demo")
    """Folder for the results."""
    steps: Number = None
    """Pictures compared while fitting; fewer is faster and worse."""
    seed: tyro.conf.OmitArgPrefixes[SeedOptions] = SeedOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: DemoOptions, console: Console) -> Summary:
    """Every step of the main job on the scene that comes with the package."""
    from featurefields.atomic import refuse_existing
    from featurefields.editing.edits import Keep, RemoveSpecular
    from featurefields.fitting.appearance import AppearanceConfig
    from featurefields.fitting.densify import DensifyConfig
    from featurefields.readers import read_scene
    from featurefields.segmentation.select import select
    from featurefields.vision.select import choose_extractor
    from featurefields_assets import demo_scene

    from .edited import apply_all, write_edited
    from .features import FeatureOptions, lift_features
    from .fit import fit_appearance, write_result
    from .photos import click_of
    from .segment import write_selection_results

    started = time.monotonic()
    folder, overwrite = options.output, options.write.overwrite
    for name in (
        "index.html",
        FIELD_FILE,
        "selection",
        "edited",
        "object-without-reflections.ply",
        "pictures",
    ):
        refuse_existing(folder / name, overwrite)
    rasterizer = options.compute.rasterizer()
    data = demo_scene()
    scene = read_scene(data)
    config = AppearanceConfig(
        steps=options.steps or 2400, seed=options.seed.seed, densify=DensifyConfig(budget=16_000)
    )
    field = fit_appearance(scene, config, rasterizer, console, device=options.compute.torch_device())
    field = lift_features(
        field,
        scene,
        choose_extractor("classical"),
        rasterizer,
        console,
        FeatureOptions(cache=folder / "cache"),
    )
    fitted = write_result(field, scene, folder, rasterizer, console, timing={}, missing=0)

    click = json.loads((data / "clicks.json").read_text(encoding="utf-8"))[OBJECT]
    text = f"{click['x']},{click['y']}"
    clicks = [click_of(text, click["image"], field, scene)]
    clicks += [click_of(BESIDE, click["image"], field, scene, positive=False)]
    selection = select(field, clicks, rasterizer=rasterizer)
    paths = write_selection_results(
        field,
        selection,
        folder / "selection",
        click["image"],
        scene,
        rasterizer,
        console,
        overwrite=overwrite,
    )
    edited = apply_all(field, [RemoveSpecular()], selection.mask)
    paths += write_edited(
        field, edited, selection.mask, folder / "edited", rasterizer, console, overwrite=overwrite
    )
    alone = apply_all(edited, [Keep()], selection.mask)
    paths += write_edited(
        edited, alone, selection.mask, folder / "object-without-reflections.ply", rasterizer, console,
        overwrite=overwrite,
    )  # fmt: skip
    pictures = write_pictures(field, edited, selection, scene, folder, rasterizer, overwrite=overwrite)
    page = write_page(folder, pictures, fitted, text, click["image"], overwrite=overwrite)
    rows = {
        "splats": len(field),
        "held-out PSNR dB": fitted.rows["held-out PSNR dB"],
        "splats selected": selection.count,
        "seconds": round(time.monotonic() - started),
    }
    return Summary(
        "demo done", rows, [page, folder / FIELD_FILE, *paths], next_commands(folder, text, click["image"])
    )


def next_commands(folder: Path, click: str, view: str) -> list[str]:
    """Commands to go on with after the demo."""
    return [
        f"ff segment {folder} --view {Path(view).name} --click {click} --negative {BESIDE} -o {folder}/mine",
        f"ff edit {folder} --selection {folder}/mine/selection.safetensors --recolor 40,120,220 -o {folder}/blue",
        f"ff render {folder}/edited -o {folder}/views --layers rgb indep dep",
        "ff fit --data YOUR_PHOTOS",
    ]


def write_pictures(
    field: "FeatureField",
    edited: "FeatureField",
    selection: "Selection",
    scene: "Scene",
    folder: Path,
    rasterizer: "Rasterizer",
    *,
    overwrite: bool,
) -> dict[str, Path]:
    """Pictures of the held-out view that shows most of the selection, by caption."""
    import torch

    from featurefields.field import render
    from featurefields.images import write_png
    from featurefields.segmentation.masks import mask_share
    from featurefields.visualization.layers import LayerPainter, named_layers
    from featurefields.visualization.sheets import overlay

    views = scene.split("test")
    with torch.no_grad():
        shares = {
            view.name: mask_share(field, selection.mask, view.camera, rasterizer=rasterizer) for view in views
        }
        view = max(views, key=lambda entry: float(shares[entry.name].sum()))
        drawn = [render(field, entry.camera, rasterizer=rasterizer) for entry in (view, *views[:2])]
        layers = [named_layers(r.layers, r.alpha, r.depth) for r in drawn]
        after = render(edited, view.camera, rasterizer=rasterizer, heads=("rgb",))["rgb"]["total"]
    painter = LayerPainter.fit(layers)
    photo = view.picture.image()
    pictures: dict[str, Tensor] = {
        "photo (held out)": photo,
        "reconstruction": layers[0]["rgb"].clamp(0, 1),
        "view-independent colour": painter.paint("indep", layers[0]),
        "reflected colour": painter.paint("dep", layers[0]),
        "normals": painter.paint("normal", layers[0]),
        "roughness": painter.paint("roughness", layers[0]),
        "depth": painter.paint("depth", layers[0]),
        "features, view-independent": painter.paint("feature_indep", layers[0]),
        "features, view-dependent": painter.paint("feature_dep", layers[0]),
        "selection": overlay(photo, shares[view.name] > 0.5, (1.0, 0.55, 0.0)),
        "before the edit": layers[0]["rgb"].clamp(0, 1),
        "after: reflections removed": after.clamp(0, 1),
    }
    truth = view.picture.layer("diffuse")
    if truth is not None:
        pictures["truth: no reflections anywhere"] = truth
    paths = {}
    for caption, picture in pictures.items():
        name = "".join(c if c.isalnum() else "-" for c in caption).strip("-").replace("--", "-")
        paths[caption] = folder / "pictures" / f"{name}.png"
        write_png(paths[caption], picture, overwrite=overwrite)
    return paths


def write_page(
    folder: Path, pictures: dict[str, Path], fitted: Summary, click: str, view: str, *, overwrite: bool
) -> Path:
    """One page that shows the pictures, the files and the commands to go on with."""
    from html import escape

    from featurefields.atomic import write_bytes

    figures = "\n".join(
        f'<figure><img src="{path.relative_to(folder).as_posix()}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, path in pictures.items()
    )
    facts = "".join(
        f"<tr><th>{escape(str(label))}</th><td>{escape(str(value))}</td></tr>"
        for label, value in fitted.rows.items()
    )
    files = "".join(
        f'<li><a href="{name}">{name}</a> {escape(what)}</li>'
        for name, what in (
            (FIELD_FILE, "the fitted field"),
            ("selection/object.ply", "the clicked object, an ordinary splat file"),
            ("selection/rest.ply", "everything else"),
            ("object-without-reflections.ply", "the object without its reflections"),
            ("edited/edited.ply", "the scene with the object's reflections removed"),
        )
    )
    commands = "\n".join(escape(line) for line in next_commands(folder, click, view))
    page = PAGE.format(figures=figures, facts=facts, files=files, commands=commands)
    return write_bytes(folder / "index.html", page.encode(), overwrite=overwrite)


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>featurefields demo</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }}
figure {{ margin: 0; }} img {{ width: 100%; image-rendering: pixelated; border-radius: 4px; }}
figcaption {{ font-size: .9rem; color: #555; }} th {{ text-align: left; padding-right: 1rem; font-weight: 500; }}
pre {{ background: #f4f4f4; padding: 1rem; overflow-x: auto; }}
</style>
<h1>featurefields demo</h1>
<p>Two clicks in a photo, one on the glossy ring and one on the table (not this), selected the ring in 3D; its
reflections were then taken away.</p>
<div class="grid">
{figures}
</div>
<h2>Numbers</h2><table>{facts}</table>
<h2>Files</h2><ul>{files}</ul>
<h2>Go on with</h2><pre>{commands}</pre>
</html>
"""
