"""Camera paths as JSON files: our own short form, and what nerfstudio's viewer saves.

Letters: v views of the scene.

One object. Either `camera_path`, a list with a camera for every frame, or `keyframes`, a list of cameras that are flown
through on a smooth curve; with both (as nerfstudio writes) the frames count. A camera has one of

- `view`: the name of a view of the scene;
- `camera_to_world` or `matrix`: its pose, 16 or 12 numbers by rows or nested, OpenGL axes (x right, y up, z backwards);
- `position`, `look_at` (three numbers each) and perhaps `up`;

and perhaps `fov`, the vertical angle of view in degrees. A keyframe may say in `seconds` (nerfstudio:
`override_transition_sec`) how long the flight from the keyframe before takes; the first keyframe's counts when the
path is closed. Of the whole path: `fps`, `render_width` and `render_height` or `size` [width, height], `default_fov`
or `fov`, `default_transition_sec` (2), `closed` or `is_cycle`, `up`. Whatever is left out is as in the views; without
views a picture has 640 x 480 pixels and 50 degrees.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FileFormatError, UnknownNameError, shortened
from featurefields.foreign_json import parsed
from featurefields.maths.similarity import Similarity
from featurefields.visualization.paths import interpolate_at, looking, mean_up

FPS, TRANSITION_S, VIEW_ANGLE_DEG, SIZE = 30.0, 2.0, 50.0, (640, 480)
"""What holds where neither the file nor the views say otherwise."""
FRAMES_LIMIT = 100_000
"""A path of more frames is taken for a mistake."""


@dataclass(frozen=True)
class CameraPath:
    """One camera a frame, and frames per second."""

    cameras: tuple[Camera, ...]
    fps: float


def read_camera_path(path: str | Path, views: Mapping[str, Camera]) -> CameraPath:
    """The path in the frame that its file is written in; `views` are cameras of the scene, in that frame too.

    Raises:
        FileFormatError: no such file, no JSON, nothing to fly along, or a value that makes no sense.
        UnknownNameError: a keyframe names a view that is not there.
    """
    path = Path(path)
    document = _document(path)
    try:
        reader = _Reader(document, views)
        frames = document.get("camera_path")
        if frames:
            return CameraPath(tuple(reader.camera(entry, views) for entry in _listed(frames)), reader.fps)
        return reader.flown(_listed(document.get("keyframes")), views)
    except _UnusableError as fault:
        raise FileFormatError(f"{path} {fault}; see `ff render --help` for what a camera path is") from fault


def read_nerfstudio_transform(path: str | Path, scene: str | Path | None = None) -> Similarity:
    """path_from_capture of nerfstudio's dataparser_transforms.json: where its own frame lies in that of the photos.

    nerfstudio's transform starts before the `applied_transform` and `applied_scale` of a transforms.json; the poses in
    that file, which are our capture frame, come after them. `scene` is that file, None when there is none.

    Raises:
        FileFormatError: no such file, or no such transform in it.
    """
    path = Path(path)
    matrix, scale = _transform(path, _document(path), "transform", "scale")
    if scene is not None:
        document = _document(Path(scene))
        if "applied_transform" in document:
            first, first_scale = _transform(Path(scene), document, "applied_transform", "applied_scale")
            matrix, scale = matrix @ torch.linalg.inv(first), scale / first_scale
    return Similarity(scale, matrix[:3, :3], scale * matrix[:3, 3])


def _transform(
    path: Path, document: Mapping[str, Any], rows: str, factor: str
) -> tuple[Float[Tensor, "4 4"], float]:
    """A rigid matrix and a positive number (1 when not given) of a JSON object."""
    whole = torch.eye(4, dtype=torch.float64)
    try:
        matrix = torch.tensor(document[rows], dtype=torch.float64)
        scale = float(document.get(factor, 1.0))
        if tuple(matrix.shape) not in ((3, 4), (4, 4)) or not (scale > 0 and matrix.isfinite().all()):
            raise ValueError("not a 3 x 4 matrix and a positive scale")
        whole[:3] = matrix[:3]
        if not torch.allclose(whole[:3, :3] @ whole[:3, :3].T, torch.eye(3).double(), atol=1e-3):
            raise ValueError("not a rotation")
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise FileFormatError(
            f"{path} holds no usable '{rows}' and '{factor}' ({' '.join(str(error).split())}); give the files that "
            "nerfstudio wrote"
        ) from error
    return whole, scale


class _UnusableError(ValueError):
    """What is wrong with the file, in words that follow its path."""


class _Reader:
    """What holds for the whole path, and cameras made of entries."""

    def __init__(self, document: Mapping[str, Any], views: Mapping[str, Camera]) -> None:
        kind = document.get("camera_type", "perspective")
        if kind not in ("perspective", "pinhole"):
            raise _UnusableError(f"asks for a camera of type '{kind}', but only perspective can be drawn")
        like = next(iter(views.values()), None)
        self.fps = _number(document.get("fps", FPS), "fps", 0.1, 1000.0)
        size = document.get("size") or (document.get("render_width"), document.get("render_height"))
        if not isinstance(size, list | tuple) or len(size) != 2:
            raise _UnusableError(f"gives {shortened(repr(size))} as 'size', which should be [width, height]")
        if size[0] is None or size[1] is None:
            size = like.size if like else SIZE
        self.size = (
            int(_number(size[0], "width", 1.0, 16384.0)),
            int(_number(size[1], "height", 1.0, 16384.0)),
        )
        angle = VIEW_ANGLE_DEG if like is None else _angle_deg(like)
        self.angle_deg = _view_angle(document.get("default_fov", document.get("fov", angle)))
        self.seconds = _number(
            document.get("default_transition_sec", TRANSITION_S), "default_transition_sec", 0.0, 3600.0
        )
        self.closed = bool(document.get("closed", document.get("is_cycle", False)))
        self.up = _vector(document["up"], "up") if "up" in document else None
        if self.up is None and views:
            self.up = mean_up(list(views.values()))

    def camera(self, entry: Mapping[str, Any], views: Mapping[str, Camera]) -> Camera:
        """The camera of one entry."""
        if "view" in entry:
            return self._with_lens(_view_of(entry["view"], views).world_from_camera, entry, views)
        for key in ("camera_to_world", "matrix"):
            if key in entry:
                return self._with_lens(_pose(entry[key]), entry, views)
        if not {"position", "look_at"} <= set(entry):
            raise _UnusableError(
                "has a camera without 'view', 'camera_to_world', or 'position' and 'look_at'"
            )
        up = _vector(entry["up"], "up") if "up" in entry else self.up
        if up is None:
            raise _UnusableError("has a camera with 'look_at', but says nowhere which way is 'up'")
        position, target = (_vector(entry[key], key) for key in ("position", "look_at"))
        if (target - position).norm() < 1e-9:
            raise _UnusableError("has a camera that looks at the place where it stands")
        like = self._with_lens(torch.eye(4), entry, views)
        return looking(position, target, up, like)

    def flown(self, entries: list[Mapping[str, Any]], views: Mapping[str, Camera]) -> CameraPath:
        """A smooth flight through keyframes."""
        cameras = [self.camera(entry, views) for entry in entries]
        into = [self._seconds_into(entry) for entry in entries]
        into = [*into[1:], into[0]] if self.closed else into[1:]
        total = sum(into)
        if total * self.fps > FRAMES_LIMIT:
            raise _UnusableError(f"asks for {total * self.fps:.0f} frames, which is more than {FRAMES_LIMIT}")
        if total <= 0:
            return CameraPath(tuple(cameras), self.fps)
        count = max(2, round(total * self.fps) + (not self.closed))
        times = [total * index / (count if self.closed else count - 1) for index in range(count)]
        return CameraPath(tuple(interpolate_at(cameras, _places(times, into), closed=self.closed)), self.fps)

    def _seconds_into(self, entry: Mapping[str, Any]) -> float:
        own = entry.get("override_transition_sec") if entry.get("override_transition_enabled") else None
        return _number(entry.get("seconds", self.seconds if own is None else own), "seconds", 0.0, 3600.0)

    def _with_lens(
        self, pose: Float[Tensor, "4 4"], entry: Mapping[str, Any], views: Mapping[str, Camera]
    ) -> Camera:
        named = views.get(entry["view"]) if isinstance(entry.get("view"), str) else None
        own = self.angle_deg if named is None else _angle_deg(named)
        angle = _view_angle(entry["fov"]) if entry.get("fov") is not None else own
        focal = 0.5 * self.size[1] / math.tan(math.radians(angle) / 2)
        centre = torch.tensor([self.size[0] / 2, self.size[1] / 2])
        return Camera(pose.float(), torch.full((2,), focal), centre, self.size)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}; give a JSON file") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is no JSON ({error}); save it again") from error
    if not isinstance(document, dict):
        raise FileFormatError(f"{path} holds no JSON object, but {type(document).__name__}; save it again")
    return document


def _listed(entries: object) -> list[Mapping[str, Any]]:
    if not isinstance(entries, list) or not entries or not all(isinstance(each, dict) for each in entries):
        raise _UnusableError(
            "has neither a list 'camera_path' nor a list 'keyframes' with at least one camera"
        )
    return entries


def _view_of(name: object, views: Mapping[str, Camera]) -> Camera:
    if not isinstance(name, str):
        raise _UnusableError(f"gives {shortened(repr(name))} as 'view', which should be a name")
    near = [each for each in views if name in (each, Path(each).name, Path(each).stem)]
    if name in views:
        near = [str(name)]
    if len(near) != 1:
        found = "several views are" if near else "no view is"
        some = ", ".join((near or list(views))[:5]) or "the field remembers none"
        raise UnknownNameError(
            f"the camera path names a view {shortened(repr(name))}, but {found} called so; there are: {some}"
        )
    return views[near[0]]


def _pose(value: object) -> Float[Tensor, "4 4"]:
    """A rigid pose with OpenCV axes, from rows (or, as old nerfstudio keyframes, columns) with OpenGL axes."""
    try:
        numbers = torch.tensor(value, dtype=torch.float64).flatten()
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise _UnusableError(f"has a pose that is no matrix of numbers ({reason})") from error
    if numbers.numel() not in (12, 16) or not numbers.isfinite().all():
        raise _UnusableError(f"has a pose of {numbers.numel()} numbers; it takes 12 or 16, all finite")
    rows = numbers.reshape(-1, 4)
    if len(rows) == 4 and rows[3, :3].abs().max() > 1e-9 and rows[:3, 3].abs().max() <= 1e-9:
        rows = rows.T
    axes = rows[:3, :3]
    lengths = axes.norm(dim=0)
    if (lengths < 1e-9).any() or torch.det(axes / lengths) < 0.9:
        raise _UnusableError("has a pose that is not a rotation and a place")
    left, _, right = torch.linalg.svd(axes / lengths)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = (left @ right) * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    pose[:3, 3] = rows[:3, 3]
    return pose


def _places(times: list[float], into: list[float]) -> list[float]:
    """Where a flight is at each time: 1.5 is half way between the second and the third keyframe."""
    places, index, start = [], 0, 0.0
    for time in times:
        while index < len(into) - 1 and time >= start + into[index] - 1e-9:
            start, index = start + into[index], index + 1
        inside = (time - start) / into[index] if into[index] > 0 else 1.0
        places.append(index + min(max(inside, 0.0), 1.0))
    return places


def _angle_deg(camera: Camera) -> float:
    return math.degrees(2 * math.atan(0.5 * camera.height / camera.focal_px[1].item()))


def _view_angle(value: object) -> float:
    return _number(value, "fov", 0.1, 175.0)


def _vector(value: object, name: str) -> Float[Tensor, "3"]:
    if not isinstance(value, list) or len(value) != 3:
        raise _UnusableError(f"gives {shortened(repr(value))} as '{name}', which should be three numbers")
    return torch.tensor([_number(each, name, -1e9, 1e9) for each in value], dtype=torch.float64)


def _number(value: object, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _UnusableError(
            f"gives {shortened(repr(value))} as '{name}', which should be a number from {low:g} to {high:g}"
        )
    return float(value)
