"""Lifting: an average that is exact for constants, and a view-dependent part that hides nothing else."""

from collections.abc import Callable

import pytest
import torch
from tiny_fields import looking, ring, splats_at, two_balls, views_of
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FittingError
from featurefields.field import FeatureField, render
from featurefields.heads.directional import DirectionalHead
from featurefields.lifting.uplift import uplift, uplift_mean
from featurefields.maths.compositing import over_alpha
from featurefields.raster import RasterConfig, Rasterizer, choose_rasterizer

CPU = choose_rasterizer("cpu")
Maps = dict[str, Callable[[], Tensor]]


def constant(cameras: dict[str, Camera], value: Tensor) -> Maps:
    return {name: lambda c=camera: value.expand(c.height, c.width, -1) for name, camera in cameras.items()}


def shown(field: FeatureField, cameras: dict[str, Camera], values: Callable[[Camera], Tensor]) -> Maps:
    """Maps of what the Gaussians' features (n d), a function of the camera, look like."""

    def draw(camera: Camera) -> Tensor:
        drawn = CPU.draw(field.splats, values(camera), camera, RasterConfig())
        return over_alpha(drawn.image, drawn.alpha)

    return {name: lambda c=camera: draw(c) for name, camera in cameras.items()}


def weights(field: FeatureField, camera: Camera) -> Tensor:
    """Sum over the pixels of every Gaussian's weight (n)."""
    ones = torch.ones(camera.height, camera.width, 1)
    return CPU.gather(field.splats, ones, camera, RasterConfig())[:, 0]


def named_ring(count: int = 8, **where: float) -> dict[str, Camera]:
    return {f"v{number}": camera for number, camera in enumerate(ring(count, **where))}


@pytest.fixture
def lonely() -> FeatureField:
    """Nine Gaussians far apart on the floor, none in front of another from above; normals up."""
    steps = torch.tensor([-0.9, 0.0, 0.9])
    x, y = (axis.reshape(-1) for axis in torch.meshgrid(steps, steps, indexing="ij"))
    means = torch.stack([x, y, torch.zeros(9)], -1)
    normals = torch.tensor([[0.0, 0.0, 1.0]]).repeat(9, 1)
    return FeatureField(splats_at(means, scale=0.07, opacity=0.9, normals=normals), {})


ABOVE = {"radius": 2.0, "height": 3.0}


class TestMean:
    def test_a_constant_map_lifts_to_that_constant_and_to_nothing_where_none_sees(
        self, backend: Rasterizer, device: torch.device
    ):
        field, cameras = (
            two_balls().to(device),
            {"v": looking((3.0, 0.0, 1.2)), "w": looking((3.0, 1.0, 0.8))},
        )
        value = torch.tensor([0.7, -2.0, 5.0])
        mean, weight = uplift_mean(field, views_of(cameras), constant(cameras, value), rasterizer=backend)
        mean, weight = mean.cpu(), weight.cpu()
        seen = weight > 0
        assert 60 < int(seen.sum()) < len(field), "both kinds are there"
        assert torch.allclose(mean[seen], value.expand(int(seen.sum()), 3), rtol=1e-4, atol=1e-4)
        assert torch.equal(mean[~seen], torch.zeros(int((~seen).sum()), 3))
        assert torch.equal(weight[~seen], torch.zeros(int((~seen).sum())))

    def test_backends_agree(self, backend: Rasterizer, device: torch.device):
        field, cameras = two_balls(), named_ring(3)
        generator = torch.Generator().manual_seed(0)
        pictures = {name: torch.randn(40, 40, 5, generator=generator) for name in cameras}
        maps = {name: lambda p=p: p for name, p in pictures.items()}
        found, weight = uplift_mean(field.to(device), views_of(cameras), maps, rasterizer=backend)
        found, weight = found.cpu(), weight.cpu()
        reference = choose_rasterizer("reference")
        wanted, theirs = uplift_mean(field, views_of(cameras), maps, rasterizer=reference)
        assert torch.allclose(weight, theirs, rtol=1e-3, atol=2e-3)
        much = theirs > 0.05
        assert torch.allclose(found[much], wanted[much], atol=5e-3)
        assert not torch.allclose(found[much], wanted[much].roll(1, 0), atol=5e-3)

    def test_it_is_the_weighted_mean_over_views(self, lonely: FeatureField):
        cameras = named_ring(4, **ABOVE)
        maps = {name: lambda k=k: torch.full((40, 40, 1), float(k)) for k, name in enumerate(cameras)}
        mean, _ = uplift_mean(lonely, views_of(cameras), maps, rasterizer=CPU)
        w = torch.stack([weights(lonely, camera) for camera in cameras.values()])
        wanted = (w * torch.arange(4.0)[:, None]).sum(0) / w.sum(0)
        assert torch.allclose(mean[:, 0], wanted, rtol=1e-4)
        assert float(wanted.std()) > 1e-3, "not all the same"

    def test_masked_pixels_do_not_matter(self, backend: Rasterizer, device: torch.device):
        field, cameras = two_balls().to(device), named_ring(3)
        mask = torch.zeros(40, 40, dtype=torch.bool)
        mask[:, :22] = True
        views = views_of(cameras, dict.fromkeys(cameras, mask))

        def lift(outside: float) -> tuple[Tensor, Tensor]:
            value = torch.where(mask, 2.0, outside)[..., None]
            return uplift_mean(field, views, dict.fromkeys(cameras, lambda: value), rasterizer=backend)

        (mean, weight), (other, _) = lift(-50.0), lift(3.0)
        assert torch.equal(mean, other)
        seen = weight > 0
        assert torch.allclose(mean[seen].cpu(), torch.tensor(2.0), rtol=1e-4) and int(seen.sum()) > 50
        unmasked, _ = uplift_mean(
            field, views_of(cameras), dict.fromkeys(cameras, lambda: torch.where(mask, 2.0, -50.0)[..., None]),
            rasterizer=backend,
        )  # fmt: skip
        assert float((unmasked - mean).abs().max()) > 1.0

    def test_without_views_there_is_one_clear_line(self):
        with pytest.raises(FittingError, match=r"no view to lift features from; give at least one photo"):
            uplift_mean(two_balls(), [], {}, rasterizer=CPU)

    def test_every_view_is_told_and_one_map_at_a_time_is_asked_for(self):
        field, cameras = two_balls(), named_ring(3)
        calls: list[str] = []
        maps = {name: lambda n=name: (calls.append(n), torch.ones(40, 40, 2))[1] for name in cameras}
        told: list[int] = []
        uplift(field, views_of(cameras), maps, rasterizer=CPU, on_view=lambda: told.append(1))
        assert len(told) == 6 and calls == [*cameras, *cameras]


class TestDirectional:
    @pytest.mark.parametrize("degree", [1, 2])
    def test_the_dependent_part_is_zero_on_average_over_the_seen_directions(self, degree: int):
        field, cameras = two_balls(), named_ring(6)
        generator = torch.Generator().manual_seed(4)
        pictures = {name: torch.randn(40, 40, 3, generator=generator) for name in cameras}
        maps = {name: lambda p=p: p for name, p in pictures.items()}
        lifted = uplift(field, views_of(cameras), maps, rasterizer=CPU, degree=degree)
        head = lifted.heads["feature"]
        total, size, weight = torch.zeros(len(field), 3), torch.zeros(len(field), 3), torch.zeros(len(field))
        for camera in cameras.values():
            w = weights(field, camera)
            dep = head.splat(lifted.splats, camera)[:, 3:]
            total, size, weight = total + w[:, None] * dep, size + w[:, None] * dep.abs(), weight + w
        seen = weight > 1e-3
        balance = (total.abs() / size.clamp(min=1e-6))[seen & (size.amax(-1) > 1e-2)]
        assert len(balance) > 100 and float(balance.max()) < 1e-2
        assert not bool(lifted.splats.columns["feature_dep"][weight == 0].any())

    def test_what_is_the_same_from_everywhere_has_no_dependent_part(self, lonely: FeatureField):
        cameras = named_ring(8, **ABOVE)
        truth = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))
        maps = shown(lonely, cameras, lambda camera: truth)
        lifted = uplift(lonely, views_of(cameras), maps, rasterizer=CPU)
        assert torch.allclose(lifted.splats.columns["feature"], truth, atol=1e-3)
        for camera in cameras.values():
            layers = render(lifted, camera, rasterizer=CPU)["feature"]
            assert float(layers["dep"].abs().max()) < 1e-3

    def test_overlapping_gaussians_show_little_that_is_not_there(self):
        """Where Gaussians cover each other the lifted mean is blurred; even so dep stays a small part."""
        field, cameras = two_balls(), named_ring(8)
        truth = field.splats.columns["feature"]
        lifted = uplift(
            field,
            views_of(cameras),
            shown(field, cameras, lambda camera: truth),
            rasterizer=CPU,
            name="lifted",
        )
        layers = render(lifted, cameras["v0"], rasterizer=CPU)["lifted"]
        assert float(layers["dep"].square().mean()) < 0.02 * float(layers["indep"].square().mean())

    def test_what_follows_the_reflected_direction_is_recovered(self, lonely: FeatureField):
        cameras = named_ring(8, **ABOVE)
        generator = torch.Generator().manual_seed(3)
        slopes, mean = torch.randn(9, 3, 2, generator=generator), torch.randn(9, 2, generator=generator)
        head = DirectionalHead("truth")

        def truth(camera: Camera) -> Tensor:
            return mean + torch.einsum("nk,nkd->nd", head.basis(lonely.splats, camera), slopes)

        maps = shown(lonely, cameras, truth)
        lifted = uplift(lonely, views_of(cameras), maps, rasterizer=CPU)
        errors = {"total": 0.0, "indep": 0.0}
        for name, camera in cameras.items():
            drawn = render(lifted, camera, rasterizer=CPU)
            covered = drawn.alpha > 0.3
            for layer in errors:
                errors[layer] += float((drawn["feature"][layer] - maps[name]())[covered].square().sum())
        assert errors["total"] < 0.1 * errors["indep"], errors
        assert errors["indep"] > 1.0, "there was something to recover"

    def test_without_normals_the_viewing_direction_itself_serves(self, lonely: FeatureField):
        bare = lonely.with_splats(lonely.splats.without_columns("normals"))
        cameras = named_ring(8, **ABOVE)
        slope = torch.tensor([[1.5], [0.0], [-1.0]])
        maps = shown(bare, cameras, lambda camera: DirectionalHead().basis(bare.splats, camera) @ slope)
        lifted = uplift(bare, views_of(cameras), maps, rasterizer=CPU)
        residue, whole = 0.0, 0.0
        for name, camera in cameras.items():
            drawn = render(lifted, camera, rasterizer=CPU)
            covered = drawn.alpha > 0.3
            residue += float((drawn["feature"]["total"] - maps[name]())[covered].square().sum())
            whole += float((drawn["feature"]["indep"] - maps[name]())[covered].square().sum())
        assert residue < 0.1 * whole and whole > 1.0

    def test_masks_count_here_too(self, lonely: FeatureField):
        cameras = named_ring(4, **ABOVE)
        mask = torch.ones(40, 40, dtype=torch.bool)
        mask[:, 24:] = False
        views = views_of(cameras, dict.fromkeys(cameras, mask))

        def lift(outside: float) -> Tensor:
            value = {name: torch.where(mask, float(k), outside)[..., None] for k, name in enumerate(cameras)}
            maps = {name: lambda p=p: p for name, p in value.items()}
            return uplift(lonely, views, maps, rasterizer=CPU).splats.columns["feature_dep"]

        assert torch.equal(lift(-9.0), lift(100.0)) and float(lift(0.0).abs().max()) > 0.1

    def test_the_field_keeps_its_other_heads_and_columns(self):
        field, cameras = two_balls(), named_ring(2)
        lifted = uplift(
            field, views_of(cameras), constant(cameras, torch.ones(2)), rasterizer=CPU, name="other"
        )
        assert list(lifted.heads) == ["rgb", "feature", "other"] and lifted.about is field.about
        assert all(
            torch.equal(lifted.splats.columns[name], column) for name, column in field.splats.columns.items()
        )
        assert "other" not in field.splats.columns, "the input is not changed"
