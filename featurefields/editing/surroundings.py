"""Edits of what all surfaces mirror."""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from featurefields.editing.interface import Vector, apply, not_negative, reflecting_head
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.lights import LightMap

DARKEST = 1e-6
"""Smallest factor of a light map, which holds logarithms."""


@dataclass(frozen=True)
class TintSurroundings:
    """Colour, dim or brighten the surroundings that surfaces mirror; matter and sky stay.

    All surfaces share their surroundings, so that a selection makes no difference.
    """

    kind: ClassVar[str] = "tint-surroundings"
    factors: Vector
    """Times as much red, green and blue linear light, each 0 or more."""

    def __post_init__(self) -> None:
        for value in self.factors:
            not_negative(value, "a factor of --tint-surroundings")


@apply.register
def _(edit: TintSurroundings, field: FeatureField, mask: Tensor) -> FeatureField:
    del mask
    head = copy.deepcopy(reflecting_head(field, "tint the surroundings of", "--tint-surroundings"))
    if not isinstance(head.light, LightMap):
        raise PromptError(
            "--tint-surroundings needs surroundings that are a picture, and a network learned those of this field; "
            "fit the photos again with `ff fit`"
        )
    if edit.factors == (1, 1, 1):
        return field
    factors = torch.tensor(edit.factors).to(field.splats.means)
    with torch.no_grad():
        head.light.log_light.add_(torch.log(factors.clamp(min=DARKEST))[:, None, None])
    columns = {"near": field.splats.columns["near"] * factors} if head.near else {}
    splats = field.splats.with_columns(**columns)
    return FeatureField(splats, {**field.heads, "rgb": head}, field.about)
