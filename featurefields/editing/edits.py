"""Edits: frozen records of a change, applied to a selection of a field.

Letters: n Gaussians.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit, logit_from_diffuse
from featurefields.maths.colour import linear_from_srgb, srgb_from_linear
from featurefields.maths.harmonics import CONSTANT

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of linear R, G, B in luminance (Rec. 709)."""


@dataclass(frozen=True)
class RemoveSpecular:
    """Take the reflections away; matter stays as it is. On harmonics: the view-dependent bands."""

    strength: float = 1.0
    """How much of the reflections goes, 0..1."""


@dataclass(frozen=True)
class Recolor:
    """Give matter another colour: shading and texture keep their relative luminance, hue and saturation change."""

    rgb: tuple[float, float, float]
    """The new mean colour, display-referred sRGB in 0..1."""


@dataclass(frozen=True)
class SetRoughness:
    """Make reflections as sharp or blurred as those of a surface with this perceptual roughness."""

    value: float
    """Perceptual roughness, 0 (mirror) to 1 (matte)."""


@dataclass(frozen=True)
class Delete:
    """Take the selected Gaussians out."""


@dataclass(frozen=True)
class Keep:
    """Take everything but the selected Gaussians out, the sky included."""


Edit = RemoveSpecular | Recolor | SetRoughness | Delete | Keep


@singledispatch
def apply(edit: Edit, field: FeatureField, mask: Bool[Tensor, "n"]) -> FeatureField:
    """The field after `edit` of the Gaussians in `mask`; the input is not changed.

    Raises:
        PromptError: the field's colour model does not know what the edit changes, or a value is out of range.
    """
    raise PromptError(f"unknown edit {edit!r}")


def _colour_head(field: FeatureField, wanted: str) -> ReflectedHead | HarmonicsHead:
    head = field.heads.get("rgb")
    if isinstance(head, (ReflectedHead, HarmonicsHead)):
        return head
    raise PromptError(
        f"the field has no colours to {wanted}: its heads are {', '.join(field.heads) or 'none'}"
    )


def _unit(value: float, what: str) -> float:
    if not 0 <= value <= 1:
        raise PromptError(f"{what} must be between 0 and 1, got {value:g}")
    return value


def _changed(
    field: FeatureField, name: str, mask: Tensor, change: Callable[[Tensor], Tensor]
) -> FeatureField:
    """The field with the masked rows of one column changed."""
    column = field.splats.columns[name].clone()
    column[mask] = change(column[mask])
    return field.with_splats(field.splats.with_columns(**{name: column}))


@apply.register
def _(edit: RemoveSpecular, field: FeatureField, mask: Tensor) -> FeatureField:
    left = 1 - _unit(edit.strength, "the strength of --remove-specular")
    if isinstance(_colour_head(field, "take reflections from"), HarmonicsHead):
        keep = torch.ones(1, field.splats.columns["harmonics"].shape[1], 1).to(field.splats.means)
        keep[:, 1:] = left
        return _changed(field, "harmonics", mask, lambda rows: rows * keep)
    if left == 1:
        return field
    return _changed(field, "gloss", mask, lambda rows: torch.logit(left * torch.sigmoid(rows), eps=1e-9))


@apply.register
def _(edit: Recolor, field: FeatureField, mask: Tensor) -> FeatureField:
    for value in edit.rgb:
        _unit(value, "a colour of --recolor (as a fraction of full)")
    goal = linear_from_srgb(torch.tensor(edit.rgb)).to(field.splats.means)
    weight = field.splats.footprints[mask]
    if isinstance(_colour_head(field, "recolour"), HarmonicsHead):

        def change_bands(rows: Tensor) -> Tensor:
            matter = linear_from_srgb((0.5 + CONSTANT * rows[:, 0]).clamp(0, 1))
            rows = rows.clone()
            rows[:, 0] = (srgb_from_linear(_with_mean(matter, goal, weight)) - 0.5) / CONSTANT
            return rows

        return _changed(field, "harmonics", mask, change_bands)
    return _changed(
        field,
        "diffuse",
        mask,
        lambda rows: logit_from_diffuse(_with_mean(diffuse_from_logit(rows), goal, weight)),
    )


@apply.register
def _(edit: SetRoughness, field: FeatureField, mask: Tensor) -> FeatureField:
    value = _unit(edit.value, "--roughness")
    if not isinstance(_colour_head(field, "roughen"), ReflectedHead):
        raise PromptError(
            "--roughness needs reflections apart from matter, and this field has spherical harmonics only; "
            "fit the photos with `ff fit` first"
        )
    logit = float(torch.logit(torch.tensor(value).clamp(0.01, 0.99)))
    return _changed(field, "roughness", mask, lambda rows: torch.full_like(rows, logit))


@apply.register
def _(edit: Delete, field: FeatureField, mask: Tensor) -> FeatureField:
    return _only(field, ~mask, "--delete")


@apply.register
def _(edit: Keep, field: FeatureField, mask: Tensor) -> FeatureField:
    kept = _only(field, mask, "--keep")
    heads = {name: head.without_surroundings() for name, head in kept.heads.items()}
    return FeatureField(kept.splats, heads, kept.about)


def _only(field: FeatureField, mask: Tensor, what: str) -> FeatureField:
    if not bool(mask.any()):
        raise PromptError(f"{what} would leave no Gaussian at all; select something else")
    return field.with_splats(field.splats.select(mask))


def _with_mean(
    matter: Float[Tensor, "m 3"], goal: Float[Tensor, "3"], weight: Float[Tensor, "m"]
) -> Float[Tensor, "m 3"]:
    """Linear colours of hue and saturation `goal` whose luminances keep their ratios and have its as their mean."""
    luminance = matter @ torch.tensor(LUMINANCE).to(matter)
    mean = (weight * luminance).sum() / weight.sum().clamp(min=1e-12)
    return goal * (luminance / mean.clamp(min=1e-4))[:, None]
