"""The table of Gaussians: no column falls out of step."""

import pytest
import torch
from laws import random_quats, random_scene, random_similarity, seeded

from featurefields.maths.rotations import matrix_from_quat
from featurefields.splats import Splats, concatenate


@pytest.fixture
def splats() -> Splats:
    """Twelve Gaussians whose columns all start with their number."""
    numbers = torch.arange(12.0)
    return Splats(
        numbers[:, None].repeat(1, 3),
        numbers[:, None].repeat(1, 4) + 0.5,
        -numbers[:, None].repeat(1, 3),
        numbers,
        {
            "feature": numbers[:, None].repeat(1, 7),
            "harmonics": numbers[:, None, None].repeat(1, 4, 3),
            "id": numbers,
        },
    )


def assert_rows(splats: Splats, numbers: list[int]) -> None:
    """Every column holds exactly these rows of the fixture."""
    assert len(splats) == len(numbers)
    wanted = torch.tensor(numbers, dtype=torch.float32)
    for name, tensor in splats.tensors().items():
        first = tensor.flatten(1)[:, 0] if tensor.dim() > 1 else tensor
        shown = {"quats": first - 0.5, "log_scales": -first}.get(name, first)
        assert torch.equal(shown, wanted), name


def test_rows_are_chosen_by_mask_or_index(splats):
    assert_rows(splats, list(range(12)))
    assert_rows(splats.select(splats.means[:, 0] > 8), [9, 10, 11])
    assert_rows(splats.select(torch.tensor([3, 3, 0])), [3, 3, 0])
    assert_rows(splats.select(torch.zeros(12, dtype=torch.bool)), [])


def test_tables_are_put_one_behind_the_other(splats):
    parts = [splats.select(torch.tensor([5])), splats.select(torch.tensor([0, 11]))]
    assert_rows(concatenate(parts), [5, 0, 11])
    odd = splats.means[:, 0] % 2 == 1
    assert_rows(
        concatenate(iter([splats.select(odd), splats.select(~odd)])), [1, 3, 5, 7, 9, 11, 0, 2, 4, 6, 8, 10]
    )
    with pytest.raises(KeyError, match=r"columns\.id"):
        concatenate([splats, splats.without_columns("id")])


def test_each_reaches_every_column(splats):
    touched = []
    doubled = splats.each(lambda column: touched.append(column.shape) or 2 * column)
    assert len(touched) == len(splats.tensors()) == 7
    for name, tensor in splats.tensors().items():
        assert torch.equal(doubled.tensors()[name], 2 * tensor)
    assert_rows(splats, list(range(12)))  # and changes nothing in place


def test_tensors_and_back(splats):
    back = Splats.from_tensors(splats.tensors())
    assert back.tensors().keys() == splats.tensors().keys()
    assert all(torch.equal(back.tensors()[name], tensor) for name, tensor in splats.tensors().items())
    assert set(back.columns) == {"feature", "harmonics", "id"}


def test_columns_come_and_go_without_touching_the_others(splats):
    more = splats.with_columns(id=splats.columns["id"] + 1, extra=torch.ones(12, 2))
    assert set(more.columns) == {"feature", "harmonics", "id", "extra"}
    assert more.columns["feature"] is splats.columns["feature"] and more.means is splats.means
    assert torch.equal(more.columns["id"], splats.columns["id"] + 1)
    assert set(splats.columns) == {"feature", "harmonics", "id"}
    assert set(more.without_columns("id", "extra").columns) == {"feature", "harmonics"}


def test_precision_and_detachment(splats):
    assert {tensor.dtype for tensor in splats.to(torch.float64).tensors().values()} == {torch.float64}
    learned = splats.each(lambda column: column.clone().requires_grad_())
    assert not any(tensor.requires_grad for tensor in learned.detach().tensors().values())


def test_parametrisation():
    splats, _, _ = random_scene("plain", 30, (8, 8), 1)
    torch.testing.assert_close(splats.scales.log(), splats.log_scales)
    torch.testing.assert_close(torch.logit(splats.opacities), splats.opacity_logits)


def test_the_shortest_axis_is_the_direction_of_least_spread():
    splats, _, _ = random_scene("plain", 30, (8, 8), 1)
    axes = matrix_from_quat(splats.quats)
    covariances = axes @ torch.diag_embed(splats.scales**2) @ axes.mT
    directions = splats.shortest_axes
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(30).double())
    along = torch.einsum("ni,nij,nj->n", directions, covariances, directions)
    torch.testing.assert_close(along, torch.linalg.eigvalsh(covariances)[:, 0])


@pytest.mark.parametrize("seed", range(4))
def test_moved_gaussians_have_the_moved_covariance(seed):
    splats, _, _ = random_scene("plain", 30, (8, 8), seed)
    move = random_similarity(seeded(seed))

    def covariances(table: Splats) -> torch.Tensor:
        axes = matrix_from_quat(table.quats) * table.scales[:, None, :]
        return axes @ axes.mT

    moved = splats.moved(move)
    torch.testing.assert_close(moved.means, move.points(splats.means))
    wanted = move.scale**2 * move.rotation @ covariances(splats) @ move.rotation.T
    torch.testing.assert_close(covariances(moved), wanted)
    assert torch.equal(moved.opacity_logits, splats.opacity_logits)
    back = moved.moved(move.inverse)
    torch.testing.assert_close(back.means, splats.means)
    torch.testing.assert_close(covariances(back), covariances(splats))


def test_moving_keeps_the_precision_of_the_table():
    splats, _, _ = random_scene("plain", 5, (8, 8), 1)
    moved = splats.to(torch.float32).moved(random_similarity(seeded(2)))
    assert {tensor.dtype for tensor in moved.tensors().values()} == {torch.float32}


def test_quaternions_of_any_length_turn_alike():
    quats = random_quats(10, seeded(1))
    table = Splats(torch.zeros(10, 3).double(), quats, torch.zeros(10, 3).double(), torch.zeros(10).double())
    longer = Splats(table.means, 7.5 * quats, table.log_scales, table.opacity_logits)
    move = random_similarity(seeded(4))
    torch.testing.assert_close(
        matrix_from_quat(longer.moved(move).quats), move.rotation @ matrix_from_quat(quats)
    )
