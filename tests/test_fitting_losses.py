"""The losses: zero where nothing is wrong, blind where they must be, sensitive everywhere else."""

import pytest
import torch
from tiny_fields import looking, splats_at

from featurefields.camera import Camera
from featurefields.fitting.losses import normal_consistency, normals_from_depth, open_top, photometric
from featurefields.maths.compositing import over_alpha
from featurefields.raster import RasterConfig, choose_rasterizer


def plane_depth(camera: Camera, normal: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Depth along the optical axis (h w) of the plane through `point`."""
    directions = camera.directions()
    distance = ((point - camera.position) @ normal) / (directions @ normal)
    return distance * (directions @ camera.forward)


@pytest.fixture
def camera() -> Camera:
    return looking((2.0, 0.6, 1.7), size=(32, 24))


@pytest.fixture
def plane(camera: Camera) -> tuple[torch.Tensor, torch.Tensor]:
    """A tilted plane's unit normal (towards the camera) and its depth."""
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.1, 1.0]), dim=0)
    return normal, plane_depth(camera, normal, torch.zeros(3))


class TestNormals:
    def test_a_planes_depth_gives_its_normal_at_every_pixel(self, camera: Camera, plane):
        normal, depth = plane
        assert torch.allclose(normals_from_depth(depth, camera), normal.expand(24, 32, 3), atol=1e-4)

    def test_agreement_is_zero_and_disagreement_is_what_the_angle_says(self, camera: Camera, plane):
        normal, depth = plane
        alpha, drawn = torch.ones(24, 32), normal.expand(24, 32, 3)
        assert float(normal_consistency(drawn, depth, alpha, camera)) == pytest.approx(0.0, abs=1e-5)
        assert float(normal_consistency(-drawn, depth, alpha, camera)) == pytest.approx(2.0, abs=1e-4)

    def test_a_drawn_plane_agrees_with_its_own_depth(self):
        """Through the rasterizer: flat opaque Gaussians on z = 0, normals up."""
        camera = looking((0.4, 0.0, 3.0), size=(32, 32))
        steps = torch.linspace(-2.5, 2.5, 41)
        x, y = (axis.reshape(-1) for axis in torch.meshgrid(steps, steps, indexing="ij"))
        means = torch.stack([x, y, torch.zeros_like(x)], -1)
        up = torch.tensor([[0.0, 0.0, 1.0]]).repeat(len(means), 1)
        splats = splats_at(means, scale=0.1, opacity=0.95, normals=up)
        depths = ((means - camera.position) @ camera.forward)[:, None]
        drawn = choose_rasterizer("cpu").draw(splats, torch.cat([up, depths], -1), camera, RasterConfig())
        mean = over_alpha(drawn.image, drawn.alpha)
        loss = normal_consistency(mean[..., :3], mean[..., 3], drawn.alpha, camera)
        assert float(loss) < 0.02
        tilted = torch.nn.functional.normalize(torch.tensor([0.5, 0.0, 1.0]), dim=0).expand(32, 32, 3)
        assert float(normal_consistency(tilted, mean[..., 3], drawn.alpha, camera)) > 0.08

    def test_depth_edges_and_holes_say_nothing(self, camera: Camera, plane):
        normal, depth = plane
        drawn, alpha = normal.expand(24, 32, 3), torch.ones(24, 32)
        broken = depth.clone()
        broken[:, 16:] *= 3.0  # an edge: its wrong normals must not count, both planes' may
        flat = normals_from_depth(broken, camera)[:, [14, 18]]
        assert float((flat - normals_from_depth(depth, camera)[:, [14, 18]]).abs().max()) < 0.9
        edge = torch.zeros(24, 32)
        edge[:, 15:17] = 1.0
        assert float(normal_consistency(-drawn, broken, edge, camera)) == 0.0
        assert float(normal_consistency(-drawn, torch.zeros(24, 32), alpha, camera)) == 0.0
        assert float(normal_consistency(-drawn, depth, torch.zeros(24, 32), camera)) == 0.0

    def test_normals_learn_and_the_depth_does_not(self, camera: Camera, plane):
        normal, depth = plane
        tilted = torch.nn.functional.normalize(normal + torch.tensor([0.2, 0.1, 0.0]), dim=0)
        drawn = tilted.repeat(24, 32, 1).requires_grad_()
        depth = depth.clone().requires_grad_()
        normal_consistency(drawn, depth, torch.ones(24, 32), camera).backward()
        assert depth.grad is None
        assert drawn.grad is not None and float(drawn.grad.abs().sum()) > 0


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
