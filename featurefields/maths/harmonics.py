"""Real spherical harmonics of any order on unit directions.

Letters: `...` any batch of directions · l order · m degree, -l..l · k number of functions.

Y_l0 = K_l0 P_l0(z) and, for m > 0, (Y_lm, Y_l-m) = sqrt(2) K_lm P_lm(z) / sin(theta)^m times the real and
imaginary parts of (x + i y)^m, with K_lm = sqrt((2l+1)/(4 pi) (l-m)!/(l+m)!) and associated Legendre functions
P_lm that include the Condon-Shortley phase (-1)^m. They are orthonormal, so over all m of one order
sum Y_lm^2 = (2l+1)/(4 pi) in every direction. Within one order the functions run from m = -l to m = l. Up to
order 3 this is the set, sign and order of the coefficients that 3D Gaussian splat files store.
"""

from functools import lru_cache
from math import factorial, pi, sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

CONSTANT = 0.28209479177387814
"""Value of the constant function, 1 / sqrt(4 pi)."""


def harmonics_count(degree: int) -> int:
    """Functions of orders 0..degree."""
    return (degree + 1) ** 2


@lru_cache(maxsize=32)
def polar_polynomials(orders: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """Coefficients (power of z, column) of sqrt(2)^[m>0] K_lm d^m P_l / dz^m, and m, for every column (l, m >= 0)."""
    columns, degrees = [], []
    for order in orders:
        legendre = np.polynomial.legendre.Legendre.basis(order).convert(kind=np.polynomial.Polynomial)
        for degree in range(order + 1):
            factor = sqrt((2 * order + 1) / (4 * pi) * factorial(order - degree) / factorial(order + degree))
            factor *= (-1) ** degree * (sqrt(2) if degree else 1.0)
            coefficients = np.zeros(max(orders) + 1)
            derived = (legendre.deriv(degree) if degree else legendre).coef
            coefficients[: len(derived)] = factor * derived
            columns.append(coefficients)
            degrees.append(degree)
    return torch.from_numpy(np.stack(columns, axis=1)), tuple(degrees)


@lru_cache(maxsize=32)
def _layout(orders: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """For every function in order: its column in `polar_polynomials`, and its row in [1, Re^1.., Im^1..]."""
    top, column, factor, start = max(orders), [], [], 0
    for order in orders:
        for degree in range(-order, order + 1):
            column.append(start + abs(degree))
            factor.append(degree if degree >= 0 else top - degree)
        start += order + 1
    return torch.tensor(column), torch.tensor(factor)


def harmonics(
    directions: Float[Tensor, "... 3"], orders: tuple[int, ...] = (0, 1, 2, 3)
) -> Float[Tensor, "... k"]:
    """Values of the real spherical harmonics of the given orders at unit directions; k = sum of 2l+1."""
    x, y, z = directions.unbind(-1)
    coefficients, _ = polar_polynomials(orders)
    column, factor = _layout(orders)
    powers = [torch.ones_like(z)]
    real, imaginary = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(max(orders)):
        powers.append(powers[-1] * z)
        real.append(real[-1] * x - imaginary[-1] * y)
        imaginary.append(real[-2] * y + imaginary[-1] * x)
    polar = torch.stack(powers, dim=-1) @ coefficients.to(directions)
    azimuth = torch.stack([*real, *imaginary[1:]], dim=-1)
    return polar[..., column.to(polar.device)] * azimuth[..., factor.to(polar.device)]


@lru_cache(maxsize=8)
def _probe(order: int) -> tuple[Tensor, Tensor]:
    """Well spread directions and the pseudo-inverse of one order's functions at them (float64)."""
    generator = torch.Generator().manual_seed(order)
    directions = torch.randn(8 * (2 * order + 1), 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    return directions, torch.linalg.pinv(harmonics(directions, (order,)))


def turn_harmonics(
    coefficients: Float[Tensor, "n k c"], rotation: Float[Tensor, "3 3"]
) -> Float[Tensor, "n k c"]:
    """Coefficients of the function turned by `rotation`: new(R d) = old(d). k = 1, 4, 9 or 16.

    Each order is an invariant space, so its rotation matrix is found exactly by least squares on sample
    directions.
    """
    parts, start, order = [], 0, 0
    while start < coefficients.shape[1]:
        directions, inverse = _probe(order)
        at_old = harmonics(directions @ rotation.detach().to("cpu", torch.float64), (order,))
        matrix = (inverse @ at_old).to(coefficients)
        parts.append(torch.einsum("ij,njc->nic", matrix, coefficients[:, start : start + 2 * order + 1]))
        start += 2 * order + 1
        order += 1
    return torch.cat(parts, dim=1)
