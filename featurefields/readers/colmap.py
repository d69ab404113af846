"""COLMAP models (binary or text, any model of `detect.colmap_models`), read with pycolmap.

COLMAP's pixels count from the top left corner with centres at +0.5 and its camera axes are OpenCV's, as ours.
"""

from pathlib import Path

import numpy as np
import pycolmap

from featurefields.errors import SceneError
from featurefields.lens import Lens
from featurefields.readers.capture import Capture, Points, Shot
from featurefields.readers.colmap_tables import require_complete
from featurefields.readers.detect import colmap_models
from featurefields.readers.files import is_file
from featurefields.readers.intrinsics import possible
from featurefields.readers.points import finite_points
from featurefields.readers.pose import rigid_pose

_ONE_FOCAL = {
    "SIMPLE_PINHOLE": "pinhole",
    "SIMPLE_RADIAL": "opencv",
    "RADIAL": "opencv",
    "SIMPLE_FISHEYE": "fisheye",
    "SIMPLE_RADIAL_FISHEYE": "fisheye",
    "RADIAL_FISHEYE": "fisheye",
}
_TWO_FOCALS = {
    "PINHOLE": "pinhole",
    "OPENCV": "opencv",
    "FULL_OPENCV": "opencv",
    "FISHEYE": "fisheye",
    "OPENCV_FISHEYE": "fisheye",
}


def read_colmap(path: Path, *, points: bool = True) -> Capture:
    """The registered photos of a folder with `sparse/0`, `sparse` or `colmap/sparse/0`, and `images/`.

    Of several models the one with the largest list of photos is taken. `masks/<photo name>.png`, as COLMAP
    names them, become masks. Photos that do not exist are skipped and listed.

    Raises:
        SceneError: no model, a damaged one, an unsupported camera model, or no photo left.
    """
    models = colmap_models(path)
    if not models:
        raise SceneError(
            f"no COLMAP model in {path}: looked for sparse/0, sparse, colmap/sparse/0; run the mapper"
        )
    model = max(models, key=lambda folder: max(file.stat().st_size for file in folder.glob("images.*")))
    notes = [f"{len(models)} COLMAP models; took the largest, {model}"] if len(models) > 1 else []
    reconstruction = _load(model)
    images = next(
        (folder for folder in (path / "images", path / "colmap" / "images", path) if folder.is_dir()), path
    )
    shots, missing = [], []
    for name, image in _named_images(reconstruction, model):
        if not image.has_pose:
            continue
        photo = images / name
        if is_file(photo):
            shots.append(_shot(path, photo, image, reconstruction.cameras[image.camera_id]))
        else:
            missing.append(name)
    if not shots:
        example = f" (for example '{missing[0]}')" if missing else ""
        raise SceneError(
            f"no usable photo: of {len(missing)} posed in {model}, none is in {images}{example}; "
            "copy them there"
        )
    seeds = _points(reconstruction) if points else None
    return Capture(tuple(shots), seeds, tuple(missing), tuple(notes))


def model_points(model: Path) -> Points | None:
    """The points of one model folder in COLMAP's frame, None without any. Raises `SceneError` when it is damaged."""
    return _points(_load(model))


def _load(model: Path) -> pycolmap.Reconstruction:
    require_complete(model)
    try:
        return pycolmap.Reconstruction(str(model))
    except (ValueError, RuntimeError, IndexError, KeyError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise SceneError(f"COLMAP model {model} cannot be read ({reason}); export it again") from error


def _named_images(reconstruction: pycolmap.Reconstruction, model: Path) -> list[tuple[str, pycolmap.Image]]:
    """Images in the order of their names."""
    try:
        named = [(image.name, image) for image in reconstruction.images.values()]
    except UnicodeDecodeError as error:
        raise SceneError(
            f"COLMAP model {model} has the name of a photo that is no UTF-8 ({error.reason}); export it again"
        ) from error
    return sorted(named, key=lambda entry: entry[0])


def _shot(folder: Path, photo: Path, image: pycolmap.Image, camera: pycolmap.Camera) -> Shot:
    pose = image.cam_from_world
    matrix = (pose() if callable(pose) else pose).matrix()
    camera_from_capture = np.concatenate([matrix, [[0.0, 0.0, 0.0, 1.0]]])
    capture_from_camera = rigid_pose(
        np.linalg.inv(camera_from_capture), f"photo '{image.name}'", opengl=False
    )
    mask = folder / "masks" / f"{image.name}.png"
    return Shot(
        name=photo.relative_to(folder).as_posix(),
        path=photo,
        lens=lens_of_camera(camera),
        capture_from_camera=capture_from_camera,
        mask=mask if is_file(mask) else None,
    )


def lens_of_camera(camera: pycolmap.Camera) -> Lens:
    """COLMAP's camera as a lens. Raises `SceneError` for a model neither Brown-Conrady nor fisheye."""
    name, values = camera.model.name, tuple(float(value) for value in camera.params)
    if name in _ONE_FOCAL:
        model, focal, rest = _ONE_FOCAL[name], (values[0], values[0]), values[1:]
    elif name in _TWO_FOCALS:
        model, focal, rest = _TWO_FOCALS[name], values[:2], values[2:]
    else:
        known = ", ".join([*_ONE_FOCAL, *_TWO_FOCALS])
        raise SceneError(
            f"COLMAP camera model {name} is not supported; undistort the photos, or use one of {known}"
        )
    if not np.isfinite(values).all() or min(focal) <= 0:
        raise SceneError(
            f"COLMAP camera {camera.camera_id} has unusable parameters {values}; run the mapper again"
        )
    size = (camera.width, camera.height)
    lens = Lens(model, size, (focal[0], focal[1]), (rest[0], rest[1]), rest[2:])
    return possible(lens, f"COLMAP camera {camera.camera_id}")


def _points(reconstruction: pycolmap.Reconstruction) -> Points | None:
    points = list(reconstruction.points3D.values())
    if not points:
        return None
    positions = np.array([point.xyz for point in points], dtype=np.float64)
    colours = np.array([point.color for point in points], dtype=np.float64) / 255
    return finite_points(positions, colours)
