"""What lifted views have seen of held-out ones."""

import torch
from tiny_fields import looking
from tiny_surfaces import cameras, depth_and_colour

from featurefields.evaluation.covisible import seen_pixels


def test_a_camera_has_seen_what_it_sees():
    camera = cameras(1)[0]
    depth, _ = depth_and_colour(camera)
    assert torch.equal(seen_pixels(depth, camera, [depth], [camera]), depth > 0)


def test_neighbours_have_seen_the_floor_and_not_what_the_ball_hides():
    near, other = cameras(2, apart=0.3)
    depth, _ = depth_and_colour(near)
    seen = seen_pixels(depth, near, [depth_and_colour(other)[0]], [other])
    share = float(seen.sum() / (depth > 0).sum())
    assert 0.6 < share < 0.99
    assert not bool(seen[depth == 0].any())


def test_who_looks_elsewhere_has_seen_nothing():
    camera, away = cameras(1)[0], looking((2.4, 0.0, 1.1), (9.0, 0.0, 1.1), (64, 64), 70.0)
    depth, _ = depth_and_colour(camera)
    assert not bool(seen_pixels(depth, camera, [torch.ones(64, 64)], [away]).any())
    assert not bool(seen_pixels(depth, camera, [0.5 * depth], [camera]).any())  # something in front
