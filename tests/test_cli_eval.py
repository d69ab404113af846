"""`ff eval` and the click protocol, on a scene of 40 x 40 pixels whose truth is what a field draws."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import part, photograph, two_balls
from tiny_truth import PARTS, truth_field, truth_scene

from featurefields.errors import SceneError
from featurefields.evaluation.regions import scene_objects
from featurefields.field import FeatureField
from featurefields.files.archive import write_archive
from featurefields.files.ply import write_ply
from featurefields.maths.similarity import Similarity
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.segmentation.viewed import ViewedField
from featurefields_cli import main
from featurefields_cli.clicks import ClickTrial, read_clicks
from featurefields_cli.console import Console
from featurefields_cli.held_out import in_frame, measured_on
from featurefields_cli.queries import seen_features, with_features

CPU = choose_rasterizer("cpu")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return truth_scene(tmp_path_factory.mktemp("data") / "truth", truth_field())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos and nothing else."""
    return photograph(tmp_path_factory.mktemp("data") / "balls")


def archived(field: FeatureField, data: Path, path: Path) -> Path:
    """The field as a file that knows where its photos are."""
    return write_archive(replace(field, about=replace(field.about, data=str(data))), path)


@pytest.fixture(scope="module")
def field(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archived(truth_field(), truth, tmp_path_factory.mktemp("field") / "field.safetensors")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def measured(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """What `ff eval --json` says: one JSON object on stdout and nothing on stderr."""
    code = main(["eval", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err or captured.out
    assert captured.out.count("\n") == 1 and not captured.err
    return json.loads(captured.out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that `ff eval` fails with."""
    assert main(["eval", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert not captured.out and captured.err.count("\n") == 1
    return captured.err


class TestEval:
    def test_everything_is_in_the_json(self, capsys, field: Path):
        facts = measured(capsys, field)
        assert facts["views"] == 2 and facts["notes"] == [] and facts["paths"] == []
        assert min(facts["PSNR_dB"], facts["PSNR_of_objects_dB"], facts["indep_against_diffuse_dB"]) > 45
        assert facts["photo_against_diffuse_dB"] < facts["indep_against_diffuse_dB"] - 10
        assert facts["normal_error_deg"] < 0.5 and facts["roughness_rank_correlation"] == pytest.approx(1.0)
        assert facts["highlight_AP"] > 0.99 > 0.5 > facts["highlight_AP_of_chance"]
        assert facts["highlight_AP_of_chance_but_metals"] < 0.3 * facts["highlight_AP_of_chance"]
        assert [row["name"] for row in facts["colour"]["objects"]] == list(PARTS)
        assert [row["name"] for row in facts["colour"]["materials"]] == [kind for kind, _ in PARTS.values()]
        assert set(facts["clicks"]) == set(facts["click_mIoU"]) == {"indep", "total"}
        clicked = facts["clicks"]["indep"]
        assert [row["name"] for row in clicked["regions"]] == ["objects", "objects but matte"]
        assert [row["name"] for row in clicked["objects"]] == list(PARTS)
        assert all(0.5 < row["iou"] <= row["oracle"] <= 1 for row in clicked["objects"][:2])
        assert facts["agreement"] == {}

    def test_the_tables_are_for_people(self, capsys, field: Path, tmp_path: Path):
        assert main(["eval", str(field), "-o", str(tmp_path / "all.json")]) == 0
        shown = capsys.readouterr().out
        for word in (
            "pictures",
            "surfaces and light",
            "one click",
            "objects but metals",
            "PSNR dB",
            "coated",
        ):
            assert word in shown, word
        assert "…" not in shown and "nan" not in shown
        assert "wrote" in shown

    def test_the_file_says_what_stdout_says(self, capsys, field: Path, tmp_path: Path):
        path = tmp_path / "all.json"
        facts = measured(capsys, field, "--output", path)
        written = json.loads(path.read_text(encoding="utf-8"))
        assert facts.pop("paths") == [str(path)] and written.pop("paths") == []
        assert facts == written
        assert "--overwrite" in refused(capsys, field, "-o", path)
        assert measured(capsys, field, "-o", path, "--overwrite")["paths"] == [str(path)]

    def test_the_threshold_of_highlights_is_an_option(self, capsys, field: Path):
        none = measured(capsys, field, "--highlight", 5.0)
        assert "highlight_AP" not in none and none["colour"]["regions"][1]["highlight_share"] == 0
        assert none["colour"]["regions"][1]["highlight_ap"] is None and none["highlight_threshold"] == 5.0

    def test_solvers_and_the_plain_field_are_compared(self, capsys, field: Path, cache: Path):
        facts = measured(capsys, field, "--features", "classical", "--solvers", "uplift", "--cache", cache)
        assert list(facts["agreement"]) == ["DFF", "uplift"]
        assert list(facts["clicks"]) == ["DFF", "uplift indep", "uplift total"]
        assert list(facts["feature_agreement_indep"]) == ["DFF", "uplift"]
        for rows in facts["agreement"].values():
            assert [row["name"] for row in rows["objects"]] == list(PARTS)
            assert all(0.2 < row["indep"] <= 1 and 0.2 < row["total"] <= 1 for row in rows["objects"])
        # lifted from pictures without reflections, features are nearer to those of the true ones than a plain mean is
        plain, uplift = (facts["agreement"][name]["regions"][0] for name in ("DFF", "uplift"))
        assert uplift["indep"] > plain["indep"] + 0.005
        assert uplift["total"] >= plain["total"]

    def test_stored_features_are_compared_with_their_own_extractor_only(
        self, capsys, truth: Path, field: Path, cache: Path, tmp_path: Path
    ):
        facts = measured(capsys, field, "--features", "classical", "--cache", cache)
        assert facts["agreement"] == {} and any("--solvers" in note for note in facts["notes"])
        fit = [
            "fit",
            "--data",
            truth,
            "-o",
            tmp_path / "fit",
            "--steps",
            2,
            "--splats",
            300,
            "--feature-dim",
            8,
        ]
        assert main([*map(str, fit), "--features", "classical", "--cache", str(cache), "--json"]) == 0
        capsys.readouterr()
        facts = measured(capsys, tmp_path / "fit", "--features", "classical", "--cache", cache)
        assert list(facts["agreement"]) == ["DFF", "stored"]
        assert list(facts["clicks"]) == ["DFF", "indep", "total"] and facts["notes"] == []

    def test_without_truth_there_are_pictures_and_notes(self, capsys, photos: Path, tmp_path: Path):
        path = archived(two_balls("harmonics"), photos, tmp_path / "field.safetensors")
        facts = measured(capsys, path)
        assert facts["PSNR_dB"] > 5 and 0 < facts["SSIM"] < 1
        assert "PSNR_of_objects_dB" not in facts and "normal_error_deg" not in facts
        assert facts["colour"]["objects"] == [] and facts["clicks"] == {}
        told = " ".join(facts["notes"])
        assert all(
            word in told for word in ("instance ids", "diffuse", "normals", "roughness", "clicks.json")
        )
        assert main(["eval", str(path)]) == 0
        captured = capsys.readouterr()
        assert "no instance ids" in captured.err and "one click" not in captured.out

    def test_an_ordinary_ply_is_moved_into_the_photos_frame(self, capsys, photos: Path, tmp_path: Path):
        path = write_ply(two_balls("harmonics").splats, tmp_path / "balls.ply")
        facts = measured(capsys, path, "--data", photos)
        stored = archived(two_balls("harmonics"), photos, tmp_path / "field.safetensors")
        assert facts["PSNR_dB"] == pytest.approx(measured(capsys, stored)["PSNR_dB"], abs=0.05)
        assert any("no features" in note for note in facts["notes"])

    def test_what_the_field_held_out_is_measured(self, capsys, truth: Path, tmp_path: Path):
        base = truth_field()
        about = replace(base.about, notes={"test_views": ["images/003.png"]})
        path = archived(replace(base, about=about), truth, tmp_path / "field.safetensors")
        assert measured(capsys, path)["views"] == 1


class TestRefused:
    def test_no_field(self, capsys, tmp_path: Path):
        assert "does not exist" in refused(capsys, tmp_path / "none")

    def test_no_photos(self, capsys, field: Path, tmp_path: Path):
        assert "does not exist" in refused(capsys, field, "--data", tmp_path / "none")
        (tmp_path / "empty").mkdir()
        assert "empty" in refused(capsys, field, "--data", tmp_path / "empty")
        gone = archived(truth_field(), tmp_path / "gone", tmp_path / "field.safetensors")
        assert "are gone; pass --data" in refused(capsys, gone)

    def test_photos_of_another_scene(self, capsys, field: Path, photos: Path, tmp_path: Path):
        other = shutil.copytree(photos, tmp_path / "other")
        shutil.copytree(other / "images", other / "others")
        document = json.loads((other / "transforms.json").read_text())
        poses = [frame["transform_matrix"] for frame in document["frames"]]
        for frame, pose in zip(document["frames"], poses[4:] + poses[:4], strict=True):
            frame["transform_matrix"] = pose
        (other / "transforms.json").write_text(json.dumps(document))
        assert "taken from elsewhere" in refused(capsys, field, "--data", other)
        for frame in document["frames"]:
            frame["file_path"] = frame["file_path"].replace("images", "others")
        (other / "transforms.json").write_text(json.dumps(document))
        assert "holds another scene: the field was made from images/000.png" in refused(
            capsys, field, "--data", other
        )

    def test_solvers_without_features(self, capsys, field: Path):
        assert "--features names no extractor" in refused(capsys, field, "--solvers", "uplift")

    def test_nothing_held_out(self, capsys, photos: Path, tmp_path: Path):
        all_fitted = shutil.copytree(photos, tmp_path / "fitted")
        document = json.loads((all_fitted / "transforms.json").read_text())
        document["train_filenames"] = [frame["file_path"] for frame in document["frames"]]
        (all_fitted / "transforms.json").write_text(json.dumps(document))
        path = archived(two_balls("harmonics"), all_fitted, tmp_path / "field.safetensors")
        assert "none is left to measure on" in refused(capsys, path)

    @pytest.mark.parametrize(
        "content, told",
        [
            ({"cup": {"id": 1, "x": 3}}, "needs id, image, x and y"),
            ({"cup": 3}, "not an object"),
            ({"cup": {"id": 1, "image": "images/zzz.png", "x": 3, "y": 4}}, "no photo of this scene"),
            ({"cup": {"id": "one", "image": "images/004.png", "x": 3, "y": 4}}, "not a finite number"),
        ],
    )
    def test_damaged_clicks(self, truth: Path, tmp_path: Path, content: dict, told: str):
        scene = replace(read_scene(truth), folder=tmp_path)
        assert read_clicks(scene) == ()
        (tmp_path / "clicks.json").write_text(json.dumps(content))
        with pytest.raises(SceneError, match=told):
            read_clicks(scene)


class TestFrame:
    def test_a_field_that_is_there_stays_as_it_is(self):
        field = truth_field()
        assert in_frame(field, field.about.world_from_capture) is field
        other = Similarity(2.0, torch.eye(3)[[1, 2, 0]], torch.tensor([1.0, 2.0, 3.0]))
        moved = in_frame(field, other)
        assert torch.allclose(moved.splats.means, other.points(field.splats.means))
        assert moved.about.world_from_capture.scale == pytest.approx(2.0)
        back = in_frame(moved, Similarity.identity())
        assert torch.allclose(back.splats.means, field.splats.means, atol=1e-5)


class TestClicks:
    @pytest.fixture
    def trial(self, truth: Path) -> ClickTrial:
        field, scene = measured_on(truth_field(), truth, Console(json=True))
        return ClickTrial.of(field, scene, read_clicks(scene), scene_objects(scene), rasterizer=CPU)

    def test_true_masks_are_perfect_and_false_ones_are_not(self, trial: ClickTrial):
        masks = torch.stack([part("red"), part("blue"), ~part("red"), part("red") | part("blue")], -1)
        red, blue, rest, both = trial.mean_ious(masks, 1)
        assert red == 1.0 and blue == 0.0 and rest == 0.0 and 0.2 < both < 0.8

    def test_objects_that_are_not_shown_have_no_number(self, trial: ClickTrial):
        assert all(math.isnan(value) for value in trial.mean_ious(part("red")[:, None], 9))

    def test_features_that_are_the_parts_select_them(self, trial: ClickTrial):
        features = torch.stack([part(name) for name in PARTS], -1).float()
        rows = trial.measure(lambda camera: with_features(trial.field, features))
        assert [row.name for row in rows.objects] == list(PARTS)
        assert all(row.iou > 0.95 and row.oracle >= row.iou for row in rows.objects)
        noise = torch.randn(len(trial.field), 3, generator=torch.Generator().manual_seed(1))
        splats = trial.field.splats.with_columns(diffuse=torch.zeros(len(noise), 3), normals=noise)
        grey = replace(trial.field, splats=splats)
        confused = trial.measure(lambda camera: with_features(grey, noise))
        assert all(row.iou < 0.9 for row in confused.objects[:2])

    def test_a_click_on_nothing_selects_nothing(self, trial: ClickTrial):
        click = replace(trial.clicks[0], x=0.0, y=0.0)
        assert trial.ious(click, ViewedField(trial.field, trial.rasterizer)) == (0.0, 0.0)

    def test_features_are_seen_from_the_clicked_camera(self, trial: ClickTrial):
        """What is drawn of a layer is the drawing of every Gaussian's own features."""
        from featurefields.field import render
        from featurefields.heads.directional import DirectionalHead
        from featurefields.maths.compositing import over_alpha
        from featurefields.raster import RasterConfig

        n, generator = len(trial.field), torch.Generator().manual_seed(2)
        splats = trial.field.splats.with_columns(
            feature_dep=torch.randn(n, 3, 4, generator=generator), feature_centre=torch.zeros(n, 3)
        )
        field = replace(trial.field, splats=splats, heads={**trial.field.heads, "feature": DirectionalHead()})
        camera = trial.scene.views[3].camera
        drawn = render(field, camera, rasterizer=CPU, heads=("feature",))
        own = {layer: seen_features(field, camera, layer) for layer in ("indep", "total")}
        assert torch.equal(own["indep"], splats.columns["feature"])
        for layer, features in own.items():
            raster = CPU.draw(splats, features, camera, RasterConfig())
            expected = over_alpha(raster.image, raster.alpha)
            assert torch.allclose(drawn["feature"][layer], expected, atol=1e-4)
