"""Growing regions: superpoints differ little inside, merge trees are those of brute force."""

import numpy as np
import pytest

from featurefields.maths.merging import MergeCost, merge_tree, superpoints

CELLS = 8


def grid(seed: int, cells: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
    """Edges (first, second) between neighbours in a square grid of cells, in random order."""
    index = np.arange(cells * cells).reshape(cells, cells)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    order = np.random.default_rng(seed).permutation(len(first))
    return first[order], second[order]


def example(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = grid(seed)
    n = CELLS * CELLS
    return {
        "first": first,
        "second": second,
        "difference": rng.random(len(first)),
        "weight": rng.random(len(first)) + 0.1,
        "size": rng.random(n) + 0.2,
        "features": rng.standard_normal((n, 5)),
        "colours": rng.random((n, 3)),
    }


COST = MergeCost(feature=1.0, border=0.4, colour=0.6, small=0.7, touch=0.4)


def brute(first, second, difference, weight, size, features, colours, cost):
    """Merge the best pair of all, looking at every pair every time."""
    regions = {i: {i} for i in range(len(size))}
    merges = []

    def differ(a: int, b: int) -> float | None:
        cut = [
            e
            for e in range(len(first))
            if {first[e], second[e]} & regions[a]
            and {first[e], second[e]} & regions[b]
            and not {first[e], second[e]} <= regions[a]
            and not {first[e], second[e]} <= regions[b]
        ]
        if not cut:
            return None
        inside = [list(regions[a]), list(regions[b])]
        sums = [(features[i] * size[i, None]).sum(0) for i in inside]
        means = [(colours[i] * size[i, None]).sum(0) / size[i].sum() for i in inside]
        cosine = sums[0] @ sums[1] / np.linalg.norm(sums[0]) / np.linalg.norm(sums[1])
        border = (difference[cut] * weight[cut]).sum() / weight[cut].sum()
        found = cost.feature * np.sqrt(1 - cosine) + cost.border * border
        found += cost.colour * np.linalg.norm(means[0] - means[1])
        least = min(size[i].sum() for i in inside)
        leading_out = [
            weight[[e for e in range(len(first)) if (first[e] in region) != (second[e] in region)]].sum()
            for region in (regions[a], regions[b])
        ]
        part = weight[cut].sum() / min(leading_out)
        return found * least / (least + cost.small) * part**-cost.touch

    while True:
        pairs = [(differ(a, b), a, b) for a in regions for b in regions if a < b]
        found = [pair for pair in pairs if pair[0] is not None]
        if not found:
            return merges
        d, a, b = min(found)
        merges.append((d, frozenset(regions[a] | regions[b])))
        new = len(size) + len(merges) - 1
        regions[new] = regions.pop(a) | regions.pop(b)


def leaves_below(parent: np.ndarray, leaves: int) -> list[frozenset[int]]:
    below: list[set[int]] = [{i} if i < leaves else set() for i in range(len(parent))]
    for node in range(len(parent)):
        if parent[node] != node:
            below[parent[node]] |= below[node]
    return [frozenset(found) for found in below]


def test_the_tree_is_that_of_brute_force() -> None:
    given = example(2)
    keep = (given["first"] < 20) & (given["second"] < 20)
    given |= {name: given[name][keep] for name in ("first", "second", "difference", "weight")}
    given |= {name: given[name][:20] for name in ("size", "features", "colours")}
    tree = merge_tree(**given, cost=COST)
    wanted = brute(**given, cost=COST)
    found = leaves_below(tree.parent, 20)[20:]
    assert found == [members for _, members in wanted]
    highest = np.maximum.accumulate([d for d, _ in wanted])
    assert np.all(tree.height[20:] <= highest + 1e-9)
    assert np.all(tree.height[20:] >= [d - 1e-9 for d, _ in wanted])


@pytest.mark.parametrize("seed", range(4))
def test_every_tree_is_one(seed: int) -> None:
    given = example(seed)
    tree = merge_tree(**given, cost=COST)
    n = CELLS * CELLS
    assert tree.leaves == n and len(tree.parent) == 2 * n - 1
    above = tree.parent[:-1]
    assert np.all(above > np.arange(2 * n - 2)) and tree.parent[-1] == 2 * n - 2
    assert np.array_equal(np.bincount(above)[n:], np.full(n - 1, 2))
    assert np.all(tree.height[above] >= tree.height[:-1])
    assert tree.size[-1] == pytest.approx(given["size"].sum())


def test_parts_that_do_not_touch_have_roots_of_their_own() -> None:
    given = example(1)
    column = np.arange(CELLS * CELLS) % CELLS
    keep = (column[given["first"]] < 3) == (column[given["second"]] < 3)
    given |= {name: given[name][keep] for name in ("first", "second", "difference", "weight")}
    tree = merge_tree(**given, cost=COST)
    roots = tree.parent == np.arange(len(tree.parent))
    assert roots.sum() == 2 and tree.leaves == CELLS * CELLS
    assert {len(found) for found, root in zip(leaves_below(tree.parent, 64), roots, strict=True) if root} == {
        24,
        40,
    }


def test_superpoints_follow_a_step_and_ignore_noise() -> None:
    rng = np.random.default_rng(0)
    first, second = grid(5, 12)
    value = np.where(np.arange(144) % 12 < 5, 0.0, 1.0) + 0.05 * rng.standard_normal(144)
    label = superpoints(
        first, second, np.abs(value[first] - value[second]), np.ones(144), scale=3.0, smallest=2.0
    )
    assert set(label) == {0, 1}
    assert len(set(label[np.arange(144) % 12 < 5])) == 1
    tiny = superpoints(
        first, second, np.abs(value[first] - value[second]), np.ones(144), scale=1e-9, smallest=0.0
    )
    assert len(set(tiny)) > 100


def test_small_regions_join() -> None:
    first, second = grid(7)
    difference = np.random.default_rng(3).random(len(first))
    label = superpoints(first, second, difference, np.ones(64), scale=1e-9, smallest=4.0)
    assert np.bincount(label).min() >= 4 and len(np.bincount(label)) > 3


def test_what_is_enclosed_joins_before_what_hardly_touches() -> None:
    """Four in a row. The middle two differ a little less than the others, but share little of their borders."""
    given = {
        "first": np.array([0, 1, 2]), "second": np.array([1, 2, 3]), "difference": np.array([1.0, 0.95, 1.0]),
        "weight": np.array([9.0, 1.0, 9.0]), "size": np.ones(4), "features": np.ones((4, 2)),
        "colours": np.zeros((4, 3)),
    }  # fmt: skip
    joined = [
        leaves_below(merge_tree(**given, cost=MergeCost(touch=touch)).parent, 4)[4] for touch in (0.0, 0.1)
    ]
    assert joined == [{1, 2}, {0, 1}]
