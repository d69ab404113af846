"""Nearest neighbours against brute force, and the normals they give."""

import pytest
import torch
from laws import random_rotation, seeded

from featurefields.maths.neighbours import nearest, nearest_to, neighbour_pairs, surface_normals


def brute_force(points: torch.Tensor, k: int) -> torch.Tensor:
    """Sorted distances to the k nearest others (n k)."""
    distances = (points[:, None] - points[None]).norm(dim=-1)
    distances.fill_diagonal_(torch.inf)
    return distances.sort(dim=1).values[:, :k]


def check(points: torch.Tensor, k: int) -> None:
    distance, index = nearest(points, k)
    n = len(points)
    assert distance.shape == index.shape == (n, min(k, n - 1))
    torch.testing.assert_close(distance, brute_force(points, min(k, n - 1)))
    torch.testing.assert_close((points[:, None] - points[index]).norm(dim=-1), distance)
    assert (index != torch.arange(n)[:, None]).all()
    for row in index.tolist():
        assert len(set(row)) == len(row)


@pytest.mark.parametrize("n", [2, 3, 10, 77])
@pytest.mark.parametrize("k", [1, 3, 12])
def test_neighbours_are_the_nearest(n, k):
    check(torch.randn(n, 3, generator=seeded(n), dtype=torch.float64), k)


@pytest.mark.parametrize("k", [1, 3, 12])
def test_duplicates_are_neighbours_at_no_distance(k):
    points = torch.randn(12, 3, generator=seeded(2), dtype=torch.float64)
    repeated = torch.cat([points, points[:5], points[:1].expand(20, 3)])
    check(repeated, k)
    assert nearest(repeated, 1)[0][0] == 0
    check(torch.zeros(30, 3, dtype=torch.float64), k)


def test_points_without_neighbours():
    distance, index = nearest(torch.randn(1, 3), 4)
    assert distance.tolist() == [[0.0]] and index.tolist() == [[0]]
    distance, index = nearest(torch.zeros(0, 3), 4)
    assert distance.shape == index.shape == (0, 1)


@pytest.mark.parametrize("n", [2, 5, 40, 300])
@pytest.mark.parametrize("k", [1, 4])
def test_pairs_are_those_that_touch_each_once(n: int, k: int):
    generator = seeded(10 * n + k)
    points = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    within = 0.8 * torch.rand(n, generator=generator, dtype=torch.float64)
    _, index = nearest(points, k)
    expected = set()
    for i in range(n):
        for rank, j in enumerate(index[i].tolist()):
            if rank == 0 or (points[i] - points[j]).norm() <= max(within[i], within[j]):
                expected.add((min(i, j), max(i, j)))
    first, second, apart = neighbour_pairs(points, k, within=within)
    assert len(first) == len(expected) and set(zip(first.tolist(), second.tolist(), strict=True)) == expected
    torch.testing.assert_close(torch.from_numpy(apart), (points[first] - points[second]).norm(dim=-1))


def test_single_precision_in_single_precision_out():
    distance, index = nearest(torch.randn(9, 3), 2)
    assert distance.dtype == torch.float32 and index.dtype == torch.int64


@pytest.mark.parametrize("seed", range(4))
def test_normals_of_a_plane_are_its_own(seed):
    generator = seeded(seed)
    turn = random_rotation(generator)
    flat = torch.rand(200, 3, generator=generator).double() * torch.tensor([1.0, 1.0, 1e-4]).double()
    normals = surface_normals(flat @ turn.T)
    assert normals.shape == (200, 3)
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(200).double())
    assert (normals @ turn[:, 2]).abs().min() > 0.999
    assert (normals @ turn[:, 0]).abs().max() < 0.05


def test_normals_of_a_sphere_point_along_its_radii():
    points = torch.nn.functional.normalize(torch.randn(3000, 3, generator=seeded(3)), dim=-1)
    along = (surface_normals(points) * points).sum(-1).abs()
    assert along.quantile(0.05) > 0.98


@pytest.mark.parametrize("k", [1, 5, 50])
def test_points_nearest_to_places(k):
    generator = torch.Generator().manual_seed(3)
    points, places = torch.randn(40, 3, generator=generator), torch.randn(7, 3, generator=generator)
    distance, index = nearest_to(places, points, k)
    wanted, order = torch.cdist(places.double(), points.double()).sort(dim=-1)
    assert index.shape == (7, min(k, 40)) and torch.equal(index, order[:, :k])
    assert torch.allclose(distance.double(), wanted[:, :k], atol=1e-6)
