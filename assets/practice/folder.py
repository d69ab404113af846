"""Writes practice scenes as ordinary scene folders: `transforms.json`, PNG photos, 16 bit depth.

Depth is along the optical axis; the largest 16 bit number means the sky.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .photograph import Set, photograph
from .worlds import world

DEPTH_UNIT = 5e-4
SIZES = ((144, 144), (160, 128), (128, 160), (176, 128))
VIEWS = 7
TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def scene_folder(folder: Path, seed: int, number: int) -> Path:
    return folder / f"practice-{seed}-{number:05d}"


def write_practice_scene(folder: Path, seed: int, number: int, *, views: int = VIEWS) -> Path:
    """Photographs world `number` of `seed` into a folder of its own within `folder`; skips what is there.

    The folder appears when it is complete. Same numbers, same pictures.
    """
    target = scene_folder(folder, seed, number)
    if (target / "transforms.json").is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".practice-", dir=folder))
    try:
        _write(unfinished, seed, number, views)
        os.replace(unfinished, target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return target


def write_practice_scenes(
    folder: Path, seed: int, count: int, *, on_scene: Callable[[], object] = lambda: None
) -> list[Path]:
    """The folders of worlds 0 … count-1 of `seed`, photographed where they are missing."""
    written = []
    for number in range(count):
        written.append(write_practice_scene(folder, seed, number))
        on_scene()
    return written


def _write(folder: Path, seed: int, number: int, views: int) -> None:
    rng = np.random.default_rng([seed, number, 1])
    scene, size = world(seed, number, views), SIZES[rng.integers(len(SIZES))]
    focal = 0.5 * max(size) / float(np.tan(np.radians(scene.field_of_view_deg) / 2))
    stage, exposure, frames = Set(scene), float(rng.uniform(0.7, 1.5)), []
    for name in ("images", "depth"):
        (folder / name).mkdir()
    for view, pose in enumerate(scene.poses):
        picture, depth = photograph(stage, pose, size, focal, exposure=exposure)
        counts = np.where(depth > 0, np.clip(np.rint(depth / DEPTH_UNIT), 1, 65534), 65535).astype(np.uint16)
        Image.fromarray(np.uint8(np.rint(255 * picture))).save(folder / f"images/{view}.png")
        Image.fromarray(counts).save(folder / f"depth/{view}.png")
        frames.append({
            "file_path": f"images/{view}.png", "depth_file_path": f"depth/{view}.png",
            "transform_matrix": np.round(pose @ TO_OPENGL, 9).tolist(),
        })  # fmt: skip
    lens = {"camera_model": "OPENCV", "w": size[0], "h": size[1], "fl_x": focal, "fl_y": focal}
    lens |= {"cx": size[0] / 2, "cy": size[1] / 2, "depth_unit_scale_factor": DEPTH_UNIT, "kind": scene.kind}
    (folder / "transforms.json").write_text(
        json.dumps({**lens, "frames": frames}, indent=1), encoding="utf-8"
    )
