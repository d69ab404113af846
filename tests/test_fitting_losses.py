"""The losses: zero where nothing is wrong, blind where they must be, sensitive everywhere else."""

import pytest
import torch

from featurefields.fitting.losses import open_top, photometric


class TestPhotometric:
    def pictures(self) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        return tuple(0.9 * torch.rand(20, 24, 3, generator=generator) for _ in range(2))  # type: ignore[return-value]

    @pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
    def test_zero_for_the_photo_itself(self, weight: float):
        picture, _ = self.pictures()
        loss, error = photometric(picture, picture, None, ssim_weight=weight)
        assert float(loss) == pytest.approx(0.0, abs=1e-6) and float(error.max()) == 0.0

    def test_without_ssim_it_is_the_mean_absolute_error(self):
        a, b = self.pictures()
        loss, error = photometric(a, b, None, ssim_weight=0.0)
        assert float(loss) == pytest.approx(float((a - b).abs().mean()), rel=1e-5)
        assert torch.allclose(error, (a - b).abs().mean(-1))

    def test_only_where_the_photo_is_saturated_may_the_prediction_be_brighter(self):
        photo = torch.tensor([1.0, 0.5, 1.0, 0.999]).reshape(1, 4, 1).expand(1, 4, 3)
        bright = torch.tensor([1.7, 1.7, 0.8, 3.0]).reshape(1, 4, 1).repeat(1, 1, 3).requires_grad_()
        expected = torch.tensor([1.0, 1.7, 0.8, 0.999]).reshape(1, 4, 1).expand(1, 4, 3)
        assert torch.equal(open_top(bright, photo), expected)
        loss, error = photometric(bright, photo, None, ssim_weight=0.0)
        loss.backward()
        assert torch.allclose(error[0], torch.tensor([0.0, 1.2, 0.2, 0.0]), atol=1e-6)
        assert bright.grad is not None
        pulled = bright.grad[0, :, 0] != 0
        assert pulled.tolist() == [False, True, True, False]

    @pytest.mark.parametrize("weight", [0.0, 0.2])
    def test_masked_pixels_do_not_matter(self, weight: float):
        a, b = self.pictures()
        mask = torch.ones(20, 24, dtype=torch.bool)
        mask[4:9, 3:15] = False
        predictions = [torch.where(mask[..., None], a, other).requires_grad_() for other in (a, 1 - a)]
        losses = []
        for prediction in predictions:
            loss, error = photometric(prediction, b, mask, ssim_weight=weight)
            loss.backward()
            losses.append(loss.item())
            assert float(error[~mask].abs().max()) == 0.0
            assert prediction.grad is not None and float(prediction.grad[~mask].abs().max()) == 0.0
            assert float(prediction.grad[mask].abs().min()) >= 0.0 and bool(prediction.grad[mask].any())
        assert losses[0] == losses[1]
        everywhere = [photometric(p, b, None, ssim_weight=weight)[0].item() for p in predictions]
        assert everywhere[0] != everywhere[1], "without the mask the same pixels do matter"

    def test_a_mask_does_not_make_errors_cheaper(self):
        """The loss is a mean over the pixels that count, however few they are."""
        photo = torch.full((20, 24, 3), 0.5)
        mask = torch.zeros(20, 24, dtype=torch.bool)
        mask[:10] = True
        whole, _ = photometric(photo + 0.1, photo, None, ssim_weight=0.0)
        half, _ = photometric(photo + 0.1, photo, mask, ssim_weight=0.0)
        assert float(whole) == pytest.approx(float(half), rel=1e-5) == pytest.approx(0.1, rel=1e-5)

    def test_nothing_to_compare_is_no_error(self):
        a, b = self.pictures()
        loss, _ = photometric(a, b, torch.zeros(20, 24, dtype=torch.bool), ssim_weight=0.2)
        assert float(loss) == pytest.approx(0.0, abs=1e-3)

    def test_pictures_too_small_for_ssim_are_compared_by_absolute_error(self):
        a, b = (picture[:5, :5] for picture in self.pictures())
        loss, _ = photometric(a, b, None, ssim_weight=0.2)
        assert float(loss) == pytest.approx(0.8 * float((a - b).abs().mean()), rel=1e-5)
