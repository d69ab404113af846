"""Neighbours that differ, and averages over those that do not, against numpy."""

import numpy as np
import pytest
import torch

from featurefields.maths.affinity import angular_differences, averaged, surface_differences

N, E = 40, 90


def edges(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    pairs = rng.permutation(N * (N - 1) // 2)[:E]
    return tuple(side[pairs] for side in np.triu_indices(N, 1))  # type: ignore[return-value]


def units(rng: np.random.Generator, d: int) -> np.ndarray:
    values = rng.standard_normal((N, d)).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_differences_are_those_of_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = edges(rng)
    features, normals = units(rng, 7), units(rng, 3)
    colours, means = (rng.random((N, 3)).astype(np.float32) for _ in range(2))
    cosine = (features[first] * features[second]).sum(-1)
    np.testing.assert_allclose(angular_differences(first, second, features), np.sqrt(1 - cosine), atol=1e-6)
    step = means[second] - means[first]
    bend = ((normals[second] - normals[first]) * step).sum(-1) / np.linalg.norm(step, axis=-1)
    wanted = 3 * np.linalg.norm(colours[first] - colours[second], axis=-1)
    wanted += np.where(bend < 0, -5 * bend, 0.5 * bend)
    found = surface_differences(first, second, colours, normals, means, (3.0, 5.0, 0.5))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_averages_are_those_of_a_dense_matrix(rounds: int) -> None:
    rng = np.random.default_rng(rounds)
    first, second = edges(rng)
    values = rng.standard_normal((N, 5)).astype(np.float32)
    likeness, size = rng.random(E), rng.random(N) + 0.1
    matrix = np.diag(np.ones(N))
    matrix[first, second] = matrix[second, first] = likeness
    weights = matrix * size
    wanted = np.linalg.matrix_power(weights / weights.sum(1, keepdims=True), rounds) @ values
    before = values.copy()
    found = averaged(values, first, second, likeness, size, rounds=rounds)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_array_equal(values, before)


def test_averages_do_not_cross_edges_of_unlike_nodes_and_keep_what_is_constant() -> None:
    first, second = np.arange(N - 1), np.arange(1, N)
    step = np.where(np.arange(N) < N // 2, 0.0, 1.0).astype(np.float32)[:, None]
    likeness = np.where(step[first, 0] == step[second, 0], 1.0, 0.0)
    found = averaged(step, first, second, likeness, np.ones(N), rounds=50)
    np.testing.assert_allclose(found, step, atol=1e-6)
    leaking = averaged(step, first, second, np.ones(E)[: N - 1], np.ones(N), rounds=50)
    assert np.abs(leaking - step).max() > 0.3


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(5)
    first, second = edges(rng)
    values = rng.standard_normal((N, 8)).astype(np.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(averaged(values, first, second, np.ones(E), np.ones(N), rounds=2))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*results)
