"""nerfstudio's transforms.json (and instant-ngp's, which it extends).

Poses are camera-to-capture with OpenGL axes; cx, cy count from the top left corner of the picture, pixel
centres lie at +0.5. Conventions follow nerfstudio's data parser and its documentation of the format.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from featurefields.errors import SceneError
from featurefields.readers.capture import Capture, Points, Shot
from featurefields.readers.files import Companions, find_photo, is_file, shown_name
from featurefields.readers.intrinsics import lens_of
from featurefields.readers.points import finite_points, read_points
from featurefields.readers.pose import rigid_pose
from featurefields.readers.record import Record, read_record
from featurefields.readers.splits import NamedSplits

LAYERS = ("diffuse", "normal", "instance", "roughness", "albedo")
DEPTH_UNIT = 1e-3
"""Capture units of one stored depth unit when the file does not say `depth_unit_scale_factor`."""

LEGACY_TRANSFORM = np.array([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0]])
"""From COLMAP's frame to the frame of poses that old nerfstudio versions wrote without saying so."""


def read_nerfstudio(path: Path, *, points: bool = True) -> Capture:
    """The photos of a folder with a transforms.json (or of the JSON file itself).

    Photos that do not exist are skipped and listed. `applied_scale`, where present, scales depths and seed
    points, as nerfstudio does; seed points are otherwise in the frame of the poses.

    Raises:
        SceneError: broken JSON, a wrong value, an unusable pose, no photo left; the message names the frame.
    """
    file = path if path.is_file() else path / "transforms.json"
    folder, document = file.parent, read_record(file)
    frames = document.records("frames")
    splits, companions = NamedSplits(document), Companions(folder)
    shots, missing, left_out = [], [], 0
    for frame in frames:
        name = frame.text("file_path")
        if name is None:
            raise SceneError(f"{frame.where}: file_path is missing; name the photo or remove this frame")
        photo = find_photo(folder, name)
        split = splits.of(name, shown_name(folder, photo) if photo else name)
        if photo is None:
            missing.append(name)
        elif split == "none":
            left_out += 1
        else:
            shots.append(_shot(frame, folder, photo, split, companions))
    if not shots:
        raise SceneError(_nothing_left(file, len(frames), missing, left_out))
    refuse_repeated(shots, file)
    notes = companions.notes()
    if left_out:
        notes.append(f"{left_out} photos are in no list of {file.name} that is used; left out")
    seeds, point_notes = _points(document, folder) if points else (None, [])
    return Capture(tuple(shots), seeds, tuple(missing), (*notes, *point_notes))


def refuse_repeated(shots: list[Shot], file: Path) -> None:
    """Raise `SceneError` when two shots have the same name."""
    name, count = Counter(shot.name for shot in shots).most_common(1)[0]
    if count > 1:
        raise SceneError(f"{file} lists photo '{name}' {count} times; keep one of the frames")


def _shot(frame: Record, folder: Path, photo: Path, split: object, companions: Companions) -> Shot:
    unit = _number(frame, "depth_unit_scale_factor", DEPTH_UNIT) * _number(frame, "applied_scale", 1.0)
    layers = {layer: companions.find(frame, f"{layer}_file_path") for layer in LAYERS}
    if layers["albedo"] is None:
        beside = folder / "albedo" / photo.name
        layers["albedo"] = beside if beside.is_file() else None
    return Shot(
        name=shown_name(folder, photo),
        path=photo,
        lens=lens_of(frame, photo),
        capture_from_camera=rigid_pose(frame.values.get("transform_matrix"), frame.where, opengl=True),
        split="train" if split == "train" else "test" if split == "test" else None,
        mask=companions.find_mask(frame),
        depth=companions.find(frame, "depth_file_path"),
        depth_unit=unit,
        layers={layer: file for layer, file in layers.items() if file is not None},
    )


def _number(frame: Record, key: str, default: float) -> float:
    value = frame.number(key)
    if value is not None and value <= 0:
        raise SceneError(f"{frame.where}: {key} is {value:g}, not a positive number; correct it")
    return default if value is None else value


def _points(document: Record, folder: Path) -> tuple[Points | None, list[str]]:
    scale, name = _number(document, "applied_scale", 1.0), document.text("ply_file_path")
    if name is not None:
        path = folder / name.replace("\\", "/")
        if not is_file(path):
            return None, [f"ply_file_path '{name}' does not exist; there are no seed points"]
        seeds = read_points(path)
        return Points(seeds.positions * scale, seeds.colours), []
    model = folder / "colmap" / "sparse" / "0"
    if not model.is_dir():
        return None, []
    try:
        from featurefields.readers.colmap import model_points
    except ImportError as error:
        return None, [f"the seed points in {model} need pycolmap, which cannot be loaded: {error}"]
    transform = _applied_transform(document)
    seeds = model_points(model)
    if seeds is None:
        return None, []
    moved = seeds.positions @ transform[:, :3].T + transform[:, 3]
    return finite_points(moved * scale, seeds.colours), []


def _applied_transform(document: Record) -> np.ndarray:
    """From COLMAP's frame to the frame of the poses (3 4)."""
    rows = document.get("applied_transform")
    if rows is None:
        return LEGACY_TRANSFORM
    try:
        transform = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        transform = np.empty(0)
    if transform.shape not in ((3, 4), (4, 4)) or not np.isfinite(transform).all():
        raise SceneError(f"{document.where}: applied_transform is not 3 rows of 4 finite numbers; correct it")
    return transform[:3]


def _nothing_left(file: Path, listed: int, missing: list[str], left_out: int) -> str:
    if not listed:
        return f"{file} lists no frames; there is nothing to read"
    example = f" (for example '{missing[0]}')" if missing else ""
    return (
        f"no usable photo: of {listed} that {file} lists, {len(missing)} do not exist{example} "
        f"and {left_out} are in no split; copy the photos beside it"
    )
