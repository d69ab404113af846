"""`ff edit` through the command line: lists of edits, back and forth, on a scene of 40 x 40 pixels."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import part, photograph, two_balls
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.files.archive import read_archive, write_archive
from featurefields.files.ply import read_ply, write_ply
from featurefields.files.selection import write_selection
from featurefields.files.session import write_session
from featurefields.images import read_mask
from featurefields.raster import choose_rasterizer
from featurefields.segmentation.session import Session
from featurefields.selection import Selection
from featurefields_cli import main
from featurefields_cli.edit_flags import upwards

OUTPUTS = ["field.safetensors", "edited.ply", "before_after.png", "edits.json"]


def ff(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """Run `ff edit` in this process with --json; it must succeed."""
    code = main(["edit", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    facts = json.loads(captured.out)
    assert all(Path(path).exists() for path in facts["paths"])
    return facts


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of an `ff edit` that fails."""
    assert main(["edit", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def write_mask(field: FeatureField, mask: Tensor, path: Path) -> Path:
    return write_selection(Selection(mask, mask.float(), field.fingerprint()), path)


def columns(path: Path, name: str) -> Tensor:
    return read_archive(path).splats.columns[name]


@pytest.fixture(scope="module")
def field() -> FeatureField:
    return two_balls(gloss=-1.0, views=3)


@pytest.fixture(scope="module")
def archive(field: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(field, tmp_path_factory.mktemp("fit") / "field.safetensors")


@pytest.fixture(scope="module")
def chosen(field: FeatureField, archive: Path) -> dict[str, Path]:
    """Selection files of the balls."""
    return {
        name: write_mask(field, part(name), archive.parent / f"{name}.safetensors")
        for name in ("red", "blue")
    }


class TestBackAndForth:
    def test_a_folder_of_edits_goes_back_and_forth_to_the_bit(self, capsys, archive, chosen, tmp_path: Path):
        out = tmp_path / "out"
        facts = ff(capsys, archive, "--selection", chosen["red"], "--remove-specular", "-o", out)
        assert [Path(path).name for path in facts["paths"]] == OUTPUTS
        assert facts["edits"] == ["RemoveSpecular"] and facts["splats_changed"] == 60
        states = [archive.read_bytes(), (out / "field.safetensors").read_bytes()]
        facts = ff(capsys, out, "--selection", chosen["blue"], "--recolor", "30,200,60", "--move", 0, 0, -0.5)
        assert facts["done"] == [
            "remove-specular of red",
            "recolor rgb 0.117647,0.784314,0.235294 of blue",
            "move by 0,0,-0.5 of blue",
        ]
        states.append((out / "field.safetensors").read_bytes())
        back = ff(capsys, "--undo", out, "--steps", 2)
        assert len(back["done"]) == 1 and len(back["undone"]) == 2 and back["edits"] == []
        assert (out / "field.safetensors").read_bytes() == states[1]
        ff(capsys, "--undo", out)
        assert (out / "field.safetensors").read_bytes() == states[0], "the identical file"
        for steps, state in ((1, 1), (2, 2)):
            ff(capsys, "--redo", out, "--steps", steps)
            assert (out / "field.safetensors").read_bytes() == states[state]
        assert archive.read_bytes() == states[0], "the input is not touched"

    def test_the_list_is_a_script_that_gives_the_same_bytes(self, capsys, archive, chosen, tmp_path: Path):
        ff(
            capsys, archive, "--selection", chosen["red"], "--delete", "--scale-roughness", 0.5, "--rotate", 30,
            "--tint-surroundings", 1, 0.8, 0.5, "-o", tmp_path / "one",
        )  # fmt: skip
        ff(capsys, archive, "--script", tmp_path / "one" / "edits.json", "-o", tmp_path / "two")
        for name in ("field.safetensors", "edited.ply"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        script = json.loads((tmp_path / "one" / "edits.json").read_text())
        kinds = [entry["edit"] for entry in script["edits"]]
        assert kinds == ["scale-roughness", "tint-surroundings", "rotate", "delete"], "the documented order"

    def test_going_on_in_another_folder_keeps_the_first(self, capsys, archive, tmp_path: Path):
        ff(capsys, archive, "--roughness", 0.3, "-o", tmp_path / "one")
        before = (tmp_path / "one" / "field.safetensors").read_bytes()
        facts = ff(capsys, tmp_path / "one", "--scale-specular", 0.5, "-o", tmp_path / "two")
        assert facts["done"] == ["roughness value 0.3", "scale-specular factor 0.5"]
        assert (tmp_path / "one" / "field.safetensors").read_bytes() == before
        ff(capsys, "--undo", tmp_path / "two")
        assert (tmp_path / "two" / "field.safetensors").read_bytes() == before

    def test_editing_after_undoing_forgets_what_was_undone(self, capsys, archive, tmp_path: Path):
        ff(capsys, archive, "--roughness", 0.3, "--scale-roughness", 0.5, "-o", tmp_path / "out")
        ff(capsys, "--undo", tmp_path / "out")
        facts = ff(capsys, tmp_path / "out", "--scale-specular", 0.25)
        assert (
            facts["done"] == ["roughness value 0.3", "scale-specular factor 0.25"] and facts["undone"] == []
        )
        assert "--redo of 1 steps was asked for, but 0 are undone" in failure(
            capsys, "--redo", tmp_path / "out"
        )

    def test_a_ply_has_a_history_too(self, capsys, field: FeatureField, tmp_path: Path):
        splats = two_balls("harmonics").splats.without_columns("feature")
        ply = write_ply(splats, tmp_path / "in.ply")
        ff(capsys, ply, "--remove-specular", "--strength", 0.5, "-o", tmp_path / "out")
        assert (tmp_path / "out" / "base.ply").read_bytes() == ply.read_bytes()
        halved = read_ply(tmp_path / "out" / "edited.ply").splats.columns["harmonics"]
        assert torch.allclose(halved[:, 1:], 0.5 * splats.columns["harmonics"][:, 1:], atol=1e-6)
        ff(capsys, "--undo", tmp_path / "out")
        again = read_ply(tmp_path / "out" / "edited.ply").splats.columns["harmonics"]
        assert torch.equal(again, splats.columns["harmonics"])

    def test_what_something_else_changed_is_noticed(self, capsys, archive, field, tmp_path: Path):
        out = tmp_path / "out"
        ff(capsys, archive, "--roughness", 0.3, "-o", out)
        good = (out / "field.safetensors").read_bytes()
        write_archive(field, out / "field.safetensors", overwrite=True)
        assert "something else changed it" in failure(capsys, "--undo", out)
        assert "something else changed it" in failure(capsys, out, "--roughness", 0.5)
        ff(capsys, "--undo", out, "--overwrite")
        ff(capsys, "--redo", out)
        assert (out / "field.safetensors").read_bytes() == good
        (out / "base.safetensors").write_bytes(good)
        assert "base.safetensors was changed since its edits were made" in failure(capsys, "--undo", out)
        (out / "base.safetensors").unlink()
        assert "base.safetensors is gone" in failure(capsys, "--undo", out)


class TestScripts:
    def script(self, folder: Path, *edits: dict, **more: object) -> Path:
        path = folder / "script.json"
        path.write_text(json.dumps({"schema": 1, "kind": "edits", "edits": edits, **more}))
        return path

    def test_selections_are_files_beside_the_script_copies_and_names(
        self, capsys, archive, chosen, field, tmp_path: Path
    ):
        (tmp_path / "sel").mkdir()
        (tmp_path / "sel" / "ball.safetensors").write_bytes(chosen["blue"].read_bytes())
        script = self.script(
            tmp_path,
            {"edit": "duplicate", "by": [0, 0, 0.7], "selection": "sel/ball.safetensors", "name": "upper"},
            {"edit": "recolor", "rgb": [1, 1, 0], "selection": "upper"},
            {"edit": "delete", "selection": "first"},
            selections={"first": str(chosen["red"])},
        )
        facts = ff(
            capsys,
            archive,
            "--script",
            script,
            "--selection",
            "upper",
            "--scale",
            0.5,
            "-o",
            tmp_path / "out",
        )
        assert facts["done"][-1] == "scale factor 0.5 of upper"
        edited = read_archive(tmp_path / "out").splats
        assert len(edited) == 264
        small = field.splats.log_scales[part("blue")] + torch.log(torch.tensor(0.5))
        assert torch.allclose(edited.log_scales[-60:], small, atol=1e-5)
        assert torch.equal(edited.columns["diffuse"][:60], field.splats.columns["diffuse"][part("blue")])

    def test_a_session_keeps_selections_by_name(self, capsys, archive, field: FeatureField, tmp_path: Path):
        session = Session(field, choose_rasterizer("cpu"))
        session.combine("or", Selection(part("red"), part("red").float(), field.fingerprint()), "file")
        session.keep("ball")
        write_session(session.record(), tmp_path / "clicks.json")
        script = self.script(
            tmp_path, {"edit": "roughness", "value": 0.9, "selection": "ball"}, session="clicks.json"
        )
        ff(capsys, archive, "--script", script, "-o", tmp_path / "one")
        ff(
            capsys, archive, "--session", tmp_path / "clicks.json", "--selection", "ball", "--roughness", 0.9,
            "-o", tmp_path / "two",
        )  # fmt: skip
        changed = (columns(tmp_path / "one", "roughness") != field.splats.columns["roughness"])[:, 0]
        assert torch.equal(changed, part("red"))
        one, two = (tmp_path / name / "field.safetensors" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        assert "no selection 'bowl' was found" in (
            line := failure(
                capsys, archive, "--session", tmp_path / "clicks.json", "--selection", "bowl", "--roughness",
                0.9, "-o", tmp_path / "three",
            )
        )  # fmt: skip
        assert "known by name: ball" in line

    def test_what_is_not_understood_is_one_line_and_writes_nothing(self, capsys, archive, tmp_path: Path):
        script = self.script(tmp_path, {"edit": "recolor", "color": [1, 0, 0]})
        line = failure(capsys, archive, "--script", script, "-o", tmp_path / "out")
        assert 'script.json: edit 1 (recolor) has the unknown key "color"' in line
        assert not (tmp_path / "out").exists()


class TestPresence:
    def test_delete_tells_holes_in_every_view_that_showed_it(
        self, capsys, field, archive, chosen, tmp_path: Path
    ):
        out = tmp_path / "out"
        facts = ff(capsys, archive, "--selection", chosen["red"], "--delete", "--exact", "--holes", "-o", out)
        assert [Path(path).name for path in facts["paths"]] == [
            *OUTPUTS[:3],
            "holes",
            "revealed",
            "edits.json",
        ]
        names = sorted(path.name for path in (out / "holes").iterdir())
        assert (
            names == ["000.png", "001.png", "002.png"] == sorted(p.name for p in (out / "revealed").iterdir())
        )
        for name in names:
            hole, seen = (read_mask(out / kind / name) for kind in ("holes", "revealed"))
            assert hole.shape == (40, 40) and not bool((hole & seen).any()) and bool((hole | seen).any())
        ff(capsys, "--undo", out)
        assert not list((out / "holes").iterdir()), "nothing is gone any more"
        ff(capsys, "--redo", out)
        assert len(list((out / "holes").iterdir())) == 3

    def test_hidden_stays_in_the_field_and_not_in_the_ply(
        self, capsys, field, archive, chosen, tmp_path: Path
    ):
        out = tmp_path / "out"
        ff(capsys, archive, "--selection", chosen["red"], "--hide", "-o", out)
        assert len(read_archive(out)) == 264 and len(read_ply(out / "edited.ply")) == 204
        ff(capsys, out, "--show")
        assert len(read_ply(out / "edited.ply")) == 264
        shown, before = read_archive(out).splats.tensors(), field.splats.tensors()
        assert shown.keys() == before.keys() and all(torch.equal(shown[k], before[k]) for k in before)

    def test_only_a_ply(self, capsys, archive, chosen, tmp_path: Path):
        facts = ff(capsys, archive, "--selection", chosen["red"], "--keep", "-o", tmp_path / "red.ply")
        assert facts["splats"] == 60 == len(read_ply(tmp_path / "red.ply"))
        assert [path.name for path in tmp_path.iterdir()] == ["red.ply"]

    def test_rotation_is_about_what_is_up_in_the_photos(self, field: FeatureField, tmp_path: Path):
        assert upwards(field, in_world=False) == (0.0, 0.0, 1.0)
        assert upwards(replace(field, about=replace(field.about, cameras={})), in_world=False) == (
            0.0,
            0.0,
            1.0,
        )
        rotation = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        capture = replace(field.about.world_from_capture, rotation=rotation)
        turned = replace(field, about=replace(field.about, world_from_capture=capture))
        assert upwards(turned, in_world=False) == (0.0, 1.0, 0.0)
        assert upwards(turned, in_world=True) == (0.0, 0.0, 1.0)


class TestMistakes:
    @pytest.mark.parametrize(
        "words, arguments",
        [
            ("no edit was asked for", ["-o", "OUT"]),
            ("where should the edited", ["--roughness", 0.5]),
            ("--delete and --keep together", ["--delete", "--keep", "-o", "OUT"]),
            ("--hide and --show are opposites", ["--hide", "--show", "-o", "OUT"]),
            ("--delete needs to know what", ["--delete", "-o", "OUT"]),
            ("--strength says how, but not what; pass --remove-specular", ["--strength", 0.5, "-o", "OUT"]),
            ("--axis says how, but not what", ["--axis", 0, 0, 1, "--scale", 2, "-o", "OUT"]),
            ("--roughness must be between 0 and 1, got 7", ["--roughness", 7, "-o", "OUT"]),
            ("a colour is three whole numbers R,G,B", ["--recolor", "red", "-o", "OUT"]),
            ("no selection 'nowhere' was found", ["--selection", "nowhere", "--scale", 2, "-o", "OUT"]),
            ("go by themselves", ["--undo", "--roughness", 0.5]),
            ("go by themselves", ["--undo", "--redo"]),
            ("in a folder that `ff edit` wrote", ["--undo"]),
            ("need a folder for --output", ["--scale", 2, "--holes", "-o", "OUT.ply"]),
        ],
    )
    def test_are_one_line_and_write_nothing(self, capsys, archive, tmp_path: Path, words, arguments):
        given = [str(word).replace("OUT", str(tmp_path / "out")) for word in arguments]
        assert words in failure(capsys, archive, *given)
        assert not list(tmp_path.iterdir())

    def test_nothing_is_overwritten_unasked(self, capsys, archive, tmp_path: Path):
        for name in ("edits.json", "edited.ply", "base.safetensors"):
            out = tmp_path / name
            out.mkdir()
            (out / name).write_bytes(b"mine")
            assert f"{name} exists already" in failure(capsys, archive, "--scale", 2, "-o", out)
            assert [path.name for path in out.iterdir()] == [name] and (out / name).read_bytes() == b"mine"
        ff(capsys, archive, "--scale", 2, "-o", tmp_path / "edits.json", "--overwrite")

    def test_a_selection_of_another_scene(self, capsys, archive, field: FeatureField, tmp_path: Path):
        other = field.with_splats(field.splats.select(torch.arange(200)))
        path = write_mask(other, torch.arange(200) < 9, tmp_path / "other.safetensors")
        line = failure(capsys, archive, "--selection", path, "--scale", 2, "-o", tmp_path / "out")
        assert "the selection belongs to another scene" in line


def test_masks_of_holes_have_the_pixels_of_the_photos(capsys, tmp_path: Path):
    """Photos twice as large as what was fitted."""
    photos = photograph(tmp_path / "data", points=False)
    field = two_balls(views=9)
    cameras = {name: camera.resized((20, 20)) for name, camera in field.about.cameras.items()}
    about = replace(field.about, cameras=cameras, data=str(photos), notes={"downscale": 2.0})
    archive = write_archive(replace(field, about=about), tmp_path / "field.safetensors")
    selection = write_mask(field, part("red"), tmp_path / "red.safetensors")
    ff(capsys, archive, "--selection", selection, "--delete", "--holes", "-o", tmp_path / "out")
    assert read_mask(tmp_path / "out" / "holes" / "000.png").shape == (40, 40)
