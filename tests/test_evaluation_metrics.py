"""Laws and known values of the metrics."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from featurefields.evaluation.metrics import (
    angle_deg,
    average_precision,
    decibel,
    iou,
    psnr,
    rank_correlation,
    ssim,
    ssim_map,
)
from featurefields.maths.ssim import ssim_by_formula


class TestDecibel:
    @pytest.mark.parametrize(("errors", "expected"), [([0.01], 20.0), ([0.0], 120.0), ([1.0, 1.0], 0.0)])
    def test_known_values(self, errors: list[float], expected: float):
        assert decibel(errors) == pytest.approx(expected)

    def test_errors_are_averaged_before_the_logarithm(self):
        assert decibel([0.02, 0.0]) == pytest.approx(20.0)

    def test_nothing_is_no_number(self):
        assert math.isnan(decibel([]))


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


class TestSsim:
    @pytest.fixture
    def pictures(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        a = torch.rand(19, 14, 3, generator=generator)
        return a, (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(0, 1)

    def test_it_is_the_index_of_the_loss(self, pictures: tuple[torch.Tensor, torch.Tensor]):
        a, b = pictures
        assert ssim(a, b) == pytest.approx(float(ssim_by_formula(a.double(), b.double())), abs=1e-6)

    def test_a_picture_is_like_itself_and_like_nothing_else(
        self, pictures: tuple[torch.Tensor, torch.Tensor]
    ):
        a, b = pictures
        assert ssim(a, a) == pytest.approx(1.0) and ssim(a, b) == ssim(b, a) < 0.95
        assert ssim(a, 1 - a) < 0

    def test_windows_count_by_their_centre(self, pictures: tuple[torch.Tensor, torch.Tensor]):
        a, b = pictures
        mask = torch.zeros(19, 14, dtype=torch.bool)
        mask[5, 8] = True
        window = (slice(2, 9), slice(5, 12))
        assert ssim(a, b, mask) == pytest.approx(ssim(a[window], b[window]), abs=1e-6)
        assert ssim_map(a, b).isfinite().sum() == 13 * 8

    def test_no_window_is_no_number(self):
        a = torch.zeros(6, 30, 3)
        assert math.isnan(ssim(a, a))
        a, border = torch.zeros(9, 9, 3), torch.zeros(9, 9, dtype=torch.bool)
        border[0] = True
        assert math.isnan(ssim(a, a, border))


class TestIou:
    def test_known_values(self):
        a = torch.tensor([[True, True, False, False]])
        b = torch.tensor([[False, True, True, False]])
        assert iou(a, b) == pytest.approx(1 / 3) and iou(a, a) == 1.0 and iou(a, ~a) == 0.0
        assert math.isnan(iou(a & ~a, a & ~a))


class TestAveragePrecision:
    def by_thresholds(self, score: torch.Tensor, truth: torch.Tensor) -> float:
        """The definition: every threshold from the highest, gain in recall times precision."""
        area, before = 0.0, 0.0
        for level in sorted(set(score.tolist()), reverse=True):
            taken = score >= level
            recall = float((taken & truth).sum() / truth.sum())
            area += (recall - before) * float((taken & truth).sum() / taken.sum())
            before = recall
        return area

    @pytest.mark.parametrize("levels", [2, 5, 1000])
    def test_it_is_the_definition_with_and_without_ties(self, levels: int, generator: torch.Generator):
        truth = torch.rand(300, generator=generator) < 0.3
        score = (truth * 0.3 + torch.rand(300, generator=generator)).mul(levels).floor()
        assert average_precision(score, truth) == pytest.approx(self.by_thresholds(score, truth), abs=1e-6)

    def test_known_values(self):
        truth = torch.tensor([True, False, True, False])
        assert average_precision(torch.tensor([4.0, 3.0, 2.0, 1.0]), truth) == pytest.approx((1 + 2 / 3) / 2)
        assert average_precision(truth.float(), truth) == 1.0
        assert average_precision(torch.zeros(4), truth) == 0.5
        assert average_precision(-truth.float(), truth) == pytest.approx(0.5)

    def test_the_order_of_the_values_does_not_matter(self, generator: torch.Generator):
        truth = torch.rand(200, generator=generator) < 0.2
        score = torch.randint(0, 4, (200,), generator=generator).float()
        mixed = torch.randperm(200, generator=generator)
        assert average_precision(score[mixed], truth[mixed]) == average_precision(score, truth)

    def test_without_a_true_value_there_is_none(self):
        assert math.isnan(average_precision(torch.rand(5), torch.zeros(5, dtype=torch.bool)))
        assert math.isnan(average_precision(torch.zeros(0), torch.zeros(0, dtype=torch.bool)))


class TestRankCorrelation:
    def test_any_rising_function_is_1_and_any_falling_one_is_minus_1(self):
        a = [0.1, 0.5, 0.7, 2.0]
        assert rank_correlation(a, [math.exp(x) for x in a]) == pytest.approx(1.0)
        assert rank_correlation(a, [-(x**3) for x in a]) == pytest.approx(-1.0)

    @pytest.mark.parametrize("seed", range(3))
    def test_it_is_scipys_with_ties(self, seed: int):
        random = np.random.default_rng(seed)
        a, b = random.integers(0, 5, 12) / 2, random.integers(0, 5, 12) / 2
        assert rank_correlation(a.tolist(), b.tolist()) == pytest.approx(float(spearmanr(a, b).statistic))

    def test_pairs_with_an_unknown_side_do_not_count(self):
        assert rank_correlation(
            [1.0, 2.0, 3.0, math.nan, 0.0], [1.0, 2.0, 3.0, -9.0, math.nan]
        ) == pytest.approx(1.0)

    def test_too_few_or_constant_values_are_no_number(self):
        assert math.isnan(rank_correlation([1.0, 2.0], [1.0, 2.0]))
        assert math.isnan(rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))


class TestAngle:
    @pytest.mark.parametrize("degrees", [0.0, 1e-3, 30.0, 90.0, 179.999, 180.0])
    def test_known_angles_of_any_length(self, degrees: float):
        turn = math.radians(degrees)
        a = torch.tensor([[3.0, 0.0, 0.0]], dtype=torch.float64)
        b = 0.2 * torch.tensor([[math.cos(turn), math.sin(turn), 0.0]], dtype=torch.float64)
        assert float(angle_deg(a, b)) == pytest.approx(degrees, abs=1e-5)
        assert float(angle_deg(b, a)) == pytest.approx(degrees, abs=1e-5)

    def test_equal_vectors_have_none_and_turning_both_changes_nothing(self, generator: torch.Generator):
        a, b = torch.randn(2, 50, 3, generator=generator)
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
        assert angle_deg(a, a).abs().max() < 1e-4
        assert torch.allclose(angle_deg(a @ turn.T, b @ turn.T), angle_deg(a, b), atol=1e-3)

    def test_zero_vectors_have_no_angle(self):
        assert math.isnan(float(angle_deg(torch.zeros(3), torch.ones(3))))
