"""NAVI (Jampani et al. 2023): photos of objects with exact alignments.

    OBJECT/multiview_00…/annotations.json · images/000.jpg · depth/000.png · the same in OBJECT/wild_set

Photos are turned as their EXIF says, which their annotations and depth maps follow. Depth is stored as disparity:
millimetres = 655,350 / value, 0 = no object. A camera is a quaternion (w x y z) and a translation in millimetres that
take the object into the camera; the principal point is the middle. Probes are trained on the multiview collections and
measured on the wild sets, as Probe3D does; both show the same objects. Normals are those of the depth maps.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.images import read_ids
from featurefields.maths.rotations import matrix_from_quat
from featurefields.readers.probe_sets.depth_normals import normals_of_depth
from featurefields.readers.probe_sets.halves import held_out_scenes
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, Split, existing_folder
from featurefields.readers.probe_sets.pixels import fitted, nearest, resized_image
from featurefields.readers.probe_sets.registered import ProbeSource
from featurefields.readers.record import Record, read_records

LARGEST = 65_535
SCALE = 10.0
"""Stored disparity = 65,535 x 10 / depth in millimetres."""
LONGEST_SIDE = 512
"""Photos of 12 megapixels are made so small unless another size is asked for."""
WILD = "wild_set"


def read_navi(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Objects with depth, normals and cameras. Raises `SceneError` when nothing is there."""
    folder = existing_folder(folders[0], "navi")
    collections = sorted(path.parent for path in folder.glob("*/*/annotations.json"))
    named = {f"{path.parent.name}/{path.name}": path for path in collections}
    if not named:
        raise SceneError(
            f"{folder} has no OBJECT/COLLECTION/annotations.json; give the folder that holds the objects"
        )
    held = {name for name in named if name.endswith(f"/{WILD}")}
    if source.held_out or not held:
        held = set(held_out_scenes(named, source.held_out))
    samples = [
        sample
        for name, path in named.items()
        for sample in _photos(name, path, "test" if name in held else "train", source)
    ]
    return ProbeSet("NAVI", tuple(samples))


def _photos(scene: str, path: Path, split: Split, source: ProbeSource) -> Iterator[ProbeSample]:
    annotations = read_records(path / "annotations.json")
    for entry in annotations[:: source.every]:
        name = entry.text("filename") or ""
        image, depth = path / "images" / name, path / "depth" / f"{Path(name).stem}.png"
        if not image.is_file() or not depth.is_file():
            continue
        camera = _camera(entry)
        size = fitted(camera.size, source.longest_side or LONGEST_SIDE)
        small = camera.resized(size)
        yield ProbeSample(
            name=f"{scene}/{Path(name).stem}",
            scene=scene,
            split=split,
            size=size,
            image=partial(_image, image, size),
            depth=partial(_depth, depth, size),
            normal=partial(_normal, depth, small),
            camera=small,
        )


def _image(path: Path, size: tuple[int, int]) -> Float[Tensor, "h w 3"]:
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError) as error:
        raise SceneError(
            f"image {path} cannot be read ({' '.join(str(error).split())}); replace the file"
        ) from error
    return resized_image(torch.from_numpy(np.asarray(upright, dtype=np.float32) / 255), size)


def _depth(path: Path, size: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Metres, 0 where there is no object."""
    stored = nearest(read_ids(path), size).float()
    return torch.where(stored > 0, LARGEST * SCALE / stored.clamp(min=1) / 1000, 0.0)


def _normal(path: Path, camera: Camera) -> Float[Tensor, "h w 3"]:
    return normals_of_depth(_depth(path, camera.size), camera.focal_px, camera.centre_px)


def _camera(entry: Record) -> Camera:
    """The camera in the frame of the object, in metres."""
    camera, size = entry.values.get("camera"), entry.values.get("image_size")
    if not isinstance(camera, dict) or not isinstance(size, list) or len(size) != 2:
        raise SceneError(f"{entry.where}: camera or image_size is missing; restore annotations.json")
    turn, shift, focal = (camera.get(key) for key in ("q", "t", "focal_length"))
    if not _numbers(turn, 4) or not _numbers(shift, 3) or not isinstance(focal, int | float):
        raise SceneError(f"{entry.where}: camera needs q (4 numbers), t (3 numbers) and focal_length")
    rotation = matrix_from_quat(torch.tensor(turn, dtype=torch.float64)[None])[0]
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -(rotation.T @ torch.tensor(shift, dtype=torch.float64)) / 1000
    height, width = (int(side) for side in size)
    centre = torch.tensor([width / 2, height / 2])
    return Camera(pose.float(), torch.full((2,), float(focal)), centre, (width, height))


def _numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list) and len(values) == count and all(isinstance(v, int | float) for v in values)
    )
