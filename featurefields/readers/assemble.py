"""From any folder of posed photos to a `Scene`: one frame, one pixel convention, no lens distortion."""

import math
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import SceneError
from featurefields.images import WHITE, Colour, read_size
from featurefields.lens import Lens
from featurefields.maths.similarity import Similarity
from featurefields.readers.capture import Capture, Points, Shot
from featurefields.readers.detect import detect_kind
from featurefields.readers.normalise import mean_up, normalising_similarity
from featurefields.readers.picture import PhotoFile, same_shape
from featurefields.readers.registered import READERS
from featurefields.readers.splits import hold_out
from featurefields.scene import PointCloud, Scene, View


def read_scene(
    folder: str | Path,
    *,
    kind: str = "auto",
    downscale: int | float = 1.0,
    normalise: bool = True,
    holdout: int = 8,
    points: bool = True,
    background: Colour = WHITE,
) -> Scene:
    """Read a folder of posed photos; no photo is decoded before somebody asks for its pixels.

    Args:
        folder: the scene's folder, or its JSON file.
        kind: "nerfstudio", "colmap", "blender", a third party's format, or "auto" to look.
        downscale: at least 1; pictures get round(size / downscale) pixels.
        normalise: move and scale the world so that all captures have one size (`normalising_similarity`).
        holdout: where the source says nothing, every `holdout`-th view is test; 0 for none.
        points: read seed points too.
        background: sRGB colour behind photos with alpha.

    Raises:
        SceneError: nothing usable there; the message names the file or frame.
        UnknownNameError, UnavailableError: no reader of that kind, or it cannot be loaded.
    """
    if not (math.isfinite(downscale) and downscale >= 1):
        raise SceneError(f"cannot scale photos down by {downscale:g}; choose a factor of at least 1")
    path = Path(folder).expanduser()
    found = detect_kind(path) if kind == "auto" else kind
    if not path.exists():
        raise SceneError(f"scene {path} does not exist; check the path")
    capture: Capture = READERS.load(found)(path, points=points)
    shots, size_notes = _as_stored(capture.shots)
    shots = hold_out(shots, holdout)
    poses = torch.stack([torch.from_numpy(shot.capture_from_camera) for shot in shots])
    seeds = capture.points
    positions = torch.from_numpy(seeds.positions) if seeds else None
    world_from_capture = normalising_similarity(poses, positions) if normalise else Similarity.identity()
    views = tuple(_view(shot, world_from_capture, downscale, background) for shot in shots)
    up = mean_up(poses)
    base = path.parent if path.is_file() else path
    return Scene(
        name=base.resolve().name,
        folder=base,
        views=views,
        points=_world_points(seeds, world_from_capture),
        world_from_capture=world_from_capture,
        up=None if up is None else (world_from_capture.rotation.to(up) @ up).float(),
        missing=capture.missing,
        notes=(*capture.notes, *size_notes),
    )


def _as_stored(shots: tuple[Shot, ...]) -> tuple[tuple[Shot, ...], list[str]]:
    """The shots with lenses for the size in which photos are stored: people shrink photos and keep the poses.

    One header is read for each lens; a photo that differs from its like is dealt with when it is read.
    """
    lenses: dict[Lens, Lens] = {}
    notes = []
    for shot in shots:
        if shot.lens in lenses:
            continue
        lenses[shot.lens] = stored = _stored_lens(shot)
        if stored != shot.lens:
            sizes = " where the intrinsics say ".join(
                f"{lens.size[0]}x{lens.size[1]}" for lens in (stored, shot.lens)
            )
            notes.append(f"photos like {shot.name} have {sizes} pixels; intrinsics rescaled")
    return tuple(replace(shot, lens=lenses[shot.lens]) for shot in shots), notes


def _stored_lens(shot: Shot) -> Lens:
    try:
        size = read_size(shot.path)
    except SceneError:
        return shot.lens  # a broken photo is reported when it is read; its like may be fine
    if not same_shape(size, shot.lens.size):
        raise SceneError(
            f"photo {shot.path} has {size[0]}x{size[1]} pixels, but its intrinsics are for "
            f"{shot.lens.size[0]}x{shot.lens.size[1]}, another shape; "
            "restore the uncropped photo or correct the intrinsics"
        )
    return shot.lens if size == shot.lens.size else shot.lens.resized(size)


def _view(shot: Shot, world_from_capture: Similarity, downscale: int | float, background: Colour) -> View:
    try:
        full = shot.lens.undistorted()
    except SceneError as error:
        raise SceneError(f"photo {shot.name}: {error}") from error
    target = full.resized((_shrunk(full.size[0], downscale), _shrunk(full.size[1], downscale)))
    pose = world_from_capture.pose(torch.from_numpy(shot.capture_from_camera))
    camera = Camera(pose.float(), torch.tensor(target.focal_px), torch.tensor(target.centre_px), target.size)
    picture = PhotoFile(
        path=shot.path,
        lens=shot.lens,
        target=target,
        mask_path=shot.mask,
        depth_path=shot.depth,
        depth_unit=shot.depth_unit * world_from_capture.scale,
        layer_paths=shot.layers,
        background=background,
    )
    return View(shot.name, camera, shot.split or "train", picture)


def _shrunk(extent: int, downscale: int | float) -> int:
    return max(1, round(extent / downscale))


def _world_points(points: Points | None, world_from_capture: Similarity) -> PointCloud | None:
    if points is None or not len(points.positions):
        return None
    positions: Float[Tensor, "m 3"] = world_from_capture.points(torch.from_numpy(points.positions))
    return PointCloud(positions.float(), torch.from_numpy(points.colours).float())
