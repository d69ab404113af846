"""Splat PLY files: the standard layout, both ways."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement
from torch import Tensor

from featurefields.errors import FileFormatError, WriteError
from featurefields.field import FeatureField
from featurefields.files import read_ply, write_ply
from featurefields.heads.direct import DirectHead
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats

DATA = Path(os.environ.get("FF_DATA", Path(__file__).parents[2] / "shared" / "data"))
MANY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

STANDARD = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
STANDARD += [f"f_rest_{index}" for index in range(45)]
STANDARD += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def make_splats(count: int = 6, degree: int = 3, seed: int = 0, normals: bool = False) -> Splats:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 3

    columns = {"harmonics": normal(count, (degree + 1) ** 2, 3)}
    if normals:
        columns["normals"] = normal(count, 3)
    return Splats(normal(count, 3), normal(count, 4), normal(count, 3), normal(count), columns)


def assert_same(a: Splats, b: Splats) -> None:
    one, other = a.tensors(), b.tensors()
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]), name


def table(path: Path) -> np.ndarray:
    return np.array(PlyData.read(str(path))["vertex"].data)


def save(rows: np.ndarray, path: Path, **options: object) -> Path:
    PlyData([PlyElement.describe(rows, "vertex")], **options).write(str(path))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(FileFormatError) as raised:
        read_ply(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
    return str(raised.value)


def write_refusal(splats: Splats, path: Path, **options: object) -> str:
    with pytest.raises(WriteError) as raised:
        write_ply(splats, path, **options)
    assert "\n" not in str(raised.value) and not path.exists()
    return str(raised.value)


@MANY
@given(count=st.integers(1, 20), degree=st.integers(0, 3), seed=st.integers(0, 99), normals=st.booleans())
def test_round_trip_is_exact(tmp_path: Path, count: int, degree: int, seed: int, normals: bool) -> None:
    written = make_splats(count, degree, seed, normals)
    field = read_ply(write_ply(written, tmp_path / "chair.ply", overwrite=True))
    assert_same(field.splats, written)
    assert list(field.heads) == ["rgb"] and isinstance(field.heads["rgb"], HarmonicsHead)
    assert field.heads["rgb"].config() == {"degree": degree}
    assert field.about.scene == "chair" and field.about.notes == {}


def test_the_layout_is_the_standard_one(tmp_path: Path) -> None:
    splats = make_splats(4, normals=True)
    path = write_ply(splats, tmp_path / "s.ply")
    assert path.read_bytes().startswith(
        b"ply\nformat binary_little_endian 1.0\nelement vertex 4\nproperty float x\n"
    )
    rows = table(path)
    assert list(rows.dtype.names) == STANDARD
    assert all(rows.dtype[name] == np.dtype("<f4") for name in STANDARD)
    harmonics = splats.columns["harmonics"]
    for row in range(4):
        assert [rows[name][row] for name in ("x", "y", "z")] == splats.means[row].tolist()
        assert [rows[name][row] for name in ("nx", "ny", "nz")] == splats.columns["normals"][row].tolist()
        assert [rows[f"rot_{i}"][row] for i in range(4)] == splats.quats[row].tolist()
        assert [rows[f"scale_{i}"][row] for i in range(3)] == splats.log_scales[row].tolist()
        assert rows["opacity"][row] == splats.opacity_logits[row]
        for channel in range(3):
            assert rows[f"f_dc_{channel}"][row] == harmonics[row, 0, channel]
            for band in range(1, 16):
                assert rows[f"f_rest_{channel * 15 + band - 1}"][row] == harmonics[row, band, channel]


@pytest.mark.parametrize(("degree", "rest"), [(0, 0), (1, 9), (2, 24), (3, 45)])
def test_the_degree_decides_the_number_of_properties(degree: int, rest: int, tmp_path: Path) -> None:
    rows = table(write_ply(make_splats(degree=degree), tmp_path / "s.ply"))
    assert sum(name.startswith("f_rest_") for name in rows.dtype.names) == rest
    assert not rows["nx"].any()


def test_the_file_is_as_long_as_its_rows(tmp_path: Path) -> None:
    content = write_ply(make_splats(5, degree=0), tmp_path / "s.ply").read_bytes()
    assert len(content) - content.index(b"end_header\n") - len(b"end_header\n") == 5 * 17 * 4


def test_extra_columns_are_appended_and_kept(tmp_path: Path) -> None:
    splats = make_splats(5)
    extra = {
        "label": torch.tensor([3, -1, 0, 2**31 - 1, 7]),
        "score": torch.rand(5),
        "wide": torch.rand(5, dtype=torch.float64),
        "half": torch.rand(5).half(),
        "chosen": torch.tensor([True, False, True, True, False]),
        "small": torch.arange(5, dtype=torch.int16) - 2,
        "id": torch.arange(5).to(torch.uint16),
    }
    path = write_ply(splats, tmp_path / "s.ply", extra=extra)
    rows = table(path)
    assert list(rows.dtype.names) == [*STANDARD, *extra]
    kinds = [rows.dtype[name].str for name in extra]
    assert kinds == ["<i4", "<f4", "<f8", "<f4", "|u1", "<i2", "<u2"]
    field = read_ply(path)
    columns = field.splats.columns
    assert list(columns) == ["harmonics", *(f"ply.{name}" for name in extra)]
    assert columns["ply.label"].dtype == torch.int32 and columns["ply.wide"].dtype == torch.float64
    for name, values in extra.items():
        assert torch.equal(columns[f"ply.{name}"].double(), values.double()), name
    again = write_ply(field.splats, tmp_path / "again.ply")
    assert again.read_bytes() == path.read_bytes()
    chosen = field.splats.select(columns["ply.chosen"].bool())
    replaced = read_ply(write_ply(chosen, tmp_path / "chosen.ply", extra={"label": torch.zeros(3).int()}))
    assert replaced.splats.columns["ply.label"].tolist() == [0, 0, 0]
    assert replaced.splats.columns["ply.id"].tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"x": torch.zeros(6)}, "'x' is part of every splat PLY"),
        ({"f_rest_3": torch.zeros(6)}, "'f_rest_3' is part of every splat PLY"),
        ({"label": torch.zeros(5)}, r"'label' is (5,)"),
        ({"label": torch.zeros(6, 1)}, r"'label' is (6, 1)"),
        ({"label": torch.full((6,), 2**31)}, "beyond 32 bits"),
        ({"my label": torch.zeros(6)}, "my label"),
        ({"größe": torch.zeros(6)}, "gr"),
        ({"z": torch.zeros(6).cfloat()}, "'z' is part"),
        ({"w": torch.zeros(6).cfloat()}, "'w' has dtype torch.complex64"),
    ],
)
def test_extra_columns_that_do_not_fit(extra: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    assert message in write_refusal(make_splats(6, degree=0), tmp_path / "s.ply", extra=extra)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    splats, path = make_splats(), tmp_path / "s.ply"
    assert "there is none" in write_refusal(splats.without_columns("harmonics"), path)
    five = splats.with_columns(harmonics=torch.zeros(6, 5, 3))
    assert "it is (6, 5, 3)" in write_refusal(five, path)
    assert "'normals' is (6, 1)" in write_refusal(splats.with_columns(normals=torch.zeros(6, 1)), path)
    assert "no splats to write" in write_refusal(splats.select(torch.zeros(6).bool()), path)
    path.write_bytes(b"old")
    with pytest.raises(WriteError, match="exists already"):
        write_ply(splats, path)
    assert path.read_bytes() == b"old"


def test_ascii_big_endian_doubles_and_any_order(tmp_path: Path) -> None:
    splats = make_splats(5, degree=1)
    rows = table(write_ply(splats, tmp_path / "s.ply", extra={"label": torch.arange(5)}))
    names = list(np.random.default_rng(0).permutation(list(rows.dtype.names)))
    shuffled = np.empty(5, dtype=[(name, rows.dtype[name]) for name in names])
    doubles = np.empty(5, dtype=[(name, "<f8") for name in names if name != "label"])
    for name in names:
        shuffled[name] = rows[name]
    for name in doubles.dtype.names:
        doubles[name] = rows[name]
    with_labels = splats.with_columns(**{"ply.label": torch.arange(5).int()})
    assert_same(read_ply(save(shuffled, tmp_path / "ascii.ply", text=True)).splats, with_labels)
    assert (tmp_path / "ascii.ply").read_bytes().startswith(b"ply\nformat ascii")
    assert_same(read_ply(save(shuffled, tmp_path / "big.ply", byte_order=">")).splats, with_labels)
    assert_same(read_ply(save(doubles, tmp_path / "doubles.ply")).splats, splats)


def test_other_elements_comments_and_missing_normals_do_not_matter(tmp_path: Path) -> None:
    splats = make_splats(5, degree=0)
    rows = table(write_ply(splats, tmp_path / "s.ply"))
    bare = rows[[name for name in rows.dtype.names if name not in ("nx", "ny", "nz")]]
    bare = np.array(bare.tolist(), dtype=[(name, "<f4") for name in bare.dtype.names])
    faces = np.array([([0, 1, 2],)], dtype=[("vertex_indices", "i4", (3,))])
    elements = [PlyElement.describe(faces, "face"), PlyElement.describe(bare, "vertex")]
    PlyData(elements, byte_order="<", comments=["made elsewhere"]).write(str(tmp_path / "faces.ply"))
    assert_same(read_ply(tmp_path / "faces.ply").splats, splats)


def test_splats_that_cannot_be_drawn_are_left_out_and_counted(tmp_path: Path) -> None:
    splats = make_splats(8, degree=1)
    splats.means[0, 1] = torch.nan
    splats.quats[1, 0] = torch.inf
    splats.log_scales[2, 2] = torch.inf
    splats.opacity_logits[3] = torch.nan
    splats.columns["harmonics"][4, 3, 2] = torch.nan
    splats.opacity_logits[5], splats.log_scales[5, 0] = torch.inf, -torch.inf
    field = read_ply(write_ply(splats, tmp_path / "s.ply", extra={"row": torch.arange(8)}))
    assert field.splats.columns["ply.row"].tolist() == [5, 6, 7]
    assert field.splats.opacity_logits[0] == torch.inf and field.splats.log_scales[0, 0] == -torch.inf
    assert field.about.notes == {"left_out": 5}
    write_ply(splats.select(torch.arange(5)), tmp_path / "none.ply")
    assert "no usable splats: the numbers of all 5" in refusal(tmp_path / "none.ply")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    rows = table(write_ply(make_splats(3, degree=1), tmp_path / "s.ply"))

    def without(*names: str) -> str:
        kept = [(name, "<f4") for name in rows.dtype.names if name not in names]
        fewer = np.zeros(3, dtype=kept)
        return refusal(save(fewer, tmp_path / "fewer.ply"))

    assert "not a Gaussian-splat PLY: no opacity, rot_3;" in without("opacity", "rot_3")
    assert "no f_dc_0, f_dc_1, f_dc_2;" in without("f_dc_0", "f_dc_1", "f_dc_2")
    assert "8 f_rest properties" in without("f_rest_8")
    assert "8 f_rest properties" in without("f_rest_0")
    assert "plain point cloud" in without(*STANDARD[6:])
    assert "no x, y, z" in without("x", "y", "z")


def test_other_kinds_of_ply_are_told_apart(tmp_path: Path) -> None:
    colour = [(name, "u1") for name in ("red", "green", "blue")]
    cloud = np.zeros(3, dtype=[*((name, "f4") for name in "xyz"), *colour])
    assert "plain point cloud or mesh, not a Gaussian-splat PLY" in refusal(
        save(cloud, tmp_path / "cloud.ply")
    )
    packed = np.zeros(
        3, dtype=[(f"packed_{name}", "u4") for name in ("position", "rotation", "scale", "color")]
    )
    assert "compressed splat PLY" in refusal(save(packed, tmp_path / "packed.ply"))
    assert "no vertices" in refusal(save(cloud[:0], tmp_path / "empty.ply"))
    PlyData([PlyElement.describe(cloud, "points")]).write(str(tmp_path / "other.ply"))
    assert "no vertices" in refusal(tmp_path / "other.ply")


def test_a_gap_in_the_rest_is_noticed(tmp_path: Path) -> None:
    rows = table(write_ply(make_splats(3, degree=1), tmp_path / "s.ply"))
    names = ["f_rest_9" if name == "f_rest_4" else name for name in rows.dtype.names]
    assert "9 f_rest properties" in refusal(
        save(np.zeros(3, dtype=[(n, "<f4") for n in names]), tmp_path / "g.ply")
    )


def test_files_that_are_no_ply(tmp_path: Path) -> None:
    path = tmp_path / "s.ply"
    assert "No such file" in refusal(path)
    assert "Is a directory" in refusal(tmp_path)
    for content in (b"", b"hello", b"ply\n", b"\x89PNG\r\n" * 9, b"ply\nformat ascii 1.0\n"):
        path.write_bytes(content)
        assert "is not a PLY file" in refusal(path)
    path.write_bytes(b"ply\nformat morse 1.0\nelement vertex 1\nproperty float x\nend_header\n0000000000000")
    assert "is not a PLY file" in refusal(path)


@pytest.mark.parametrize("text", [False, True])
def test_every_truncation_is_noticed(text: bool, tmp_path: Path) -> None:
    rows = table(write_ply(make_splats(3, degree=0), tmp_path / "s.ply"))
    whole = save(rows, tmp_path / "whole.ply", text=text).read_bytes()
    body = len(whole.rstrip())
    for size in [*range(0, body - 20, 41), *range(body - 20, body - 1)]:
        (tmp_path / "cut.ply").write_bytes(whole[:size])
        if text and size > body - 20:
            # a number cut short is still a number
            assert len(read_or_none(tmp_path / "cut.ply") or [0, 0, 0]) == 3
        else:
            assert "cut.ply" in refusal(tmp_path / "cut.ply")


def read_or_none(path: Path) -> Splats | None:
    try:
        return read_ply(path).splats
    except FileFormatError:
        return None


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("prop", ["property float x", "property list uchar int x"])
@pytest.mark.parametrize("count", ["999999999999", "9" * 30, "9" * 5000])
def test_a_header_that_promises_too_much_asks_for_no_memory(
    form: str, prop: str, count: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("empty", "fromfile", "loadtxt"):
        monkeypatch.setattr(np, name, lambda *a, **k: pytest.fail("went on to read"))
    path = tmp_path / "s.ply"
    path.write_bytes(
        f"ply\nformat {form} 1.0\nelement vertex {count}\n{prop}\nend_header\n".encode() + b"0 " * 99
    )
    refusal(path)


@MANY
@given(position=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_flipped_byte_is_read_or_refused_in_words(tmp_path: Path, position: int, byte: int) -> None:
    content = bytearray(write_ply(make_splats(3, degree=0), tmp_path / "s.ply", overwrite=True).read_bytes())
    content[position % len(content)] = byte
    (tmp_path / "flipped.ply").write_bytes(content)
    try:
        assert 1 <= len(read_ply(tmp_path / "flipped.ply")) <= 3
    except FileFormatError as error:
        assert "\n" not in str(error)


def test_normals_turn_with_the_splats_they_came_with(tmp_path: Path) -> None:
    field = read_ply(write_ply(make_splats(9, normals=True), tmp_path / "s.ply"))
    angle = torch.tensor(0.7)
    turn = matrix_from_quat(
        torch.stack([torch.cos(angle), *(torch.sin(angle) * torch.tensor([0.6, 0.0, 0.8]))])
    )
    similarity = Similarity(2.0, turn, torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.einsum("ij,nj->ni", turn, field.splats.columns["normals"])
    heads = {**field.heads, "again": HarmonicsHead(1), "drawn": DirectHead("normals")}
    for some in (field.heads, heads, dict(reversed(heads.items()))):
        moved = FeatureField(field.splats, some).moved(similarity)
        assert torch.allclose(moved.splats.columns["normals"], expected, atol=1e-5)
        back = moved.moved(similarity.inverse).splats
        assert torch.allclose(back.columns["normals"], field.splats.columns["normals"], atol=1e-4)
        assert torch.allclose(back.columns["harmonics"], field.splats.columns["harmonics"], atol=1e-4)
        assert not torch.allclose(
            moved.splats.columns["harmonics"], field.splats.columns["harmonics"], atol=0.1
        )
    without = read_ply(write_ply(make_splats(9), tmp_path / "plain.ply")).moved(similarity)
    assert "normals" not in without.splats.columns


def test_open3d_opens_it(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d", reason="open3d is not installed")
    splats = make_splats(50, normals=True)
    path = write_ply(splats, tmp_path / "s.ply", extra={"label": torch.arange(50)})
    cloud = open3d.io.read_point_cloud(str(path))
    assert len(cloud.points) == 50
    assert np.array_equal(np.asarray(cloud.get_min_bound(), np.float32), splats.means.amin(0).numpy())
    assert np.array_equal(np.asarray(cloud.get_max_bound(), np.float32), splats.means.amax(0).numpy())
    assert np.array_equal(np.asarray(cloud.normals, np.float32), splats.columns["normals"].numpy())


def test_real_point_clouds_are_called_point_clouds() -> None:
    clouds = sorted(DATA.glob("*/*.ply"))
    if not clouds:
        pytest.skip("no scenes with point clouds at FF_DATA or ../shared/data")
    for path in clouds:
        assert "plain point cloud" in refusal(path)
