"""ScanNet++ (Yeshwanth et al. 2023): undistorted DSLR pictures with depth rendered from the scan.

    splits/nvs_sem_train.txt, splits/nvs_sem_val.txt: names of scenes
    data/SCENE/dslr/undistorted_images/DSC00001.JPG · dslr/nerfstudio/transforms_undistorted.json (its toolkit's)
    data/SCENE/dslr/render_depth/DSC00001.png   16 bit, mm, of the undistorted camera (its toolkit's renderer)
    data/SCENE/dslr/semantics/DSC00001.png      1 … 100 = lines of the class list, 0 none (optional)
    metadata/semantic_benchmark/top100.txt      names of the classes

Depth may have another resolution than the pictures: it is sampled at their pixels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.readers.pose import rigid_pose
from featurefields.readers.probe_sets.halves import held_out_scenes
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, Split, existing_folder
from featurefields.readers.probe_sets.lists import names_in
from featurefields.readers.probe_sets.nyuv2 import MILLIMETRE
from featurefields.readers.probe_sets.pixels import depth_of, fitted, image_of, labels_of
from featurefields.readers.probe_sets.registered import ProbeSource
from featurefields.readers.record import Record, read_record

RANGE_M = (1e-3, 10.0)


def read_scannetpp(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Pictures that have depth of all scenes on either side. Raises `SceneError` when nothing is there."""
    folder = existing_folder(folders[0], "scannetpp")
    train, test = (set(names_in(folder / "splits" / f"nvs_sem_{half}.txt")) for half in ("train", "val"))
    present = sorted(
        path.parent.parent.parent.name for path in folder.glob("data/*/dslr/nerfstudio/transforms_*.json")
    )
    if source.held_out:
        test = set(held_out_scenes(present, source.held_out))
        train = set(present) - test
    names = folder / "metadata" / "semantic_benchmark" / "top100.txt"
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    classes = tuple(line.strip() for line in lines if line.strip())
    samples = [
        sample
        for scene in present
        if scene in train | test
        for sample in _pictures(
            folder / "data" / scene, "test" if scene in test else "train", len(classes), source
        )
    ]
    if not samples:
        raise SceneError(
            f"{folder} has no data/SCENE/dslr with undistorted_images, render_depth and "
            "nerfstudio/transforms_undistorted.json of a scene that is in splits; prepare it with the data's toolkit"
        )
    return ProbeSet("ScanNet++", tuple(samples), classes, depth_range=RANGE_M)


def _pictures(scene: Path, split: Split, classes: int, source: ProbeSource) -> Iterator[ProbeSample]:
    dslr = scene / "dslr"
    document = read_record(dslr / "nerfstudio" / "transforms_undistorted.json")
    lists = [key for key in ("frames", "test_frames") if isinstance(document.values.get(key), list)]
    frames = sorted(
        (frame for key in lists for frame in document.records(key)),
        key=lambda frame: frame.text("file_path") or "",
    )
    for frame in frames[:: source.every]:
        name = frame.text("file_path") or ""
        stem = Path(name).stem
        image, depth = dslr / "undistorted_images" / name, dslr / "render_depth" / f"{stem}.png"
        labels = dslr / "semantics" / f"{stem}.png"
        if frame.values.get("is_bad") is True or not image.is_file() or not depth.is_file():
            continue
        camera = _camera(frame)
        size = fitted(camera.size, source.longest_side)
        yield ProbeSample(
            name=f"{scene.name}/{stem}",
            scene=scene.name,
            split=split,
            size=size,
            image=image_of(image, size),
            depth=depth_of(depth, MILLIMETRE, size),
            labels=labels_of(labels, classes, 1, size) if classes and labels.is_file() else None,
            camera=camera.resized(size),
        )


def _camera(frame: Record) -> Camera:
    """The undistorted camera; OpenGL axes, principal point from the top left corner, as nerfstudio has them."""
    values = [frame.number(key) for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")]
    if any(value is None for value in values):
        raise SceneError(
            f"{frame.where}: fl_x, fl_y, cx, cy, w and h must all be there; undistort the scene again"
        )
    fl_x, fl_y, cx, cy, w, h = (float(value or 0.0) for value in values)
    pose = torch.from_numpy(
        rigid_pose(frame.values.get("transform_matrix"), frame.where, opengl=True)
    ).float()
    return Camera(pose, torch.tensor([fl_x, fl_y]), torch.tensor([cx, cy]), (round(w), round(h)))
