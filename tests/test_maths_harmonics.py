"""Spherical harmonics: orthonormal, the set that splat files store, and they turn."""

from math import pi, sqrt

import numpy as np
import pytest
import torch
from laws import random_rotation, seeded, unit_vectors

from featurefields.maths.harmonics import harmonics, harmonics_count, turn_harmonics


def sphere(order: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Directions and weights that integrate polynomials up to degree 2 `order` over the sphere exactly."""
    z, weight = np.polynomial.legendre.leggauss(order + 1)
    angle = 2 * pi * np.arange(2 * order + 2) / (2 * order + 2)
    z, angle = (x.reshape(-1) for x in np.meshgrid(z, angle, indexing="ij"))
    ring = np.sqrt(1 - z * z)
    weights = np.repeat(weight, 2 * order + 2) * 2 * pi / (2 * order + 2)
    directions = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=-1)
    return torch.from_numpy(directions), torch.from_numpy(weights)


def written_out(directions: torch.Tensor) -> torch.Tensor:
    """The sixteen functions of 3D Gaussian splat files (n 16), as polynomials."""
    x, y, z = directions.unbind(-1)
    one = torch.ones_like(x)
    first, second = sqrt(3 / (4 * pi)), sqrt(15 / pi)
    third, outer = sqrt(21 / (32 * pi)), sqrt(35 / (32 * pi))
    return torch.stack(
        [
            one / sqrt(4 * pi),
            -first * y,
            first * z,
            -first * x,
            second / 2 * x * y,
            -second / 2 * y * z,
            sqrt(5 / pi) / 4 * (2 * z * z - x * x - y * y),
            -second / 2 * x * z,
            second / 4 * (x * x - y * y),
            -outer * y * (3 * x * x - y * y),
            sqrt(105 / pi) / 2 * x * y * z,
            -third * y * (4 * z * z - x * x - y * y),
            sqrt(7 / pi) / 4 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -third * x * (4 * z * z - x * x - y * y),
            sqrt(105 / pi) / 4 * z * (x * x - y * y),
            -outer * x * (x * x - 3 * y * y),
        ],
        dim=-1,
    )


@pytest.mark.parametrize("orders", [(0,), (0, 1, 2, 3), (1, 2, 4, 8), (5, 3)])
def test_harmonics_are_orthonormal(orders):
    directions, weights = sphere(max(orders))
    values = harmonics(directions, orders)
    products = values.T @ (weights[:, None] * values)
    torch.testing.assert_close(products, torch.eye(values.shape[1]).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("degree", range(4))
def test_harmonics_are_those_of_splat_files(degree):
    directions = unit_vectors(200, seeded(degree))
    found = harmonics(directions, tuple(range(degree + 1)))
    assert found.shape[1] == harmonics_count(degree)
    torch.testing.assert_close(found, written_out(directions)[:, : harmonics_count(degree)])


@pytest.mark.parametrize("order", [1, 2, 3, 8])
def test_the_norm_of_one_order_is_the_same_in_every_direction(order):
    values = harmonics(unit_vectors(100, seeded(order)), (order,))
    wanted = torch.full((100,), (2 * order + 1) / (4 * pi)).double()
    torch.testing.assert_close(values.square().sum(-1), wanted)


def test_single_precision_is_enough_for_order_eight():
    directions = unit_vectors(1000, seeded(2))
    exact = harmonics(directions, (1, 2, 4, 8))
    torch.testing.assert_close(harmonics(directions.float(), (1, 2, 4, 8)).double(), exact, atol=2e-5, rtol=0)


def test_harmonics_of_any_batch_shape():
    directions = unit_vectors(24, seeded(3))
    torch.testing.assert_close(
        harmonics(directions.reshape(2, 3, 4, 3)).reshape(24, 16), harmonics(directions)
    )


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_turned_coefficients_are_the_turned_function(degree, dtype, seed):
    generator = seeded(seed)
    rotation, directions = random_rotation(generator), unit_vectors(50, generator).to(dtype)
    coefficients = torch.randn(7, harmonics_count(degree), 3, generator=generator).to(dtype)
    orders = tuple(range(degree + 1))
    turned = turn_harmonics(coefficients, rotation)
    assert turned.dtype == dtype
    before = torch.einsum("pk,nkc->npc", harmonics(directions, orders), coefficients)
    turned_directions = (directions.double() @ rotation.T).to(dtype)
    after = torch.einsum("pk,nkc->npc", harmonics(turned_directions, orders), turned)
    torch.testing.assert_close(after, before, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=0)
    if degree:
        wrong = torch.einsum(
            "pk,nkc->npc", harmonics(turned_directions, orders), turn_harmonics(coefficients, rotation.T)
        )
        assert (wrong - before).abs().max() > 0.1


def test_turning_twice_is_turning_by_the_product():
    generator = seeded(9)
    first, second = random_rotation(generator), random_rotation(generator)
    coefficients = torch.randn(4, 16, 3, generator=generator).double()
    torch.testing.assert_close(
        turn_harmonics(turn_harmonics(coefficients, first), second),
        turn_harmonics(coefficients, second @ first),
    )
