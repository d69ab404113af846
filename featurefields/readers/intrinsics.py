"""A lens from the keys that nerfstudio, instant-ngp and blender files share."""

import math
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.images import read_size
from featurefields.lens import Lens
from featurefields.readers.record import Record

MODELS = {
    "SIMPLE_PINHOLE": "opencv",
    "PINHOLE": "opencv",
    "SIMPLE_RADIAL": "opencv",
    "RADIAL": "opencv",
    "OPENCV": "opencv",
    "FULL_OPENCV": "opencv",
    "SIMPLE_RADIAL_FISHEYE": "fisheye",
    "RADIAL_FISHEYE": "fisheye",
    "OPENCV_FISHEYE": "fisheye",
}
FOCAL_RANGE_PX = (1e-3, 1e9)
"""No camera has a focal length outside it."""
LARGEST = 1e6
"""No principal point (in pixels) and no distortion coefficient is larger."""

COEFFICIENTS = {
    "opencv": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "fisheye": ("k1", "k2", "k3", "k4"),
}


def lens_of(frame: Record, photo: Path) -> Lens:
    """The lens of one frame; the size comes from the photo's header when the file does not say it.

    Missing fl_x is computed from camera_angle_x (radians), missing fl_y from camera_angle_y or taken as fl_x,
    a missing principal point is the middle.

    Raises:
        SceneError: unknown camera model, no focal length, or a value out of range.
    """
    name = frame.text("camera_model") or ("OPENCV_FISHEYE" if frame.get("is_fisheye") is True else "OPENCV")
    model = MODELS.get(name.upper())
    if model is None:
        raise SceneError(
            f"{frame.where}: camera model '{name}' is not supported; use one of {', '.join(MODELS)}"
        )
    width, height = _size(frame, photo)
    focal_x = _focal(frame, "fl_x", "camera_angle_x", width)
    focal_y = _focal(frame, "fl_y", "camera_angle_y", height)
    either = focal_x or focal_y
    if either is None:
        raise SceneError(
            f"{frame.where}: neither fl_x nor camera_angle_x is given; add the focal length in pixels"
        )
    centre_x, centre_y = frame.number("cx"), frame.number("cy")
    centre = (width / 2 if centre_x is None else centre_x, height / 2 if centre_y is None else centre_y)
    values = tuple(frame.number(key) or 0.0 for key in COEFFICIENTS[model])
    if model == "opencv" and not any(values):
        model, values = "pinhole", ()
    lens = Lens(model, (width, height), (focal_x or either, focal_y or either), centre, values)
    return possible(lens, frame.where)


def possible(lens: Lens, where: str) -> Lens:
    """The lens itself; `where` begins the message.

    Raises:
        SceneError: without pixels, or with a focal length, centre or distortion that no camera has.
    """
    if min(lens.size) < 1:
        raise SceneError(f"{where}: the size is {lens.size[0]}x{lens.size[1]} pixels; correct it")
    low, high = FOCAL_RANGE_PX
    if not all(low <= focal <= high for focal in lens.focal_px):
        x, y = lens.focal_px
        raise SceneError(f"{where}: the focal length is {x:g}, {y:g} pixels, which no camera has; correct it")
    for value in (*lens.centre_px, *lens.distortion):
        if not abs(value) <= LARGEST:
            raise SceneError(
                f"{where}: a principal point or distortion of {value:g} fits no camera; correct it"
            )
    return lens


def _size(frame: Record, photo: Path) -> tuple[int, int]:
    width, height = frame.number("w"), frame.number("h")
    if width is None or height is None:
        return read_size(photo)
    if min(width, height) < 1 or width != int(width) or height != int(height):
        raise SceneError(
            f"{frame.where}: w, h are {width:g}, {height:g}, not a size in whole pixels; correct them"
        )
    return int(width), int(height)


def _focal(frame: Record, key: str, angle_key: str, extent: int) -> float | None:
    focal = frame.number(key)
    angle = frame.number(angle_key)
    if focal is None and angle is None:
        return None
    if focal is None and angle is not None:
        if not 0 < angle < math.pi:
            raise SceneError(
                f"{frame.where}: {angle_key} is {angle:g}, not an angle between 0 and pi; correct it"
            )
        return extent / 2 / math.tan(angle / 2)
    if focal is None or focal <= 0:
        raise SceneError(f"{frame.where}: {key} is {focal:g}, not a positive length in pixels; correct it")
    return focal
