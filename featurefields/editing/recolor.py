"""Edits of colour.

Letters: n Gaussians · m selected ones · k harmonics.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.editing.interface import (
    Vector,
    apply,
    changed_rows,
    colour_head,
    luminance,
    within_unit,
)
from featurefields.editing.reflections import light_on_matter, mirroring
from featurefields.field import FeatureField
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit, logit_from_diffuse
from featurefields.maths.colour import linear_from_srgb, srgb_from_linear
from featurefields.maths.harmonics import CONSTANT
from featurefields.maths.reflections import reflectance_factors

FACING = 0.7
"""Cosine between normal and view that stands for all of them."""
DARK = 1e-4
"""Means of linear luminance below this count as this much."""
DARK_DISPLAYED = 0.1
"""The same for display-referred colours of single Gaussians."""


@dataclass(frozen=True)
class Recolor:
    """Give matter another colour: shading and texture keep their relative luminance, hue and saturation change."""

    kind: ClassVar[str] = "recolor"
    rgb: Vector
    """The new mean colour, display-referred sRGB in 0..1."""
    layer: Literal["indep", "dep", "both", "total"] = "indep"
    """What is recoloured: matter; reflections, which keep their brightness as far as anything can mirror so much;
    both, each by itself; or the total, so that matter and reflections together have the colour on average (for metals,
    which have no matter)."""
    flat: bool = False
    """One colour without shading and texture. Reflections then differ no more between places of the selection, and of
    the total only the colour is left."""

    def __post_init__(self) -> None:
        for value in self.rgb:
            within_unit(value, "a colour of --recolor (as a fraction of full)")


@apply.register
def _(edit: Recolor, field: FeatureField, mask: Tensor) -> FeatureField:
    head = colour_head(field, "recolour")
    if not bool(mask.any()):
        return field
    weight = field.splats.footprints[mask]
    if isinstance(head, HarmonicsHead):
        return changed_rows(field, mask, lambda rows: {"harmonics": _bands(edit, rows["harmonics"], weight)})
    goal = linear_from_srgb(torch.tensor(edit.rgb)).to(field.splats.means)
    if edit.layer == "total":
        return _total(edit, head, field, mask, goal, weight)

    def change(rows: dict[str, Tensor]) -> dict[str, Tensor]:
        changed = {}
        if edit.layer != "dep":
            matter = diffuse_from_logit(rows["diffuse"])
            matter = goal.expand_as(matter) if edit.flat else _with_mean(matter, goal, weight)
            changed["diffuse"] = logit_from_diffuse(matter)
        return changed if edit.layer == "indep" else changed | _reflections(edit, rows, goal, weight)

    return changed_rows(field, mask, change)


def _with_mean(
    matter: Float[Tensor, "m 3"], goal: Float[Tensor, "3"], weight: Float[Tensor, "m"]
) -> Float[Tensor, "m 3"]:
    """Linear colours of hue and saturation `goal` whose luminances keep their ratios and have its as their mean."""
    shades = luminance(matter)
    return goal * shades / _mean(shades, weight).clamp(min=DARK)


def _mean(values: Float[Tensor, "m d"], weight: Float[Tensor, "m"]) -> Float[Tensor, "d"]:
    return (weight[:, None] * values).sum(0) / weight.sum().clamp(min=1e-12)


def _reflections(
    edit: Recolor, rows: dict[str, Tensor], goal: Float[Tensor, "3"], weight: Float[Tensor, "m"]
) -> dict[str, Tensor]:
    """Reflections of the new hue and the old brightness; black takes them away."""
    hue = goal / luminance(goal).clamp(min=DARK)
    shades, gloss = luminance(torch.sigmoid(rows["tint"])), torch.sigmoid(rows["gloss"])
    rows = rows | {"near": luminance(rows["near"]).expand_as(rows["near"])} if "near" in rows else rows
    if edit.flat:
        shades, gloss = (_mean(x, weight).expand_as(x) for x in (shades, gloss))
    return mirroring(rows, hue * shades, gloss, near=0.0 if edit.flat else hue)


def _total(
    edit: Recolor,
    head: ReflectedHead,
    field: FeatureField,
    mask: Bool[Tensor, "n"],
    goal: Float[Tensor, "3"],
    weight: Float[Tensor, "m"],
) -> FeatureField:
    """Matter and reflections scaled by one factor each Gaussian, so that both together have the colour on average."""
    light = luminance(light_on_matter(head, field.splats.select(mask)))

    def change(rows: dict[str, Tensor]) -> dict[str, Tensor]:
        if edit.flat:
            blank = {"gloss": torch.full_like(rows["gloss"], 1e-9).logit()}
            return blank | {"diffuse": logit_from_diffuse(goal.expand_as(rows["diffuse"]))}
        matter = luminance(diffuse_from_logit(rows["diffuse"]))
        shades, gloss = luminance(torch.sigmoid(rows["tint"])), torch.sigmoid(rows["gloss"])
        share, _ = reflectance_factors(torch.sigmoid(rows["roughness"]), torch.full_like(gloss, FACING))
        factor = goal / _mean(matter + gloss * shades * share * light, weight).clamp(min=DARK)
        rows = rows | {"near": luminance(rows["near"]).expand_as(rows["near"])} if "near" in rows else rows
        changed = mirroring(rows, factor * shades, gloss, near=factor)
        return changed | {"diffuse": logit_from_diffuse(factor * matter)}

    return changed_rows(field, mask, change)


def _bands(
    edit: Recolor, bands: Float[Tensor, "m k 3"], weight: Float[Tensor, "m"]
) -> Float[Tensor, "m k 3"]:
    """Harmonics recoloured; the bands of the view stand for reflections.

    What they add to a display-referred colour is taken as the linear light that it is about, for small additions.
    """
    goal = linear_from_srgb(torch.tensor(edit.rgb)).to(bands)
    old = linear_from_srgb((0.5 + CONSTANT * bands[:, 0]).clamp(0, 1))
    new = old
    if edit.layer != "dep":
        new = goal.expand_as(old) if edit.flat else _with_mean(old, goal, weight)
    constant = bands[:, 0] if edit.layer == "dep" else (srgb_from_linear(new) - 0.5) / CONSTANT
    if edit.layer == "indep":
        return torch.cat([constant[:, None], bands[:, 1:]], dim=1)
    if edit.flat:
        return torch.cat([constant[:, None], torch.zeros_like(bands[:, 1:])], dim=1)
    added = luminance(bands[:, 1:] * _slope(old)[:, None])
    if edit.layer == "total":
        colours = new / luminance(old).clamp(min=DARK)
    else:
        colours = (goal / luminance(goal).clamp(min=DARK)).expand_as(new)
    return torch.cat([constant[:, None], added * (colours / _slope(new))[:, None]], dim=1)


def _slope(linear: Float[Tensor, "m 3"]) -> Float[Tensor, "m 3"]:
    """How much linear light a small step of the display-referred value is; for dark colours that of a grey of 0.1."""
    displayed = srgb_from_linear(linear).clamp(min=DARK_DISPLAYED)
    return 2.4 / 1.055 * ((displayed + 0.055) / 1.055) ** 1.4
