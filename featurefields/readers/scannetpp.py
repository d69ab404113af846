"""ScanNet++: one scene's folder, as released or as the toolkit's undistortion writes it.

Released: dslr/nerfstudio/transforms.json (a fisheye lens) with dslr/resized_images; newer releases add
dslr/nerfstudio/transforms_undistorted.json with dslr/resized_undistorted_images. Undistorted by the toolkit: images,
masks and nerfstudio/transforms.json. In all of them `frames` are for training and `test_frames` are held out, names of
photos are relative to their folder, and poses are camera-to-capture with OpenGL axes, in metres. Masks are 0 where a
person was made unrecognisable. Depth maps that the toolkit rendered (dslr/render_depth) are 16-bit, in millimetres, in
the geometry of the released photos.
"""

from dataclasses import dataclass
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.readers.capture import Capture, Points, Shot
from featurefields.readers.files import find_photo, is_file
from featurefields.readers.intrinsics import lens_of
from featurefields.readers.nerfstudio import refuse_repeated
from featurefields.readers.pose import rigid_pose
from featurefields.readers.record import Record, read_record

DEPTH_UNIT = 1e-3


@dataclass(frozen=True)
class _Layout:
    """Where one form of the data keeps its files, relative to the scene's folder."""

    poses: str
    photos: str
    masks: str
    depths: str


LAYOUTS = (
    _Layout(
        "dslr/nerfstudio/transforms_undistorted.json",
        "dslr/resized_undistorted_images",
        "dslr/resized_undistorted_masks",
        "dslr/undistorted_render_depth",
    ),
    _Layout(
        "dslr/nerfstudio/transforms.json",
        "dslr/resized_images",
        "dslr/resized_anon_masks",
        "dslr/render_depth",
    ),
    _Layout("nerfstudio/transforms.json", "images", "masks", "render_depth"),
)
"""The first one whose poses and photos exist is read."""


def is_scannetpp(path: Path) -> bool:
    """Whether a folder is a scene of ScanNet++."""
    return _layout_of(path) is not None


def read_scannetpp(path: Path, *, points: bool = True) -> Capture:
    """The photos of the DSLR camera.

    Photos that do not exist are skipped and listed; so are, as a note, those marked as bad (`is_bad`).

    Raises:
        SceneError: none of the layouts, broken JSON, an unusable pose, no photo left.
    """
    layout = _layout_of(path)
    if layout is None:
        known = ", ".join(f"{one.poses} with {one.photos}" for one in LAYOUTS)
        raise SceneError(f"{path} is no scene of ScanNet++: looked for {known}; give the folder of one scene")
    file = path / layout.poses
    document = read_record(file)
    held_out = document.records("test_frames") if isinstance(document.get("test_frames"), list) else []
    shots, missing, bad = [], [], 0
    for split, frames in (("train", document.records("frames")), ("test", held_out)):
        for frame in frames:
            name = frame.text("file_path")
            photo = None if name is None else find_photo(path / layout.photos, name)
            if photo is None:
                missing.append(name or frame.where)
            elif frame.values.get("is_bad") is True:
                bad += 1
            else:
                shots.append(_shot(frame, path, layout, photo, split))
    if not shots:
        raise SceneError(
            f"no usable photo: of those that {file} lists, {len(missing)} do not exist in {path / layout.photos} and "
            f"{bad} are marked as bad; copy the photos there"
        )
    refuse_repeated(shots, file)
    notes = (f"{bad} photos are marked as bad; left out",) if bad else ()
    return Capture(tuple(shots), _points(path) if points else None, tuple(missing), notes)


def _layout_of(path: Path) -> _Layout | None:
    if not path.is_dir():
        return None
    there = (one for one in LAYOUTS if (path / one.poses).is_file() and (path / one.photos).is_dir())
    return next(there, None)


def _shot(frame: Record, folder: Path, layout: _Layout, photo: Path, split: str) -> Shot:
    depth = folder / layout.depths / f"{photo.stem}.png"
    mask = frame.text("mask_path")
    mask_file = folder / layout.masks / (mask or f"{photo.stem}.png")
    return Shot(
        name=photo.name,
        path=photo,
        lens=lens_of(frame, photo),
        capture_from_camera=rigid_pose(frame.values.get("transform_matrix"), frame.where, opengl=True),
        split="test" if split == "test" else "train",
        mask=mask_file if is_file(mask_file) else None,
        depth=depth if depth.is_file() else None,
        depth_unit=DEPTH_UNIT,
    )


def _points(folder: Path) -> Points | None:
    """The sparse points of the poses' COLMAP model, None where there is no model or nothing to read it with."""
    for model in (folder / "dslr" / "colmap", folder / "colmap"):
        if (model / "points3D.txt").is_file() or (model / "points3D.bin").is_file():
            try:
                from featurefields.readers.colmap import model_points
            except ImportError:
                return None
            return model_points(model)
    return None
