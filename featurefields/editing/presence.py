"""Edits of what is there: delete, keep, hide, show.

Letters: n Gaussians.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.editing.interface import apply
from featurefields.editing.residue import residue
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.splats import Splats

HIDDEN = -30.0
"""Opacity logit of what is hidden; no backend draws so little."""
SHOWN_AS = "shown_opacity_logits"
"""Column with the opacity logits that hidden Gaussians had, 0 for others; there while some are hidden."""


@dataclass(frozen=True)
class Delete:
    """Take the selected Gaussians out."""

    kind: ClassVar[str] = "delete"
    clean_up: bool = False
    """Also take out what would be left of the thing: its halo, and bits that hang in the air without it."""


@dataclass(frozen=True)
class Keep:
    """Take everything but the selected Gaussians out, the sky included."""

    kind: ClassVar[str] = "keep"


@dataclass(frozen=True)
class Hide:
    """Make the selected Gaussians invisible; `Show` brings them back as they were."""

    kind: ClassVar[str] = "hide"


@dataclass(frozen=True)
class Show:
    """Bring back what was hidden of the selection."""

    kind: ClassVar[str] = "show"


@apply.register
def _(edit: Delete, field: FeatureField, mask: Tensor) -> FeatureField:
    taken = mask | residue(field, mask) if edit.clean_up else mask
    return _only(field, ~taken, "--delete")


@apply.register
def _(edit: Keep, field: FeatureField, mask: Tensor) -> FeatureField:
    kept = _only(field, mask, "--keep")
    heads = {name: head.without_surroundings() for name, head in kept.heads.items()}
    return FeatureField(kept.splats, heads, kept.about)


@apply.register
def _(edit: Hide, field: FeatureField, mask: Tensor) -> FeatureField:
    splats = field.splats
    fresh = mask & ~hidden_rows(splats)
    if not bool(fresh.any()):
        return field
    before = splats.columns.get(SHOWN_AS, torch.zeros_like(splats.opacity_logits))
    remembered = torch.where(fresh, splats.opacity_logits, before)
    return _with_opacities(
        field, splats.opacity_logits.masked_fill(fresh, HIDDEN), {**splats.columns, SHOWN_AS: remembered}
    )


@apply.register
def _(edit: Show, field: FeatureField, mask: Tensor) -> FeatureField:
    splats = field.splats
    back = mask & hidden_rows(splats)
    if not bool(back.any()):
        return field
    columns = dict(splats.columns)
    opacities = torch.where(back, columns[SHOWN_AS], splats.opacity_logits)
    columns[SHOWN_AS] = columns[SHOWN_AS].masked_fill(back, 0.0)
    if not bool((hidden_rows(splats) & ~back).any()):
        del columns[SHOWN_AS]
    return _with_opacities(field, opacities, columns)


def hidden_rows(splats: Splats) -> Bool[Tensor, "n"]:
    """Which Gaussians `Hide` hid."""
    if SHOWN_AS not in splats.columns:
        return torch.zeros_like(splats.opacity_logits, dtype=torch.bool)
    return splats.opacity_logits == HIDDEN


def _with_opacities(field: FeatureField, opacity_logits: Tensor, columns: dict[str, Tensor]) -> FeatureField:
    old = field.splats
    return field.with_splats(Splats(old.means, old.quats, old.log_scales, opacity_logits, columns))


def _only(field: FeatureField, mask: Bool[Tensor, "n"], what: str) -> FeatureField:
    if not bool(mask.any()):
        raise PromptError(f"{what} would leave no Gaussian at all; select something else")
    return field.with_splats(field.splats.select(mask))
