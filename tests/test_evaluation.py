"""Numbers against photos and ground truth."""

import math
from pathlib import Path

import torch
from tiny_fields import photograph, picture, two_balls, views_of

from featurefields.evaluation.heldout import held_out_psnr, mean
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene

CPU = choose_rasterizer("cpu")


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
