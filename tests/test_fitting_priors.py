"""The priors: nothing where the belief holds, something where it does not, and each can be turned off."""

from dataclasses import fields, replace

import pytest
import torch
from tiny_fields import looking, splats_at, two_balls

from featurefields.camera import Camera
from featurefields.field import render
from featurefields.fitting.priors import (
    NONE,
    SCALE,
    PriorWeights,
    Surface,
    disagreement,
    normals_from_depth,
    priors,
    spread,
)
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
        assert float(disagreement(drawn, depth, alpha, camera)) == pytest.approx(0.0, abs=1e-5)
        assert float(disagreement(-drawn, depth, alpha, camera)) == pytest.approx(2.0, abs=1e-4)

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
        loss = disagreement(mean[..., :3], mean[..., 3], drawn.alpha, camera)
        assert float(loss) < 0.02
        tilted = torch.nn.functional.normalize(torch.tensor([0.5, 0.0, 1.0]), dim=0).expand(32, 32, 3)
        assert float(disagreement(tilted, mean[..., 3], drawn.alpha, camera)) > 0.08

    def test_depth_edges_and_holes_say_nothing(self, camera: Camera, plane):
        normal, depth = plane
        drawn, alpha = normal.expand(24, 32, 3), torch.ones(24, 32)
        broken = depth.clone()
        broken[:, 16:] *= 3.0  # an edge: its wrong normals must not count, both planes' may
        flat = normals_from_depth(broken, camera)[:, [14, 18]]
        assert float((flat - normals_from_depth(depth, camera)[:, [14, 18]]).abs().max()) < 0.9
        edge = torch.zeros(24, 32)
        edge[:, 15:17] = 1.0
        assert float(disagreement(-drawn, broken, edge, camera)) == 0.0
        assert float(disagreement(-drawn, torch.zeros(24, 32), alpha, camera)) == 0.0
        assert float(disagreement(-drawn, depth, torch.zeros(24, 32), camera)) == 0.0

    def test_normals_and_depth_both_learn(self, camera: Camera, plane):
        normal, depth = plane
        tilted = torch.nn.functional.normalize(normal + torch.tensor([0.2, 0.1, 0.0]), dim=0)
        drawn = tilted.repeat(24, 32, 1).requires_grad_()
        depth = depth.clone().requires_grad_()
        disagreement(drawn, depth, torch.ones(24, 32), camera).backward()
        for tensor in (drawn, depth):
            assert tensor.grad is not None and bool(tensor.grad.isfinite().all()) and bool(tensor.grad.any())


class TestSpread:
    def surface(self, near: float, far: float, share: float) -> Surface:
        """Every pixel covered by `share` at depth `near` and the rest at `far`."""
        mean = share * near + (1 - share) * far
        square = share * near**2 + (1 - share) * far**2
        return Surface(*(torch.full((4, 5), value) for value in (mean, square, 1.0)))

    def test_one_depth_costs_nothing(self):
        assert float(spread(self.surface(2.0, 2.0, 0.3))) == pytest.approx(0.0, abs=1e-4)

    def test_two_depths_cost_by_their_variance_and_at_most_one(self):
        costs = [float(spread(self.surface(2.0, 2.0 + gap, 0.5))) for gap in (0.02, 0.2, 2.0, 20.0)]
        assert costs == sorted(costs) and 0 < costs[0] < 0.01 and 0.9 < costs[-1] < 1
        relative = (0.1 / 2.1) ** 2
        assert costs[1] == pytest.approx(relative / (relative + SCALE**2), rel=1e-3)

    def test_units_do_not_matter(self):
        one, other = self.surface(2.0, 2.4, 0.3), self.surface(20.0, 24.0, 0.3)
        assert float(spread(one)) == pytest.approx(float(spread(other)), rel=1e-4)

    def test_where_nothing_covers_nothing_is_said_and_gradients_are_finite(self):
        blank = [torch.zeros(3, 3, requires_grad=True) for _ in range(2)]
        cost = spread(Surface(blank[0], blank[1], torch.zeros(3, 3)))
        cost.backward()
        assert float(cost.detach()) == 0
        assert all(tensor.grad is not None and bool(tensor.grad.isfinite().all()) for tensor in blank)


class TestSum:
    @pytest.fixture
    def drawn(self):
        field, camera = two_balls(gloss=0.5), looking((2.0, 0.6, 1.7), size=(32, 24))
        with torch.no_grad():
            rendering = render(field, camera, rasterizer=choose_rasterizer("cpu"))
        surface = Surface(rendering.depth, 1.01 * rendering.depth.square(), rendering.alpha)
        return rendering["rgb"], surface, camera

    @pytest.mark.parametrize("name", [field.name for field in fields(PriorWeights)])
    def test_each_weight_adds_its_own_share(self, drawn, name: str):
        layers, surface, camera = drawn
        one, two = (priors(layers, surface, camera, replace(NONE, **{name: w}), 0.5) for w in (0.1, 0.2))
        assert float(two) == pytest.approx(2 * float(one)) and float(one) > 0

    def test_without_weights_there_is_nothing(self, drawn):
        assert float(priors(*drawn, NONE, 0.5)) == 0

    def test_normals_wait_until_there_is_geometry(self, drawn):
        weights = replace(NONE, normals=1.0, geometry=1.0)
        assert float(priors(*drawn, weights, 0.01)) == 0 < float(priors(*drawn, weights, 0.5))

    def test_a_head_without_reflections_has_a_surface_only(self, drawn):
        layers, surface, camera = drawn
        plain = {"total": layers["total"]}
        usual = float(priors(plain, surface, camera, PriorWeights(), 0.5))
        assert usual == pytest.approx(PriorWeights().surface * float(spread(surface)))
