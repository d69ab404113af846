"""Which cameras a picture or video is drawn from: views, an orbit, a flight through views, a path from a file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featurefields.errors import PromptError, UnknownNameError

from .options import Decimal, Number, OptionalPath, RepeatedNames
from .viewpoints import chosen_views, held_out, in_scene, orbit_views, sized

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.maths.similarity import Similarity

UP_AXES = {"y-down": (0.0, -1.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
ORBIT_FRAMES = 120
"""Frames of a video that nobody chose a path for: an orbit."""
FPS = 30.0


@dataclass(frozen=True, kw_only=True)
class FlightOptions:
    """Where to look from (default: the held-out views that the field remembers; a video: an orbit)."""

    view: RepeatedNames = ()
    """Name of a view to draw (full name, file name, or file name without ending)."""
    all: bool = False
    """Draw every view, not only the held-out ones."""
    orbit: Number = None
    """This many frames of an orbit around the scene."""
    fly: Number = None
    """This many frames of a smooth flight through the views (those of --view, in that order, or all)."""
    path: OptionalPath = None
    """Frames of a camera path: a JSON file with 'keyframes' (each {view: NAME}, or {position, look_at}, or
    {camera_to_world}; perhaps fov, seconds) or a 'camera_path' as nerfstudio's viewer saves it."""
    nerfstudio_transform: OptionalPath = None
    """dataparser_transforms.json of the nerfstudio run in whose own frame --path was saved."""
    up: Literal["y-down", "y", "z"] = "y-down"
    """Which way is up when --orbit goes around a .ply that remembers no views."""
    scene: OptionalPath = None
    """Take the views from this folder of posed photos, for a .ply that was made from them."""
    size: Number = None
    """Longest side of the pictures in pixels (default: as the views are)."""
    fps: Decimal = None
    """Frames per second of a video (default: what the path says, else 30)."""

    def check(self) -> None:
        """Raise `PromptError` when the options contradict each other."""
        ways = {"--orbit": self.orbit, "--fly": self.fly, "--path": self.path}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise PromptError(f"{' and '.join(given)} are different ways to move the camera; choose one")
        if given and given != ["--fly"] and (self.view or self.all):
            raise PromptError(
                f"--view and --all choose views, {given[0]} moves the camera by itself; choose one"
            )
        if self.nerfstudio_transform is not None and self.path is None:
            raise PromptError(
                "--nerfstudio-transform says where a --path lies, but there is none; pass --path too"
            )
        if self.fps is not None and not 0.1 <= self.fps <= 1000:
            raise PromptError(f"--fps {self.fps:g} is no frame rate; give 0.1 to 1000 frames per second")

    @property
    def moving(self) -> bool:
        """Whether frames of a moving camera were asked for."""
        return (self.orbit, self.fly, self.path) != (None, None, None)


@dataclass(frozen=True)
class Flight:
    """Cameras by the names of their pictures, in order; frames per second; some cameras of the scene itself."""

    cameras: "Mapping[str, Camera]"
    fps: float
    known: "tuple[Camera, ...]"


def flight_of(
    options: FlightOptions, field: "FeatureField", source: Path, *, video: bool = False
) -> "tuple[FeatureField, Flight]":
    """The field, in the frame of the scene if one is given, and the cameras to draw.

    Raises:
        UnknownNameError: there are no views where views are needed, or none of a wanted name.
        PromptError: contradicting options, or no frames.
        SceneError, FileFormatError: the scene or the path cannot be read.
    """
    options.check()
    cameras, preferred, up = dict(field.about.cameras), held_out(field), None
    if options.scene is not None:
        field, cameras, preferred, up = in_scene(field, options.scene)
    fps = FPS
    views_wanted = options.view or options.all
    if options.path is not None:
        chosen, fps = _path(options, cameras, field)
    elif options.orbit is not None or (video and options.fly is None and not views_wanted):
        frames = ORBIT_FRAMES if options.orbit is None else options.orbit
        chosen = orbit_views(field, cameras, frames, up, UP_AXES[options.up])
    elif not cameras:
        raise UnknownNameError(
            f"{source} remembers no views; pass --orbit N to circle it, or --scene FOLDER with the "
            "photos it was made from"
        )
    elif options.fly is not None:
        chosen = _flown(list(chosen_views(cameras, options.view, ()).values()), options.fly)
    else:
        chosen = chosen_views(cameras, options.view, () if options.all else preferred)
    chosen = {name: sized(camera, options.size) for name, camera in chosen.items()}
    return field, Flight(chosen, options.fps or fps, _known(cameras, preferred))


def spread(cameras: "list[Camera]", count: int) -> "list[Camera]":
    """At most `count` of them, evenly."""
    return cameras[:: max(1, -(-len(cameras) // count))]


def _known(cameras: "Mapping[str, Camera]", preferred: list[str]) -> "tuple[Camera, ...]":
    return tuple(cameras[name] for name in ([n for n in preferred if n in cameras] or cameras))


def _flown(stops: "list[Camera]", frames: int) -> "dict[str, Camera]":
    from featurefields.visualization.paths import interpolate

    if frames < 1:
        raise PromptError(f"--fly asked for {frames} frames; ask for at least 1")
    return {f"fly_{index:04d}": camera for index, camera in enumerate(interpolate(stops, frames))}


def _path(
    options: FlightOptions, cameras: "Mapping[str, Camera]", field: "FeatureField"
) -> "tuple[dict[str, Camera], float]":
    """The frames of --path in the world of the field, and their rate."""
    from featurefields.files.camera_path import read_camera_path, read_nerfstudio_transform
    from featurefields.maths.similarity import Similarity

    assert options.path is not None
    path_from_capture = Similarity.identity()
    if options.nerfstudio_transform is not None:
        file = (options.scene or Path(field.about.data or ".")) / "transforms.json"
        path_from_capture = read_nerfstudio_transform(
            options.nerfstudio_transform,
            file if file.is_file() and (options.scene or field.about.data) else None,
        )
    path_from_world = path_from_capture.after(field.about.world_from_capture.inverse)
    views = {name: _moved(camera, path_from_world) for name, camera in cameras.items()}
    read = read_camera_path(options.path, views)
    world_from_path = path_from_world.inverse
    frames = {f"path_{index:04d}": _moved(each, world_from_path) for index, each in enumerate(read.cameras)}
    return frames, read.fps


def _moved(camera: "Camera", similarity: "Similarity") -> "Camera":
    pose: Tensor = similarity.pose(camera.world_from_camera.double()).to(camera.world_from_camera)
    return replace(camera, world_from_camera=pose)
