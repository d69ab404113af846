"""The scale of relative depth, from places whose depth is known.

Letters: n places · h w pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 12
"""Rounds of reweighting."""
CELLS = 24
"""Points are looked at in so many cells along the longer side of a picture."""
FRONT = 1.1
"""In a cell, points up to so many times as far as its nearest are on the surface that is seen; others may be hidden."""


@dataclass(frozen=True)
class Affine:
    """inverse depth = scale * value + shift.

    Attributes:
        scale, shift: of the fit.
        error: median of |fitted - known| / known inverse depth.
    """

    scale: float
    shift: float
    error: float

    def depth(self, values: Float[Tensor, "h w"], near: float) -> Float[Tensor, "h w"]:
        """Depths of values; 0 where the inverse depth is not positive, at least `near`."""
        inverse = self.scale * values + self.shift
        return torch.where(inverse > 1e-6, 1 / inverse.clamp(min=1e-6, max=1 / near), 0.0)


def aligned(values: Float[Tensor, "n"], depths: Float[Tensor, "n"]) -> Affine | None:
    """The affine map from values to the inverse of known depths, blind to outliers; None without enough variety.

    Reweighted least squares of relative errors with Geman-McClure's weights, from least absolute errors to ever
    smaller scales of what counts as an outlier.
    """
    x, y = values.double(), 1 / depths.double().clamp(min=1e-9)
    if len(x) < 8 or float(x.std()) < 1e-9:
        return None
    design = torch.stack([x, torch.ones_like(x)], dim=-1) / y[:, None]  # of relative errors: target 1
    weight = torch.ones_like(x)
    solution = torch.zeros(2, dtype=torch.float64)
    for step in range(ROUNDS):
        weighted = design * weight[:, None]
        normal = weighted.T @ design + 1e-9 * torch.eye(2, dtype=torch.float64) * float(weight.sum())
        solution = torch.linalg.solve(normal, weighted.sum(0))
        residual = (design @ solution - 1).abs()
        middle = residual.median().clamp(min=1e-6)
        width = middle * (3.0 if step < ROUNDS // 2 else 1.5)
        weight = 1 / residual.clamp(min=1e-3) if step < 3 else 1 / (1 + (residual / width) ** 2) ** 2
    error = float((design @ solution - 1).abs().median())
    return Affine(float(solution[0]), float(solution[1]), error)


def front_places(pixels: Float[Tensor, "n 2"], depths: Float[Tensor, "n"], size: tuple[int, int]) -> Tensor:
    """Which of the points that fall in a picture are probably seen, not hidden behind nearer ones (n)."""
    cell = max(size) / CELLS
    column, row = (pixels / cell).floor().long().unbind(-1)
    inside = (pixels >= 0).all(-1) & (pixels < torch.tensor(size).to(pixels)).all(-1) & (depths > 1e-6)
    index = (row * (CELLS + 1) + column).clamp(0, (CELLS + 1) ** 2 - 1)
    nearest = depths.new_full(((CELLS + 1) ** 2,), torch.inf)
    nearest.scatter_reduce_(0, index[inside], depths[inside], reduce="amin")
    return inside & (depths <= FRONT * nearest[index])
