"""What an edit is: a frozen record of a change, and the one function that carries edits out.

Letters: n Gaussians · m selected ones.

Every kind of edit stands in a file with its like, registers how it is applied, and is listed in
`featurefields.editing.edits`. A kind has a class attribute `kind`, its name in JSON and on the command line; what it
takes is checked when it is made.
"""

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import ReflectedHead

Vector = tuple[float, float, float]
"""Three numbers: a colour, or a place or direction."""
Frame = Literal["photos", "world"]
"""In which frame a vector is: that of the photos' poses (and of exported splats), or the field's own."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of linear R, G, B in luminance (Rec. 709)."""


@singledispatch
def apply(edit: object, field: FeatureField, mask: Bool[Tensor, "n"]) -> FeatureField:
    """The field after `edit` of the Gaussians in `mask`; the input is not changed.

    Rows keep their order; those that an edit adds come last.

    Raises:
        PromptError: the field's colour model does not know what the edit changes, or nothing would be left.
    """
    raise PromptError(f"unknown edit {edit!r}")


def within_unit(value: float, what: str) -> None:
    """Raise `PromptError` unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise PromptError(f"{what} must be between 0 and 1, got {value:g}")


def not_negative(value: float, what: str) -> None:
    """Raise `PromptError` unless the value is a number >= 0."""
    if not 0 <= value < math.inf:
        raise PromptError(f"{what} must be 0 or more, got {value:g}")


def finite(values: tuple[float, ...], what: str) -> None:
    """Raise `PromptError` unless all values are numbers."""
    for value in values:
        if not math.isfinite(value):
            raise PromptError(f"{what} must be finite numbers, got {value:g}")


def colour_head(field: FeatureField, wanted: str) -> ReflectedHead | HarmonicsHead:
    """The head that gives the field its colours. Raises `PromptError` when there is none `wanted` can be done to."""
    head = field.heads.get("rgb")
    if isinstance(head, ReflectedHead | HarmonicsHead):
        return head
    raise PromptError(
        f"the field has no colours to {wanted}: its heads are {', '.join(field.heads) or 'none'}"
    )


def reflecting_head(field: FeatureField, wanted: str, option: str) -> ReflectedHead:
    """The head that tells reflections from matter. Raises `PromptError` when the field has none."""
    head = colour_head(field, wanted)
    if isinstance(head, ReflectedHead):
        return head
    raise PromptError(
        f"{option} needs reflections apart from matter, and this field has spherical harmonics only; "
        "fit the photos with `ff fit` first"
    )


def changed_rows(
    field: FeatureField, mask: Bool[Tensor, "n"], change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> FeatureField:
    """The field with other values in the masked rows: `change` takes these rows of all columns and gives new ones."""
    columns = field.splats.columns
    changed = {}
    for name, rows in change({name: column[mask] for name, column in columns.items()}).items():
        changed[name] = columns[name].clone()
        changed[name][mask] = rows.to(columns[name])
    return field.with_splats(field.splats.with_columns(**changed))


def luminance(linear: Tensor) -> Tensor:
    """Luminance (... 1) of linear colours (... 3)."""
    return linear @ torch.tensor(LUMINANCE).to(linear)[:, None]
