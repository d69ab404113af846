"""Two pictures in one, and flights that close."""

import math

import pytest
import torch
from tiny_fields import ring

from featurefields.visualization.comparison import (
    SMALLEST_LIMIT,
    change,
    change_colours,
    change_limit,
    slider,
    wipe,
)
from featurefields.visualization.layers import LayerPainter
from featurefields.visualization.paths import interpolate, interpolate_at

BEFORE, AFTER = torch.full((20, 60, 3), 0.2), torch.full((20, 60, 3), 0.7)


class TestWipe:
    def test_before_is_left_of_the_line_and_after_is_right(self):
        picture = wipe(BEFORE, AFTER, 0.25)
        assert torch.equal(picture[:, :12], BEFORE[:, :12])
        assert torch.equal(picture[:, 18:], AFTER[:, 18:])
        assert (picture[:, 14:16] == 1).all()

    def test_the_ends_are_one_picture_without_a_line(self):
        assert torch.equal(wipe(BEFORE, AFTER, 0.0), AFTER)
        assert torch.equal(wipe(BEFORE, AFTER, 1.0), BEFORE)
        assert torch.equal(wipe(BEFORE, AFTER, 7.0), BEFORE)

    def test_a_slider_goes_from_before_to_after(self):
        sheet = slider(BEFORE, AFTER)
        shares = []
        for index in range(5):
            cell = sheet[-24:-4, 4 + 64 * index : 64 + 64 * index]
            shares.append(((cell - 0.7).abs() < 0.01).all(-1).float().mean().item())
        assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)


class TestDifference:
    def test_the_largest_colour_counts(self):
        other = BEFORE.clone()
        other[3, 4] += torch.tensor([0.1, -0.3, 0.2])
        moved = change(BEFORE, other)
        assert moved[3, 4].item() == pytest.approx(0.3) and moved.sum().item() == pytest.approx(0.3)

    def test_nothing_is_black_and_the_limit_is_brightest(self):
        colours = change_colours(torch.tensor([[0.0, 0.05, 0.1, 0.2, 0.9]]), 0.2)
        assert (colours[0, 0] == 0).all()
        light = colours.sum(-1)[0]
        assert (light[:4].diff() > 0).all() and light[3] == light[4]

    def test_the_limit_ignores_strays_and_rounding(self):
        changes = [torch.full((100, 100), 0.1), torch.zeros(100, 100)]
        changes[1][0, 0] = 1.0
        assert change_limit(changes) == pytest.approx(0.1)
        assert change_limit([torch.full((9, 9), 1e-4)]) == SMALLEST_LIMIT


def test_two_fields_share_the_layers_that_both_have():
    generator = torch.Generator().manual_seed(2)
    one = {
        "rgb": torch.rand(4, 5, 3, generator=generator),
        "depth": torch.ones(4, 5, 1),
        "alpha": torch.ones(4, 5, 1),
    }
    two = {**one, "other": torch.rand(4, 5, 7, generator=generator), "near": torch.zeros(4, 5, 3)}
    assert LayerPainter.fit([two, one]).palettes == {} and list(LayerPainter.fit([two]).palettes) == ["other"]


class TestFlight:
    def test_a_place_is_the_number_of_a_camera(self):
        cameras = ring(5)
        path = interpolate_at(cameras, [0.0, 3.0, 4.0])
        for found, number in zip(path, (0, 3, 4), strict=True):
            assert torch.allclose(found.world_from_camera, cameras[number].world_from_camera, atol=1e-5)

    def test_a_closed_flight_ends_where_it_began_and_goes_on_smoothly(self):
        cameras = ring(6)
        ends = interpolate_at(cameras, [0.0, 6.0], closed=True)
        assert torch.allclose(ends[0].world_from_camera, ends[1].world_from_camera, atol=1e-5)
        path = interpolate_at(cameras, [index / 8 for index in range(48)], closed=True)
        radii = torch.stack([camera.position[:2].norm() for camera in path])
        assert (radii - 3.0).abs().max() < 0.1  # straight lines would come 0.4 nearer
        steps = torch.stack([camera.position for camera in (*path, path[0])]).diff(dim=0).norm(dim=-1)
        assert steps.max() < 1.3 * steps.min()

    def test_an_open_flight_does_not(self):
        cameras = ring(6)
        last = interpolate_at(cameras, [6.0])[0]
        assert torch.allclose(last.position, cameras[-1].position, atol=1e-5)

    def test_evenly_is_a_special_case(self):
        cameras = ring(4)
        places = [3 * index / 10 for index in range(11)]
        for one, two in zip(interpolate(cameras, 11), interpolate_at(cameras, places), strict=True):
            assert torch.allclose(one.world_from_camera, two.world_from_camera, atol=1e-6)
        assert math.isclose(float(interpolate(cameras, 1)[0].position[2]), 1.6, abs_tol=1e-5)
