"""What our own readers say about the folder that one of nerfstudio's parsers has read.

A field must be found again by `ff` commands, which read the folder themselves: so views are called as our readers call
them, and the field remembers where the frame of the poses, as our readers give them, lies in its world.

Letters: v views.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FeatureFieldsError
from featurefields.maths.similarity import Similarity
from featurefields.readers import read_scene
from featurefields.readers.detect import detect_kind
from featurefields.scene import PointCloud, View

AGREES = 1e-3
"""Cameras may be this far from where a similarity puts them, in units of their spread."""


@dataclass(frozen=True)
class ReadAnew:
    """The photos of a folder as our readers see them, poses in the frame of the files."""

    kind: str
    views: tuple[View, ...]
    points: PointCloud | None

    def view_of(self, photo: Path) -> View | None:
        """The view of a photo file, or of the larger file that it is a smaller copy of (images_2/ and images/)."""
        photo = photo.resolve()
        for view in self.views:
            if view.picture.path.resolve() == photo:
                return view
        near = [view for view in self.views if view.picture.path.name == photo.name]
        return near[0] if len(near) == 1 else None


def read_anew(data: Path) -> ReadAnew | None:
    """What our readers find in `data`; None where they find nothing, as in data sets only nerfstudio knows."""
    try:
        kind = detect_kind(data)
        scene = read_scene(data, kind=kind, normalise=False)
    except FeatureFieldsError:
        return None
    return ReadAnew(kind, scene.views, scene.points)


def similarity_between(there: Float[Tensor, "v 4 4"], here: Float[Tensor, "v 4 4"]) -> Similarity | None:
    """The similarity here_from_there that takes camera poses to others of the same cameras; None when none does.

    Rotation from the cameras' axes, scale and translation from their centres, least squares.
    """
    if len(there) == 0:
        return None
    turned = torch.einsum("vij,vkj->ik", here[:, :3, :3], there[:, :3, :3])
    u, _, v = torch.linalg.svd(turned)
    rotation = u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.det(u @ v))], dtype=u.dtype)) @ v
    a, b = there[:, :3, 3] @ rotation.T, here[:, :3, 3]
    da, db = a - a.mean(0), b - b.mean(0)
    spread = float(da.square().sum())
    scale = float((da * db).sum()) / spread if spread > 0 else 1.0
    if scale <= 0:
        return None
    found = Similarity(scale, rotation, b.mean(0) - scale * a.mean(0))
    off = (found.points(there[:, :3, 3]) - b).norm(dim=-1).max()
    axes = (rotation @ there[:, :3, :3] - here[:, :3, :3]).abs().max()
    return found if off <= AGREES * max(float(db.norm(dim=-1).max()), 1e-9) and axes <= AGREES * 10 else None


def paired_poses(
    read: ReadAnew, photos: Sequence[Path], poses: Float[Tensor, "v 4 4"]
) -> tuple[Tensor, Tensor]:
    """Poses of the photos that our readers know, in the frame of the files and as given."""
    found = [(read.view_of(photo), pose) for photo, pose in zip(photos, poses, strict=True)]
    known = [(view.camera.world_from_camera.double(), pose) for view, pose in found if view is not None]
    if not known:
        return torch.zeros(0, 4, 4), torch.zeros(0, 4, 4)
    there, here = zip(*known, strict=True)
    return torch.stack(there), torch.stack(here)
