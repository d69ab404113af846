"""Joint least squares against the same problem written out with dense matrices."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from tiny_fields import looking, ring, two_balls, views_of
from tiny_lifting import (
    CPU,
    REFERENCE,
    SIZE,
    Maps,
    cameras_around,
    constant,
    drawn_loss,
    half_masks,
    random_maps,
    scattered,
)
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FittingError
from featurefields.field import FeatureField, render
from featurefields.heads.direct import DirectHead
from featurefields.heads.directional import DirectionalHead
from featurefields.lifting.least_squares import LeastSquaresConfig, solve, working_bytes
from featurefields.lifting.uplift import uplift
from featurefields.raster import RasterConfig, Rasterizer

EXACT = {"iterations": 400, "tolerance": 1e-9}


@dataclass(frozen=True)
class Dense:
    """The stacked problem: A (rows, unknowns) in the order F, H_1, H_2, … and targets (rows, d)."""

    matrix: Tensor
    target: Tensor
    weight: Tensor
    centre: Tensor
    spread: float
    mass: float

    @staticmethod
    def of(
        field: FeatureField,
        cameras: Mapping[str, Camera],
        maps: Maps,
        degree: int,
        masks: Mapping[str, Tensor] | None = None,
    ) -> "Dense":
        splats = field.splats.to(torch.float64)
        n, k = len(field), (degree + 1) ** 2 - 1
        drawings, targets, bases, kept = [], [], [], []
        for name, camera in cameras.items():
            camera = camera.to(torch.float64)
            drawn = REFERENCE.draw(splats, torch.eye(n).double(), camera, RasterConfig())
            counts = (masks or {}).get(name, torch.ones(SIZE[1], SIZE[0])).double()
            drawings.append((drawn.image * counts[..., None]).reshape(-1, n))
            alpha = drawn.alpha * counts
            targets.append((maps[name]().double() * alpha[..., None]).reshape(counts.numel(), -1))
            kept.append(alpha.flatten())
            head = DirectionalHead(degree=max(degree, 1))
            bases.append(head.basis(splats, camera)[:, :k])
        weight_of = [w.T @ a for w, a in zip(drawings, kept, strict=True)]
        weight = torch.stack(weight_of).sum(0)
        safe = weight.clamp(min=1e-6)[:, None]
        centre = sum(w[:, None] * b for w, b in zip(weight_of, bases, strict=True)) / safe
        second = sum(w[:, None] * (b - centre) ** 2 for w, b in zip(weight_of, bases, strict=True)) / safe
        blocks = [
            torch.cat([w, *(w * (b - centre)[:, j] for j in range(k))], dim=1)
            for w, b in zip(drawings, bases, strict=True)
        ]
        spread = float(second[weight > 1e-6].mean()) if k else 0.0
        mass = float(torch.cat(kept).square().sum())
        return Dense(torch.cat(blocks), torch.cat(targets), weight, centre, spread, mass)

    def solution(self, config: LeastSquaresConfig) -> Tensor:
        """The minimiser (m n d) by a dense solve of the normal equations."""
        n, d = len(self.weight), self.target.shape[1]
        m = self.matrix.shape[1] // n
        start = torch.zeros(m, n, d).double()
        seen = self.weight > 1e-6
        start[0, seen] = (self.matrix[:, :n].T @ self.target)[seen] / self.weight[seen, None]
        pull = torch.tensor([config.ridge] + [config.directional_ridge * self.spread] * (m - 1))
        ridge = (pull.double()[:, None] * self.weight.clamp(min=1e-6)).flatten()
        x0 = start.reshape(m * n, d)
        residual = self.matrix.T @ (self.target - self.matrix @ x0)
        return (x0 + torch.linalg.solve(self.matrix.T @ self.matrix + torch.diag(ridge), residual)).reshape(
            m, n, d
        )


class TestAgainstDense:
    @pytest.mark.parametrize("degree", [0, 1, 2])
    @pytest.mark.parametrize("masked", [False, True])
    def test_it_finds_the_minimum(self, degree: int, masked: bool):
        field, cameras = scattered(), cameras_around()
        maps, masks = random_maps(cameras), half_masks(cameras) if masked else {}
        config = LeastSquaresConfig(degree=degree, **EXACT)
        exact = FeatureField(field.splats.to(torch.float64), {})
        found = solve(exact, views_of(cameras, masks), maps, rasterizer=REFERENCE, config=config)
        dense = Dense.of(field, cameras, maps, degree, masks)
        wanted = dense.solution(config)
        columns = found.field.splats.columns
        assert torch.allclose(columns["feature"], wanted[0], atol=1e-6)
        if degree:
            assert torch.allclose(columns["feature_dep"], wanted[1:].transpose(0, 1), atol=1e-6)
            assert torch.allclose(columns["feature_centre"], dense.centre, atol=1e-9)
        else:
            assert set(columns) == {"feature", "normals"}
        # neighbours of the problem have other solutions
        for change in ({"ridge": 0.03}, {"directional_ridge": 0.2}) if degree else ({"ridge": 0.03},):
            other = dense.solution(LeastSquaresConfig(degree=degree, **change))
            assert not torch.allclose(other, wanted, atol=1e-4), change
        if masked:
            unmasked = Dense.of(field, cameras, maps, degree).solution(config)
            assert not torch.allclose(unmasked[0], wanted[0], atol=1e-2)

    def test_the_matrix_is_what_the_head_draws(self):
        """The dense problem above and the head that is given out mean the same pictures."""
        field, cameras = scattered(), cameras_around()
        maps = random_maps(cameras)
        config = LeastSquaresConfig(degree=2, **EXACT)
        dense = Dense.of(field, cameras, maps, 2)
        x = dense.solution(config).reshape(-1, 3)
        loss = float((dense.matrix @ x - dense.target).square().sum()) / dense.mass / 3
        found = solve(field, views_of(cameras), maps, rasterizer=CPU, config=config)
        assert drawn_loss(found.field, cameras, maps) == pytest.approx(loss, rel=1e-4)

    def test_backends_agree(self, backend: Rasterizer, device: torch.device):
        field, cameras = scattered(), cameras_around()
        maps, config = random_maps(cameras), LeastSquaresConfig(iterations=40, tolerance=1e-5)
        found = solve(field.to(device), views_of(cameras), maps, rasterizer=backend, config=config)
        wanted = Dense.of(field, cameras, maps, 1).solution(config).float()
        assert torch.allclose(found.field.splats.columns["feature"].cpu(), wanted[0], atol=2e-3)
        slopes = found.field.splats.columns["feature_dep"].cpu()
        assert torch.allclose(slopes, wanted[1:].transpose(0, 1), atol=5e-3)


class TestLosses:
    @pytest.mark.parametrize("degree", [0, 1])
    def test_they_fall_to_what_drawing_shows(self, degree: int):
        cameras = cameras_around(6)
        field, masks = scattered(), half_masks(cameras)
        maps, views = random_maps(cameras), views_of(cameras, masks)
        config = LeastSquaresConfig(degree=degree, iterations=15, tolerance=0.0)
        found = solve(field, views, maps, rasterizer=CPU, config=config)
        assert len(found.losses) == 16
        # the objective falls strictly; without the ridge a step may end a trifle higher
        assert all(after <= before * (1 + 1e-4) for before, after in pairwise(found.losses))
        assert found.losses[-1] < 0.98 * found.losses[0]
        assert found.losses[-1] == pytest.approx(drawn_loss(found.field, cameras, maps, masks), rel=1e-4)
        assert found.losses[-1] != pytest.approx(drawn_loss(found.field, cameras, maps), rel=1e-2)
        for steps in (0, 3):
            part = solve(
                field, views, maps, rasterizer=CPU,
                config=LeastSquaresConfig(degree=degree, iterations=steps, tolerance=0.0),
            )  # fmt: skip
            assert part.losses == pytest.approx(found.losses[: steps + 1], rel=1e-5)
            assert part.losses[-1] == pytest.approx(drawn_loss(part.field, cameras, maps, masks), rel=1e-4)

    def test_it_is_better_than_the_one_pass_lift(self):
        field, cameras = two_balls(), {f"v{i}": camera for i, camera in enumerate(ring(6))}
        rgb = {name: render(field, camera)["rgb"]["total"].detach() for name, camera in cameras.items()}
        maps = {name: lambda p=picture: p for name, picture in rgb.items()}
        found = solve(field, views_of(cameras), maps, rasterizer=CPU)
        once = uplift(field, views_of(cameras), maps, rasterizer=CPU)
        assert found.losses[-1] < 0.5 * drawn_loss(once, cameras, maps)

    def test_it_stops_when_it_is_there(self):
        field, cameras = scattered(), cameras_around()
        maps, views = random_maps(cameras), views_of(cameras)
        config = LeastSquaresConfig(iterations=200, tolerance=1e-3)
        told: list[int] = []
        found = solve(field, views, maps, rasterizer=CPU, config=config, on_view=lambda: told.append(1))
        steps = len(found.losses) - 1
        assert 3 < steps < 60 and len(told) == len(views) * (2 + steps)
        wanted = Dense.of(field, cameras, maps, 1).solution(config)[0].float()
        assert torch.allclose(found.field.splats.columns["feature"], wanted, atol=2e-2)


class TestSpecialCases:
    @pytest.mark.parametrize("degree", [0, 1, 2])
    def test_a_constant_map_gives_that_constant_and_no_view_dependence(self, degree: int):
        field, cameras = two_balls(), {f"v{i}": camera for i, camera in enumerate(ring(4))}
        value = torch.tensor([0.7, -2.0])
        found = solve(
            field, views_of(cameras), constant(cameras, value), rasterizer=CPU,
            config=LeastSquaresConfig(degree=degree),
        )  # fmt: skip
        seen = sum(CPU.freeze(field.splats, c, RasterConfig()).visibility().total for c in cameras.values())
        feature = found.field.splats.columns["feature"]
        assert torch.allclose(feature[seen > 1e-3], value.expand(int((seen > 1e-3).sum()), 2), atol=2e-3)
        assert found.losses[-1] < 1e-7
        if degree:
            assert float(found.field.splats.columns["feature_dep"].abs().max()) < 5e-3

    def test_degree_0_is_one_plain_field(self):
        field, cameras = scattered(), cameras_around()
        found = solve(
            field, views_of(cameras), random_maps(cameras), rasterizer=CPU, name="plain",
            config=LeastSquaresConfig(degree=0),
        ).field  # fmt: skip
        head = found.heads["plain"]
        assert isinstance(head, DirectHead) and head.reads == ("plain",)
        assert set(found.splats.columns) == {"normals", "plain"}
        layers = render(found, cameras["v0"], rasterizer=CPU)["plain"]
        assert torch.equal(layers["total"], layers["indep"]) and "dep" not in layers

    @pytest.mark.parametrize("degree", [0, 1])
    def test_what_nobody_sees_stays_nothing(self, degree: int):
        field, cameras = scattered(), cameras_around()
        away = {"away": looking((2.0, 0.0, 2.0), target=(9.0, 0.0, 4.0), size=SIZE), **cameras}
        config = LeastSquaresConfig(degree=degree)
        found = solve(field, views_of(away), random_maps(away), rasterizer=CPU, config=config)
        for name in ("feature", *(["feature_dep", "feature_centre"] if degree else [])):
            column = found.field.splats.columns[name]
            assert not bool(column[-1].any()) and bool(column[:-1].any()) and bool(column.isfinite().all())
        # the view that sees nothing changes nothing
        maps = random_maps(away)
        without = solve(
            field, views_of(cameras), {n: maps[n] for n in cameras}, rasterizer=CPU, config=config
        )
        column = without.field.splats.columns["feature"]
        assert torch.allclose(found.field.splats.columns["feature"], column, atol=1e-4)
        nothing = solve(
            field, views_of({"away": away["away"]}), maps, rasterizer=CPU, config=LeastSquaresConfig()
        )
        assert not bool(nothing.field.splats.columns["feature"].any())
        assert all(loss == 0 for loss in nothing.losses)

    def test_one_view_has_no_view_dependence(self):
        """All directions are the mean: the directional functions are rounding, and stay unused."""
        field, cameras = scattered(), cameras_around(1)
        maps = random_maps(cameras)
        found = solve(field, views_of(cameras), maps, rasterizer=CPU).field
        layers = render(found, cameras["v0"], rasterizer=CPU)["feature"]
        assert float(layers["dep"].abs().max()) < 1e-4 < float(layers["indep"].abs().max())
        assert float(found.splats.columns["feature_dep"].abs().max()) < 0.1

    def test_views_beyond_the_budget_give_the_same(self):
        field, cameras = scattered(), cameras_around()
        maps, views = random_maps(cameras), views_of(cameras)
        one = CPU.freeze(field.splats, cameras["v0"], RasterConfig()).nbytes
        every, some, none = (
            solve(field, views, maps, rasterizer=CPU, budget_bytes=budget)
            for budget in (2**30, int(2.5 * one), 0)
        )
        for other in (some, none):
            assert other.losses == pytest.approx(every.losses, rel=1e-5)
            for name, column in every.field.splats.columns.items():
                assert torch.allclose(other.field.splats.columns[name], column, atol=1e-5)

    def test_every_map_is_read_once(self):
        field, cameras = scattered(), cameras_around()
        calls: list[str] = []
        plain = random_maps(cameras)
        maps = {name: lambda n=name: (calls.append(n), plain[n]())[1] for name in cameras}
        solve(field, views_of(cameras), maps, rasterizer=CPU)
        assert calls == list(cameras)

    def test_masked_pixels_do_not_matter(self):
        field, cameras = scattered(), cameras_around()
        masks, plain = half_masks(cameras), random_maps(cameras)

        def column(outside: float) -> Tensor:
            maps = {
                n: lambda n=n: torch.where(masks[n][..., None], plain[n](), torch.tensor(outside))
                for n in cameras
            }
            views = views_of(cameras, masks)
            return solve(field, views, maps, rasterizer=CPU).field.splats.columns["feature"]

        assert torch.equal(column(-40.0), column(3.0))

    def test_the_head_it_replaces_leaves_nothing_behind(self):
        field, cameras = scattered(), cameras_around()
        maps, views = random_maps(cameras), views_of(cameras)
        first = solve(field, views, maps, rasterizer=CPU).field
        assert {"feature", "feature_dep", "feature_centre"} < set(first.splats.columns)
        other = FeatureField(first.splats, {**first.heads, "also": DirectHead("feature_centre")}, first.about)
        again = solve(other, views, maps, rasterizer=CPU, config=LeastSquaresConfig(degree=0)).field
        assert set(again.splats.columns) == {"normals", "feature", "feature_centre"}, "another head reads it"
        assert list(again.heads) == ["feature", "also"] and again.about is first.about
        assert "feature_dep" in first.splats.columns, "the input is not changed"

    def test_without_views_there_is_one_clear_line(self):
        with pytest.raises(FittingError, match=r"no view to lift features from; give at least one photo"):
            solve(scattered(), (), {}, rasterizer=CPU)


def test_working_memory_grows_with_what_it_is_made_of():
    usual = working_bytes(1000, 32, 10, 10_000)
    table = 4 * 1000 * 4 * 32
    assert 5 * table < usual < 12 * table + 10 * 10_000 * 4 * 32
    assert working_bytes(2000, 32, 10, 10_000) > usual + 5 * table
    assert working_bytes(1000, 32, 10, 10_000, LeastSquaresConfig(degree=0)) < usual - 3 * table
