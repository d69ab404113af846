"""Edits of what surfaces mirror: how much of it, its colour, how sharp it is.

Letters: n Gaussians · m selected ones · k harmonics.

On a field with spherical harmonics the view-dependent bands stand for reflections.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.editing.interface import (
    Vector,
    apply,
    changed_rows,
    colour_head,
    luminance,
    not_negative,
    reflecting_head,
    within_unit,
)
from featurefields.field import FeatureField
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import (
    DIELECTRIC,
    ReflectedHead,
    diffuse_from_logit,
    logit_from_diffuse,
)
from featurefields.heads.veil import VISIBLE, veil
from featurefields.maths.colour import linear_from_srgb
from featurefields.splats import Splats

MOST = 0.9999
"""Gloss and tint come no nearer to 1 than this, so that their logits stay finite."""
MATTE_LOBE = 0.64
"""Roughness whose lobe is as wide as what lights a matte surface: the mean cosine is that of a cosine lobe, 2/3."""
COATED, METAL = 0.08, 0.25
"""What reflects no more than the one at normal incidence is no metal, what reflects more than the other is one."""


@dataclass(frozen=True)
class RemoveSpecular:
    """Take the reflections away; matter stays as it is. On harmonics: the view-dependent bands."""

    kind: ClassVar[str] = "remove-specular"
    strength: float = 1.0
    """How much of the reflections goes, 0..1."""
    metals: Literal["black", "base-colour"] = "black"
    """What is left of a metal, which has no matter: nothing, or its reflectance as a matte colour in the scene's
    light."""
    veil: bool = True
    """Also take off matter what is mirrored alike from everywhere, as far as that can be told (see `veil`)."""

    def __post_init__(self) -> None:
        within_unit(self.strength, "the strength of --remove-specular")


@dataclass(frozen=True)
class ScaleSpecular:
    """Make reflections weaker or stronger; what one surface can mirror of the surroundings ends at all of it."""

    kind: ClassVar[str] = "scale-specular"
    factor: float
    """Times as much linear light is reflected, 0 or more."""

    def __post_init__(self) -> None:
        not_negative(self.factor, "the factor of --scale-specular")


@dataclass(frozen=True)
class TintSpecular:
    """Colour reflections, as lacquer or an anodised metal does; the glare of grazing angles stays white."""

    kind: ClassVar[str] = "tint-specular"
    rgb: Vector
    """What a white reflection becomes, display-referred sRGB in 0..1; every reflection is filtered like that."""

    def __post_init__(self) -> None:
        for value in self.rgb:
            within_unit(value, "a colour of --tint-specular (as a fraction of full)")


@dataclass(frozen=True)
class SetRoughness:
    """Make reflections as sharp or blurred as those of a surface with this perceptual roughness."""

    kind: ClassVar[str] = "roughness"
    value: float
    """Perceptual roughness, 0 (mirror) to 1 (matte)."""

    def __post_init__(self) -> None:
        within_unit(self.value, "--roughness")


@dataclass(frozen=True)
class ScaleRoughness:
    """Make reflections sharper or more blurred, each by the same factor."""

    kind: ClassVar[str] = "scale-roughness"
    factor: float
    """Times the perceptual roughness, which ends at 1."""

    def __post_init__(self) -> None:
        not_negative(self.factor, "the factor of --scale-roughness")


@apply.register
def _(edit: RemoveSpecular, field: FeatureField, mask: Tensor) -> FeatureField:
    head = colour_head(field, "take reflections from")
    left = 1 - edit.strength
    if left == 1:
        return field
    if edit.veil and isinstance(head, ReflectedHead):
        field = _unveiled(head, field, mask, edit.strength)
    if edit.metals == "base-colour":
        head = reflecting_head(field, "take reflections from", "--metals base-colour")
        field = _with_base_colour(head, field, mask, edit.strength)
    return _scaled(field, mask, left)


@apply.register
def _(edit: ScaleSpecular, field: FeatureField, mask: Tensor) -> FeatureField:
    colour_head(field, "scale reflections of")
    return field if edit.factor == 1 else _scaled(field, mask, edit.factor)


@apply.register
def _(edit: TintSpecular, field: FeatureField, mask: Tensor) -> FeatureField:
    rgb = torch.tensor(edit.rgb).to(field.splats.means)
    if isinstance(colour_head(field, "tint reflections of"), HarmonicsHead):
        return _scaled_bands(field, mask, rgb)
    light = linear_from_srgb(rgb)

    def change(rows: dict[str, Tensor]) -> dict[str, Tensor]:
        tint, gloss = torch.sigmoid(rows["tint"]), torch.sigmoid(rows["gloss"])
        return mirroring(rows, tint * light, gloss, near=light)

    return changed_rows(field, mask, change)


@apply.register
def _(edit: SetRoughness, field: FeatureField, mask: Tensor) -> FeatureField:
    reflecting_head(field, "roughen", "--roughness")
    return changed_rows(
        field,
        mask,
        lambda rows: {"roughness": _roughness_logit(torch.full_like(rows["roughness"], edit.value))},
    )


@apply.register
def _(edit: ScaleRoughness, field: FeatureField, mask: Tensor) -> FeatureField:
    reflecting_head(field, "roughen", "--scale-roughness")
    if edit.factor == 1:
        return field
    return changed_rows(
        field,
        mask,
        lambda rows: {"roughness": _roughness_logit(edit.factor * torch.sigmoid(rows["roughness"]))},
    )


def mirroring(
    rows: Mapping[str, Tensor],
    tint: Float[Tensor, "m 3"],
    gloss: Float[Tensor, "m 1"],
    *,
    near: Float[Tensor, "*m 3"] | float,
) -> dict[str, Tensor]:
    """Columns of a `ReflectedHead` that mirror with this reflectance (without the gloss) and gloss.

    Near light becomes `near` times what it was: its columns make up for what tint and gloss do to it.
    """
    changed = {"tint": _probability_logit(tint), "gloss": _probability_logit(gloss)}
    if "near" in rows:
        before = _near_share(torch.sigmoid(rows["tint"]), torch.sigmoid(rows["gloss"]))
        after = _near_share(torch.sigmoid(changed["tint"]), torch.sigmoid(changed["gloss"]))
        factor = torch.as_tensor(near).to(tint) * (before / after.clamp(min=1e-6))
        changed["near"] = rows["near"] * factor[:, None, :]
    return changed


def _near_share(tint: Float[Tensor, "m 3"], gloss: Float[Tensor, "m 1"]) -> Float[Tensor, "m 1"]:
    """What `ReflectedHead.near_light` multiplies near light with."""
    return gloss * (tint.mean(-1, keepdim=True) / DIELECTRIC).clamp(max=1)


def _probability_logit(value: Tensor) -> Tensor:
    return torch.logit(value.clamp(1e-9, MOST))


def _roughness_logit(value: Tensor) -> Tensor:
    return torch.logit(value.clamp(0.01, 0.99))


def _scaled(field: FeatureField, mask: Bool[Tensor, "n"], factor: float) -> FeatureField:
    """`factor` times the reflections."""
    if isinstance(field.heads["rgb"], HarmonicsHead):
        return _scaled_bands(field, mask, torch.full((3,), factor).to(field.splats.means))

    def weaker(rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"gloss": torch.logit(factor * torch.sigmoid(rows["gloss"]), eps=1e-9)}

    def stronger(rows: dict[str, Tensor]) -> dict[str, Tensor]:
        tint, gloss = torch.sigmoid(rows["tint"]), torch.sigmoid(rows["gloss"])
        raised = (factor * gloss).clamp(max=MOST).maximum(gloss)
        return mirroring(rows, tint * (factor * gloss / raised), raised, near=factor)

    return changed_rows(field, mask, weaker if factor < 1 else stronger)


def _scaled_bands(field: FeatureField, mask: Bool[Tensor, "n"], factor: Float[Tensor, "3"]) -> FeatureField:
    factors = factor.expand(1, field.splats.columns["harmonics"].shape[1], 3).clone()
    factors[:, 0] = 1
    return changed_rows(field, mask, lambda rows: {"harmonics": rows["harmonics"] * factors})


def _unveiled(
    head: ReflectedHead, field: FeatureField, mask: Bool[Tensor, "n"], strength: float
) -> FeatureField:
    """Matter without the even part of reflections."""
    found = veil(head, field.splats, list(field.about.cameras.values()), mask)
    return changed_rows(field, mask, lambda rows: {"diffuse": found.taken_off(rows["diffuse"], strength)})


def _with_base_colour(
    head: ReflectedHead, field: FeatureField, mask: Bool[Tensor, "n"], strength: float
) -> FeatureField:
    """The reflectance of what is metal, as matter."""
    part = field.splats.select(mask)
    reflectance = torch.sigmoid(part.columns["gloss"]) * torch.sigmoid(part.columns["tint"])
    rise = ((luminance(reflectance) - COATED) / (METAL - COATED)).clamp(0, 1)
    metallic = rise * rise * (3 - 2 * rise)
    added = strength * metallic * reflectance * light_on_matter(head, part)

    def change(rows: dict[str, Tensor]) -> dict[str, Tensor]:
        matter = logit_from_diffuse(diffuse_from_logit(rows["diffuse"]) + added)
        return {"diffuse": torch.where(added > VISIBLE, matter, rows["diffuse"])}

    return changed_rows(field, mask, change)


@torch.no_grad()
def light_on_matter(head: ReflectedHead, splats: Splats) -> Float[Tensor, "n 3"]:
    """Linear light that a white matte surface in place of every Gaussian sends out, lit by the surroundings."""
    normals = normalize(splats.columns["normals"], dim=-1)
    towards = normals @ head.light_from_world.T if head.walls is None else head.walls(splats.means, normals)
    return head.light(towards, torch.full_like(normals[:, :1], MATTE_LOBE))
