"""Renders `demo_scene`: five objects on a lacquered round table under a structured sky, with ground truth.

    python -m assets.make_demo_scene --output assets/demo_scene

Everything is procedural, so the photos carry nobody's rights but ours. Needs `pip install mitsuba scipy pillow`
and LLVM 17 or newer (Debian: libllvm19; elsewhere set DRJIT_LIBLLVM_PATH).

In linear light a photo is emission + diffuse + specular, the split taken at the surface that the pixel sees.
Colours are sRGB after multiplication with `exposure` and clipping to 0..1. Every view has depth (along the
optical axis, 1000 = one world unit, 0 = sky) and instance ids (0 = sky) at the pixel centres; the test views and
a few train views also have the diffuse part alone, world normals ((n + 1) / 2, sky 0) and roughness (square root
of the GGX alpha, 255 = matte). Test photos are PNG, train photos JPEG.

Letters: h w pixels · m points.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from .generator.ply import write_ply
from .generator.shapes import Array
from .generator.stage import Stage, measure, photograph, set_stage
from .generator.table import things
from .generator.textures import sky, srgb_from_linear

DEPTH_UNIT = 1e-3
SKY_RADIUS = 12.0
POINT_NOISE = 0.003


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is rendered; the defaults are the scene that ships."""

    size: int = 160
    train: int = 48
    test: int = 8
    samples: int = 144
    field_of_view_deg: float = 44.0
    exposure: float = 1.25
    points: int = 7000
    sky_points: int = 1000
    measured_train: tuple[int, ...] = (7, 30)
    """Train views that get the whole ground truth, like the test views."""
    seed: int = 11


def look_at(eye: Array, target: Array) -> Array:
    """OpenGL camera-to-world (4 4): x right, y up, looking along -z; world z is up."""
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(back, right), back, eye], axis=1)
    return pose


def dome(count: int, rng: np.random.Generator, phase: float) -> list[Array]:
    """Poses around the table, 16 to 60 degrees up, turning by the golden angle; `phase` sets sequences apart."""
    poses = []
    for number in range(count):
        azimuth = 2 * np.pi * (number * 0.6180340 + phase)
        height = (number + 0.5) / count if phase == 0 else (number * 0.3819660 + phase) % 1
        sine = np.interp(height, (0, 1), np.sin(np.radians((16, 60))))
        level = np.sqrt(1 - sine**2)
        target = np.array([0, 0, 0.10]) + rng.normal(size=3) * (0.05, 0.05, 0.03)
        way = np.array([level * np.cos(azimuth), level * np.sin(azimuth), sine])
        poses.append(look_at(np.array([0, 0, 0.10]) + rng.uniform(1.95, 2.3) * way, target))
    return poses


def unproject(stage: Stage, pose: Array, depth: Array) -> Array:
    """World points (h w 3) at `depth` along the optical axis behind the pixel centres."""
    y, x = np.mgrid[0 : stage.size, 0 : stage.size] + 0.5 - stage.size / 2
    local = np.stack([x / stage.focal_px, -y / stage.focal_px, -np.ones_like(x)], -1) * depth[..., None]
    return local @ pose[:3, :3].T + pose[:3, 3]


def bytes_of(image: Array) -> Array:
    """0..1 to 0..255."""
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


@dataclass
class Survey:
    """What the train views say together: seed points as structure from motion would find them, and clicks."""

    found: list[Array]
    far: list[Array]
    clicks: dict[int, dict]

    def add(self, stage: Stage, pose: Array, file_path: str, photo: Array, depth: Array, ids: Array) -> None:
        """`photo` is sRGB in 0..1 (h w 3)."""
        detail = ndimage.gaussian_gradient_magnitude(photo.mean(-1), 1.0)
        smooth = np.array([1.0] + [thing.surface.roughness for thing in stage.things])[ids] < 0.25
        weight = (0.01 + detail) * np.where(smooth, 0.15, 1.0)  # reflections hardly ever match
        near, colours = ids > 0, 255 * photo
        table = np.concatenate([unproject(stage, pose, depth), colours, weight[..., None]], -1)
        self.found.append(table[near])
        distant = unproject(stage, pose, np.full_like(depth, SKY_RADIUS))
        self.far.append(np.concatenate([distant, colours], -1)[~near])
        for number in np.unique(ids[near]).tolist():
            pixels = int((ids == number).sum())
            if pixels > self.clicks.get(number, {"pixels": 0})["pixels"]:
                inner = ndimage.distance_transform_edt(np.pad(ids == number, 1))[1:-1, 1:-1]
                y, x = np.unravel_index(inner.argmax(), inner.shape)
                click = {"id": number, "image": file_path, "x": int(x), "y": int(y), "pixels": pixels}
                self.clicks[number] = click | {"inner_radius": round(float(inner.max()), 2)}

    def write_points(self, path: Path, plan: Plan) -> None:
        """Textured places draw points, smooth gloss hardly any; some lie far off where the sky is."""
        rng = np.random.default_rng(plan.seed + 1)
        found, far = np.concatenate(self.found), np.concatenate(self.far)
        weight = found[:, 6] / found[:, 6].sum()
        near = found[rng.choice(len(found), min(plan.points, len(found)), replace=False, p=weight), :6]
        near[:, :3] += rng.normal(size=(len(near), 3)) * POINT_NOISE
        points = np.concatenate(
            [near, far[rng.choice(len(far), min(plan.sky_points, len(far)), replace=False)]]
        )
        columns = dict(zip("xyz", points[:, :3].T.astype(np.float32), strict=True))
        colours = np.rint(points[:, 3:]).astype(np.uint8).T
        write_ply(path, columns | dict(zip(("red", "green", "blue"), colours, strict=True)))


def save(folder: Path, file_path: str, pixels: Array) -> str:
    (folder / file_path).parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 95, "subsampling": 0} if file_path.endswith(".jpg") else {"optimize": True}
    Image.fromarray(pixels).save(folder / file_path, **options)
    return file_path


def shoot(stage: Stage, plan: Plan, pose: Array, name: str, seed: int, folder: Path, survey: Survey) -> dict:
    """Renders one view, writes its pictures and returns its entry in transforms.json."""
    train = name.startswith("train")
    photo, diffuse = (
        srgb_from_linear(plan.exposure * x) for x in photograph(stage, pose, plan.samples, seed)
    )
    depth, normals, ids = measure(stage, pose)
    frame: dict = {"file_path": save(folder, f"images/{name}.{'jpg' if train else 'png'}", bytes_of(photo))}
    if train:
        survey.add(stage, pose, frame["file_path"], photo, depth, ids)
    encoded = np.rint(depth / DEPTH_UNIT).astype(np.uint16)
    frame["depth_file_path"] = save(folder, f"depth/{name}.png", encoded)
    frame["instance_file_path"] = save(folder, f"masks/{name}.png", ids)
    if not train or int(name[-3:]) in plan.measured_train:
        roughness = np.array([1.0] + [thing.surface.roughness for thing in stage.things])[ids]
        visible = np.where(ids[..., None] > 0, bytes_of((normals + 1) / 2), 0).astype(np.uint8)
        frame["diffuse_file_path"] = save(folder, f"diffuse/{name}.png", bytes_of(diffuse))
        frame["normal_file_path"] = save(folder, f"normals/{name}.png", visible)
        frame["roughness_file_path"] = save(folder, f"roughness/{name}.png", bytes_of(roughness))
    return frame | {"transform_matrix": np.round(pose, 9).tolist()}


def write_json(path: Path, content: dict, long: str = "") -> None:
    """One line an entry, and one line an element of the list `long`."""
    lines = []
    for key, value in content.items():
        text = json.dumps(value)
        if key == long:
            text = "[\n  " + ",\n  ".join(json.dumps(element) for element in value) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def write_scene(plan: Plan, folder: Path) -> None:
    """Renders every view of the plan into `folder`."""
    rng = np.random.default_rng(plan.seed)
    stage = set_stage(things(rng), sky(rng), plan.size, plan.field_of_view_deg)
    poses = {f"train_{k:03d}": pose for k, pose in enumerate(dome(plan.train, rng, 0.0))}
    poses |= {f"test_{k:03d}": pose for k, pose in enumerate(dome(plan.test, rng, 0.29))}
    survey, frames = Survey([], [], {}), []
    for number, (name, pose) in enumerate(poses.items()):
        started = time.monotonic()
        frames.append(shoot(stage, plan, pose, name, plan.seed * 1000 + number, folder, survey))
        print(f"{number + 1}/{len(poses)} {name} {time.monotonic() - started:.1f} s", flush=True)
    survey.write_points(folder / "points3d.ply", plan)
    paths = [frame["file_path"] for frame in frames]
    lens = {
        "camera_model": "OPENCV",
        "w": plan.size,
        "h": plan.size,
        "fl_x": stage.focal_px,
        "fl_y": stage.focal_px,
    }
    lens |= {"cx": plan.size / 2, "cy": plan.size / 2, "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0}
    split = {"train_filenames": paths[: plan.train], "val_filenames": paths[plan.train :]}
    split |= {"test_filenames": paths[plan.train :], "depth_unit_scale_factor": DEPTH_UNIT}
    lens |= {"ply_file_path": "points3d.ply"}
    write_json(folder / "transforms.json", {**lens, **split, "frames": frames}, "frames")
    named = {stage.things[number - 1].name: click for number, click in sorted(survey.clicks.items())}
    write_json(folder / "clicks.json", named)
    objects = [
        {
            "id": number + 1,
            "name": thing.name,
            "kind": thing.surface.kind,
            "roughness": round(thing.surface.roughness, 4),
            "textured": np.ndim(thing.surface.colour) == 3,
        }
        for number, thing in enumerate(stage.things)
    ]
    about = {
        "scene": "demo_scene",
        "licence": "CC0-1.0",
        "command": "python -m assets.make_demo_scene",
        "up": "+z",
    }
    about |= {"exposure": plan.exposure, "seed": plan.seed, "samples": plan.samples, "objects": objects}
    write_json(folder / "meta.json", about, "objects")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "demo_scene")
    for name in ("size", "train", "test", "samples"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan(), name))
    options = vars(parser.parse_args())
    folder = options.pop("output")
    write_scene(Plan(**options), folder)


if __name__ == "__main__":
    main()
