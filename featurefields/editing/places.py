"""Edits of where things are: move, turn, scale, duplicate.

Letters: n Gaussians · m selected ones.

Everything that has a direction turns with the Gaussians: normals, spherical harmonics, whatever `Head.turned` knows.
What they mirror are the surroundings, which stay where they are.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.editing.interface import Frame, Vector, apply, finite
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats, concatenate

LARGE = 10.0
"""For the centre of a selection no Gaussian counts more than this many median ones."""


@dataclass(frozen=True)
class Move:
    """Move the selection."""

    kind: ClassVar[str] = "move"
    by: Vector
    """How far along the axes."""
    frame: Frame = "photos"
    """Whose axes and unit: those of the photos' poses (and of exported splats), or the field's own."""

    def __post_init__(self) -> None:
        finite(self.by, "the three numbers of --move")


@dataclass(frozen=True)
class Rotate:
    """Turn the selection about its centre."""

    kind: ClassVar[str] = "rotate"
    degrees: float
    """How far, counterclockwise when the axis points at the viewer."""
    axis: Vector = (0.0, 0.0, 1.0)
    """Direction of the axis."""
    frame: Frame = "photos"
    """Whose axis: in the frame of the photos' poses (and of exported splats), or the field's own."""

    def __post_init__(self) -> None:
        finite((self.degrees,), "the degrees of --rotate")
        finite(self.axis, "the three numbers of --axis")
        if math.hypot(*self.axis) == 0:
            raise PromptError("--axis is a direction and may not be 0,0,0")


@dataclass(frozen=True)
class Scale:
    """Make the selection larger or smaller about its centre."""

    kind: ClassVar[str] = "scale"
    factor: float
    """Times as large, above 0."""

    def __post_init__(self) -> None:
        if not 0 < self.factor < math.inf:
            raise PromptError(f"the factor of --scale must be above 0, got {self.factor:g}")


@dataclass(frozen=True)
class Duplicate:
    """Put a second one of the selection elsewhere; in a list of edits the copy can be selected by its name."""

    kind: ClassVar[str] = "duplicate"
    by: Vector
    """How far the copy is from the original, along the axes."""
    frame: Frame = "photos"
    """Whose axes and unit: those of the photos' poses (and of exported splats), or the field's own."""
    name: str = "copy"
    """What later edits call the copy."""

    def __post_init__(self) -> None:
        finite(self.by, "the three numbers of --duplicate")
        if not self.name.strip():
            raise PromptError("the copy of --duplicate needs a name; give it one")


@apply.register
def _(edit: Move, field: FeatureField, mask: Tensor) -> FeatureField:
    return _moved(field, mask, _translation(edit.by, edit.frame, field))


@apply.register
def _(edit: Rotate, field: FeatureField, mask: Tensor) -> FeatureField:
    if not bool(mask.any()):
        return field
    axis = torch.tensor(edit.axis, dtype=torch.float64)
    if edit.frame == "photos":
        axis = field.about.world_from_capture.rotation.double() @ axis
    half = math.radians(edit.degrees) / 2
    axis = math.sin(half) * torch.nn.functional.normalize(axis, dim=0)
    turn = matrix_from_quat(torch.cat([axis.new_tensor([math.cos(half)]), axis]))
    return _moved(field, mask, _about(centre_of(field.splats, mask), turn, 1.0))


@apply.register
def _(edit: Scale, field: FeatureField, mask: Tensor) -> FeatureField:
    if not bool(mask.any()):
        return field
    unturned = torch.eye(3, dtype=torch.float64)
    return _moved(field, mask, _about(centre_of(field.splats, mask), unturned, edit.factor))


@apply.register
def _(edit: Duplicate, field: FeatureField, mask: Tensor) -> FeatureField:
    copies = _placed(field, mask, _translation(edit.by, edit.frame, field))
    return field.with_splats(concatenate([field.splats, copies]))


def centre_of(splats: Splats, mask: Bool[Tensor, "n"]) -> Float[Tensor, "3"]:
    """The middle of what the masked Gaussians show, world units, float64; it moves, turns and scales with them.

    Gaussians count by their footprints, of which a few that are very large (floaters) are cut.
    """
    weight = splats.footprints[mask].double()
    weight = weight.clamp(max=LARGE * weight.median().item()) + 1e-30
    return (weight[:, None] * splats.means[mask].double()).sum(0) / weight.sum()


def _translation(by: Vector, frame: Frame, field: FeatureField) -> Similarity:
    vector = torch.tensor(by, dtype=torch.float64)
    if frame == "photos":
        capture = field.about.world_from_capture
        vector = capture.scale * capture.rotation.double() @ vector
    return Similarity(1.0, torch.eye(3, dtype=torch.float64), vector)


def _about(centre: Float[Tensor, "3"], rotation: Float[Tensor, "3 3"], scale: float) -> Similarity:
    return Similarity(scale, rotation, centre - scale * (rotation @ centre))


def _placed(field: FeatureField, mask: Bool[Tensor, "n"], motion: Similarity) -> Splats:
    """The masked Gaussians elsewhere, with all their columns.

    Places are calculated in double precision; what does not turn stays the same bit for bit.
    """
    part = field.splats.select(mask)
    still = torch.equal(motion.rotation, torch.eye(3).to(motion.rotation))
    moved = part if still else FeatureField(part, field.heads).moved(motion).splats
    means = motion.points(part.means.double()).to(part.means)
    sizes = part.log_scales + math.log(motion.scale)
    return Splats(means, moved.quats, sizes, part.opacity_logits, moved.columns)


def _moved(field: FeatureField, mask: Bool[Tensor, "n"], motion: Similarity) -> FeatureField:
    old = field.splats.tensors()
    tensors = {}
    for name, rows in _placed(field, mask, motion).tensors().items():
        tensors[name] = old[name].clone()
        tensors[name][mask] = rows.to(old[name])
    return field.with_splats(Splats.from_tensors(tensors))
