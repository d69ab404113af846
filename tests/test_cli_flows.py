"""The main job from photos to an edited splat file, through the command line, on a scene of 40 x 40 pixels."""

import json
import re
from pathlib import Path

import pytest
import torch
from tiny_fields import coverage, part, photograph, pixel_of, two_balls

from featurefields.files.archive import read_archive
from featurefields.files.ply import read_ply
from featurefields.files.selection import read_selection
from featurefields.fitting.appearance import AppearanceFit
from featurefields.images import read_image
from featurefields_cli import main

FIT = ("--features", "classical", "--splats", 360, "--feature-dim", 8)
VIEW = "004"


def ff(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict:
    """Run in this process with --json: exactly one JSON object on stdout, nothing on stderr unless it fails."""
    found = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert found == code, captured.err or captured.out
    assert captured.out.count("\n") == 1 and (code or not captured.err), captured.err
    facts = json.loads(captured.out)
    for path in facts.get("paths", []):
        assert Path(path).stat().st_size > 0, path
    return facts


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photograph(tmp_path_factory.mktemp("data") / "balls")


@pytest.fixture(scope="module")
def fitted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ff fit` writes; its feature cache is beside it."""
    folder = tmp_path_factory.mktemp("results")
    arguments = [
        "fit",
        "--data",
        photos,
        "-o",
        folder / "field",
        "--steps",
        60,
        "--cache",
        folder / "cache",
        *FIT,
    ]
    assert main([*map(str, arguments), "--json"]) == 0
    return folder / "field"


@pytest.fixture(scope="module")
def click() -> str:
    """A pixel of view 004 that shows the red ball."""
    field = two_balls()
    return ",".join(map(str, pixel_of(field, field.about.cameras[f"images/{VIEW}.png"], "red")))


@pytest.fixture
def selection(capsys: pytest.CaptureFixture[str], fitted: Path, click: str, tmp_path: Path) -> Path:
    ff(capsys, "segment", fitted, "--view", VIEW, "--click", click, "-o", tmp_path / "picked")
    return tmp_path / "picked" / "selection.safetensors"


class TestFit:
    def test_it_tells_and_writes_what_was_fitted(self, capsys, photos: Path, tmp_path: Path):
        facts = ff(
            capsys,
            "fit",
            "--data",
            photos,
            "-o",
            tmp_path / "f",
            "--steps",
            2,
            "--cache",
            tmp_path / "c",
            *FIT,
        )
        assert [Path(path) for path in facts["paths"]] == [tmp_path / "f" / "field.safetensors"]
        assert (facts["views_fitted"], facts["views_held_out"], facts["photos_missing"]) == (7, 2, 0)
        assert facts["size"] == "40x40" and facts["heads"] == ["rgb", "feature"]
        assert facts["held-out_PSNR_dB"] > 5 and facts["splats"] <= 360
        assert [path.name for path in (tmp_path / "f").iterdir()] == ["field.safetensors"], (
            "no checkpoint left"
        )

    def test_the_archive_knows_its_scene_and_extractor(self, fitted: Path, photos: Path):
        about = read_archive(fitted).about
        assert Path(about.data) == photos.resolve() and about.extractor.startswith("classical")
        assert about.feature_basis is not None and about.feature_basis.shape[0] == 8
        assert about.notes["steps"] == 60 and about.notes["test_views"] == [
            "images/000.png",
            "images/008.png",
        ]
        assert "" not in about.notes and list(about.cameras)[3] == "images/003.png"

    def test_the_same_command_writes_the_same_bytes(self, capsys, photos: Path, tmp_path: Path):
        for name in ("one", "two"):
            ff(
                capsys,
                "fit",
                "--data",
                photos,
                "-o",
                tmp_path / name,
                "--steps",
                12,
                "--cache",
                tmp_path / "c",
                *FIT,
            )
        one, two = ((tmp_path / name / "field.safetensors").read_bytes() for name in ("one", "two"))
        assert one == two
        ff(
            capsys, "fit", "--data", photos, "-o", tmp_path / "three", "--steps", 12, "--cache", tmp_path / "c",
            "--seed", 1, *FIT,
        )  # fmt: skip
        assert (tmp_path / "three" / "field.safetensors").read_bytes() != one

    def test_an_interrupted_fit_is_resumed_to_the_same_bytes(
        self, capsys, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def fit(name: str, *more: object, code: int = 0) -> dict:
            common = (
                "fit",
                "--data",
                photos,
                "-o",
                tmp_path / name,
                "--steps",
                12,
                "--cache",
                tmp_path / "c",
            )
            return ff(capsys, *common, *FIT, *more, code=code)

        fit("straight")
        run_step = AppearanceFit.run_step

        def interrupted(self: AppearanceFit) -> dict[str, float]:
            if self.step == 5:
                raise KeyboardInterrupt
            return run_step(self)

        with monkeypatch.context() as patched:
            patched.setattr(AppearanceFit, "run_step", interrupted)
            told = fit("halted", code=130)
        assert told["error"]["kind"] == "Interrupted"
        assert [path.name for path in (tmp_path / "halted").iterdir()] == ["checkpoint.safetensors"]
        fit("halted", "--resume")
        one, other = (tmp_path / name / "field.safetensors" for name in ("straight", "halted"))
        assert one.read_bytes() == other.read_bytes()
        assert [path.name for path in (tmp_path / "halted").iterdir()] == ["field.safetensors"]

    def test_harmonics_and_no_features(self, capsys, photos: Path, tmp_path: Path):
        facts = ff(
            capsys, "fit", "--data", photos, "-o", tmp_path, "--steps", 3,
            "--colour", "harmonics", "--features", "none",
        )  # fmt: skip
        assert facts["heads"] == ["rgb"] and read_archive(tmp_path).heads["rgb"].kind == "harmonics"


class TestSegment:
    def test_one_click_gives_selection_object_rest_and_pictures(
        self, capsys, fitted: Path, click: str, tmp_path: Path
    ):
        facts = ff(capsys, "segment", fitted, "--view", VIEW, "--click", click, "-o", tmp_path)
        names = [Path(path).name for path in facts["paths"]]
        assert names[:3] == ["selection.safetensors", "object.ply", "rest.ply"]
        assert names[3] == f"overlay_{VIEW}.png" and sorted(names) == sorted(
            p.name for p in tmp_path.iterdir()
        )
        chosen, field = read_selection(tmp_path / "selection.safetensors"), read_archive(fitted)
        chosen.check(field)
        assert chosen.count == facts["splats_selected"] and facts["of"] == len(field)
        assert 0 < chosen.count < len(field)
        parts = [len(read_ply(tmp_path / f"{name}.ply")) for name in ("object", "rest")]
        assert parts == [chosen.count, len(field) - chosen.count]
        assert read_image(tmp_path / f"overlay_{VIEW}.png").shape == (40, 40, 3)

    def test_what_is_selected_is_what_was_clicked(self, fitted: Path, selection: Path):
        """In the photo the selected pixels are the red ball rather than the rest (fitted for a second only)."""
        truth = two_balls()
        camera = truth.about.cameras[f"images/{VIEW}.png"]
        ball = coverage(truth, camera, part("red")) > 0.5
        field = read_archive(fitted)
        shown = (
            coverage(field, field.about.cameras[f"images/{VIEW}.png"], read_selection(selection).mask) > 0.5
        )
        assert float((shown & ball).sum() / shown.sum().clamp(min=1)) > 0.4

    def test_where_the_photos_are_gone_the_drawn_view_is_clicked(
        self, capsys, photos: Path, fitted: Path, click: str, selection: Path, tmp_path: Path
    ):
        hidden = photos.with_name("elsewhere")
        photos.rename(hidden)
        try:
            ff(capsys, "segment", fitted, "--view", VIEW, "--click", click, "-o", tmp_path / "without")
            ff(
                capsys, "segment", fitted, "--view", VIEW, "--click", click, "-o", tmp_path / "data", "--data", hidden,
            )  # fmt: skip
        finally:
            hidden.rename(photos)
        for name in ("without", "data"):
            again = read_selection(tmp_path / name / "selection.safetensors")
            assert torch.equal(again.mask, read_selection(selection).mask)

    def test_the_object_lies_where_the_photos_poses_are(self, selection: Path, fitted: Path):
        field, chosen = read_archive(fitted), read_selection(selection)
        placed = read_ply(selection.parent / "object.ply").splats.means
        wanted = field.about.world_from_capture.inverse.points(field.splats.means[chosen.mask])
        assert torch.allclose(placed, wanted.float(), atol=1e-4)
        assert not torch.allclose(placed, field.splats.means[chosen.mask], atol=1e-2)


class TestAfterwards:
    def test_edit_writes_the_field_the_ply_and_a_strip(
        self, capsys, fitted: Path, selection: Path, tmp_path: Path
    ):
        before = (fitted / "field.safetensors").read_bytes()
        facts = ff(
            capsys, "edit", fitted, "--selection", selection, "--remove-specular", "--recolor", "40,120,220",
            "-o", tmp_path / "edited",
        )  # fmt: skip
        names = ["field.safetensors", "edited.ply", "before_after.png", "edits.json"]
        assert [Path(path).name for path in facts["paths"]] == names
        assert facts["edits"] == ["RemoveSpecular", "Recolor"]
        chosen = read_selection(selection)
        edited, field = read_archive(tmp_path / "edited"), read_archive(fitted)
        changed = (edited.splats.columns["diffuse"] != field.splats.columns["diffuse"]).any(-1)
        assert torch.equal(changed, chosen.mask)
        assert [entry["edit"] for entry in edited.about.notes["edits"]] == ["RemoveSpecular", "Recolor"]  # type: ignore[union-attr]
        assert (fitted / "field.safetensors").read_bytes() == before
        again = ff(capsys, "edit", tmp_path / "edited", "--roughness", 0.3, "-o", tmp_path / "twice")
        assert again["splats_changed"] == len(field)
        assert len(read_archive(tmp_path / "twice").about.notes["edits"]) == 3  # type: ignore[arg-type]

    @pytest.mark.parametrize("how", [["--delete", "--exact"], ["--keep"]], ids=" ".join)
    def test_the_selection_is_taken_out_or_kept(
        self, capsys, fitted: Path, selection: Path, tmp_path: Path, how: list[str]
    ):
        ff(capsys, "edit", fitted, "--selection", selection, *how, "-o", tmp_path / "part.ply")
        chosen = read_selection(selection)
        left = chosen.count if how == ["--keep"] else len(chosen.mask) - chosen.count
        assert len(read_ply(tmp_path / "part.ply")) == left
        ff(capsys, "edit", fitted, "--selection", selection, *how, "-o", tmp_path / "folder")
        assert len(read_archive(tmp_path / "folder")) == left
        assert (tmp_path / "folder" / "before_after.png").exists()

    def test_export_info_and_render_agree(self, capsys, fitted: Path, selection: Path, tmp_path: Path):
        ply = tmp_path / "object.ply"
        exported = ff(capsys, "export", fitted, "--selection", selection, "-o", ply)
        chosen = read_selection(selection)
        assert exported["splats"] == chosen.count and exported["of"] == len(chosen.mask)
        assert ff(capsys, "info", ply)["splats"] == chosen.count
        assert ff(capsys, "info", selection)["chosen"] == chosen.count
        about = ff(capsys, "info", fitted)
        assert about["heads"] == {"rgb": "reflected", "feature": "directional"} and about[
            "feature_channels"
        ].startswith("8 of")
        drawn = ff(capsys, "render", fitted, "-o", tmp_path / "views")
        assert sorted({Path(path).name[:3] for path in drawn["paths"]}) == ["000", "008"], (
            "the held-out views"
        )
        assert {"rgb", "indep", "dep", "feature", "depth"} <= set(drawn["layers"])
        assert all(read_image(Path(path)).shape == (40, 40, 3) for path in drawn["paths"])

    def test_the_drawn_view_looks_like_the_photo(self, capsys, fitted: Path, photos: Path, tmp_path: Path):
        (path,) = ff(capsys, "render", fitted, "-o", tmp_path, "--view", VIEW, "--layers", "rgb")["paths"]
        error = (read_image(Path(path)) - read_image(photos / "images" / f"{VIEW}.png")).square().mean()
        assert float(error) < 0.02


def test_the_demo_goes_through_every_step_to_a_page_whose_links_lead_somewhere(capsys, tmp_path: Path):
    facts = ff(capsys, "demo", "--steps", 6, "-o", tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) > 12 and all((tmp_path / link).stat().st_size > 0 for link in links)
    alone, field = (
        len(read_ply(tmp_path / "object-without-reflections.ply")),
        len(read_archive(tmp_path)),
    )
    assert alone == facts["splats_selected"] < field == facts["splats"]
    assert len(set(facts["paths"])) == len(facts["paths"])
