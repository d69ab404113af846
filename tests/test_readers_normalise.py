"""The world frame: laws of the normalising similarity."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_scenes import FLIP, orbit

from featurefields.maths.similarity import Similarity
from featurefields.readers.normalise import mean_up, normalising_similarity


def poses_of(count: int = 7) -> torch.Tensor:
    return torch.from_numpy(np.stack([pose @ FLIP for pose in orbit(count)]))


def facing_forward(count: int = 9) -> torch.Tensor:
    """Parallel axes, centres on a 3 x 3 grid of step 2."""
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    poses[:, 0, 3] = 2.0 * (torch.arange(count) % 3).double() + 10
    poses[:, 1, 3] = 2.0 * (torch.arange(count) // 3).double()
    return poses


def centres(similarity: Similarity, poses: torch.Tensor) -> torch.Tensor:
    return similarity.points(poses[:, :3, 3])


@settings(max_examples=30, deadline=None)
@given(
    st.floats(1e-3, 1e4),
    st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3),
    st.floats(0, 6.2),
    st.integers(3, 12),
)
def test_where_and_how_large_a_capture_was_does_not_matter(
    scale: float, shift: list[float], angle: float, count: int
) -> None:
    poses = poses_of(count)
    turn = torch.tensor(
        [[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0, 0, 1.0]]
    )
    moved_by = Similarity(scale, turn.double(), torch.tensor(shift, dtype=torch.float64))
    moved = torch.stack([moved_by.pose(pose) for pose in poses])
    before = centres(normalising_similarity(poses), poses) @ turn.double().T
    after = centres(normalising_similarity(moved), moved)
    assert torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("poses", [poses_of(), facing_forward()], ids=["orbit", "forward"])
def test_the_median_camera_is_one_away(poses: torch.Tensor) -> None:
    similarity = normalising_similarity(poses)
    assert float(centres(similarity, poses).norm(dim=-1).median()) == pytest.approx(1.0)
    assert torch.equal(similarity.rotation, torch.eye(3, dtype=torch.float64))


def test_the_origin_is_what_everybody_looks_at_or_the_middle_of_parallel_cameras() -> None:
    orbiting = normalising_similarity(poses_of())
    assert orbiting.inverse.translation.tolist() == pytest.approx([3.0, -1.0, 2.0])
    parallel = normalising_similarity(facing_forward())
    assert parallel.inverse.translation.tolist() == pytest.approx([12.0, 2.0, 0.0])


def test_one_stray_camera_does_not_set_the_scale() -> None:
    poses = poses_of()
    stray = torch.cat([poses, poses[:1]])
    stray[-1, :3, 3] -= 500 * stray[-1, :3, 2]  # far back on its own axis
    assert normalising_similarity(stray).scale == pytest.approx(normalising_similarity(poses).scale, rel=1e-6)


def test_cameras_in_one_place_take_their_unit_from_the_points() -> None:
    poses = poses_of()
    poses[:, :3, 3] = torch.tensor([5.0, 5.0, 5.0], dtype=torch.float64)
    points = torch.tensor([[5.0, 5.0, 9.0], [5.0, 1.0, 5.0], [1.0, 5.0, 5.0]], dtype=torch.float64)
    assert normalising_similarity(poses, points).scale == pytest.approx(1 / 4)
    assert normalising_similarity(poses).scale == 1.0
    assert normalising_similarity(poses[:1]).inverse.translation.tolist() == pytest.approx([5.0, 5.0, 5.0])


def test_up_is_the_mean_of_the_cameras_or_unknown() -> None:
    up = mean_up(poses_of())
    assert up is not None and torch.allclose(up, torch.tensor([0.0, 0, 1], dtype=torch.float64), atol=1e-6)
    opposed = facing_forward(2)
    opposed[1, :2, :2] *= -1
    assert mean_up(opposed) is None
