"""Hierarchies and candidates on a tree that is known, and on two balls on a floor."""

import numpy as np
import pytest
import torch
from tiny_fields import part, two_balls

from featurefields.maths.merging import MergeTree
from featurefields.segmentation.candidates import MOST, candidates, growth
from featurefields.segmentation.hierarchy import Hierarchy, hierarchy_of


def known() -> Hierarchy:
    """Leaves 0..5: (0 1) (2 3) join early, then ((0 1) (2 3)), then with 4, late with 5; 5 is most of the scene."""
    parent = np.array([6, 6, 7, 7, 9, 10, 8, 8, 9, 10, 10])
    height = np.array([0, 0, 0, 0, 0, 0, 0.1, 0.2, 0.3, 1.0, 2.0])
    size = np.array([1, 1, 1, 1, 2, 60, 2, 2, 4, 6, 66], dtype=float)
    return Hierarchy(torch.tensor([0, 0, 1, 2, 3, 3, 4, 5, 5, 5]), MergeTree(parent, height, size))


def chosen_leaves(hierarchy: Hierarchy, chosen: np.ndarray) -> set[int]:
    return {leaf for leaf in range(hierarchy.tree.leaves) if chosen[hierarchy.spans[leaf, 0]]}


def grown(hierarchy: Hierarchy, positive: list[int]) -> dict[float, set[int]]:
    heights, rows = growth(hierarchy, positive)
    return {round(float(h), 3): chosen_leaves(hierarchy, row) for h, row in zip(heights, rows, strict=True)}


def test_spans_hold_what_is_below_a_node_and_nothing_else() -> None:
    hierarchy = known()
    for node, (start, stop) in enumerate(hierarchy.spans):
        inside = {leaf for leaf in range(6) if start <= hierarchy.spans[leaf, 0] < stop}
        assert inside == {leaf for leaf in range(6) if node in hierarchy.chain(leaf)}


def test_a_click_grows_through_its_ancestors() -> None:
    assert grown(known(), [0]) == {
        0.0: {0},
        0.1: {0, 1},
        0.3: {0, 1, 2, 3},
        1.0: {0, 1, 2, 3, 4},
        2.0: {0, 1, 2, 3, 4, 5},
    }


def test_two_clicks_bring_both() -> None:
    assert grown(known(), [0, 5])[0.1] == {0, 1, 5}


def test_the_longest_lasting_selection_is_first_and_confidences_sum_to_one() -> None:
    hierarchy = known()
    found = candidates(hierarchy, [0])
    assert chosen_leaves(hierarchy, found[0].chosen) == {0, 1, 2, 3, 4}
    assert 1 <= len(found) <= MOST and sum(one.confidence for one in found) == pytest.approx(1)
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)
    assert found[0].size == pytest.approx(6 / 66)


def test_members_are_the_gaussians_of_the_leaves() -> None:
    hierarchy = known()
    row = np.zeros(6, bool)
    row[hierarchy.spans[3, 0]] = True
    assert hierarchy.members(row).tolist() == [False] * 4 + [True] * 2 + [False] * 4


@pytest.mark.parametrize("name", ["red", "blue"])
def test_a_ball_is_an_object(name: str) -> None:
    field = two_balls()
    hierarchy = hierarchy_of(field, torch.ones(len(field)))
    leaf = int(hierarchy.leaf[part(name)][0])
    found = candidates(hierarchy, [leaf])
    assert torch.equal(hierarchy.members(found[0].chosen), part(name))


def test_the_same_field_gives_the_same_tree() -> None:
    field = two_balls()
    first, second = (hierarchy_of(field, torch.ones(len(field))) for _ in range(2))
    assert torch.equal(first.leaf, second.leaf)
    assert np.array_equal(first.tree.parent, second.tree.parent)
