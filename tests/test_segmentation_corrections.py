"""Corrections are local, on a tree that is known."""

import numpy as np
import pytest
import torch
from tiny_fields import looking, part, two_balls

from featurefields.maths.merging import MergeTree
from featurefields.raster import choose_rasterizer
from featurefields.segmentation.candidates import candidates
from featurefields.segmentation.corrections import Pointed, corrected
from featurefields.segmentation.evidence import evidence_of
from featurefields.segmentation.hierarchy import Hierarchy, hierarchy_of
from featurefields.segmentation.prompts import Click
from featurefields.segmentation.regions import assigned, beside_of, stretch_of
from featurefields.segmentation.viewed import ViewedField

CPU = choose_rasterizer("cpu")
VIEW = looking((3.0, 0.0, 1.6))

BODY, SHADE, HANDLE, TABLE, SPOT, OTHER = range(6)


def scene() -> Hierarchy:
    """A cup (body and shade join early, the handle late), a table with a spot, and another thing."""
    size = np.array([3.0, 2.0, 1.0, 50.0, 0.05, 6.0])
    parent, height, sizes = [*range(6)], [0.0] * 6, list(size)

    def join(a: int, b: int, h: float) -> int:
        node = len(parent)
        parent[a] = parent[b] = node
        parent.append(node)
        height.append(h)
        sizes.append(sizes[a] + sizes[b])
        return node

    body = join(BODY, SHADE, 0.1)
    cup = join(body, HANDLE, 0.9)
    table = join(TABLE, SPOT, 0.2)
    both = join(cup, OTHER, 1.2)
    join(both, table, 1.3)
    tree = MergeTree(np.array(parent), np.array(height), np.array(sizes))
    return Hierarchy(torch.arange(6), tree)


def leaves(hierarchy: Hierarchy, chosen: np.ndarray) -> set[int]:
    return {leaf for leaf in range(6) if chosen[hierarchy.spans[leaf, 0]]}


def row(hierarchy: Hierarchy, *chosen: int) -> np.ndarray:
    found = np.zeros(6, bool)
    found[[hierarchy.spans[leaf, 0] for leaf in chosen]] = True
    return found


def after(start: set[int], *later: tuple[int, bool], first: int = BODY) -> set[int]:
    hierarchy = scene()
    prompts = [Pointed([leaf], positive) for leaf, positive in later]
    return leaves(hierarchy, corrected(hierarchy, row(hierarchy, *start), [first], prompts))


def test_the_first_click_selects_what_lasts() -> None:
    hierarchy = scene()
    found = [leaves(hierarchy, one.chosen) for one in candidates(hierarchy, [BODY])]
    assert {BODY, SHADE} in found and {BODY, SHADE, HANDLE} in found


def test_a_missing_part_brings_the_whole() -> None:
    assert after({BODY}, (HANDLE, True)) == {BODY, SHADE, HANDLE}


def test_a_part_that_never_lasts_comes_as_far_as_it_is_no_larger_than_the_selection() -> None:
    assert after({BODY, SHADE, HANDLE}, (OTHER, True), first=TABLE) == {BODY, SHADE, HANDLE, OTHER}
    assert after({HANDLE}, (TABLE, True), first=HANDLE) == {HANDLE}


def test_a_click_on_what_is_selected_changes_nothing() -> None:
    assert after({BODY, SHADE}, (SHADE, True)) == {BODY, SHADE}
    assert after({BODY, SHADE}, (TABLE, False)) == {BODY, SHADE}


def test_a_spot_comes_alone_and_never_brings_the_table() -> None:
    assert after({BODY, SHADE}, (SPOT, True)) == {BODY, SHADE, SPOT}
    assert after({BODY, SHADE}, (TABLE, True)) == {BODY, SHADE}


def test_a_negative_click_takes_the_larger_side_from_what_was_too_much() -> None:
    everything = set(range(6))
    assert after(everything, (TABLE, False)) == {BODY, SHADE, HANDLE, OTHER}
    assert after(everything, (SPOT, False)) <= everything - {SPOT}


def test_a_negative_click_takes_a_part() -> None:
    assert after({BODY, SHADE, HANDLE}, (HANDLE, False)) == {BODY, SHADE}


def test_what_is_not_wanted_is_not_brought_back_with_a_whole() -> None:
    assert HANDLE not in after({BODY}, (HANDLE, False), (SHADE, True))


def test_a_negative_click_in_the_region_of_a_positive_one_takes_no_region() -> None:
    assert after({BODY, SHADE, HANDLE}, (BODY, False)) == {BODY, SHADE, HANDLE}


def test_taking_and_bringing_again_is_as_before() -> None:
    assert after({BODY, SHADE, HANDLE}, (HANDLE, False), (HANDLE, True)) == {BODY, SHADE, HANDLE}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_unseen_leaves_go_with_their_nearest_relatives(order: tuple[int, int]) -> None:
    hierarchy = scene()
    inside, outside = np.zeros(6), np.zeros(6)
    inside[[BODY, SHADE][order[0]]] = 1.0
    outside[TABLE] = 9.0
    assert leaves(hierarchy, assigned(hierarchy, inside, outside)) == {BODY, SHADE, HANDLE, OTHER}
    outside[OTHER] = 0.5
    assert leaves(hierarchy, assigned(hierarchy, inside, outside)) == {BODY, SHADE, HANDLE}
    assert leaves(hierarchy, assigned(hierarchy, np.zeros(6), outside)) == set()


def test_at_a_border_only_spots_change() -> None:
    hierarchy = scene()
    start, always = row(hierarchy, BODY, SHADE), (lambda chosen: bool(chosen.any()))

    def at_border(leaf: int, positive: bool) -> set[int]:
        prompt = Pointed([leaf], positive, always)
        return leaves(hierarchy, corrected(hierarchy, start, [BODY], [prompt]))

    assert at_border(HANDLE, True) == {BODY, SHADE}
    assert at_border(SHADE, False) == {BODY, SHADE}
    assert at_border(SPOT, True) == {BODY, SHADE, SPOT}


def test_a_lasting_whole_is_brought_however_small_the_selection_was() -> None:
    """Of a cup its shade was found, a third of it; the handle belongs to the same cup."""
    assert after({SHADE}, (HANDLE, True), first=SHADE) == {BODY, SHADE, HANDLE}
    assert after({BODY}, (TABLE, True)) == {BODY}, "what holds both does not last, the table is far larger"


def test_another_thing_that_reaches_to_a_far_click_may_be_larger() -> None:
    """What was clicked beside the handle is six times as large: too large, unless it is that far away."""
    hierarchy = scene()
    for stretch, found in ((1.0, {HANDLE}), (2.0, {HANDLE, OTHER})):
        click = Pointed([OTHER], True, stretch=lambda chosen, stretch=stretch: stretch)
        chosen = corrected(hierarchy, row(hierarchy, HANDLE), [HANDLE], [click])
        assert leaves(hierarchy, chosen) == found


def test_what_a_picture_shows_beside_the_selection_is_a_border_and_what_is_far_is_stretched() -> None:
    field = two_balls()
    hierarchy = hierarchy_of(field, torch.ones(len(field)))
    red = np.zeros(hierarchy.tree.leaves, bool)
    for leaf in set(hierarchy.leaf[part("red")].tolist()):
        red[hierarchy.spans[leaf, 0]] = True
    viewed = ViewedField(field, CPU)
    shown = viewed.view(VIEW).draw(part("red").float()[:, None])[..., 0] > 0.5
    ys, xs = shown.nonzero().float().T
    middle, edge = torch.stack([xs.mean(), ys.mean()]) + 0.5, float(xs.max()) + 1.5
    beside = torch.stack([torch.tensor(edge + 1.0), middle[1]])
    far = torch.stack([torch.tensor(edge + 9.0), middle[1]])
    for at, border in ((beside, True), (far, False)):
        one = evidence_of(Click(float(at[0]), float(at[1]), VIEW), viewed, radius_px=0.75)
        assert beside_of(hierarchy, one, viewed)(red) == border, at
    one = evidence_of(Click(float(far[0]), float(far[1]), VIEW), viewed, radius_px=0.75)
    stretch = stretch_of(hierarchy, one, viewed)(red)
    assert stretch == pytest.approx(max(1.0, 81 / int(shown.sum())), rel=0.5)
    assert stretch_of(hierarchy, one, viewed)(np.zeros_like(red)) == 1.0
