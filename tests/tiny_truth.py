"""A photographed scene whose ground truth is known because it is what one field draws."""

import json
from pathlib import Path

import numpy as np
import torch
from tiny_fields import coverage, edited_document, part, photograph, pixel_of, two_balls
from tiny_scenes import photo

from featurefields.field import FeatureField, render
from featurefields.raster import choose_rasterizer

PARTS = {"red": ("metal", 1), "blue": ("coated", 2), "floor": ("matte", 3)}
"""Part of `two_balls` → what meta.json says of it, and its instance id."""


def truth_field() -> FeatureField:
    """`two_balls` whose red ball reflects light and whose parts differ in roughness."""
    field = two_balls("reflected")
    gloss, roughness = (field.splats.columns[name].clone() for name in ("gloss", "roughness"))
    gloss[part("red")] = 1.0
    for name, logit in (("red", -2.0), ("blue", 0.0), ("floor", 2.0)):
        roughness[part(name)] = logit
    return field.with_splats(field.splats.with_columns(gloss=gloss, roughness=roughness))


@torch.no_grad()
def truth_scene(folder: Path, field: FeatureField) -> Path:
    """Photos of the field with diffuse pictures, normals, roughness, ids, clicks.json and meta.json."""
    photograph(folder, points=False)
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    for frame, (name, camera) in zip(frames, field.about.cameras.items(), strict=True):
        drawn = render(field, camera, rasterizer=choose_rasterizer("cpu"), heads=("rgb",))
        layers, covered = drawn["rgb"], drawn.alpha[..., None] > 0.5
        shares = torch.stack([coverage(field, camera, part(entry)) for entry in PARTS], -1)
        ids = torch.where(shares.amax(-1) > 0.5, 1 + shares.argmax(-1), 0)
        pictures = {
            "diffuse": eight_bits(layers["indep"]),
            "normal": eight_bits(torch.where(covered, (layers["normal"] + 1) / 2, 0.0)),
            "roughness": eight_bits(layers["roughness"][..., 0]),
            "instance": ids.byte().numpy(),
        }
        photo(folder / name, eight_bits(layers["total"]))
        for layer, pixels in pictures.items():
            photo(folder / layer / Path(name).name, pixels)
            frame[f"{layer}_file_path"] = f"{layer}/{Path(name).name}"
    edited_document(folder, frames=frames)
    entries = [{"id": id, "name": name, "kind": kind} for name, (kind, id) in PARTS.items()]
    (folder / "meta.json").write_text(json.dumps({"objects": entries}))
    view = "images/004.png"
    clicks = {}
    for name, (_, id) in PARTS.items():
        x, y = pixel_of(field, field.about.cameras[view], name)
        clicks[name] = {"id": id, "image": view, "x": x, "y": y}
    (folder / "clicks.json").write_text(json.dumps(clicks))
    return folder


def eight_bits(picture: torch.Tensor) -> np.ndarray:
    return (picture.clamp(0, 1) * 255).round().byte().numpy()
