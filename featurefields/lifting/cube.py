"""Directions in cells: the six faces of a cube, each a square grid.

Letters: m directions · k cells.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_OTHERS = ((1, 2), (0, 2), (0, 1))
"""The two axes that span the faces across each axis."""


def cell_of(directions: Float[Tensor, "m 3"], cells: int) -> Int[Tensor, "m"]:
    """Index of the cell, of 6 `cells`², in which each direction lies."""
    axis = directions.abs().argmax(-1)
    main = directions.gather(-1, axis[:, None])
    others = torch.tensor(_OTHERS).to(axis)[axis]
    place = directions.gather(-1, others) / main.abs()
    column, row = ((place + 1) / 2 * cells).floor().long().clamp(0, cells - 1).unbind(-1)
    face = 2 * axis + (main[:, 0] < 0)
    return (face * cells + row) * cells + column


def cell_direction(index: Int[Tensor, "k"], cells: int) -> Float[Tensor, "k 3"]:
    """Unit direction through the middle of each cell."""
    face = index // cells**2
    place = torch.stack([index % cells, index // cells % cells], -1).to(torch.get_default_dtype())
    main = torch.where(face % 2 == 0, 1.0, -1.0)
    directions = place.new_zeros(len(index), 3)
    directions.scatter_(1, (face // 2)[:, None], main[:, None].to(place))
    directions.scatter_(1, torch.tensor(_OTHERS).to(face)[face // 2], (place + 0.5) / cells * 2 - 1)
    return torch.nn.functional.normalize(directions, dim=-1)


def cell_width(directions: Float[Tensor, "k 3"], cells: int) -> Float[Tensor, "k"]:
    """About the angle (radians) across the cell around each direction: cells at the corners are smaller."""
    return 2 / cells * directions.abs().amax(-1)
