"""Numbers against photos and ground truth."""

import math
from pathlib import Path

import pytest
import torch
from tiny_fields import photograph, picture, two_balls, views_of

from featurefields.evaluation.heldout import held_out_psnr, mean
from featurefields.evaluation.metrics import iou, psnr
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene

CPU = choose_rasterizer("cpu")


class TestPsnr:
    @pytest.mark.parametrize("error, decibel", [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0)])
    def test_known_values(self, error: float, decibel: float):
        a = torch.zeros(4, 5, 3)
        assert psnr(a, a + error) == pytest.approx(decibel, abs=1e-3)

    def test_pictures_are_clipped_first(self):
        a = torch.full((2, 2, 3), 1.0)
        assert psnr(a + 5.0, a) == psnr(a, a) == pytest.approx(120.0)
        assert psnr(a - 9.0, a) == pytest.approx(0.0)

    def test_only_masked_pixels_count(self):
        a, b = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
        b[0, 0], b[1, 1] = 0.1, 0.9
        mask = torch.tensor([[True, False], [False, False]])
        assert psnr(a, b, mask) == pytest.approx(20.0, abs=1e-3)
        assert psnr(a, b, ~mask) < 10.0
        assert math.isnan(psnr(a, b, torch.zeros(2, 2, dtype=torch.bool)))


class TestIou:
    def test_known_values(self):
        a = torch.tensor([[True, True, False, False]])
        b = torch.tensor([[False, True, True, False]])
        assert iou(a, b) == pytest.approx(1 / 3) and iou(a, a) == 1.0 and iou(a, ~a) == 0.0
        assert math.isnan(iou(a & ~a, a & ~a))


class TestHeldOut:
    def test_a_field_that_is_the_scene_is_perfect_and_another_is_not(self, tmp_path: Path):
        scene = read_scene(photograph(tmp_path / "balls", sky=0.0), normalise=False)
        truth = two_balls("harmonics")
        told: list[int] = []
        values = held_out_psnr(truth, scene.split("test"), rasterizer=CPU, on_view=lambda: told.append(1))
        assert list(values) == ["images/000.png", "images/008.png"] and len(told) == 2
        assert min(values.values()) > 45.0  # 8 bits
        shifted = truth.with_splats(truth.splats.each(torch.clone))
        shifted.splats.means[:, 0] += 0.2
        assert max(held_out_psnr(shifted, scene.split("test"), rasterizer=CPU).values()) < 30.0

    def test_masked_pixels_do_not_count(self):
        field = two_balls()
        cameras = dict(list(field.about.cameras.items())[:1])
        grey = picture(field, next(iter(cameras.values())))
        mask = (grey - 0.5).abs().amax(-1) < 0.15
        assert 0 < int(mask.sum()) < mask.numel()
        (masked,) = held_out_psnr(
            field, views_of(cameras, dict.fromkeys(cameras, mask)), rasterizer=CPU
        ).values()
        (whole,) = held_out_psnr(field, views_of(cameras), rasterizer=CPU).values()
        assert masked > whole + 3.0

    def test_the_mean_leaves_out_what_is_no_number(self):
        assert mean([1.0, math.nan, 3.0]) == 2.0
        assert math.isnan(mean([])) and math.isnan(mean([math.nan]))
