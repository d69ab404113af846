"""What any of nerfstudio's parsers has read, as a `Scene` of ours.

Frames: "nerfstudio" is the parser's world, "world" the field's (the parser's, moved and scaled as every capture of ours
is), "capture" the frame of the poses in the files.

Letters: v views.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from torch import Tensor

from featurefields.adapters.nerfstudio.cameras import lens_of, poses_of
from featurefields.adapters.nerfstudio.capture import ReadAnew, paired_poses, read_anew, similarity_between
from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.images import WHITE, Colour, read_size
from featurefields.lens import Lens
from featurefields.maths.similarity import Similarity
from featurefields.readers.normalise import mean_up, normalising_similarity
from featurefields.readers.picture import PhotoFile, same_shape
from featurefields.scene import PointCloud, Scene, View

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ParsedPhotos:
    """A scene and what nerfstudio must know to name and place it.

    Attributes:
        scene: views, in the field's world; those of the training split first.
        world_from_nerfstudio: from the parser's world to the field's.
        kept: split → indices of the parser's photos that are views, in the views' order.
        kind: which of our readers reads the same folder, "" when none does.
        downscale: how many times larger the photo files that our reader finds are than the views.
    """

    scene: Scene
    world_from_nerfstudio: Similarity
    kept: dict[Split, list[int]]
    kind: str
    downscale: float

    def nerfstudio_cameras(self, split: Split) -> list[Camera]:
        """The views' cameras in the parser's world."""
        back = self.world_from_nerfstudio.inverse
        return [
            replace(view.camera, world_from_camera=back.pose(view.camera.world_from_camera.double()))
            for view in self.scene.split(split)
        ]


def parsed_photos(
    train: DataparserOutputs,
    held_out: DataparserOutputs,
    data: Path,
    *,
    longest_px: int | None,
    files_needed: bool = True,
) -> ParsedPhotos:
    """The scene of two splits that a parser has read from `data`.

    Photos that do not exist are skipped and listed as missing, unless their files are not needed; a photo of both
    splits is of the training split. Views have undistorted pinhole cameras, their longer side at most `longest_px`.

    Raises:
        SceneError: no photo is left to fit, or a lens cannot be undone.
    """
    read = read_anew(data) if files_needed else None
    train, held_out = (_with_paths(outputs) for outputs in (train, held_out))
    lists: dict[Split, DataparserOutputs] = {"train": train, "test": held_out}
    kept: dict[Split, list[int]] = {"train": [], "test": []}
    missing: list[str] = []
    taken: set[Path] = set()
    for split, outputs in lists.items():
        for index, photo in enumerate(outputs.image_filenames):
            if photo in taken:
                continue
            if files_needed and not photo.is_file():
                missing.append(_name(photo, data, read))
                continue
            taken.add(photo)
            kept[split].append(index)
    if not kept["train"]:
        raise SceneError(
            f"none of the {len(train.image_filenames)} photos to fit that {data} lists exists (for example "
            f"'{missing[0] if missing else '-'}'); copy the photos beside the poses"
        )
    poses = {split: poses_of(outputs.cameras)[kept[split]] for split, outputs in lists.items()}
    every = torch.cat([poses["train"], poses["test"]])
    photos = [lists[split].image_filenames[index] for split in lists for index in kept[split]]
    nerfstudio_from_capture = _capture_frame(read, photos, every) or _parsers_frame(train)
    points = _points(train, read, nerfstudio_from_capture)
    world_from_nerfstudio = normalising_similarity(
        every, None if points is None else points.positions.double()
    )
    up = mean_up(every)
    factor = _reduction([lists[split].cameras for split in lists], longest_px)
    views, downscale = [], factor
    for split, outputs in lists.items():
        for index, pose in zip(kept[split], poses[split], strict=True):
            known = read.view_of(outputs.image_filenames[index]) if read else None
            view = _view(outputs, index, pose, split, data, known, world_from_nerfstudio, factor)
            views.append(view)
            if known is not None:
                stored = int(outputs.cameras.width.reshape(-1)[index])
                downscale = factor * known.camera.width / stored
    folder = data.parent if data.is_file() else data
    scene = Scene(
        name=folder.resolve().name,
        folder=folder,
        views=tuple(views),
        points=None
        if points is None
        else PointCloud(world_from_nerfstudio.points(points.positions.double()).float(), points.colours),
        world_from_capture=world_from_nerfstudio.after(nerfstudio_from_capture),
        up=None if up is None else (world_from_nerfstudio.rotation @ up).float(),
        missing=tuple(missing),
    )
    return ParsedPhotos(scene, world_from_nerfstudio, kept, read.kind if read else "", downscale)


def _with_paths(outputs: DataparserOutputs) -> DataparserOutputs:
    """The same with files as paths: some parsers give texts."""
    masks = outputs.mask_filenames
    return replace(
        outputs,
        image_filenames=[Path(photo) for photo in outputs.image_filenames],
        mask_filenames=None if masks is None else [Path(mask) for mask in masks],
    )


def _lens(outputs: DataparserOutputs, index: int) -> Lens:
    """A photo's lens. Parsers that do not know how large photos are take the principal point for their middle; then
    the file knows better."""
    lens, photo = lens_of(outputs.cameras, index), outputs.image_filenames[index]
    if lens.size == tuple(int(2 * value) for value in lens.centre_px) and photo.is_file():
        size = read_size(photo)
        return lens if same_shape(size, lens.size) else replace(lens, size=size)
    return lens


def _reduction(cameras: list[Cameras], longest_px: int | None) -> float:
    """How many times smaller than the parser's photos the pictures are."""
    longest = max(int(side.max()) for each in cameras for side in (each.width, each.height) if len(side))
    return 1.0 if longest_px is None else max(1.0, longest / longest_px)


def _capture_frame(read: ReadAnew | None, photos: list[Path], poses: Tensor) -> Similarity | None:
    return None if read is None else similarity_between(*paired_poses(read, photos, poses))


def _parsers_frame(outputs: DataparserOutputs) -> Similarity:
    """From the frame that the parser says the poses had to its world."""
    transform, scale = outputs.dataparser_transform.double(), float(outputs.dataparser_scale)
    return Similarity(scale, transform[:, :3].clone(), scale * transform[:, 3])


def _points(
    outputs: DataparserOutputs, read: ReadAnew | None, nerfstudio_from_capture: Similarity
) -> PointCloud | None:
    """Seed points in the parser's world: the parser's, else those that our reader finds."""
    metadata = outputs.metadata
    positions, colours = metadata.get("points3D_xyz"), metadata.get("points3D_rgb")
    if positions is not None and colours is not None and len(positions):
        finite = positions.isfinite().all(-1)
        return PointCloud(positions[finite].float(), colours[finite].float() / 255)
    if read is None or read.points is None:
        return None
    return PointCloud(
        nerfstudio_from_capture.points(read.points.positions.double()).float(), read.points.colours
    )


def _name(photo: Path, data: Path, read: ReadAnew | None) -> str:
    known = read.view_of(photo) if read else None
    folder = data.parent if data.is_file() else data
    return known.name if known else Path(os.path.relpath(photo, folder)).as_posix()


def _view(
    outputs: DataparserOutputs,
    index: int,
    pose: Tensor,
    split: Split,
    data: Path,
    known: View | None,
    world_from_nerfstudio: Similarity,
    factor: float,
) -> View:
    photo = outputs.image_filenames[index]
    lens = _lens(outputs, index)
    try:
        full = lens.undistorted()
    except SceneError as error:
        raise SceneError(f"photo {photo}: {error}") from error
    target = full.resized((max(1, round(full.size[0] / factor)), max(1, round(full.size[1] / factor))))
    camera = Camera(
        world_from_nerfstudio.pose(pose).float(),
        torch.tensor(target.focal_px),
        torch.tensor(target.centre_px),
        target.size,
    )
    own = known.picture if known is not None and isinstance(known.picture, PhotoFile) else None
    masks, depths = outputs.mask_filenames, outputs.metadata.get("depth_filenames")
    picture = PhotoFile(
        path=photo,
        lens=lens,
        target=target,
        mask_path=masks[index] if masks else own.mask_path if own else None,
        depth_path=depths[index] if depths else None,
        depth_unit=float(outputs.metadata.get("depth_unit_scale_factor") or 1e-3)
        * float(outputs.dataparser_scale)
        * world_from_nerfstudio.scale,
        layer_paths=own.layer_paths if own else {},
        background=_background(outputs),
    )
    folder = data.parent if data.is_file() else data
    name = known.name if known else Path(os.path.relpath(photo, folder)).as_posix()
    return View(name, camera, split, picture)


def _background(outputs: DataparserOutputs) -> Colour:
    if outputs.alpha_color is None:
        return WHITE
    red, green, blue = (float(value) for value in outputs.alpha_color)
    return red, green, blue
