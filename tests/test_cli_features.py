"""Options of stage 2 and what they lift, on a scene of 40 x 40 pixels whose truth is what a field draws."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_fields import photograph, two_balls
from tiny_truth import truth_field, truth_scene

from featurefields.errors import FittingError, SceneError, UnknownNameError
from featurefields.field import FeatureField, render
from featurefields.files.archive import read_archive
from featurefields.heads.deferred import DeferredHead
from featurefields.heads.direct import DirectHead
from featurefields.heads.directional import DirectionalHead
from featurefields.lifting.pictures import feature_pictures, segments_of
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene
from featurefields.vision.cache import extract_features
from featurefields.vision.select import choose_extractor
from featurefields_cli import main
from featurefields_cli.console import Console
from featurefields_cli.features import FeatureOptions, lift_features
from featurefields_cli.held_out import measured_on
from featurefields_cli.options import parse_size

CPU, QUIET = choose_rasterizer("cpu"), Console(json=True)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return truth_scene(tmp_path_factory.mktemp("data") / "truth", truth_field())


@pytest.fixture(scope="module")
def scene(truth: Path) -> Scene:
    return measured_on(truth_field(), truth, QUIET)[1]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def lift(scene: Scene, cache: Path):
    def lifted(field: FeatureField | None = None, console: Console = QUIET, **options: Any) -> FeatureField:
        options = {"feature_dim": 6, "cache": cache, **options}
        return lift_features(
            field or truth_field(),
            scene,
            choose_extractor("classical"),
            CPU,
            console,
            FeatureOptions(**options),
        )

    return lifted


@pytest.fixture(scope="module")
def descended(lift) -> FeatureField:
    return lift(solver="sgd")


class TestSizes:
    @pytest.mark.parametrize(
        "text, bytes",
        [
            ("4GB", 4 * 10**9),
            ("500MB", 500 * 10**6),
            ("500 mb", 500 * 10**6),
            ("1.5GiB", 3 * 2**29),
            ("2g", 2 * 10**9),
            ("64KiB", 65536),
            ("1000000", 10**6),
            ("12B", 12),
            ("2TB", 2 * 10**12),
        ],
    )
    def test_amounts(self, text: str, bytes: int):
        assert parse_size(text, "--budget") == bytes

    @pytest.mark.parametrize("text", ["", "GB", "four", "-1GB", "1 GB 2", "1e9", "0MB", "nan", "5iB", "3XB"])
    def test_everything_else_is_refused_in_one_line(self, text: str):
        with pytest.raises(FittingError, match=r"--budget is an amount of memory such as 4GB or 500MB, got"):
            parse_size(text, "--budget")


class TestSolvers:
    @pytest.mark.parametrize(
        "solver, degree, kind, columns",
        [
            ("uplift", 1, DirectionalHead, {"feature", "feature_dep", "feature_centre"}),
            ("uplift", 0, DirectHead, {"feature"}),
            ("least-squares", 2, DirectionalHead, {"feature", "feature_dep", "feature_centre"}),
            ("least-squares", 0, DirectHead, {"feature"}),
            ("sgd", 1, DeferredHead, {"feature", "feature_code"}),
            ("sgd", 0, DirectHead, {"feature"}),
        ],
    )
    def test_every_solver_lifts_what_it_says(self, lift, descended, solver, degree, kind, columns):
        field = descended if (solver, degree) == ("sgd", 1) else lift(solver=solver, degree=degree)
        head = field.heads["feature"]
        assert isinstance(head, kind)
        assert {name for name in field.splats.columns if name.startswith("feature")} == columns
        if degree == 2:  # what pictures of matter do not show has a mean as well
            assert field.splats.columns["feature_dep"].shape == (len(field), 9, 6)
            photos = lift(solver=solver, degree=degree, indep_from="photos")
            assert photos.splats.columns["feature_dep"].shape == (len(field), 8, 6)
        assert field.about.extractor.startswith("classical")
        assert field.about.feature_basis is not None and field.about.feature_basis.shape[0] == 6
        notes = field.about.notes
        assert notes["solver"] == solver and ("feature_loss" in notes) == (solver != "uplift")
        assert 0 < notes["feature_variance_kept"] <= 1
        drawn = render(field, next(iter(field.about.cameras.values())), rasterizer=CPU)["feature"]
        assert drawn["total"].isfinite().all() and ("dep" in drawn) == (degree > 0)

    def test_lifting_again_leaves_nothing_of_the_old_features(self, lift):
        first = lift(solver="least-squares")
        again = lift(first, solver="uplift", degree=0)
        assert set(again.splats.columns) == set(truth_field().splats.columns)
        assert "feature_loss" not in again.about.notes and list(again.heads) == list(first.heads)

    def test_least_squares_fits_the_maps_better_than_one_pass(self, lift, scene: Scene, cache: Path):
        views = scene.split("train")
        maps = extract_features(views, choose_extractor("classical"), cache_dir=cache)
        errors = {}
        for solver in ("uplift", "least-squares"):
            field = lift(solver=solver)
            about = field.about
            total = 0.0
            for view in views:
                picture = feature_pictures((view,), maps, None)[view.name]()
                drawn = render(field, view.camera, rasterizer=CPU)
                shown = about.feature_mean + drawn["feature"]["total"] @ about.feature_basis  # type: ignore[operator]
                stored = (picture - about.feature_mean) @ about.feature_basis.T @ about.feature_basis  # type: ignore[operator,union-attr]
                difference = (shown - about.feature_mean - stored)[drawn.alpha > 0.9]
                total += float(difference.square().sum())
            errors[solver] = total
        assert errors["least-squares"] < 0.95 * errors["uplift"]

    def test_the_cosine_is_minimised_by_sgd(self, lift, descended: FeatureField):
        plain, cosine = descended, lift(solver="sgd", feature_loss="cosine")
        assert 0 < cosine.about.notes["feature_loss"] < 1
        assert not torch.allclose(plain.splats.columns["feature"], cosine.splats.columns["feature"])

    @pytest.mark.parametrize("solver", ["uplift", "least-squares"])
    def test_a_small_budget_is_told_and_changes_nothing(self, lift, solver: str, capsys):
        usual = lift(solver=solver, budget="4GB")
        tight = lift(solver=solver, budget="10KB", console=Console())
        told = capsys.readouterr().err
        assert "more than the memory budget of 0.01 MB has left; no view is kept between passes" in told
        assert f"lifting features ({solver})" in told
        for name, column in usual.splats.columns.items():
            assert torch.allclose(tight.splats.columns[name], column, atol=2e-3)


class TestMasks:
    def test_features_of_neighbours_are_kept_apart(self, scene: Scene, cache: Path):
        views = scene.split("train")
        maps = extract_features(views, choose_extractor("classical"), cache_dir=cache)
        plain, aware = (
            feature_pictures(views, maps, None, mask_aware=aware)[views[0].name]() for aware in (False, True)
        )
        ids = segments_of(views[0])
        assert ids is not None and {1, 2, 3} <= set(ids.unique().tolist()) and ids.shape == plain.shape[:2]
        apart = []
        for picture in (plain, aware):
            means = torch.stack([picture[ids == id].mean(0) for id in (1, 2, 3)])
            spread = sum(float(picture[ids == id].std(0).norm()) for id in (1, 2, 3))
            apart.append(float(torch.pdist(means).min()) / spread)
        assert apart[1] > 1.02 * apart[0]

    def test_they_change_what_is_lifted(self, lift):
        plain, aware = (lift(mask_aware=aware).splats.columns["feature"] for aware in (False, True))
        assert not torch.allclose(plain, aware, atol=1e-3)

    def test_without_any_mask_there_is_one_clear_line(self, tmp_path: Path):
        bare = read_scene(photograph(tmp_path / "balls", views=4))
        with pytest.raises(SceneError, match=r"--mask-aware was asked for, but no photo of .*instance"):
            FeatureOptions(mask_aware=True).check(bare)

    def test_one_view_with_a_mask_is_enough(self, scene: Scene, tmp_path: Path):
        bare = read_scene(photograph(tmp_path / "balls", views=4))
        FeatureOptions(mask_aware=True).check(replace(bare, views=(*bare.views, scene.split("train")[0])))


class TestRefused:
    @pytest.mark.parametrize(
        "options, told",
        [
            ({"feature_dim": 0}, "--feature-dim must be positive, got 0"),
            ({"budget": "plenty"}, "--budget is an amount of memory"),
            (
                {"feature_loss": "cosine", "solver": "uplift"},
                "only be minimised by --solver sgd, not by uplift",
            ),
        ],
    )
    def test_options_that_make_no_sense(self, scene: Scene, options: dict[str, Any], told: str):
        with pytest.raises(FittingError, match=told):
            FeatureOptions(**options).check(scene)

    def test_unknown_solvers(self, lift, capsys, tmp_path: Path):
        with pytest.raises(
            UnknownNameError, match="unknown feature solver 'nnls'; known: uplift, least-squares"
        ):
            lift(solver="nnls")
        assert main(["eval", "nowhere", "--features", "classical", "--solvers", "uplift", "nnls"]) == 1
        assert "unknown feature solver 'nnls'" in capsys.readouterr().err

    def test_wrong_usage_of_fit(self, capsys, truth: Path, tmp_path: Path):
        assert main(["fit", "--data", str(truth), "--solver", "nnls"]) == 2
        arguments = ["fit", "--data", str(truth), "-o", str(tmp_path / "o"), "--features", "classical"]
        assert main([*arguments, "--budget", "much"]) == 1
        assert "--budget is an amount of memory such as 4GB or 500MB, got 'much'" in capsys.readouterr().err
        assert not (tmp_path / "o").exists()


class TestCommands:
    def test_fit_tells_the_solver_and_its_loss(self, capsys, truth: Path, cache: Path, tmp_path: Path):
        arguments = [
            "fit", "--data", truth, "-o", tmp_path / "f", "--steps", 2, "--splats", 300, "--features", "classical",
            "--feature-dim", 5, "--solver", "least-squares", "--degree", 0, "--mask-aware", "--budget", "1GB",
            "--cache", cache, "--json",
        ]  # fmt: skip
        assert main([*map(str, arguments)]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["solver"] == "least-squares" and 0 < facts["feature_loss"] < 1e3
        assert 0 < facts["feature_variance_kept"] <= 1
        field = read_archive(tmp_path / "f")
        assert isinstance(field.heads["feature"], DirectHead)
        assert field.about.notes["feature_loss"] == facts["feature_loss"]

    def test_a_network_of_features_survives_the_archive(self, descended: FeatureField, tmp_path: Path):
        from featurefields.files.archive import write_archive

        field = descended
        back = read_archive(write_archive(field, tmp_path / "field.safetensors"))
        camera = next(iter(field.about.cameras.values()))
        drawn, again = (render(entry, camera, rasterizer=CPU)["feature"] for entry in (field, back))
        for name, layer in drawn.items():
            assert torch.equal(again[name], layer)

    def test_all_solvers_are_compared(self, capsys, truth: Path, cache: Path, tmp_path: Path):
        from featurefields.files.archive import write_archive

        field = truth_field()
        path = write_archive(
            replace(field, about=replace(field.about, data=str(truth))), tmp_path / "field.safetensors"
        )
        arguments = ["eval", path, "--features", "classical", "--cache", cache, "--solvers"]
        assert main([*map(str, arguments), "uplift", "least-squares", "sgd", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert list(facts["agreement"]) == ["DFF", "uplift", "least-squares", "sgd"]
        assert "sgd total" in facts["clicks"]
        assert all(0.3 < value <= 1 for value in facts["feature_agreement_total"].values())


def test_selecting_in_a_field_lifted_by_descent(descended: FeatureField):
    """What a click needs of a field is there whatever lifted it."""
    from tiny_fields import part, pixel_of

    from featurefields.segmentation.prompts import Click
    from featurefields.segmentation.select import select

    field = descended
    camera = two_balls().about.cameras["images/004.png"]
    x, y = pixel_of(two_balls(), camera, "red")
    own = field.about.cameras["images/004.png"]
    selection = select(field, [Click(x + 0.5, y + 0.5, own)], rasterizer=CPU)
    red = part("red")
    assert int((selection.mask & red).sum()) > 0.4 * int(red.sum())
