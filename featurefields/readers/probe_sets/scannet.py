"""ScanNet (Dai et al. 2017), as its tools export frames.

    scene0000_00/color/0.jpg · depth/0.png (mm) · pose/0.txt (camera to world, 4 rows) · label/0.png (NYU40 ids, 0 none)
    scene0000_00/intrinsic/intrinsic_depth.txt, or intrinsics_depth.txt in the scene's folder (the 25k frames)
    scannetv2_train.txt, scannetv2_val.txt: names of scenes, beside them (without: `--held-out`)
    test.npz, intrinsics.npz: the 1500 test pairs of SuperGlue as LoFTR publishes them (then every scene is held out)

Pictures have the size of the depth map; colour pictures are resized to it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.images import read_size
from featurefields.readers.pose import rigid_pose
from featurefields.readers.probe_sets.halves import held_out_scenes
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, Split, existing_folder
from featurefields.readers.probe_sets.lists import names_in
from featurefields.readers.probe_sets.nyuv2 import CLASSES_40, MILLIMETRE
from featurefields.readers.probe_sets.pixels import depth_of, fitted, image_of, labels_of
from featurefields.readers.probe_sets.registered import ProbeSource

RANGE_M = (1e-3, 10.0)
LABELS = "label"


def read_scannet(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Frames with a pose of all scenes on either side. Raises `SceneError` when nothing is there."""
    folder = existing_folder(folders[0], "scannet")
    scenes = [path for path in sorted(folder.glob("scene????_??")) if (path / "pose").is_dir()]
    if not scenes:
        raise SceneError(
            f"{folder} has no folders such as scene0000_00 with pictures in color, depth and pose"
        )
    pairs = _pairs(folder)
    named = [path.name for path in scenes]
    train, test = (set(names_in(folder / f"scannetv2_{half}.txt")) for half in ("train", "val"))
    if pairs is not None:
        train, test = set(), set(named)
    elif source.held_out or not test:
        test = set(held_out_scenes(named, source.held_out))
        train = set(named) - test
    given = _intrinsics(folder)
    samples = [
        sample
        for path in scenes
        if path.name in train | test
        for sample in _frames(path, "test" if path.name in test else "train", given.get(path.name), source)
    ]
    classes = CLASSES_40 if any(sample.labels is not None for sample in samples) else ()
    known = {sample.name for sample in samples}
    kept = None if pairs is None else tuple(pair for pair in pairs if {*pair} <= known)
    return ProbeSet("ScanNet", tuple(samples), classes, depth_range=RANGE_M, pairs=kept)


def _frames(
    scene: Path, split: Split, given: NDArray[np.float64] | None, source: ProbeSource
) -> Iterator[ProbeSample]:
    """Frames that have a picture, depth and a finite pose (lost frames have none)."""
    poses = sorted(scene.glob("pose/*.txt"), key=lambda path: (len(path.stem), path.stem))[:: source.every]
    for file in poses:
        image = next(
            (path for e in (".jpg", ".png") if (path := scene / "color" / f"{file.stem}{e}").is_file()), None
        )
        depth, label = scene / "depth" / f"{file.stem}.png", scene / LABELS / f"{file.stem}.png"
        pose = read_matrix(file)
        if image is None or not depth.is_file() or not np.isfinite(pose).all():
            continue
        full = read_size(depth)
        size = fitted(full, source.longest_side)
        matrix = given if given is not None else _depth_intrinsics(scene)
        world_from_camera = torch.from_numpy(rigid_pose(pose.tolist(), str(file), opengl=False)).float()
        yield ProbeSample(
            name=f"{scene.name}/{file.stem}",
            scene=scene.name,
            split=split,
            size=size,
            image=image_of(image, size),
            depth=depth_of(depth, MILLIMETRE, size),
            labels=labels_of(label, len(CLASSES_40), 1, size) if label.is_file() else None,
            camera=pinhole(world_from_camera, matrix, full).resized(size),
        )


def pinhole(world_from_camera: torch.Tensor, matrix: NDArray[np.float64], size: tuple[int, int]) -> Camera:
    """A camera with intrinsics that count pixels from the centre of the first one, as OpenCV does."""
    k = torch.from_numpy(np.asarray(matrix, dtype=np.float64)).float()
    return Camera(world_from_camera, torch.stack([k[0, 0], k[1, 1]]), k[:2, 2] + 0.5, size)


def read_matrix(path: Path) -> NDArray[np.float64]:
    """A text file of rows of numbers. Raises `SceneError` when it is none."""
    try:
        return np.atleast_2d(np.loadtxt(path, dtype=np.float64))
    except (OSError, ValueError) as error:
        raise SceneError(
            f"{path} is no matrix of numbers ({' '.join(str(error).split())}); restore it"
        ) from error


def _depth_intrinsics(scene: Path) -> NDArray[np.float64]:
    for path in (scene / "intrinsic" / "intrinsic_depth.txt", scene / "intrinsics_depth.txt"):
        if path.is_file():
            return read_matrix(path)
    raise SceneError(
        f"{scene} has no intrinsic/intrinsic_depth.txt or intrinsics_depth.txt; export it with the frames"
    )


def _intrinsics(folder: Path) -> dict[str, NDArray[np.float64]]:
    path = folder / "intrinsics.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as table:
        return {name: np.asarray(table[name], dtype=np.float64) for name in table.files}


def _pairs(folder: Path) -> tuple[tuple[str, str], ...] | None:
    """Pairs of sample names from the rows (room, scan, frame, frame) of test.npz."""
    path = folder / "test.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as table:
        if "name" not in table.files:
            raise SceneError(f"{path} has no array 'name' of pairs; take the file that LoFTR publishes")
        rows = np.asarray(table["name"]).reshape(-1, 4).tolist()
    return tuple(
        (f"scene{room:04d}_{scan:02d}/{first}", f"scene{room:04d}_{scan:02d}/{second}")
        for room, scan, first, second in rows
    )
