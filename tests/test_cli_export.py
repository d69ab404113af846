"""`ff export`: points, meshes and other splat files, through the command line on a scene of 40 x 40 pixels."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_fields import BALLS, part, two_balls

from featurefields.field import FeatureField
from featurefields.files.archive import write_archive
from featurefields.files.dot_splat import RECORD
from featurefields.files.ply import write_ply
from featurefields.files.selection import write_selection
from featurefields.maths.similarity import Similarity
from featurefields.ply_table import read_vertices
from featurefields.selection import Selection
from featurefields_cli import main

TURN = Similarity(2.0, torch.eye(3)[[1, 2, 0]], torch.tensor([0.1, -0.2, 0.3]))
"""world_from_capture of the field that is exported; the photos' frame is that of `two_balls`."""


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


def places(path: Path) -> torch.Tensor:
    table = read_vertices(path)
    return torch.from_numpy(np.stack([table[name] for name in "xyz"], -1).astype(np.float32))


@pytest.fixture(scope="module")
def field() -> FeatureField:
    made = two_balls("reflected")
    cameras = {name: camera.resized((80, 80)) for name, camera in made.about.cameras.items()}
    return replace(made, about=replace(made.about, cameras=cameras)).moved(TURN)


@pytest.fixture(scope="module")
def archive(field: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(field, tmp_path_factory.mktemp("field") / "balls.safetensors")


@pytest.fixture(scope="module")
def blue(field: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = Selection(part("blue"), part("blue").float(), field.fingerprint())
    return write_selection(chosen, tmp_path_factory.mktemp("blue") / "s.safetensors")


class TestPoints:
    def test_they_fit_the_photos_or_the_world(
        self, archive: Path, field: FeatureField, tmp_path: Path, capsys
    ):
        told = ff(capsys, "export", archive, "--as", "points", "-o", tmp_path / "p.ply", "--color", "matter")
        assert 150 < told["points"] <= told["splats"] == 264 and told["views"] == 9
        found, truth = places(tmp_path / "p.ply"), two_balls("reflected").splats.means
        assert torch.cdist(found.double(), truth.double()).amin(1).max() < 1e-5
        ff(capsys, "export", archive, "--as", "points", "-o", tmp_path / "w.ply", "--frame", "world")
        found = places(tmp_path / "w.ply")
        assert torch.cdist(found.double(), field.splats.means.double()).amin(1).max() < 1e-5

    def test_normals_turn_with_them_and_colours_are_matter(self, archive: Path, tmp_path: Path, capsys):
        ff(capsys, "export", archive, "--as", "points", "-o", tmp_path / "p.ply", "--color", "matter")
        table, found = read_vertices(tmp_path / "p.ply"), places(tmp_path / "p.ply")
        floor = found[:, 2] < 1e-3
        assert floor.sum() > 50 and (table["nz"][floor.numpy()] > 0.99).all()
        near_red = (found - torch.tensor(BALLS["red"])).norm(dim=-1) < 0.36
        red, blue = (table[name][near_red.numpy()].mean() for name in ("red", "blue"))
        assert red > 150 > 60 > blue

    def test_a_selection_and_only_what_is_opaque(self, archive: Path, blue: Path, tmp_path: Path, capsys):
        told = ff(
            capsys,
            "export",
            archive,
            "--as",
            "points",
            "--selection",
            blue,
            "-o",
            tmp_path / "b.ply",
            "--views",
            "4",
        )
        assert told["splats"] == 60 and told["of"] == 264 and told["views"] <= 4
        assert ((places(tmp_path / "b.ply") - torch.tensor(BALLS["blue"])).norm(dim=-1) < 0.36).all()
        line = failure(
            capsys, "export", archive, "--as", "points", "-o", tmp_path / "n.ply", "--min-opacity", "0.99"
        )
        assert "0.99 opaque" in line


class TestMesh:
    @pytest.fixture(autouse=True)
    def open3d(self):
        pytest.importorskip("open3d", reason="open3d is not installed")

    def test_a_selected_object_fits_the_photos(self, archive: Path, blue: Path, tmp_path: Path, capsys):
        told = ff(
            capsys, "export", archive, "--as", "mesh", "--selection", blue, "--color", "matter",
            "-o", tmp_path / "m.ply", "--coverage", "0.5",
        )  # fmt: skip
        table, found = read_vertices(tmp_path / "m.ply"), places(tmp_path / "m.ply")
        assert told["vertices"] == len(found) > 200
        away = (found - torch.tensor(BALLS["blue"])).norm(dim=-1)
        assert away.median().item() == pytest.approx(0.35, abs=0.06)
        assert table["blue"].mean() > 120 > 80 > table["red"].mean()
        assert told["truncation"] == pytest.approx(4 * told["voxel"])

    def test_lengths_are_those_of_the_frame(self, archive: Path, blue: Path, tmp_path: Path, capsys):
        common = ("export", archive, "--as", "mesh", "--selection", blue, "--coverage", "0.5")
        one = ff(capsys, *common, "-o", tmp_path / "a.ply", "--voxel", "0.05")
        two = ff(capsys, *common, "-o", tmp_path / "b.ply", "--voxel", "0.1", "--frame", "world")
        assert one["voxel"] == pytest.approx(0.05) and two["voxel"] == pytest.approx(0.1)
        assert one["vertices"] == two["vertices"]
        assert torch.allclose(TURN.points(places(tmp_path / "a.ply")), places(tmp_path / "b.ply"), atol=1e-4)

    def test_a_ply_without_views_is_looked_at_from_all_around(self, tmp_path: Path, capsys, monkeypatch):
        monkeypatch.setattr("featurefields_cli.solids.ALONE_PX", 96)
        whole = two_balls("harmonics")
        ply = write_ply(whole.splats.select(part("red")), tmp_path / "red.ply")
        told = ff(
            capsys, "export", ply, "--as", "mesh", "-o", tmp_path / "m.glb", "--views", "12", "--coverage", "0.5",
            "--voxel", "0.04",
        )  # fmt: skip
        assert told["views"] == 12 and told["triangles"] > 500
        assert (tmp_path / "m.glb").read_bytes()[:4] == b"glTF"

    def test_without_open3d_nothing_is_begun(self, archive: Path, tmp_path: Path, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "open3d", None)
        line = failure(capsys, "export", archive, "--as", "mesh", "-o", tmp_path / "m.ply")
        assert "featurefields[mesh]" in line and not list(tmp_path.iterdir())


class TestSplats:
    @pytest.fixture
    def plain(self, tmp_path: Path) -> Path:
        """The blue ball alone, in harmonics."""
        whole = two_balls("harmonics")
        return write_ply(whole.splats.select(part("blue")), tmp_path / "blue.ply")

    def test_dot_splat(self, plain: Path, tmp_path: Path, capsys):
        told = ff(capsys, "export", plain, "-o", tmp_path / "b.splat")
        assert told["sh_degree"] == 0
        records = np.frombuffer((tmp_path / "b.splat").read_bytes(), RECORD)
        away = np.linalg.norm(records["place"] - np.array(BALLS["blue"]), axis=1)
        assert len(records) == 60 and np.allclose(away, 0.35, atol=1e-3)

    def test_it_tells_how_far_the_baked_splat_is_from_the_field(
        self, archive: Path, field: FeatureField, plain: Path, tmp_path: Path, capsys
    ):
        from featurefields.files.ply import read_ply
        from featurefields_cli.baking import baking_error

        told = ff(capsys, "export", archive, "--quick", "--sky", "-o", tmp_path / "a.ply")
        right = told["baked,_dB_to_the_field"]
        assert right > 25 and told["in_the_worst_view"] <= right
        splats = read_ply(tmp_path / "a.ply").splats
        grey = splats.with_columns(harmonics=0 * splats.columns["harmonics"])
        assert baking_error(field, splats, sky=True)["baked, dB to the field"] == pytest.approx(
            right, abs=0.1
        )
        assert baking_error(field, grey, sky=True)["baked, dB to the field"] < right - 10  # type: ignore[operator]
        same = ff(capsys, "export", plain, "-o", tmp_path / "b.ply")
        assert "in_the_worst_view" not in same  # nothing was baked

    def test_compressed_files_are_made_by_the_command(self, plain: Path, tmp_path: Path, capsys, monkeypatch):
        program = tmp_path / "bin" / "splat-transform"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\ncp "$2" "$3"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        told = ff(capsys, "export", plain, "-o", tmp_path / "b.spz", "--sh-degree", "1")
        assert told["paths"] == [str(tmp_path / "b.spz")] and told["next"] == []
        table = read_vertices(tmp_path / "b.spz")
        assert len(table["x"]) == 60 and sum(name.startswith("f_rest") for name in table) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.obj"], "pass --as mesh"),
        (["-o", "x.ksplat"], ".ksplat"),
        (["-o", "x.sog"], "npm install -g @playcanvas/splat-transform"),
        (["-o", "x.sog", "--as", "points"], "no .ply"),
        (["-o", "x.stl", "--as", "mesh"], ".ply, .obj, .glb"),
        (["-o", "x.ply", "--color", "matter"], "pass --as points or --as mesh"),
        (["-o", "x.ply", "--as", "points", "--min-opacity", "2"], "--min-opacity"),
        (["-o", "x.ply", "--as", "mesh", "--voxel", "-1"], "--voxel"),
        (["-o", "x.ply", "--as", "mesh", "--views", "0"], "--views"),
        (["-o", "x.ply", "--as", "mesh", "--far", "0.01"], "nearer than"),
    ],
)
def test_what_cannot_be_is_told(archive: Path, tmp_path: Path, capsys, monkeypatch, arguments, message):
    if "--far" in arguments:
        pytest.importorskip("open3d", reason="open3d is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert message in failure(capsys, "export", archive, *arguments)
    assert not list(tmp_path.iterdir())
