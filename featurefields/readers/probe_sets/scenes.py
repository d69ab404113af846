"""Scenes in our own format: depth, normals, instance ids and materials of every view.

Letters: h w pixels.

Each folder is one scene, with its transforms.json; all its views are on one side of the split. Lengths are those of the
poses' source, taken for metres. The sky is unknown: depth 0, a zero normal, no label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.readers.assemble import read_scene
from featurefields.readers.objects import SceneObject, described_objects
from featurefields.readers.probe_sets.depth_normals import normals_of_depth
from featurefields.readers.probe_sets.halves import held_out_scenes
from featurefields.readers.probe_sets.interface import IGNORED, ProbeSample, ProbeSet
from featurefields.readers.probe_sets.pixels import unit_normals
from featurefields.readers.probe_sets.registered import ProbeSource
from featurefields.scene import Picture, Scene, View

GLOSSY = 0.25
"""Coated objects of less roughness than this are of the region "gloss"."""


def read_scenes(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Every folder as a scene.

    Classes and regions come from the objects of meta.json; a scene without it has no labels. Normals are those of the
    scene, or else those of the surface that its depth maps describe.

    Raises:
        SceneError: a folder is no scene, two have one name, or a held-out name is unknown.
    """
    scenes = [read_views(folder, source) for folder in folders]
    names = [scene.name for scene in scenes]
    if len(set(names)) < len(names):
        raise SceneError(f"two scenes are called {max(names, key=names.count)}; rename one of the folders")
    held = held_out_scenes(names, source.held_out)
    objects = {scene.name: described_objects(scene.folder) for scene in scenes}
    every = [entry for known in objects.values() for entry in known.values()]
    classes = tuple(sorted({_class(entry, source) for entry in every}))
    regions = tuple(sorted({_region(entry) for entry in every if entry.material}))
    samples = []
    for scene in scenes:
        for view in sorted(scene.views, key=lambda view: view.name)[:: source.every]:
            sample = replace(
                sample_of_view(scene.name, view), split="test" if scene.name in held else "train"
            )
            samples.append(_described(sample, view.picture, objects[scene.name], source, classes, regions))
    unnamed = [name for name, known in objects.items() if not known]
    notes = [f"scene {name} has no meta.json: its pixels have no labels" for name in unnamed if classes]
    return ProbeSet("scenes", tuple(samples), classes, regions, notes=tuple(notes))


def read_views(folder: Path, source: ProbeSource) -> Scene:
    """A scene in the frame and the units of its poses, its pictures as small as asked for."""
    scene = read_scene(folder, normalise=False, points=False)
    longest = max(scene.views[0].camera.size)
    if source.longest_side is None or longest <= source.longest_side:
        return scene
    return read_scene(folder, normalise=False, points=False, downscale=longest / source.longest_side)


def _class(entry: SceneObject, source: ProbeSource) -> str:
    return (entry.material if source.labels == "material" else "") or entry.name.split("-")[0]


def _region(entry: SceneObject) -> str:
    glossy = entry.material == "coated" and entry.roughness is not None and entry.roughness < GLOSSY
    return "gloss" if glossy else entry.material


def sample_of_view(scene: str, view: View) -> ProbeSample:
    """A training sample of a view; normals are those of its depth map where it has no others."""
    picture, camera = view.picture, view.camera
    has_depth, has_normal = _has(picture, "depth_path"), _has(picture, "normal")
    read_normal = None
    if has_normal:
        read_normal = partial(_normal, picture, camera)
    elif has_depth:
        read_normal = partial(_normal_of_depth, picture, camera)
    return ProbeSample(
        name=f"{scene}/{view.name}",
        scene=scene,
        split="train",
        size=camera.size,
        image=picture.image,
        depth=partial(_depth, picture) if has_depth else None,
        normal=read_normal,
        camera=camera,
    )


def _described(
    sample: ProbeSample,
    picture: Picture,
    objects: Mapping[int, SceneObject],
    source: ProbeSource,
    classes: Sequence[str],
    regions: Sequence[str],
) -> ProbeSample:
    """The sample with labels and regions, where its scene says what its objects are."""
    if not objects or not _has(picture, "instance"):
        return sample
    as_class = {id: classes.index(_class(entry, source)) for id, entry in objects.items()}
    as_region = {id: regions.index(_region(entry)) for id, entry in objects.items() if entry.material}
    return replace(
        sample,
        labels=partial(_indices, picture, as_class),
        regions=partial(_indices, picture, as_region) if as_region else None,
    )


def _has(picture: Picture, what: str) -> bool:
    """Whether there is such a file, without reading it."""
    if what == "depth_path":
        return getattr(picture, "depth_path", None) is not None
    return what in getattr(picture, "layer_paths", {})


def _depth(picture: Picture) -> Float[Tensor, "h w"]:
    depth = picture.depth()
    assert depth is not None
    return depth if (mask := picture.mask()) is None else torch.where(mask, depth, 0.0)


def _normal(picture: Picture, camera: Camera) -> Float[Tensor, "h w 3"]:
    """Stored world normals, (n + 1) / 2, in the camera's frame."""
    stored = picture.layer("normal")
    assert stored is not None
    local = unit_normals(2 * stored[..., :3] - 1) @ camera.world_from_camera[:3, :3]
    return local if (mask := picture.mask()) is None else torch.where(mask[..., None], local, 0.0)


def _normal_of_depth(picture: Picture, camera: Camera) -> Float[Tensor, "h w 3"]:
    return normals_of_depth(_depth(picture), camera.focal_px, camera.centre_px)


def _indices(picture: Picture, index_of: Mapping[int, int]) -> Int[Tensor, "h w"]:
    """Instance ids as indices of what the objects are."""
    layer = picture.layer("instance")
    assert layer is not None
    ids = layer[..., 0].long()
    table = torch.full((max([int(ids.max()), *index_of]) + 1,), IGNORED)
    for id, index in index_of.items():
        table[id] = index
    indices = table[ids]
    return indices if (mask := picture.mask()) is None else torch.where(mask, indices, IGNORED)
