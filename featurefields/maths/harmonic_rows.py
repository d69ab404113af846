"""Real spherical harmonics up to order 3 as rows, and sums of them: many directions, each with its own coefficients.

Letters: n directions · k = (degree + 1)^2 functions · c channels.

The functions of `featurefields.maths.harmonics` (whose tests this has to pass) with the directions along the last axis,
where products over thousands of Gaussians are several times as fast as with the functions there.
"""

from math import pi, sqrt

from jaxtyping import Float
from torch import Tensor

ROWS_DEGREE = 3
"""Highest order that `harmonic_rows` knows."""
FIRST = sqrt(3 / (4 * pi))
SECOND = sqrt(15 / (4 * pi))
THIRD = (sqrt(35 / (32 * pi)), sqrt(105 / (4 * pi)), sqrt(21 / (32 * pi)), sqrt(7 / (16 * pi)))


def harmonic_rows(directions: Float[Tensor, "3 n"], degree: int) -> Float[Tensor, "k n"]:
    """Values of the real spherical harmonics of orders 0..degree (0 to 3) at unit directions."""
    x, y, z = directions
    xx, yy, zz = x * x, y * y, z * z
    rows = directions.new_empty((degree + 1) ** 2, directions.shape[1])
    rows[0] = 1 / sqrt(4 * pi)
    if degree >= 1:
        rows[1], rows[2], rows[3] = -FIRST * y, FIRST * z, -FIRST * x
    if degree >= 2:
        rows[4], rows[5] = SECOND * x * y, -SECOND * y * z
        rows[6] = SECOND / sqrt(12) * (2 * zz - xx - yy)
        rows[7], rows[8] = -SECOND * x * z, SECOND / 2 * (xx - yy)
    if degree >= 3:
        outer, twisted, inner, axial = THIRD
        wide = 4 * zz - xx - yy
        rows[9], rows[15] = -outer * y * (3 * xx - yy), -outer * x * (xx - 3 * yy)
        rows[10], rows[14] = twisted * x * y * z, twisted / 2 * z * (xx - yy)
        rows[11], rows[13] = -inner * y * wide, -inner * x * wide
        rows[12] = axial * z * (2 * zz - 3 * xx - 3 * yy)
    return rows


def towards_rows(means: Float[Tensor, "n 3"], position: Float[Tensor, "3"]) -> Float[Tensor, "3 n"]:
    """Unit directions from a position to every mean; anything where they coincide."""
    away = means.T - position[:, None]
    return away * away.square().sum(0).clamp(min=1e-24).rsqrt()


def summed(basis: Float[Tensor, "k n"], coefficients: Float[Tensor, "k c n"]) -> Float[Tensor, "n c"]:
    """Every direction's own sum over the functions."""
    total = basis[0] * coefficients[0]
    for row, factors in zip(basis[1:], coefficients[1:], strict=True):
        total.addcmul_(row, factors)
    return total.T.contiguous()


def spread(basis: Float[Tensor, "k n"], values: Float[Tensor, "n c"], into: Float[Tensor, "k c n"]) -> None:
    """The transpose of `summed`, added to `into`."""
    rows = values.T.contiguous()
    for row, target in zip(basis, into, strict=True):
        target.addcmul_(row, rows)
