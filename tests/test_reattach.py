"""Labels find their splats again after whatever an editor did."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from featurefields.errors import PromptError
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.segmentation.reattach import Recognised, recognise
from featurefields.splats import Splats

N = 600


def scene(n: int = N, seed: int = 1) -> Splats:
    """Splats of about 0.05 in a cube of side 2: neighbours are farther apart than they are large."""
    generator = torch.Generator().manual_seed(seed)
    return Splats(
        means=2 * torch.rand(n, 3, generator=generator) - 1,
        quats=torch.randn(n, 4, generator=generator),
        log_scales=torch.randn(n, 3, generator=generator) * 0.4 - 3,
        opacity_logits=torch.randn(n, generator=generator),
        columns={"harmonics": torch.randn(n, 1, 3, generator=generator)},
    )


def shuffled(count: int = N, of: int = N) -> Tensor:
    return torch.randperm(of, generator=torch.Generator().manual_seed(5))[:count]


def turned() -> Similarity:
    rotation = matrix_from_quat(torch.tensor([[0.3, -0.5, 0.7, 0.2]], dtype=torch.float64))[0]
    return Similarity(1.7, rotation, torch.tensor([4.0, -2.0, 1.0], dtype=torch.float64))


def recoloured(splats: Splats) -> Splats:
    return splats.with_columns(harmonics=splats.columns["harmonics"] * 1.1 + 0.01)


def test_reordered_and_deleted_splats_are_found_at_their_place():
    whole, rows = scene(), shuffled(150)
    found = recognise(whole.select(rows), whole)
    assert torch.equal(found.index, rows)
    assert (found.exact, found.alike, found.near, found.unmatched) == (150, 0, 0, 0)
    labels = torch.arange(N) % 7
    assert torch.equal(found.carried(labels), labels[rows])


def test_colours_may_change_at_the_same_place():
    whole, rows = scene(), shuffled()
    assert torch.equal(recognise(recoloured(whole.select(rows)), whole).index, rows)


def test_zero_has_no_sign():
    whole = scene()
    whole.means[:, 1] = 0.0
    edited = replace(whole, means=whole.means * torch.tensor([1.0, -1.0, 1.0]))
    assert recognise(edited, whole).exact == N


def test_a_moved_object_and_a_moved_scene_are_found_by_their_looks():
    whole, rows = scene(), shuffled()
    part = whole.select(rows)
    means = part.means.clone()
    means[:80] += torch.tensor([0.7, 0.1, 0.0])
    found = recognise(replace(part, means=means), whole)
    assert torch.equal(found.index, rows) and (found.exact, found.alike) == (N - 80, 80)
    found = recognise(part.moved(turned()), whole)
    assert torch.equal(found.index, rows) and found.alike == N


def test_looks_that_several_have_are_no_looks():
    whole, rows = scene(), shuffled()
    whole.columns["harmonics"][:50], whole.opacity_logits[:50] = 0.25, 1.5
    found = recognise(whole.select(rows).moved(turned()), whole)
    twins = rows < 50
    assert torch.equal(found.index[~twins], rows[~twins]) and bool((found.index[twins] == -1).all())


def test_splats_at_one_place_are_taken_in_order():
    whole = scene()
    whole.means[10] = whole.means[3]
    found = recognise(whole.select(torch.tensor([10, 3, 7])), whole)
    assert found.index.tolist() == [3, 10, 7]
    thrice = recognise(whole.select(torch.tensor([3, 10, 3, 8])), whole)
    assert thrice.index.tolist() == [3, 10, 10, 8]


def test_fewer_digits_are_found_nearby_and_the_tolerance_matters():
    whole, rows = scene(), shuffled()
    part = recoloured(whole.select(rows))
    grid = 0.01
    rounded = replace(
        part, means=(part.means / grid).round() * grid, log_scales=(part.log_scales * 50).round() / 50
    )
    found = recognise(rounded, whole)
    right = found.index == rows
    assert found.near > 0.95 * N and float(right.float().mean()) > 0.95
    with pytest.raises(PromptError, match=r"only \d+ of 600"):
        recognise(rounded, whole, tolerance=0.01)


def test_the_nearest_of_another_size_is_another_splat():
    whole, rows = scene(), shuffled()
    part = recoloured(whole.select(rows))
    kept = replace(part, means=part.means + 1e-3)
    assert recognise(kept, whole).near > 0.95 * N
    with pytest.raises(PromptError):
        recognise(replace(kept, log_scales=kept.log_scales + 0.5), whole)


def test_nothing_is_sought_nearby_when_most_was_moved():
    """The nearest splat would then be so by accident; here, after a step too small to matter, it is the right one."""
    whole, step = scene(), torch.full((N, 3), 1e-3)
    changed = whole.columns["harmonics"].clone()
    changed[:100] += 0.1
    some, most = step.clone(), step
    some[100:] = 0.0
    found = recognise(replace(whole, means=whole.means + some).with_columns(harmonics=changed), whole)
    assert (found.exact, found.alike) == (N - 100, 0) and found.near > 90
    found = recognise(replace(whole, means=whole.means + most).with_columns(harmonics=changed), whole)
    assert (found.exact, found.alike, found.near, found.unmatched) == (0, N - 100, 0, 100)


def test_added_splats_are_unknown():
    whole, stranger = scene(), scene(50, seed=9)
    added = replace(stranger, means=stranger.means + 5)
    both = Splats.from_tensors(
        {name: torch.cat([tensor, added.tensors()[name]]) for name, tensor in whole.tensors().items()}
    )
    found = recognise(both, whole)
    assert found.unmatched == 50 and found.carried(torch.ones(N, dtype=torch.int64))[N:].sum() == 0


@pytest.mark.parametrize("kind", ["another scene", "moved and recoloured"])
def test_a_scene_that_is_not_the_same_is_one_clear_line(kind: str):
    whole = scene()
    edited = scene(seed=2) if kind == "another scene" else recoloured(whole).moved(turned())
    with pytest.raises(PromptError, match=r"it is another scene, or was moved and recoloured") as caught:
        recognise(edited, whole)
    assert "\n" not in str(caught.value)


def test_unmatched_rows_get_nothing():
    found = Recognised(torch.tensor([2, -1, 0]), 2, 0, 0)
    assert found.carried(torch.tensor([4, 5, 6])).tolist() == [6, 0, 4] and found.unmatched == 1


def test_splats_with_next_to_no_thickness_are_known_by_their_colour():
    """Fewer digits move them by more than they are thick, and make them thicker."""
    whole = scene()
    thin = torch.tensor([0.0, -4.0, -8.0]).expand(N, 3)
    whole = replace(whole, log_scales=whole.log_scales + thin)
    moved = 0.2 * whole.scales[:, :1] * torch.nn.functional.normalize(whole.quats[:, :3], dim=-1)
    stored = whole.columns["harmonics"] + 0.01
    coarse = replace(whole.with_columns(harmonics=stored), means=whole.means + moved)
    coarse = replace(coarse, log_scales=coarse.log_scales + torch.tensor([0.0, 0.0, 2.0]))
    found = recognise(coarse, whole)
    right = found.index == torch.arange(N)
    assert found.near > 0.95 * N and bool((right | (found.index < 0)).float().mean() > 0.98)
    with pytest.raises(PromptError, match="another scene"):  # of another colour they could be any
        recognise(coarse.with_columns(harmonics=stored + 0.5), whole)


def test_opacities_without_bounds_are_no_trouble():
    """A file of 8 bits can say that something is solid, whose logit is infinite."""
    whole = scene()
    solid = replace(whole, opacity_logits=torch.full_like(whole.opacity_logits, torch.inf))
    assert recognise(solid.select(shuffled()), solid).exact == N
    moved = replace(solid, means=solid.means + 5.0)
    assert recognise(moved, solid).alike == N
