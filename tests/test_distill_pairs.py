"""Which views are looked at together, and step sizes."""

import pytest
import torch
from tiny_distillation import facing

from featurefields.distillation.pairs import PairConfig, PairSampler, mixed, overlaps, surface_points
from featurefields.distillation.schedule import one_cycle
from featurefields.errors import FittingError

WALL = torch.full((32, 48), 2.0)


def row_of_cameras(count: int = 6):
    """Each sees five sixths of what its neighbour sees of a wall."""
    return [facing(x=number * 8 * 2.0 / 40.0) for number in range(count)]


def test_overlap_is_the_share_that_both_see():
    cameras = row_of_cameras()
    shares = overlaps(cameras, [surface_points(camera, WALL) for camera in cameras], [WALL] * 6)
    apart = (torch.arange(6)[:, None] - torch.arange(6)).abs()
    torch.testing.assert_close(shares, 1 - apart / 6, atol=0.05, rtol=0)


def test_what_something_hides_is_not_shared():
    cameras = row_of_cameras(2)
    hidden = WALL.clone()
    hidden[:, :24] = 0.5
    points = [surface_points(camera, WALL) for camera in cameras]
    open_view = overlaps(cameras, points, [WALL, WALL])
    blocked = overlaps(cameras, points, [WALL, hidden])
    assert blocked[0, 1] < open_view[0, 1] - 0.3
    assert overlaps(cameras, points, [WALL, None])[0, 1] == open_view[0, 1]


def test_pairs_respect_the_range_and_repeat():
    cameras = row_of_cameras()
    shares = overlaps(cameras, [surface_points(camera, WALL) for camera in cameras], [WALL] * 6)
    config = PairConfig(least=0.3, most=0.7)
    sampler = PairSampler([shares, shares], config)
    drawn = [sampler.pair(4, number) for number in range(200)]
    for pair in drawn:
        assert len(set(pair.contexts)) == 2 and pair.target not in pair.contexts
        assert len({place // 6 for place in (pair.target, *pair.contexts)}) == 1
        assert all(0.3 <= shares[pair.target % 6, place % 6] <= 0.7 for place in pair.contexts)
    assert {pair.target for pair in drawn} == set(sampler.targets)
    assert drawn == [PairSampler([shares, shares], config).pair(4, number) for number in range(200)]
    assert drawn != [sampler.pair(5, number) for number in range(200)]


def test_too_few_views_are_told():
    with pytest.raises(FittingError, match="--overlap"):
        PairSampler([torch.eye(4)])


def test_mixed_seeds_differ():
    assert len({mixed(seed, number) for seed in range(30) for number in range(30)}) == 900
    assert all(0 <= mixed(seed) < 2**63 for seed in range(100))


def test_one_cycle_rises_and_falls():
    rates = [one_cycle(step, 101, 2.0) for step in range(101)]
    top = rates.index(max(rates))
    assert top == 10 and rates[top] == 2.0
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] == pytest.approx(0.08) and rates[-1] == pytest.approx(2e-4)
    assert one_cycle(0, 1, 1.0) > 0
