"""Rotations, similarities and the poses they move."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import random_quats, random_rotation, random_similarity, rigid, seeded, unit_vectors

from featurefields.maths.rotations import matrix_from_quat, quat_from_matrix, quat_multiply
from featurefields.maths.similarity import Similarity

SEEDS = st.integers(0, 2**31)
EXAMPLES = settings(max_examples=30)


def half_turns() -> torch.Tensor:
    """Rotations by 180 degrees, where three of the four expressions for the quaternion may vanish (m 3 3)."""
    axes = torch.cat([torch.eye(3).double(), unit_vectors(20, seeded(1))])
    return 2 * axes[:, :, None] * axes[:, None, :] - torch.eye(3).double()


@EXAMPLES
@given(SEEDS)
def test_matrices_of_quaternions_are_rotations(seed):
    matrices = matrix_from_quat(random_quats(40, seeded(seed)))
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3).double().expand(40, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(40).double())


@EXAMPLES
@given(SEEDS, st.floats(0.01, 100.0))
def test_quaternions_survive_the_way_through_matrices(seed, length):
    quats = torch.nn.functional.normalize(random_quats(40, seeded(seed)), dim=-1)
    back = quat_from_matrix(matrix_from_quat(quats * length))
    torch.testing.assert_close(back, torch.where(quats[:, :1] < 0, -quats, quats), atol=1e-12, rtol=0)


def test_half_turns_survive_the_way_through_quaternions():
    turns = half_turns()
    quats = quat_from_matrix(turns)
    torch.testing.assert_close(matrix_from_quat(quats), turns, atol=1e-12, rtol=0)
    torch.testing.assert_close(quats.norm(dim=-1), torch.ones(len(turns)).double())
    # the expression that suits small angles alone divides by nothing here
    assert (1 + turns.diagonal(dim1=-2, dim2=-1).sum(-1)).abs().max() < 1e-12


def test_almost_half_turns_keep_single_precision():
    axes, gaps = unit_vectors(200, seeded(3)), 10 ** torch.linspace(-9, -1, 200).double()
    quats = torch.cat([torch.sin(gaps / 2)[:, None], axes * torch.cos(gaps / 2)[:, None]], dim=-1)
    matrices = matrix_from_quat(quats).float()
    torch.testing.assert_close(matrix_from_quat(quat_from_matrix(matrices)), matrices, atol=1e-6, rtol=0)


def test_a_quarter_turn_about_z_takes_x_to_y():
    half = 0.5**0.5
    turn = matrix_from_quat(torch.tensor([half, 0, 0, half], dtype=torch.float64))
    torch.testing.assert_close(turn[:, 0], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


@EXAMPLES
@given(SEEDS)
def test_products_of_quaternions_are_products_of_matrices(seed):
    a, b = random_quats(30, seeded(seed)), random_quats(30, seeded(seed + 1))
    product = matrix_from_quat(quat_multiply(a, b))
    torch.testing.assert_close(product, matrix_from_quat(a) @ matrix_from_quat(b))
    assert not torch.allclose(product, matrix_from_quat(b) @ matrix_from_quat(a), atol=1e-2)


def test_quaternions_have_exact_gradients():
    quats = random_quats(3, seeded(5)).requires_grad_()
    assert torch.autograd.gradcheck(matrix_from_quat, quats)


@EXAMPLES
@given(SEEDS)
def test_the_inverse_similarity_undoes_it(seed):
    move, points = random_similarity(seeded(seed)), unit_vectors(10, seeded(seed + 1))
    torch.testing.assert_close(move.inverse.points(move.points(points)), points)
    torch.testing.assert_close(move.points(move.inverse.points(points)), points)


@EXAMPLES
@given(SEEDS)
def test_after_is_one_after_the_other(seed):
    generator = seeded(seed)
    first, second = random_similarity(generator), random_similarity(generator)
    points, pose = (
        unit_vectors(10, generator),
        rigid(random_rotation(generator), unit_vectors(1, generator)[0]),
    )
    both = second.after(first)
    torch.testing.assert_close(both.points(points), second.points(first.points(points)))
    torch.testing.assert_close(both.pose(pose), second.pose(first.pose(pose)))
    assert not torch.allclose(first.after(second).points(points), both.points(points), atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_moved_poses_stay_rigid_and_keep_what_they_see(seed):
    generator = seeded(seed)
    move = random_similarity(generator)
    pose = rigid(random_rotation(generator), unit_vectors(1, generator)[0])
    moved, points = move.pose(pose), unit_vectors(10, generator)
    torch.testing.assert_close(moved[:3, :3] @ moved[:3, :3].T, torch.eye(3).double())
    torch.testing.assert_close(torch.linalg.det(moved[:3, :3]), torch.tensor(1.0).double())
    seen = (points - pose[:3, 3]) @ pose[:3, :3]
    seen_after = (move.points(points) - moved[:3, 3]) @ moved[:3, :3]
    torch.testing.assert_close(seen_after, move.scale * seen)


def test_identity_leaves_points_of_any_batch_alone():
    points = torch.randn(2, 5, 3, generator=seeded(2))
    torch.testing.assert_close(Similarity.identity().points(points), points, atol=0, rtol=0)
