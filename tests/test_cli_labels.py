"""`ff masks`, `ff labels` and every object at once, through the command line on a scene of 40 x 40 pixels."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import coverage, part, photograph, two_balls

from featurefields.errors import PromptError, WriteError
from featurefields.field import FeatureField
from featurefields.files.archive import read_archive, write_archive
from featurefields.files.coco import mask_of_runs
from featurefields.files.labels import labels_path, read_labels
from featurefields.files.ply import read_ply, write_ply
from featurefields.files.selection import read_selection, write_selection
from featurefields.images import read_ids, read_image, read_mask
from featurefields.readers import read_scene
from featurefields.selection import Selection
from featurefields_cli import main
from featurefields_cli.console import Console
from featurefields_cli.everything import find, run
from featurefields_cli.options import ComputeOptions

HELD_OUT = ["images/000.png", "images/008.png"]


def ff(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """Run in this process with --json; it must succeed and everything it says it wrote must be there."""
    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    facts = json.loads(captured.out)
    for path in facts["paths"]:
        assert Path(path).stat().st_size > 0, path
    return facts


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that fails."""
    assert main([*map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photograph(tmp_path_factory.mktemp("data") / "balls", points=False)


@pytest.fixture
def field(photos: Path) -> FeatureField:
    """`two_balls` as if fitted to its photos: their cameras, in the frame of the scene as it is read."""
    scene, made = read_scene(photos, points=False), two_balls("harmonics", views=9)
    moved = made.moved(scene.world_from_capture)
    notes = {"test_views": HELD_OUT, "kind": "auto"}
    about = replace(moved.about, data=str(photos), cameras=dict(scene.cameras()), notes=notes)
    return replace(moved, about=about)


@pytest.fixture
def archive(field: FeatureField, tmp_path: Path) -> Path:
    return write_archive(field, tmp_path / "balls.safetensors")


@pytest.fixture
def chosen(field: FeatureField, tmp_path: Path) -> list[Path]:
    """Selections of the red ball, by its file's name, and the blue one, by its folder's."""
    paths = [tmp_path / "red.safetensors", tmp_path / "blue" / "selection.safetensors"]
    for path, name in zip(paths, ("red", "blue"), strict=True):
        mask = part(name)
        write_selection(Selection(mask, mask.float(), field.fingerprint(), {"clicks": [name]}), path)
    return paths


def shown(field: FeatureField, name: str, view: str) -> torch.Tensor:
    return coverage(field, field.about.cameras[view], part(name)) > 0.5


class TestMasks:
    def test_one_selection_is_black_and_white(self, capsys, field, archive: Path, chosen, tmp_path: Path):
        facts = ff(capsys, "masks", archive, "--selection", chosen[0], "-o", tmp_path / "m")
        assert (facts["objects"], facts["views"], facts["pixels_of"]) == (1, 9, "the photos")
        assert sorted(path.name for path in (tmp_path / "m").iterdir()) == sorted(
            [*(f"{number:03d}.png" for number in range(9)), "masks.json"]
        )
        for name in ("000", "004"):
            truth = shown(field, "red", f"images/{name}.png")
            assert torch.equal(read_mask(tmp_path / "m" / f"{name}.png"), truth) and truth.any()

    def test_several_are_numbers_with_names_and_coco_has_each(
        self, capsys, field, archive: Path, chosen, tmp_path: Path
    ):
        out = tmp_path / "m"
        facts = ff(capsys, "masks", archive, "--selection", *chosen, "--views", "held-out", "003", "-o", out)
        assert facts["views"] == 3 and facts["objects"] == 2
        assert json.loads((out / "names.json").read_text()) == {"0": "nothing", "1": "red", "2": "blue"}
        document = json.loads((out / "masks.json").read_text())
        assert [image["file_name"] for image in document["images"]] == [*HELD_OUT, "images/003.png"]
        assert [entry["name"] for entry in document["categories"]] == ["red", "blue"]
        assert facts["masks"] == len(document["annotations"])
        for annotation in document["annotations"]:
            view = document["images"][annotation["image_id"] - 1]["file_name"]
            name = document["categories"][annotation["category_id"] - 1]["name"]
            truth = shown(field, name, view)
            assert torch.equal(mask_of_runs(annotation["segmentation"]), truth)
            assert annotation["area"] == int(truth.sum())
            numbers = read_ids(out / f"{Path(view).stem}.png")
            assert torch.equal(numbers == annotation["category_id"], truth)

    @pytest.mark.parametrize("kind", ["png", "coco"])
    def test_only_what_was_asked_for(self, capsys, archive: Path, chosen, tmp_path: Path, kind: str):
        out = tmp_path / "m"
        ff(capsys, "masks", archive, "--selection", *chosen, "--views", "003", "--format", kind, "-o", out)
        expected = {"png": {"003.png", "names.json"}, "coco": {"masks.json"}}[kind]
        assert {path.name for path in out.iterdir()} == expected

    def test_refined_masks_follow_the_photo(self, capsys, field, archive: Path, chosen, tmp_path: Path):
        """The selection lacks Gaussians at the red ball's border; its photo does not."""
        mask = part("red")
        mask[mask.nonzero()[::4, 0]] = False
        path = write_selection(
            Selection(mask, mask.float(), field.fingerprint()), tmp_path / "some.safetensors"
        )
        gains = []
        for extra in ((), ("--refine",)):
            out = tmp_path / f"m{len(extra)}"
            ff(capsys, "masks", archive, "--selection", path, "--format", "png", "-o", out, *extra)
            ious = []
            for view in field.about.cameras:
                found, truth = read_mask(out / f"{Path(view).stem}.png"), shown(field, "red", view)
                ious.append(float((found & truth).sum() / (found | truth).sum()))
            gains.append(sum(ious) / len(ious))
        assert gains[1] > gains[0] + 0.005

    def test_a_labelled_ply_with_its_photos(
        self, capsys, field, archive: Path, chosen, photos, tmp_path: Path
    ):
        ff(capsys, "labels", "write", archive, "--selection", *chosen, "-o", tmp_path / "scene.ply")
        out = tmp_path / "m"
        facts = ff(capsys, "masks", tmp_path / "scene.ply", "--data", photos, "--views", "004", "-o", out)
        assert facts["views_that_show_it"] == {"red": 1, "blue": 1}
        numbers = read_ids(out / "004.png")
        for number, name in enumerate(("red", "blue"), start=1):
            truth = shown(field, name, "images/004.png")
            different = int(((numbers == number) != truth).sum())
            assert different <= 2 and truth.any(), "the frame went to the photos' and back"

    def test_errors_are_one_clear_line(self, capsys, field, archive: Path, chosen, photos, tmp_path: Path):
        out = ("-o", tmp_path / "m")
        plain = write_ply(field.splats, tmp_path / "plain.ply")
        blank = write_archive(replace(field, about=replace(field.about, data="")), tmp_path / "b.safetensors")
        wrong = {
            "nothing was selected": ("masks", archive, *out),
            "no property 'label'": ("masks", plain, "--data", photos, *out),
            "remembers no views": ("masks", plain, "--selection", chosen[0], *out),
            "no view is called 'x'": ("masks", archive, "--selection", chosen[0], "--views", "x", *out),
            "--refine needs the photos": ("masks", blank, "--selection", chosen[0], "--refine", *out),
            "two selections are called 'red'": ("masks", archive, "--selection", chosen[0], chosen[0], *out),
        }
        for message, arguments in wrong.items():
            assert message in failure(capsys, *arguments)
        assert not (tmp_path / "m").exists()

    def test_nothing_is_drawn_over_files(self, capsys, archive: Path, chosen, tmp_path: Path):
        kept = tmp_path / "m" / "004.png"
        kept.parent.mkdir()
        kept.write_text("mine")
        line = failure(capsys, "masks", archive, "--selection", chosen[0], "-o", tmp_path / "m")
        assert "exists already" in line and kept.read_text() == "mine"
        assert len(list(kept.parent.iterdir())) == 1


class TestLabels:
    def test_write_and_attach_to_what_an_editor_left(self, capsys, archive: Path, chosen, tmp_path: Path):
        scene = tmp_path / "scene.ply"
        facts = ff(capsys, "labels", "write", archive, "--selection", *chosen, "-o", scene)
        assert facts["labels"] == {"red": 60, "blue": 60} and facts["labelled"] == 120
        loaded, labels = read_labels(scene)
        assert torch.equal(labels.ids, part("red").long() + 2 * part("blue").long())
        assert labels.entries[1].how == {"clicks": ["red"]}
        rows = torch.randperm(264, generator=torch.Generator().manual_seed(0))[:200]
        edited = write_ply(loaded.splats.select(rows), tmp_path / "edited.ply")
        facts = ff(capsys, "labels", "attach", edited, "--labels", scene, "-o", tmp_path / "out.ply")
        assert facts["found_at_their_place"] == 200 and facts["not_found,_label_0"] == 0
        again = read_labels(tmp_path / "out.ply")[1]
        assert torch.equal(again.ids, labels.ids[rows]) and again.names() == {1: "red", 2: "blue"}
        assert again.field_id == labels.field_id == read_archive(archive).fingerprint()

    def test_where_selections_overlap_the_first_has_the_splat(self, capsys, field, archive, chosen, tmp_path):
        everything = torch.ones(264, dtype=torch.bool)
        path = tmp_path / "all.safetensors"
        write_selection(Selection(everything, everything.float(), field.fingerprint()), path)
        facts = ff(
            capsys, "labels", "write", archive, "--selection", chosen[0], path, "-o", tmp_path / "s.ply"
        )
        assert facts["labels"] == {"red": 60, "all": 204} and facts["in_several_selections"] == 60

    def test_errors_are_one_clear_line(self, capsys, field, archive: Path, chosen, tmp_path: Path):
        out = ("-o", tmp_path / "out.ply")
        scene = tmp_path / "scene.ply"
        ff(capsys, "labels", "write", archive, "--selection", *chosen, "-o", scene)
        other = write_ply(replace(field.splats, means=field.splats.means.flip(0) * 3).with_columns(
            harmonics=field.splats.columns["harmonics"] + 0.3), tmp_path / "other.ply")  # fmt: skip
        wrong = {
            "give selections": ("labels", "write", archive, *out),
            "labels of what?": ("labels", "attach", scene, *out),
            "holds no splats": ("labels", "attach", scene, "--labels", labels_path(scene), *out),
            "another scene": ("labels", "attach", other, "--labels", scene, *out),
            "is no .ply": ("labels", "attach", scene, "--labels", scene, "-o", tmp_path / "out.json"),
            "got -1.0": ("labels", "attach", scene, "--labels", scene, "--tolerance", "-1", *out),
            "does not exist": ("labels", "attach", tmp_path / "none.ply", "--labels", scene, *out),
        }
        for message, arguments in wrong.items():
            assert message in failure(capsys, *arguments)
        assert not (tmp_path / "out.ply").exists()


class TestEverything:
    def run(self, field: FeatureField, scene: object, out: Path, *, overwrite: bool = False) -> list[Path]:
        options = ComputeOptions(device="cpu")
        summary = run(
            field, scene, out, Console(json=True), source=Path("balls"), compute=options, overwrite=overwrite
        )  # fmt: skip
        assert summary.rows["objects"] == 3 and summary.rows["splats"] == 264
        return list(summary.paths)

    def test_one_ply_an_object_the_whole_scene_and_pictures(
        self, field: FeatureField, photos, tmp_path: Path
    ):
        paths = self.run(field, read_scene(photos, points=False), tmp_path)
        assert all(path.is_file() for path in paths)
        labels = read_labels(tmp_path / "scene.ply")[1]
        assert labels.names() == {1: "object 1", 2: "object 2", 3: "object 3"}
        assert labels.field_id == field.fingerprint() and labels.entries[2].how["object"] == 2
        sizes = []
        for number in (1, 2, 3):
            stem = tmp_path / "objects" / f"object_{number:02d}"
            selection = read_selection(stem.with_suffix(".safetensors"))
            selection.check(field)
            assert torch.equal(selection.mask, labels.ids == number)
            assert float(selection.score[selection.mask].mean()) > 0.9
            sizes.append(len(read_ply(stem.with_suffix(".ply"))))
        assert sizes == sorted(sizes, reverse=True) and sum(sizes) == 264 - labels.count(0)
        for name in ("000", "008"):
            photo, picture = (
                read_image(p) for p in (photos / f"images/{name}.png", tmp_path / f"overlay_{name}.png")
            )
            tinted = (photo - picture).abs().sum(-1) > 0.05
            covered = shown(field, "floor", f"images/{name}.png") | shown(field, "red", f"images/{name}.png")
            assert float(tinted[covered].float().mean()) > 0.9

    def test_again_replaces_all_of_it_only_when_told(self, field: FeatureField, tmp_path: Path):
        first = self.run(field, None, tmp_path)
        before = {path: path.read_bytes() for path in first}
        leftover = tmp_path / "objects" / "object_17.ply"
        leftover.write_text("of an earlier call")
        mine = tmp_path / "objects" / "object_of_mine.ply"
        mine.write_text("mine")
        with pytest.raises(WriteError, match="exists already"):
            self.run(field, None, tmp_path)
        assert self.run(field, None, tmp_path, overwrite=True) == first
        assert {path: path.read_bytes() for path in first} == before, "the same bytes"
        assert not leftover.exists() and mine.read_text() == "mine"

    def test_nothing_large_enough_is_one_clear_line(self, field: FeatureField):
        few = field.with_splats(field.splats.select(torch.arange(20)))
        with pytest.raises(PromptError, match="no group of 50 or more is an object") as caught:
            find(few, ComputeOptions(device="cpu").rasterizer(), Console(json=True))
        assert "\n" not in str(caught.value)
