"""Files that are written for other programs: meshes, points, .splat, and what splat-transform makes."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_fields import two_balls

from featurefields.errors import UnavailableError, WriteError
from featurefields.files import compressed
from featurefields.files.compressed import compressed_ending, write_compressed
from featurefields.files.dot_splat import RECORD, write_dot_splat
from featurefields.files.mesh import Mesh, write_mesh
from featurefields.files.ply import read_ply
from featurefields.files.points import write_points
from featurefields.maths.colour import linear_from_srgb
from featurefields.maths.rotations import matrix_from_quat
from featurefields.ply_table import read_vertices
from featurefields.splats import Splats


@pytest.fixture
def mesh() -> Mesh:
    """A tetrahedron with four colours."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    triangles = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    normals = torch.nn.functional.normalize(vertices - vertices.mean(0), dim=-1)
    return Mesh(
        vertices, triangles, normals, torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    )


@pytest.fixture
def splats() -> Splats:
    return two_balls("harmonics").splats


class TestMesh:
    @pytest.mark.parametrize("ending", [".ply", ".obj"])
    def test_open3d_reads_what_was_written(self, mesh: Mesh, tmp_path: Path, ending: str):
        open3d = pytest.importorskip("open3d", reason="open3d is not installed")
        back = open3d.io.read_triangle_mesh(str(write_mesh(mesh, tmp_path / f"m{ending}")))
        corners = np.asarray(back.triangles)  # which open3d numbers anew when it reads .obj
        for found, values in (
            (back.vertices, mesh.vertices),
            (back.vertex_normals, mesh.normals),
            (back.vertex_colors, mesh.colours),
        ):
            assert np.allclose(np.asarray(found)[corners], values[mesh.triangles].numpy(), atol=0.003)

    def test_glb_holds_what_gltf_asks_for(self, mesh: Mesh, tmp_path: Path):
        content = write_mesh(mesh, tmp_path / "m.glb").read_bytes()
        magic, version, length, text_length, kind = struct.unpack("<4sIII4s", content[:20])
        assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
        document = json.loads(content[20 : 20 + text_length])
        size, name = struct.unpack("<I4s", content[20 + text_length : 28 + text_length])
        binary = content[28 + text_length :]
        assert (size, name) == (len(binary), b"BIN\0") and size % 4 == text_length % 4 == 0
        kinds = {5126: "<f4", 5123: "<u2", 5125: "<u4"}
        (primitive,) = document["meshes"][0]["primitives"]

        def array(number: int) -> np.ndarray:
            accessor = document["accessors"][number]
            view = document["bufferViews"][accessor["bufferView"]]
            data = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
            found = np.frombuffer(data, kinds[accessor["componentType"]])
            return found.reshape(accessor["count"], -1)

        assert np.array_equal(array(primitive["attributes"]["POSITION"]), mesh.vertices.numpy())
        assert np.array_equal(array(primitive["indices"]).reshape(-1, 3), mesh.triangles.numpy())
        linear = array(primitive["attributes"]["COLOR_0"]) / 65535
        assert np.allclose(linear[:, :3], linear_from_srgb(mesh.colours).numpy(), atol=1e-4)
        assert (linear[:, 3] == 1).all() and linear[3, 0] < 0.25
        place = document["accessors"][primitive["attributes"]["POSITION"]]
        assert place["min"] == [0, 0, 0] and place["max"] == [1, 2, 3]

    def test_what_cannot_be_written_is_told(self, mesh: Mesh, tmp_path: Path):
        with pytest.raises(WriteError, match=r"\.ply, \.obj, \.glb, not '\.stl'"):
            write_mesh(mesh, tmp_path / "m.stl")
        empty = Mesh(mesh.vertices, mesh.triangles[:0], mesh.normals, mesh.colours)
        with pytest.raises(WriteError, match="no triangles"):
            write_mesh(empty, tmp_path / "m.ply")
        write_mesh(mesh, tmp_path / "m.ply")
        with pytest.raises(WriteError, match="--overwrite"):
            write_mesh(mesh, tmp_path / "m.ply")


class TestPoints:
    def test_they_come_back(self, tmp_path: Path):
        generator = torch.Generator().manual_seed(2)
        positions, normals, colours = (torch.rand(7, 3, generator=generator) for _ in range(3))
        table = read_vertices(write_points(positions, normals, colours, tmp_path / "p.ply"))
        assert list(table) == ["x", "y", "z", "nx", "ny", "nz", "red", "green", "blue"]
        assert np.array_equal(table["y"], positions[:, 1].numpy())
        assert np.array_equal(table["nz"], normals[:, 2].numpy())
        assert table["red"].dtype == np.uint8
        assert np.abs(table["blue"] / 255 - colours[:, 2].numpy()).max() <= 0.5 / 255 + 1e-6

    def test_none_are_told(self, tmp_path: Path):
        none = torch.zeros(0, 3)
        with pytest.raises(WriteError, match="no points"):
            write_points(none, none, none, tmp_path / "p.ply")


class TestDotSplat:
    def test_records(self, splats: Splats, tmp_path: Path):
        path = write_dot_splat(splats, tmp_path / "s.splat")
        assert path.stat().st_size == 32 * len(splats)
        records = np.frombuffer(path.read_bytes(), RECORD)
        order = splats.footprints.argsort(descending=True)
        assert np.array_equal(records["place"], splats.means[order].numpy())
        assert np.allclose(records["scale"], splats.scales[order].numpy())
        colour = (0.5 + 0.28209479 * splats.columns["harmonics"][order, 0]).clamp(0, 1)
        assert np.abs(records["colour"][:, :3] / 255 - colour.numpy()).max() < 0.6 / 255
        assert np.abs(records["colour"][:, 3] / 255 - splats.opacities[order].numpy()).max() < 0.6 / 255
        turns = matrix_from_quat((torch.from_numpy(records["turn"].astype(np.float32)) - 128) / 128)
        assert (turns - matrix_from_quat(splats.quats[order])).abs().max() < 0.04

    def test_what_cannot_be_written_is_told(self, splats: Splats, tmp_path: Path):
        with pytest.raises(WriteError, match="no splats"):
            write_dot_splat(splats.without_columns("harmonics"), tmp_path / "s.splat")


def stand_in(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called splat-transform on the PATH that notes its arguments and then runs `body`."""
    program = folder / "bin" / compressed.COMMAND
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/calls"\nfor last; do :; done\n{body}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return folder / "calls"


class TestCompressed:
    def test_endings(self):
        found = [
            compressed_ending(Path(name)) for name in ("a.compressed.ply", "a.SOG", "a.b.spz", "a.ply", "sog")
        ]
        assert found == [".compressed.ply", ".sog", ".spz", None, None]

    def test_the_command_gets_an_ordinary_ply(self, splats: Splats, tmp_path: Path, monkeypatch):
        calls = stand_in(tmp_path, 'cp "$2" "$last"', monkeypatch)
        path = write_compressed(splats, tmp_path / "s.compressed.ply")
        assert torch.equal(read_ply(path).splats.means, splats.means)
        words = calls.read_text().split()
        assert words[0] == "-w" and words[2].endswith("made.compressed.ply") and len(words) == 3

    def test_without_a_graphics_card_it_is_told_so(self, splats: Splats, tmp_path: Path, monkeypatch):
        calls = stand_in(
            tmp_path,
            'if [ "$2" = -g ]; then echo x > "$last"; else echo "Error: no adapter" >&2; exit 1; fi',
            monkeypatch,
        )
        assert write_compressed(splats, tmp_path / "s.sog").read_text() == "x\n"
        assert [line.split()[:3] for line in calls.read_text().splitlines()][1] == ["-w", "-g", "cpu"]

    def test_its_last_words_are_passed_on_in_one_line(self, splats: Splats, tmp_path: Path, monkeypatch):
        calls = stand_in(
            tmp_path, 'printf "reading\\n  ✗ Error: out of paper\\n at x\\n" >&2; exit 3', monkeypatch
        )
        (tmp_path / "s.spz").write_bytes(b"mine")
        with pytest.raises(WriteError, match="Error: out of paper") as caught:
            write_compressed(splats, tmp_path / "s.spz", overwrite=True)
        assert "\n" not in str(caught.value) and (tmp_path / "s.spz").read_bytes() == b"mine"
        assert len(calls.read_text().splitlines()) == 1

    def test_success_without_a_file_is_a_failure(self, splats: Splats, tmp_path: Path, monkeypatch):
        stand_in(tmp_path, "exit 0", monkeypatch)
        with pytest.raises(WriteError, match="nothing written"):
            write_compressed(splats, tmp_path / "s.spz")

    def test_without_the_command_the_message_says_how_to_get_it(
        self, splats: Splats, tmp_path: Path, monkeypatch
    ):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UnavailableError, match="npm install -g @playcanvas/splat-transform"):
            write_compressed(splats, tmp_path / "s.sog")
        with pytest.raises(WriteError, match=r"\.compressed\.ply, \.sog"):
            write_compressed(splats, tmp_path / "s.zip")

    @pytest.mark.parametrize("ending", [".spz", ".compressed.ply", ".splat"])
    def test_splat_transform_reads_it_back(self, splats: Splats, tmp_path: Path, ending: str):
        import subprocess

        command = shutil.which(compressed.COMMAND)
        if command is None:
            pytest.skip("splat-transform is not installed")
        write = write_dot_splat if ending == ".splat" else write_compressed
        path = write(splats, tmp_path / f"s{ending}")
        done = subprocess.run(
            [command, "-w", str(path), str(tmp_path / "back.ply")], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        back = read_ply(tmp_path / "back.ply").splats
        distance = torch.cdist(back.means, splats.means)
        assert len(back) == len(splats) and distance.amin(0).max() < 2e-3
        nearest = distance.argmin(1)
        colours = back.columns["harmonics"][:, 0] - splats.columns["harmonics"][nearest, 0]
        assert colours.abs().max() < 0.1
        assert (
            back.log_scales.sort(-1).values - splats.log_scales[nearest].sort(-1).values
        ).abs().max() < 0.1
