"""Metrics of probes against values computed by hand and against loops over pixels."""

import math

import pytest
import torch

from featurefields.evaluation.probes.metrics import (
    class_ious,
    confusion,
    depth_metrics,
    normal_metrics,
    segmentation_metrics,
)


class TestDepth:
    def test_by_hand(self) -> None:
        found = depth_metrics(torch.tensor([1.0, 2.0, 4.0, 6.0]), torch.tensor([1.0, 1.0, 5.0, 3.0]))
        assert found["rmse"] == pytest.approx(math.sqrt((0 + 1 + 1 + 9) / 4))
        assert found["abs_rel"] == pytest.approx((0 + 1 + 0.2 + 1) / 4)
        # ratios 1, 2, 1.25, 2 against 1.25, 1.5625, 1.953125: 1.25 is not below 1.25
        assert (found["delta1"], found["delta2"], found["delta3"]) == (0.25, 0.5, 0.5)
        g = [0.0, math.log(2), math.log(0.8), math.log(2)]
        silog = 100 * math.sqrt(sum(x * x for x in g) / 4 - (sum(g) / 4) ** 2)
        assert found["silog"] == pytest.approx(silog)

    @pytest.mark.parametrize("scale", [0.25, 3.0])
    def test_what_does_not_see_scale(self, scale: float, generator: torch.Generator) -> None:
        true = torch.rand(500, generator=generator) + 0.5
        guess = true * torch.exp(0.1 * torch.randn(500, generator=generator))
        first, second = depth_metrics(guess, true), depth_metrics(scale * guess, true)
        for name in ("silog", "rmse_scaled"):
            assert second[name] == pytest.approx(first[name], rel=1e-4)
        for name in ("rmse", "abs_rel"):
            assert abs(second[name] - first[name]) > 0.1, "these do see it"

    def test_nothing_is_not_a_number(self) -> None:
        assert all(math.isnan(value) for value in depth_metrics(torch.zeros(0), torch.zeros(0)).values())

    def test_predictions_below_zero_are_clamped(self) -> None:
        found = depth_metrics(torch.tensor([-1.0]), torch.tensor([1.0]))
        assert found["rmse"] == pytest.approx(0.999) and math.isfinite(found["silog"])


class TestNormals:
    def test_by_hand(self) -> None:
        angles = torch.tensor([0.0, 10.0, 20.0, 40.0]).deg2rad()
        guess = torch.stack([angles.sin(), torch.zeros(4), 2 * angles.cos()], -1)
        guess[:, 2] = angles.cos()
        found = normal_metrics(3 * guess, torch.tensor([[0.0, 0.0, 1.0]]).expand(4, 3))
        assert found["rmse"] == pytest.approx(math.sqrt((100 + 400 + 1600) / 4), rel=1e-4)
        assert found["mean"] == pytest.approx(17.5, rel=1e-4)
        assert (found["within_11.25"], found["within_22.5"], found["within_30"]) == (0.5, 0.75, 0.75)

    def test_no_direction_is_a_right_angle(self) -> None:
        found = normal_metrics(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]))
        assert found["rmse"] == pytest.approx(90)


class TestSegmentation:
    def test_by_hand(self) -> None:
        true = torch.tensor([0, 0, 0, 1, 1, 2])
        guess = torch.tensor([0, 0, 1, 1, 0, 2])
        found = segmentation_metrics(confusion(guess, true, 4))
        assert found["miou"] == pytest.approx((2 / 4 + 1 / 3 + 1) / 3)
        assert found["accuracy"] == pytest.approx(4 / 6)
        assert found["mean_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)

    def test_brute_force(self, generator: torch.Generator) -> None:
        true = torch.randint(0, 5, (400,), generator=generator)
        guess = torch.randint(0, 6, (400,), generator=generator)
        counts = confusion(guess, true, 6)
        for row in range(6):
            for column in range(6):
                assert int(counts[row, column]) == sum(
                    int(t) == row and int(p) == column for t, p in zip(true, guess, strict=True)
                )
        expected = []
        for label in range(5):
            union = int(((true == label) | (guess == label)).sum())
            expected.append(int(((true == label) & (guess == label)).sum()) / union)
        assert class_ious(counts)[:5] == pytest.approx(expected)
        assert math.isnan(class_ious(counts)[5]), "no pixel has the class, though some are taken for it"
        assert segmentation_metrics(counts)["miou"] == pytest.approx(sum(expected) / 5)

    def test_nothing_is_not_a_number(self) -> None:
        assert math.isnan(segmentation_metrics(torch.zeros(3, 3, dtype=torch.long))["miou"])
