"""A field and the photos it is measured on, in one frame."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import SceneError

from .console import Console
from .inputs import existing
from .photos import scene_of
from .viewpoints import held_out

if TYPE_CHECKING:
    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.maths.similarity import Similarity
    from featurefields.scene import Scene

APART = 0.05
"""Cameras of one photo this far apart (median; the unit is about their distance from the scene) are of two scenes."""


def measured_on(field: "FeatureField", data: Path | None, console: Console) -> "tuple[FeatureField, Scene]":
    """The field in the frame of its photos, knowing their cameras, and the photos; `data` as in `scene_of`.

    Views that the field remembers as held out are held out, whatever the folder says now.

    Raises:
        FileFormatError: there is nothing at `data`.
        SceneError: the photos are gone, unreadable, of another scene, or none is held out.
    """
    scene = scene_of(field, existing(data) if data is not None else None, console)
    if scene is None:
        told = f"were in {field.about.data} and are gone" if field.about.data else "are not known"
        raise SceneError(f"the field's photos {told}; pass --data FOLDER with the photos it was made from")
    field = in_frame(field, scene.world_from_capture)
    refuse_other_scene(field, scene)
    remembered = set(held_out(field)) & set(scene.cameras())
    if remembered:
        views = tuple(
            replace(view, split="test" if view.name in remembered else "train") for view in scene.views
        )
        scene = replace(scene, views=views)
    if not scene.split("test"):
        raise SceneError(
            f"all {len(scene.views)} photos of {scene.folder} are to be fitted, so none is left to measure on; name "
            "some as held out (test_filenames)"
        )
    cameras = {**field.about.cameras, **scene.cameras()}
    return replace(field, about=replace(field.about, cameras=cameras)), scene


def in_frame(field: "FeatureField", world_from_capture: "Similarity") -> "FeatureField":
    """The field with its photos' frame placed so; untouched where it is so already."""
    import torch

    own = field.about.world_from_capture
    same = (
        abs(own.scale / world_from_capture.scale - 1) < 1e-5
        and torch.allclose(own.rotation.double(), world_from_capture.rotation.double(), atol=1e-5)
        and torch.allclose(own.translation.double(), world_from_capture.translation.double(), atol=1e-5)
    )
    return field if same else field.moved(own.inverse).moved(world_from_capture)


def refuse_other_scene(field: "FeatureField", scene: "Scene") -> None:
    """Raise `SceneError` when the field remembers other cameras than the photos have."""
    known, there = field.about.cameras, scene.cameras()
    both = [name for name in known if name in there]
    if known and not both:
        raise SceneError(
            f"{scene.folder} holds another scene: the field was made from {', '.join(list(known)[:2])}, the folder "
            f"has {', '.join(list(there)[:2])}; give the folder of the field's own photos"
        )
    if both and _median_distance([known[name] for name in both], [there[name] for name in both]) > APART:
        raise SceneError(
            f"{scene.folder} holds another scene: its {len(both)} photos are called as the field's, but were taken "
            "from elsewhere; give the folder of the field's own photos"
        )


def _median_distance(a: "list[Camera]", b: "list[Camera]") -> float:
    from statistics import median

    return median(float((x.position.cpu() - y.position).norm()) for x, y in zip(a, b, strict=True))
