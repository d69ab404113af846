"""Descent: the same loss as least squares, the same optimum where both apply, and heads that only it can fit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_fields import ring, two_balls, views_of
from tiny_lifting import CPU, Maps, cameras_around, constant, drawn_loss, half_masks, random_maps, scattered

from featurefields.camera import Camera
from featurefields.errors import FittingError
from featurefields.field import About, FeatureField, render
from featurefields.heads.deferred import DeferredHead
from featurefields.heads.direct import DirectHead
from featurefields.heads.directional import DirectionalHead
from featurefields.lifting.descent import DescentConfig, _Lattice, descend, working_bytes
from featurefields.lifting.least_squares import LeastSquaresConfig, solve
from featurefields.lifting.solution import Solution
from featurefields.lifting.uplift import uplift_mean
from featurefields.raster import RasterConfig, Rasterizer

HEADS = ("deferred", "directional", "direct")
STILL: dict[str, Any] = {"epochs": 1, "rate": 1e-30, "network_rate": 1e-30, "stride": 1}
"""Settings that change nothing, so that the loss told is that of the field given out."""


def fitted(
    field: FeatureField, cameras: Mapping[str, Camera], maps: Maps, masks: Any = None, **settings: Any
) -> Solution:
    views = views_of(cameras, masks)
    return descend(field, views, maps, rasterizer=CPU, config=DescentConfig(**settings))


class TestLosses:
    @pytest.mark.parametrize("head", HEADS)
    def test_they_are_the_number_that_least_squares_tells(self, head: str):
        """Both agree with what drawing the field shows; masks count."""
        field, cameras = scattered(), cameras_around()
        maps, masks = random_maps(cameras), half_masks(cameras)
        found = fitted(field, cameras, maps, masks, head=head, **STILL)
        assert found.losses == (pytest.approx(drawn_loss(found.field, cameras, maps, masks), rel=1e-4),)
        squares = solve(field, views_of(cameras, masks), maps, rasterizer=CPU)
        assert squares.losses[-1] == pytest.approx(drawn_loss(squares.field, cameras, maps, masks), rel=1e-4)
        assert found.losses[-1] != pytest.approx(drawn_loss(found.field, cameras, maps), rel=1e-2)

    @pytest.mark.parametrize("head", HEADS)
    def test_it_starts_at_the_mean_with_nothing_that_depends_on_the_view(self, head: str):
        field, cameras = scattered(), cameras_around()
        maps, views = random_maps(cameras), views_of(cameras)
        found = fitted(field, cameras, maps, head=head, **STILL).field
        mean, _ = uplift_mean(field, views, maps, rasterizer=CPU)
        assert torch.equal(found.splats.columns["feature"], mean)
        layers = render(found, cameras["v0"])["feature"]
        assert torch.allclose(layers["total"], layers["indep"], atol=1e-20, rtol=0)

    @pytest.mark.parametrize("lattice", [_Lattice(0, 0, 1), _Lattice(2, 1, 3), _Lattice(0, 4, 5)])
    def test_some_pixels_are_seen_by_a_camera_of_their_own(self, lattice: _Lattice):
        camera = cameras_around()["v1"]
        own = lattice.camera(camera)
        directions = lattice.of(camera.directions())
        assert directions.shape[:2] == (own.height, own.width)
        assert torch.allclose(own.directions(), directions, atol=1e-6)

    def test_some_pixels_stand_for_all(self):
        cameras = cameras_around(8)
        field, maps = scattered(), random_maps(cameras)
        exact = fitted(field, cameras, maps, head="direct", **STILL).losses[0]
        some = fitted(field, cameras, maps, head="direct", **(STILL | {"stride": 2, "epochs": 6})).losses
        assert sum(some) / 6 == pytest.approx(exact, rel=0.05) and len(set(some)) == 6

    @pytest.mark.parametrize("head", HEADS)
    @pytest.mark.parametrize("loss", ["mse", "cosine"])
    def test_they_fall(self, head: str, loss: str):
        field, cameras = two_balls(), {f"v{i}": camera for i, camera in enumerate(ring(6))}
        rgb = {name: render(field, camera)["rgb"]["total"].detach() for name, camera in cameras.items()}
        told: list[float] = []
        found = descend(
            field, views_of(cameras), {name: lambda p=picture: p for name, picture in rgb.items()},
            rasterizer=CPU, config=DescentConfig(head=head, loss=loss, epochs=12, rate=0.03),  # type: ignore[arg-type]
            on_loss=told.append,
        )  # fmt: skip
        assert len(found.losses) == 12 and found.losses[-1] < 0.8 * found.losses[0]
        assert tuple(told) == found.losses


class TestOptimum:
    def test_the_plain_field_comes_to_the_least_squares_solution(self):
        field, cameras = two_balls(), {f"v{i}": camera for i, camera in enumerate(ring(6))}
        rgb = {name: render(field, camera)["rgb"]["total"].detach() for name, camera in cameras.items()}
        maps = {name: lambda p=picture: p for name, picture in rgb.items()}
        found = fitted(field, cameras, maps, head="direct", epochs=40, rate=0.06, stride=1, final_rate=0.01)
        config = LeastSquaresConfig(degree=0, ridge=1e-6, iterations=200, tolerance=1e-4)
        best = solve(field, views_of(cameras), maps, rasterizer=CPU, config=config)
        assert best.losses[-1] < found.losses[-1] < 1.15 * best.losses[-1] < 0.5 * best.losses[0]

    @pytest.mark.parametrize("head", ["deferred", "directional"])
    def test_what_follows_the_view_is_learned_and_a_weight_keeps_it_small(self, head: str):
        """A feature that is the reflected direction itself."""
        field = scattered()
        cameras = {f"v{i}": c for i, c in enumerate(cameras_around(6).values())}
        truth = DirectionalHead()
        maps: Maps = {}
        for name, camera in cameras.items():
            drawn = CPU.draw(field.splats, truth.basis(field.splats, camera), camera, RasterConfig())
            picture = drawn.image / drawn.alpha.clamp(min=1e-3)[..., None]
            maps[name] = lambda p=picture: p
        settings = {"head": head, "epochs": 20, "rate": 0.1, "stride": 1}
        plain = fitted(field, cameras, maps, **(settings | {"head": "direct"})).losses[-1]
        free = fitted(field, cameras, maps, dep_weight=0.0, **settings)
        assert free.losses[-1] < 0.5 * plain
        held = fitted(field, cameras, maps, dep_weight=3.0, **settings)
        sizes = [
            float(render(found.field, cameras["v1"])["feature"]["dep"].square().mean())
            for found in (free, held)
        ]
        assert sizes[1] < 0.5 * sizes[0] and free.losses[-1] < held.losses[-1] < 1.05 * plain

    def test_the_cosine_is_that_of_whole_features(self):
        """The scale of the pictures does not matter to it, where the mean of the extracted features is 0."""
        field, cameras = scattered(), cameras_around()
        plain = random_maps(cameras)
        doubled = {name: lambda n=name: 2 * plain[n]() for name in cameras}
        one, two = (
            fitted(field, cameras, maps, head="direct", loss="cosine", epochs=2) for maps in (plain, doubled)
        )
        assert one.losses == pytest.approx(two.losses, rel=1e-3)
        mean, basis = torch.tensor([3.0, 0.0, 0.0, 4.0]), torch.eye(4)[:3]
        offset = replace(field, about=About(feature_mean=mean, feature_basis=basis))
        found = fitted(offset, cameras, plain, head="direct", loss="cosine", **STILL)
        error = mass = 0.0
        for name, camera in cameras.items():
            drawn = render(found.field, camera)
            weight = drawn.alpha**2
            whole = [mean + stored @ basis for stored in (drawn["feature"]["total"], plain[name]())]
            cosine = torch.nn.functional.cosine_similarity(*whole, dim=-1)
            error, mass = error + float((weight * (1 - cosine)).sum()), mass + float(weight.sum())
        assert found.losses[0] == pytest.approx(error / mass, rel=1e-3)
        assert found.losses[0] < 0.5 * one.losses[0], "the mean makes all features alike"


class TestFieldGivenOut:
    @pytest.mark.parametrize(
        "head, kind, columns",
        [
            ("deferred", DeferredHead, {"feature", "feature_code"}),
            ("directional", DirectionalHead, {"feature", "feature_dep", "feature_centre"}),
            ("direct", DirectHead, {"feature"}),
        ],
    )
    def test_it_has_the_head_its_columns_and_no_gradients(self, head: str, kind: type, columns: set[str]):
        field, cameras = scattered(), cameras_around()
        found = fitted(field, cameras, random_maps(cameras), head=head, epochs=2).field
        assert isinstance(found.heads["feature"], kind)
        assert set(found.splats.columns) == {"normals", *columns}
        assert not any(tensor.requires_grad for tensor in found.splats.tensors().values())
        assert not any(weight.requires_grad for weight in found.heads["feature"].parameters())
        for name, tensor in field.splats.tensors().items():
            assert torch.equal(found.splats.tensors()[name], tensor), "geometry and normals stay"
        assert not found.splats.columns["feature"][-1].any(), "nobody sees it"

    def test_degree_0_is_a_plain_field(self):
        field, cameras = scattered(), cameras_around()
        found = fitted(field, cameras, random_maps(cameras), head="directional", degree=0, epochs=1).field
        assert isinstance(found.heads["feature"], DirectHead)

    def test_the_same_seed_gives_the_same_and_nothing_outside_is_touched(self):
        field, cameras = scattered(), cameras_around()
        maps = random_maps(cameras)
        state = torch.random.get_rng_state()
        one, two, other = (fitted(field, cameras, maps, epochs=2, seed=seed) for seed in (4, 4, 5))
        assert torch.equal(torch.random.get_rng_state(), state)
        assert one.losses == two.losses != other.losses
        for name, column in one.field.splats.columns.items():
            assert torch.equal(two.field.splats.columns[name], column)
        weights, theirs = (found.field.heads["feature"].state_dict() for found in (one, two))
        assert all(torch.equal(weights[name], theirs[name]) for name in weights)

    def test_constant_features_stay_constant(self):
        field, cameras = scattered(), cameras_around()
        value = torch.tensor([0.7, -2.0, 5.0])
        found = fitted(field, cameras, constant(cameras, value), epochs=3)
        layers = render(found.field, cameras["v0"])
        shown = layers["feature"]["total"][layers.alpha > 0.2]
        assert found.losses[-1] < 1e-2
        assert torch.allclose(shown, value.expand_as(shown), atol=0.3)

    def test_views_beyond_the_budget_give_the_same(self):
        field, cameras = scattered(), cameras_around()
        maps, views, config = random_maps(cameras), views_of(cameras), DescentConfig(epochs=2)
        kept, remade = (
            descend(field, views, maps, rasterizer=CPU, config=config, budget_bytes=budget)
            for budget in (2**30, 0)
        )
        assert remade.losses == pytest.approx(kept.losses, rel=1e-4)

    def test_backends_agree(self, backend: Rasterizer, device: torch.device):
        field, cameras = scattered(), cameras_around()
        maps, config = random_maps(cameras), DescentConfig(epochs=2)
        found = descend(field.to(device), views_of(cameras), maps, rasterizer=backend, config=config)
        assert found.losses == pytest.approx(fitted(field, cameras, maps, epochs=2).losses, rel=1e-2)


class TestTold:
    def test_views_and_maps(self):
        field, cameras = scattered(), cameras_around()
        plain, calls, told = random_maps(cameras), [], []
        maps = {name: lambda n=name: (calls.append(n), plain[n]())[1] for name in cameras}
        descend(
            field, views_of(cameras), maps, rasterizer=CPU, config=DescentConfig(epochs=3),
            on_view=lambda: told.append(1),
        )  # fmt: skip
        assert len(told) == len(calls) == 4 * len(cameras)
        epochs = [calls[start : start + 4] for start in range(0, 16, 4)]
        assert all(sorted(epoch) == sorted(cameras) for epoch in epochs) and len({*map(tuple, epochs)}) > 1

    def test_without_views_there_is_one_clear_line(self):
        with pytest.raises(FittingError, match=r"no view to lift features from; give at least one photo"):
            fitted(scattered(), {}, {})

    def test_steps_that_are_too_large_are_told(self):
        field, cameras = scattered(), cameras_around()
        with pytest.raises(FittingError, match=r"grew without bound in epoch \d of 5; take smaller steps"):
            fitted(field, cameras, random_maps(cameras), head="direct", rate=1e30, epochs=5)


def test_working_memory_grows_with_what_it_is_made_of():
    usual = working_bytes(1000, 32, 10, 10_000)
    assert working_bytes(2000, 32, 10, 10_000) > usual > working_bytes(1000, 32, 10, 5_000)
    strided = working_bytes(1000, 32, 10, 10_000, DescentConfig(stride=1))
    plain = working_bytes(1000, 32, 10, 10_000, DescentConfig(head="direct"))
    assert strided > usual > plain
