"""Frames that a splat file may be in, seen from the photos' poses.

Letters: v views · 3 3 rotation · 4 4 similarity matrix.

Programs that make splats from posed photos move the poses first, each in its own way, and write the splats in the
frame they worked in. What they did can be known: some write it into a file, the others do the same to the same
poses every time.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import SceneError
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.readers.record import Record, read_record
from featurefields.scene import Scene

NERFSTUDIO_FILE = "dataparser_transforms.json"
"""Where nerfstudio's training writes what it did to the poses."""
Z_UP_FROM_COLMAP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
"""How nerfstudio turns COLMAP's world (y down) before it does anything else."""
SAME = 1e-5
"""Frames whose numbers differ by less, relative to their size, are the same."""


@dataclass(frozen=True)
class Frame:
    """A frame a splat may be in. `splat_from_capture`: from the frame of the photos' poses to it (float64)."""

    name: str
    splat_from_capture: Similarity


def known_frames(scene: Scene, splat: Path) -> list[Frame]:
    """The frames that programs write splats of these photos in, the likelier first, no two the same.

    The photos' own; this program's world; where `dataparser_transforms.json` lies beside the splat or the photos,
    what it says; nerfstudio's normalised frame, calculated from the poses; the frame that the poses in the photos'
    transforms.json were made from.

    Raises:
        SceneError: a file with a transform is damaged.
    """
    frames = []
    for folder in dict.fromkeys(place.resolve() for place in (splat.parent, scene.folder)):
        if (folder / NERFSTUDIO_FILE).is_file():
            frames += frames_of_file(folder / NERFSTUDIO_FILE, scene)
    frames += [Frame("the photos' frame", _exact(Similarity.identity()))]
    frames += [Frame("this program's world frame", _exact(scene.world_from_capture))]
    poses = capture_poses(scene)
    for turn, of in ((torch.eye(3).double(), ""), (Z_UP_FROM_COLMAP, " of COLMAP's poses")):
        turned = Similarity(1.0, turn, torch.zeros(3).double())
        moved = torch.stack([turned.pose(pose) for pose in poses])
        frames.append(Frame(f"nerfstudio's frame{of}", nerfstudio_frame(moved).after(turned)))
    applied = applied_transform(scene)
    if applied is not None:
        frames.append(Frame("the frame before applied_transform", applied.inverse))
    return distinct(frames)


def turned_frames(frames: Iterable[Frame]) -> list[Frame]:
    """Every frame with its axes turned in each of the 23 ways that keep right angles and handedness."""
    turned = []
    for frame in frames:
        for name, rotation in axis_turns():
            turn = Similarity(1.0, rotation, torch.zeros(3).double())
            turned.append(
                Frame(f"{frame.name} with axes turned to {name}", turn.after(frame.splat_from_capture))
            )
    return distinct(turned)


def axis_turns() -> list[tuple[str, Float[Tensor, "3 3"]]]:
    """The rotations, but the identity, that take axes to axes; named by where x, y and z come from."""
    turns = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        rotation = torch.eye(3).double()[list(order)] * torch.tensor(signs).double()[:, None]
        if torch.linalg.det(rotation) > 0 and not torch.equal(rotation, torch.eye(3).double()):
            name = " ".join(
                f"{'-' if sign < 0 else ''}{'xyz'[axis]}" for axis, sign in zip(order, signs, strict=True)
            )
            turns.append((name, rotation))
    return turns


def nerfstudio_frame(poses: Float[Tensor, "v 4 4"]) -> Similarity:
    """What nerfstudio does to poses (OpenCV axes) unless told otherwise: mean centre to 0, mean up to z, unit box.

    The result takes the frame of the poses to the frame in which nerfstudio trains, of nerfstudio 1.1 with
    orientation method "up", center method "poses" and automatic scale.
    """
    centres, up = poses[:, :3, 3], -poses[:, :3, 1].mean(0)
    rotation = _shortest_turn(up, torch.tensor([0.0, 0.0, 1.0]).to(up))
    offsets = (centres - centres.mean(0)) @ rotation.T
    scale = 1.0 / max(float(offsets.abs().max()), 1e-12)
    return Similarity(scale, rotation, -scale * (rotation @ centres.mean(0)))


def frames_of_file(path: Path, scene: Scene) -> list[Frame]:
    """What a JSON file says: nerfstudio's {"transform": rows, "scale": s}, or {"capture_from_splat": rows}.

    Rows are 3 or 4 of 4 numbers. nerfstudio's transform, then its scale, take the photos' poses to the splat; where
    the photos' transforms.json has an `applied_transform`, nerfstudio's file includes that one, so there are two
    readings. `capture_from_splat` is a similarity with its scale in it.

    Raises:
        SceneError: it cannot be read, or holds neither.
    """
    document = read_record(path)
    if document.get("capture_from_splat") is not None:
        found = _similarity(document, "capture_from_splat")
        return [Frame(path.name, found.inverse)]
    if document.get("transform") is None:
        raise SceneError(
            f"{path} holds neither 'transform' and 'scale' (nerfstudio's {NERFSTUDIO_FILE}) nor "
            "'capture_from_splat' (4 rows of 4 numbers); write one of them"
        )
    scale = document.number("scale")
    if scale is not None and scale <= 0:
        raise SceneError(f"{path}: scale is {scale:g}, not a positive number; correct it")
    whole, scale = _similarity(document, "transform"), 1.0 if scale is None else scale
    grown = Similarity(scale, torch.eye(3).double(), torch.zeros(3).double())
    frames = [Frame(path.name, grown.after(whole))]
    applied = applied_transform(scene)
    if applied is not None:  # rotation and centring in the file act on poses of unit scale, after `applied`
        unit = Similarity(1.0, applied.rotation, applied.translation / applied.scale)
        shrunk = Similarity(scale / applied.scale, torch.eye(3).double(), torch.zeros(3).double())
        frames.insert(
            0, Frame(f"{path.name} less applied_transform", shrunk.after(whole.after(unit.inverse)))
        )
    return frames


def applied_transform(scene: Scene) -> Similarity | None:
    """What the photos' transforms.json says was done to the poses that it was made from; None when nothing was.

    Raises:
        SceneError: it is damaged.
    """
    path = scene.folder / "transforms.json"
    document = read_record(path) if path.is_file() else None
    if document is None or document.get("applied_transform") is None:
        return None
    found, scale = _similarity(document, "applied_transform"), document.number("applied_scale") or 1.0
    return Similarity(scale * found.scale, found.rotation, scale * found.translation)


def capture_poses(scene: Scene) -> Float[Tensor, "v 4 4"]:
    """All poses as the source wrote them, OpenCV axes, float64."""
    back = _exact(scene.world_from_capture).inverse
    return torch.stack([back.pose(view.camera.world_from_camera.double()) for view in scene.views])


def distinct(frames: Iterable[Frame]) -> list[Frame]:
    """The frames in order, each only once."""
    given = list(frames)
    numbers = torch.stack([_numbers(frame.splat_from_capture) for frame in given])
    kept: list[int] = []
    for index in range(len(given)):
        if not kept or float((numbers[kept] - numbers[index]).abs().amax(-1).min()) > SAME:
            kept.append(index)
    return [given[index] for index in kept]


def _numbers(similarity: Similarity) -> Float[Tensor, "13"]:
    """What tells similarities apart: differences are relative to scale and size."""
    shift = similarity.translation.double()
    scale = torch.tensor([math.log(similarity.scale)]).double()
    return torch.cat([scale, similarity.rotation.double().flatten(), shift / (1 + shift.abs().max())])


def _exact(similarity: Similarity) -> Similarity:
    return Similarity(similarity.scale, similarity.rotation.double(), similarity.translation.double())


def _shortest_turn(a: Float[Tensor, "3"], b: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The rotation by the smallest angle that takes the direction of `a` to that of `b`; half a turn about x
    where they are opposite."""
    a, b = torch.nn.functional.normalize(a, dim=0), torch.nn.functional.normalize(b, dim=0)
    half = torch.cat([(1 + a @ b)[None], torch.linalg.cross(a, b)])
    if float(half.norm()) < 1e-9:
        half = torch.tensor([0.0, 1.0, 0.0, 0.0]).to(a)
    return matrix_from_quat(half)


def _similarity(document: Record, key: str) -> Similarity:
    """The similarity in 3 or 4 rows of 4 numbers, its scale being the cube root of the determinant."""
    rows = document.get(key)
    try:
        matrix = torch.tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        matrix = torch.empty(0)
    if tuple(matrix.shape) not in ((3, 4), (4, 4)) or not bool(matrix.isfinite().all()):
        raise SceneError(f"{document.where}: {key} is not 3 or 4 rows of 4 finite numbers; correct it")
    linear = matrix[:3, :3]
    scale = float(torch.linalg.det(linear).clamp(min=0)) ** (1 / 3)
    if scale < 1e-12 or float((linear.T @ linear / scale**2 - torch.eye(3)).abs().max()) > 1e-2:
        raise SceneError(
            f"{document.where}: {key} mirrors or shears; only a rotation, a scale and a shift can be undone"
        )
    left, _, right = torch.linalg.svd(linear)
    return Similarity(scale, left @ right, matrix[:3, 3])


def described(frames: Sequence[Frame]) -> str:
    """The names of frames for a message."""
    return ", ".join(frame.name for frame in frames)
