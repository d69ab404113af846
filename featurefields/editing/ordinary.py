"""Highlights of ordinary splats: nothing shines brighter than it mostly looks.

Letters: n Gaussians · m selected ones · k harmonics · v directions.

An ordinary splat does not say what of its colour is matter and what is reflected. But matter looks alike from
everywhere, and a highlight is seen from few directions. So of every selected Gaussian's colours in the directions from
which it is seen, those above their weighted median come down to it, channel by channel, and its harmonics are found
anew by weighted least squares. What is darker than the median stays: there splats make up for one another's faults,
which flat colours would lay bare.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.editing.sightings import Sightings
from featurefields.errors import PromptError
from featurefields.maths.harmonics import CONSTANT, harmonics
from featurefields.splats import Splats

CHUNK = 1 << 13
"""Gaussians that are calculated at once."""
ALIKE = 1e-6
"""Colours that vary by no more are taken for matter, and stay exactly."""


@dataclass(frozen=True, kw_only=True)
class HighlightConfig:
    """What a highlight is, and how much of it goes."""

    strength: float = 1.0
    """How much of the highlights goes, 0..1."""
    brightness: float = 0.5
    """Share of the directions (as far as they are seen) from which a Gaussian is no brighter than it becomes: 0.5 is
    the median. Less takes more of the light that shiny things mirror from all sides, and more of shading."""
    flat: bool = False
    """Show that brightness from everywhere: drop what is darker too."""
    ridge: float = 0.02
    """Pull of the view-dependent bands towards nothing, in shares of a Gaussian's weight, for directions not seen."""

    def __post_init__(self) -> None:
        for name in ("strength", "brightness"):
            if not 0 <= getattr(self, name) <= 1:
                raise PromptError(
                    f"the {name} of highlights is between 0 and 1, got {getattr(self, name):g}; give such a number"
                )


@torch.no_grad()
def without_highlights(
    splats: Splats,
    mask: Bool[Tensor, "n"],
    sightings: Sightings,
    config: HighlightConfig = HighlightConfig(),
) -> Float[Tensor, "m k 3"]:
    """Column "harmonics" of the masked rows without their highlights.

    Rows that look alike from everywhere come back bit for bit, and all do with strength 0.
    """
    rows = splats.columns["harmonics"][mask]
    if config.strength == 0 or rows.shape[1] == 1:
        return rows.clone()
    parts = []
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        weight = sightings.weight[chunk]
        weight = weight / weight.sum(-1, keepdim=True)
        parts.append(_tamed(rows[chunk], sightings.towards(chunk), weight, config))
    return torch.cat(parts) if parts else rows.clone()


def _tamed(
    rows: Float[Tensor, "m k 3"],
    towards: Float[Tensor, "m v 3"],
    weight: Float[Tensor, "m v"],
    config: HighlightConfig,
) -> Float[Tensor, "m k 3"]:
    degree = int(rows.shape[1] ** 0.5) - 1
    basis = harmonics(towards, tuple(range(degree + 1)))
    colours = (0.5 + basis @ rows).clamp(min=0)
    level = weighted_quantile(colours, weight, config.brightness)
    result = torch.zeros_like(rows)
    result[:, 0] = (level - 0.5) / CONSTANT
    if not config.flat:
        below = torch.minimum(colours, level[:, None]) - level[:, None]
        weighted = weight[..., None] * basis
        ridge = torch.full_like(rows[0, :, 0], config.ridge)
        ridge[0] = 1e-6
        matrix = weighted.transpose(1, 2) @ basis + torch.diag(ridge)
        result += torch.linalg.solve(matrix, weighted.transpose(1, 2) @ below)
    varies = (colours.amax(1) - colours.amin(1)).amax(-1) > ALIKE
    return torch.where(varies[:, None, None], torch.lerp(rows, result, config.strength), rows)


def weighted_quantile(
    values: Float[Tensor, "m v 3"], weight: Float[Tensor, "m v"], share: float
) -> Float[Tensor, "m 3"]:
    """Of every channel the least value such that values up to it have this share of the weight."""
    ordered, places = values.sort(dim=1)
    passed = weight[..., None].expand_as(values).gather(1, places).cumsum(1)
    reached = (passed >= share * passed[:, -1:] - 1e-9) & (passed > 0)
    index = reached.to(torch.uint8).argmax(1, keepdim=True)
    return ordered.gather(1, index)[:, 0]
