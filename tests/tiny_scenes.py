"""Tiny posed scenes written to disk, the way capture tools write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def look_at(position: tuple[float, float, float], target: tuple[float, float, float]) -> np.ndarray:
    """OpenGL camera-to-world (4 4) with z up: columns right, up, backward, centre."""
    centre = np.array(position, dtype=np.float64)
    backward = centre - np.array(target)
    backward /= np.linalg.norm(backward)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(backward, right), backward, centre], axis=1)
    return pose


def orbit(
    count: int, middle: tuple[float, float, float] = (3.0, -1.0, 2.0), radius: float = 4.0
) -> list[np.ndarray]:
    """Poses on a circle above `middle`, all looking at it."""
    poses = []
    for angle in 2 * np.pi * np.arange(count) / count:
        offset = radius * np.array([np.cos(angle) * 0.8, np.sin(angle) * 0.8, 0.6])
        poses.append(look_at(tuple(np.array(middle) + offset), middle))
    return poses


def photo(path: Path, pixels: np.ndarray | None = None) -> Path:
    """Write `pixels` (a gradient without) as an image file."""
    if pixels is None:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        pixels = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, np.full_like(x, 90)], -1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def nerfstudio_json(count: int = 5, **changes: Any) -> dict[str, Any]:
    """The document of an orbit; `changes` replace top-level keys, None removes them."""
    document: dict[str, Any] = {
        "camera_model": "OPENCV", "w": WIDTH, "h": HEIGHT, "fl_x": 40.0, "fl_y": 41.0, "cx": 25.0, "cy": 15.0,
        "frames": [
            {"file_path": f"images/{number:03d}.png", "transform_matrix": pose.tolist()}
            for number, pose in enumerate(orbit(count))
        ],
    } | changes  # fmt: skip
    return {key: value for key, value in document.items() if value is not None}


def write_nerfstudio(folder: Path, document: dict[str, Any] | None = None, *, photos: bool = True) -> Path:
    """transforms.json and, for every frame, a photo."""
    document = nerfstudio_json() if document is None else document
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transforms.json").write_text(json.dumps(document))
    if photos:
        for frame in document["frames"]:
            photo(folder / frame["file_path"])
    return folder


def write_ply(path: Path, positions: np.ndarray, colours: np.ndarray | None = None) -> Path:
    """A text PLY of points, with uchar colours if given."""
    lines = ["ply", "format ascii 1.0", f"element vertex {len(positions)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    if colours is not None:
        lines += [f"property uchar {name}" for name in ("red", "green", "blue")]
    lines.append("end_header")
    for number, position in enumerate(positions):
        row = [f"{value:.9g}" for value in position]
        row += [str(int(value)) for value in colours[number]] if colours is not None else []
        lines.append(" ".join(row))
    path.write_text("\n".join(lines) + "\n")
    return path
