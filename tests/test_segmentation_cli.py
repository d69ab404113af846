"""`ff segment` with every kind of prompt, sessions, combinations and splats without a field."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_fields import coverage, part, photograph, pixel_of, reflected_head, two_balls
from torch import Tensor

from featurefields.editing.baking import bake_harmonics
from featurefields.field import FeatureField
from featurefields.files.archive import write_archive
from featurefields.files.ply import read_ply, write_ply
from featurefields.files.selection import read_selection
from featurefields.files.session import read_session
from featurefields_cli import main

VIEW, OTHER = "004", "002"


def ff(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict:
    """Run in this process with --json and return what is told."""
    found = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert found == code, captured.err or captured.out
    return json.loads(captured.out)


def failure(capsys: pytest.CaptureFixture[str], said: str, *arguments: object) -> None:
    facts = ff(capsys, *arguments, code=1)
    assert said in facts["error"]["message"] and "\n" not in facts["error"]["message"]


@pytest.fixture(scope="module")
def balls() -> FeatureField:
    return two_balls()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photograph(tmp_path_factory.mktemp("data") / "balls")


@pytest.fixture(scope="module")
def archive(balls: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A field without photos: prompts are in pixels of the drawn views, which are as large as the photos."""
    return write_archive(balls, tmp_path_factory.mktemp("field") / "field.safetensors")


def shown(field: FeatureField, name: str, view: str = VIEW) -> Tensor:
    return coverage(field, field.about.cameras[f"images/{view}.png"], part(name)) > 0.5


def point(field: FeatureField, name: str, view: str = VIEW) -> str:
    return ",".join(map(str, pixel_of(field, field.about.cameras[f"images/{view}.png"], name)))


def box(field: FeatureField, name: str, view: str = VIEW) -> str:
    ys, xs = shown(field, name, view).nonzero().T
    return f"{int(xs.min())},{int(ys.min())},{int(xs.max())},{int(ys.max())}"


def overlap(path: str | Path, name: str) -> float:
    mask = read_selection(path).mask
    return float((mask & part(name)).sum() / (mask | part(name)).sum())


class TestPrompts:
    @pytest.mark.parametrize("name, where", [("red", "--view"), ("blue", "prefix")])
    @pytest.mark.parametrize("kind", ["click", "box", "scribble", "mask"])
    def test_every_kind_in_any_view(
        self, kind: str, name: str, where: str, balls: FeatureField, archive: Path, tmp_path: Path, capsys
    ):
        x, y = map(int, point(balls, name, OTHER).split(","))
        if kind == "mask":
            Image.fromarray((shown(balls, name, OTHER).numpy() * 255).astype(np.uint8)).save(
                tmp_path / "m.png"
            )
        text = {
            "click": f"{x},{y}",
            "box": box(balls, name, OTHER),
            "scribble": f"{x - 1},{y} {x + 1},{y}",
            "mask": str(tmp_path / "m.png"),
        }[kind]
        more = ["--view", OTHER, f"--{kind}", text] if where == "--view" else [f"--{kind}", f"{OTHER}:{text}"]
        if kind == "scribble":
            more += ["--brush", "1"]
        facts = ff(capsys, "segment", archive, *more, "-o", tmp_path / "out")
        assert overlap(facts["paths"][0], name) > 0.8
        assert facts["view"] == f"images/{OTHER}.png" and f"overlay_{OTHER}.png" in facts["paths"][3]
        (told,) = read_selection(facts["paths"][0]).how["prompts"]  # type: ignore[misc]
        assert (told["kind"], told["view"]) == (kind, f"images/{OTHER}.png")

    def test_negatives_are_told_apart_by_how_they_are_written(
        self, balls: FeatureField, archive: Path, tmp_path: Path, capsys
    ):
        Image.fromarray((shown(balls, "floor").numpy() * 255).astype(np.uint8)).save(tmp_path / "floor.png")
        x, y = map(int, point(balls, "floor").split(","))
        red = point(balls, "red")
        forms = {
            "click": f"{VIEW}:{x},{y}",
            "scribble": f"{VIEW}:{x},{y} {x + 1},{y}",
            "box": f"{VIEW}:{box(balls, 'blue')}",
            "mask": f"{VIEW}:{tmp_path / 'floor.png'}",
        }
        for kind, text in forms.items():
            facts = ff(
                capsys, "segment", archive, "--click", f"{VIEW}:{red}", "--negative", text, "--threshold", "-0.9",
                "--everywhere", "-o", tmp_path / kind,
            )  # fmt: skip
            selection = read_selection(facts["paths"][0])
            told = selection.how["prompts"][1]  # type: ignore[index]
            assert (told["kind"], told["positive"]) == (kind, False)
            gone = part("blue") if kind == "box" else part("floor")
            assert float(selection.mask[gone].float().mean()) < 0.1 and bool(
                selection.mask[part("red")].all()
            )
            assert facts["prompts"] == [f"{VIEW}:{red}", f"not {text}"]

    def test_pixels_are_those_of_the_photo_file(
        self, balls: FeatureField, photos: Path, tmp_path: Path, capsys
    ):
        """The field's cameras see the photos at half their size."""
        cameras = {name: camera.resized((20, 20)) for name, camera in balls.about.cameras.items()}
        about = replace(balls.about, cameras=cameras, notes={"downscale": 2.0}, data=str(photos))
        path = write_archive(replace(balls, about=about), tmp_path / "half.safetensors")
        Image.fromarray((shown(balls, "red").numpy() * 255).astype(np.uint8)).save(tmp_path / "m.png")
        x, y = map(int, point(balls, "red").split(","))
        x0, y0, x1, y1 = map(int, box(balls, "red").split(","))
        facts = ff(
            capsys, "segment", path, "--view", VIEW, "--click", f"{x},{y}", "--box", f"{x0},{y0},{x1},{y1}",
            "--scribble", f"{x},{y} {x + 1},{y}", "--brush", "2", "--mask", tmp_path / "m.png", "-o", tmp_path / "out",
            "--session", tmp_path / "s.json",
        )  # fmt: skip
        click, around, stroke, _ = read_session(tmp_path / "s.json")["steps"]
        assert (click["x"], click["y"]) == pytest.approx(((x + 0.5) / 2, (y + 0.5) / 2))
        assert around["box"] == pytest.approx([x0 / 2, y0 / 2, (x1 + 1) / 2, (y1 + 1) / 2])
        assert stroke["radius_px"] == pytest.approx(1.0)
        assert stroke["points"][1] == pytest.approx([(x + 1.5) / 2, (y + 0.5) / 2])
        mask = read_selection(facts["paths"][0]).how["prompts"][3]["mask"]  # type: ignore[index]
        assert mask == pytest.approx(int(shown(balls, "red").sum()) / 4, rel=0.25)
        assert overlap(facts["paths"][0], "red") > 0.9

    @pytest.mark.parametrize(
        "more, said",
        [
            (["--box", "1,2,3"], "a box is four numbers x0,y0,x1,y1 (pixels of the photo), got '1,2,3'"),
            (["--box", "9,9,3,3"], "the box 9,9,3,3 is empty"),
            (["--box", "90,90,99,99"], "covers no pixel of the picture of 40 x 40"),
            (["--scribble", "1,2,3 4,5"], "a stroke is pixels 'x,y x,y …'"),
            (["--scribble", "20,30", "--brush", "0"], "positive radius"),
            (["--mask", "nowhere.png"], "the mask nowhere.png does not exist"),
            (["--click", "nine:1,2"], "no view is called 'nine'"),
            (["--mask", "nine:m.png"], "no view is called 'nine'"),
            (["--text", "red ball"], "name the one that the field's features are of"),
            (["--text", "red ball", "--features", "classical"], "has no text tower"),
            (["--click", "20,30", "--field", "dep"], "nothing in these features depends on the view"),
            (["--click", "20,30", "--candidate", "9"], "candidate 9 was asked for"),
            (["--click", "20,30", "--undo", "1"], "say which with --session FILE that exists"),
            (["--click", "20,30", "--with", "or", "cup"], "cup does not exist"),
            (["--splat", "a.ply", "--click", "20,30"], "one thing can be segmented"),
            (["--all", "--click", "20,30"], "--all selects every object"),
            (["--negative", "20,30"], "nothing was clicked"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_makes_no_sense_is_one_clear_line(
        self, more, said: str, archive: Path, tmp_path: Path, capsys
    ):
        failure(capsys, said, "segment", archive, *more, "-o", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_mask_of_another_shape(self, archive: Path, tmp_path: Path, capsys):
        Image.fromarray(np.full((12, 30), 255, np.uint8)).save(tmp_path / "m.png")
        said = "has 30 x 12 pixels and the picture 40 x 40"
        failure(capsys, said, "segment", archive, "--mask", tmp_path / "m.png", "-o", tmp_path / "out")

    def test_a_reflection_is_told_in_one_line(self, balls: FeatureField, tmp_path: Path, capsys):
        head = reflected_head()
        with torch.no_grad():
            head.light.log_light.fill_(3.0)
        gloss = torch.where(part("red"), 6.0, -30.0)[:, None]
        splats = balls.splats.with_columns(
            gloss=gloss, tint=torch.full((264, 3), 3.0), near=torch.zeros_like(balls.splats.columns["near"])
        )
        field = replace(balls, splats=splats, heads={**balls.heads, "rgb": head})
        path = write_archive(field, tmp_path / "shiny.safetensors")
        for name, count in (("red", 1), ("blue", 0)):
            facts = ff(
                capsys, "segment", path, "--view", VIEW, "--click", point(balls, name), "-o", tmp_path / name
            )
            assert len(facts["reflections"]) == count
        assert (
            "shows a reflection"
            in ff(
                capsys,
                "segment",
                path,
                "--view",
                VIEW,
                "--click",
                point(balls, "red"),
                "-o",
                tmp_path / "again",
            )["reflections"][0]
        )
        main(
            [
                "segment",
                str(path),
                "--view",
                VIEW,
                "--click",
                point(balls, "red"),
                "-o",
                str(tmp_path / "told"),
            ]
        )
        lines = [line for line in capsys.readouterr().err.splitlines() if "shows a reflection" in line]
        assert len(lines) == 1 and "--field dep" in lines[0]


class TestSessions:
    def test_prompts_of_earlier_commands_come_first(
        self, balls: FeatureField, archive: Path, tmp_path: Path, capsys
    ):
        session = tmp_path / "s.json"
        red, blue = f"{VIEW}:{point(balls, 'red')}", f"{OTHER}:{point(balls, 'blue', OTHER)}"
        first = ff(capsys, "segment", archive, "--click", red, "--session", session, "-o", tmp_path / "a")
        assert first["paths"][-1] == str(session) and first["steps_of_the_session"] == 1
        second = ff(capsys, "segment", archive, "--click", blue, "--session", session, "-o", tmp_path / "b")
        together = ff(capsys, "segment", archive, "--click", red, "--click", blue, "-o", tmp_path / "c")
        masks = [read_selection(facts["paths"][0]).mask for facts in (second, together)]
        assert torch.equal(*masks) and second["steps_of_the_session"] == 2
        back = ff(capsys, "segment", archive, "--undo", 1, "--session", session, "-o", tmp_path / "d")
        assert (tmp_path / "a" / "selection.safetensors").read_bytes() == (
            tmp_path / "d" / "selection.safetensors"
        ).read_bytes()
        assert back["steps_of_the_session"] == 1
        said = "--undo 5 was asked for, but"
        failure(capsys, said, "segment", archive, "--undo", 5, "--session", session, "-o", tmp_path / "e")

    def test_settings_stay_until_others_are_given(
        self, balls: FeatureField, archive: Path, tmp_path: Path, capsys
    ):
        session = tmp_path / "s.json"
        red = f"{VIEW}:{point(balls, 'red')}"
        ff(
            capsys, "segment", archive, "--click", red, "--threshold", 0.5, "--everywhere", "--session", session,
            "-o", tmp_path / "a",
        )  # fmt: skip
        again = ff(capsys, "segment", archive, "--session", session, "-o", tmp_path / "b")
        assert again["threshold"] == 0.5
        assert read_selection(again["paths"][0]).how["connected"] is False
        other = ff(capsys, "segment", archive, "--session", session, "--threshold", 0.7, "-o", tmp_path / "c")
        assert other["threshold"] == 0.7

    def test_named_selections_and_files_are_combined(
        self, balls: FeatureField, archive: Path, tmp_path: Path, capsys
    ):
        session = tmp_path / "s.json"
        for name in ("red", "floor"):
            ff(
                capsys, "segment", archive, "--clear" if session.exists() else "--everywhere", "--click",
                f"{VIEW}:{point(balls, name)}", "--session", session, "--name", name, "-o", tmp_path / name,
            )  # fmt: skip
        blue = ff(
            capsys, "segment", archive, "--click", f"{VIEW}:{point(balls, 'blue')}", "-o", tmp_path / "blue"
        )
        kept = {name: read_selection(tmp_path / name / "selection.safetensors") for name in ("red", "floor")}
        assert kept["red"].how["name"] == "red"
        facts = ff(
            capsys, "segment", archive, "--clear", "--session", session, "--with", "or", "red", "--with", "or",
            blue["paths"][0], "--with", "minus", "floor", "-o", tmp_path / "all",
        )  # fmt: skip
        wanted = (kept["red"].mask | read_selection(blue["paths"][0]).mask) & ~kept["floor"].mask
        assert torch.equal(read_selection(facts["paths"][0]).mask, wanted)
        assert facts["combined"] == ["or red", f"or {blue['paths'][0]}", "minus floor"]
        again = ff(capsys, "segment", archive, "--session", session, "-o", tmp_path / "replayed")
        assert torch.equal(read_selection(again["paths"][0]).mask, wanted)

    def test_a_session_of_another_field_or_no_session(
        self, balls: FeatureField, archive: Path, tmp_path: Path, capsys
    ):
        session = tmp_path / "s.json"
        click = ["--click", f"{VIEW}:{point(balls, 'red')}"]
        ff(capsys, "segment", archive, *click, "--session", session, "-o", tmp_path / "a")
        moved = replace(balls, splats=replace(balls.splats, means=balls.splats.means + 0.5))
        other = write_archive(moved, tmp_path / "other.safetensors")
        before = session.read_bytes()
        said = "the session was recorded on another scene"
        failure(capsys, said, "segment", other, *click, "--session", session, "-o", tmp_path / "b")
        assert session.read_bytes() == before
        session.write_text("hello")
        failure(
            capsys, "is no session", "segment", archive, *click, "--session", session, "-o", tmp_path / "b"
        )
        assert session.read_text() == "hello"


class TestSplats:
    def test_a_splat_and_its_photos_are_enough(self, photos: Path, tmp_path: Path, capsys):
        """Rows of the object are rows of the file; the field that was made is there to go on with."""
        truth = two_balls("harmonics")
        path = write_ply(bake_harmonics(truth), tmp_path / "balls.ply")
        lifting = ["--features", "classical", "--feature-dim", 8, "--cache", tmp_path / "cache"]
        click = ["--view", VIEW, "--click", point(truth, "red")]
        facts = ff(
            capsys, "segment", "--splat", path, "--data", photos, *click, *lifting, "-o", tmp_path / "out"
        )
        assert facts["of"] == 264 and 0 < facts["splats_selected"] < 264
        mask = read_selection(facts["paths"][0]).mask
        rows = read_ply(path).splats.means[mask]
        assert torch.equal(read_ply(tmp_path / "out" / "object.ply").splats.means, rows)
        again = ff(
            capsys, "segment", tmp_path / "out", "--data", photos, *click, "-o", tmp_path / "object.ply"
        )
        assert again["paths"] == [str(tmp_path / "object.ply")]
        assert (tmp_path / "object.ply").read_bytes() == (tmp_path / "out" / "object.ply").read_bytes()
        assert "--remove-specular" in facts["next"][0] and str(tmp_path / "out") in facts["next"][0]

    def test_without_photos_it_is_one_clear_line(self, balls: FeatureField, tmp_path: Path, capsys):
        path = write_ply(bake_harmonics(balls), tmp_path / "balls.ply")
        said = "comes without its photos; say where they are with --data FOLDER"
        failure(capsys, said, "segment", "--splat", path, "--click", "20,30", "-o", tmp_path / "out")
        failure(capsys, "one thing can be segmented", "segment", "--click", "20,30", "-o", tmp_path / "out")

    def test_an_object_alone_is_one_file_that_is_not_replaced(
        self, balls: FeatureField, archive: Path, tmp_path: Path, capsys
    ):
        click = ["--click", f"{VIEW}:{point(balls, 'red')}"]
        facts = ff(capsys, "segment", archive, *click, "-o", tmp_path / "red.ply")
        assert [path.name for path in tmp_path.iterdir()] == ["red.ply"]
        assert len(read_ply(tmp_path / "red.ply")) == facts["splats_selected"]
        failure(capsys, "exists already", "segment", archive, *click, "-o", tmp_path / "red.ply")
        nothing = ["--with", "and", "x.safetensors"]
        selection = ff(
            capsys, "segment", archive, "--click", f"{VIEW}:{point(balls, 'blue')}", "-o", tmp_path / "b"
        )
        nothing[-1] = selection["paths"][0]
        said = "nothing is selected, so there is nothing to write"
        failure(capsys, said, "segment", archive, *click, *nothing, "-o", tmp_path / "none.ply")

    def test_all_writes_every_object(self, balls: FeatureField, archive: Path, tmp_path: Path, capsys):
        facts = ff(capsys, "segment", archive, "--all", "-o", tmp_path / "all")
        assert facts["objects"] >= 2 and (tmp_path / "all" / "scene.ply").is_file()
