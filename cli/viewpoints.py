"""Which cameras a command draws with, and what their pictures are called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import PromptError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField


def in_scene(
    field: "FeatureField", folder: Path
) -> "tuple[FeatureField, dict[str, Camera], list[str], Tensor | None]":
    """The field in the frame of a folder of posed photos; the folder's cameras, held-out views and up."""
    from featurefields.readers import read_scene

    scene = read_scene(folder, points=False)
    moved = field.moved(field.about.world_from_capture.inverse).moved(scene.world_from_capture)
    return moved, dict(scene.cameras()), [view.name for view in scene.split("test")], scene.up


def held_out(field: "FeatureField") -> list[str]:
    """Views that were not fitted: the field's note "test_views"."""
    names = field.about.notes.get("test_views", ())
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []


def chosen_views(
    cameras: "Mapping[str, Camera]", wanted: Sequence[str], preferred: Sequence[str]
) -> "dict[str, Camera]":
    """The wanted views, or else the preferred ones, or else all; keyed by the beginning of a file name.

    Raises:
        UnknownNameError: a wanted name fits no view, or several.
    """
    names = [view_name(name, list(cameras)) for name in wanted]
    names = names or [name for name in preferred if name in cameras] or list(cameras)
    stems = [Path(name).stem for name in names]
    whole = [str(Path(name).with_suffix("")).strip("./").replace("/", "_") for name in names]
    titles = [stem if stems.count(stem) == 1 else long for stem, long in zip(stems, whole, strict=True)]
    return {title: cameras[name] for title, name in zip(titles, names, strict=True)}


def view_name(wanted: str, names: Sequence[str]) -> str:
    """The one of `names` that is `wanted`: its full name, file name, or file name without ending.

    Raises:
        UnknownNameError: none or several are.
    """
    near = [name for name in names if wanted in (Path(name).name, Path(name).stem)]
    found = [wanted] if wanted in names else near
    if len(found) == 1:
        return found[0]
    count = "several views are" if near else "no view is"
    raise UnknownNameError(
        f"{count} called '{wanted}'; for example there are: {', '.join((near or names)[:5])}"
    )


def orbit_views(
    field: "FeatureField",
    cameras: "Mapping[str, Camera]",
    frames: int,
    up: "Tensor | None",
    up_without_cameras: tuple[float, float, float],
) -> "dict[str, Camera]":
    """`frames` cameras around the scene: where the given cameras look, or around the Gaussians without any.

    `up` is the scene's up direction; with None the cameras tell, and without cameras the last argument.

    Raises:
        PromptError: fewer than one frame.
    """
    import torch

    from featurefields.visualization.paths import encircle, orbit

    if frames < 1:
        raise PromptError(f"--orbit asked for {frames} frames; ask for at least 1")
    if cameras:
        path = orbit(list(cameras.values()), up, frames)
    else:
        path = encircle(field.splats.means, torch.tensor(up_without_cameras), frames)
    return {f"orbit_{index:04d}": camera for index, camera in enumerate(path)}


def sized(camera: "Camera", longest: int | None) -> "Camera":
    """The camera with `longest` pixels on its longer side (None: as it is).

    Raises:
        PromptError: fewer than one pixel.
    """
    if longest is None:
        return camera
    if longest < 1:
        raise PromptError(f"pictures of {longest} pixels were asked for; ask for a size of at least 1")
    ratio = longest / max(camera.size)
    return camera.resized((max(1, round(camera.width * ratio)), max(1, round(camera.height * ratio))))
