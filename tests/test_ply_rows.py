"""Rows of a splat PLY copied to another: the same bytes, read back by an independent reader (plyfile)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from featurefields.errors import FileFormatError, WriteError
from featurefields.files import rows as rows_module
from featurefields.files.ply import read_ply, usable_rows
from featurefields.files.rows import write_rows

MANY = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
FORMS = {"ascii": {"text": True}, "little": {"byte_order": "<"}, "big": {"byte_order": ">"}}
SPLAT = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2"]
SPLAT += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def splat_rows(count: int, degree: int = 0, seed: int = 0) -> np.ndarray:
    """Rows of a splat with columns of other kinds before, between and after the usual ones."""
    rest = [f"f_rest_{index}" for index in range(3 * ((degree + 1) ** 2 - 1))]
    names = [("label", "u1"), *((name, "f4") for name in SPLAT[:6]), ("time", "f8")]
    names += [*((name, "f4") for name in (*rest, *SPLAT[6:])), ("segment", "i4")]
    random, rows = np.random.default_rng(seed), np.empty(count, names)
    for name, kind in names:
        rows[name] = random.standard_normal(count) if kind[0] == "f" else random.integers(0, 200, count)
    return rows


def faces(count: int, name: str = "face") -> PlyElement:
    listed = np.empty(count, dtype=[("indices", object), ("flag", "u1")])
    for row in range(count):
        listed[row] = (np.arange(row % 4, dtype="i4"), row)
    return PlyElement.describe(listed, name, len_types={"indices": "u1"}, val_types={"indices": "i4"})


def camera(name: str) -> PlyElement:
    return PlyElement.describe(np.array([(1.5, 2), (-3.5, 4)], dtype=[("focal", "f8"), ("id", "u2")]), name)


@MANY
@given(
    count=st.integers(1, 12),
    degree=st.integers(0, 3),
    form=st.sampled_from(sorted(FORMS)),
    surrounded=st.booleans(),
    chosen=st.integers(1, 2**12 - 1),
)
def test_rows_header_and_other_elements_stay_what_they_are(
    tmp_path: Path, count: int, degree: int, form: str, surrounded: bool, chosen: int
) -> None:
    mask = np.array([chosen >> row & 1 for row in range(count)], dtype=bool)
    mask[chosen % count] = True
    rows, around = splat_rows(count, degree), [camera("before"), faces(3), camera("after"), faces(2, "strip")]
    elements = [PlyElement.describe(rows, "vertex")]
    if surrounded:
        elements = [*around[:2], *elements, *around[2:]]
    content = PlyData(elements, comments=["made by hand"], obj_info=["end_header is not here"], **FORMS[form])
    content.write(str(tmp_path / "s.ply"))
    write_rows(tmp_path / "s.ply", torch.from_numpy(mask), tmp_path / "o.ply", overwrite=True)
    kept = [element for element in elements if element.name in ("before", "after")]
    vertex = PlyElement.describe(rows[mask], "vertex")
    wanted = [*kept[:1], vertex, *kept[1:]]
    expected = PlyData(wanted, comments=["made by hand"], obj_info=["end_header is not here"], **FORMS[form])
    expected.write(str(tmp_path / "e.ply"))
    assert (tmp_path / "o.ply").read_bytes() == (tmp_path / "e.ply").read_bytes()
    if not surrounded:
        read = read_ply(tmp_path / "o.ply").splats
        assert torch.equal(read.columns["ply.segment"], torch.from_numpy(rows["segment"][mask].copy()))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_ends_of_lines_stay(tmp_path: Path, newline: str) -> None:
    header = [
        "ply",
        "format ascii 1.0",
        "comment vertex 3",
        "element vertex 3 ",
        "property float x",
        "end_header",
    ]
    lines = ["1.50", " 2", "3e0"]
    (tmp_path / "s.ply").write_bytes(newline.join([*header, *lines]).encode())
    mask = torch.tensor([True, False, True])
    written = write_rows(tmp_path / "s.ply", mask, tmp_path / "o.ply").read_bytes()
    header[3] = "element vertex 2 "
    assert written == newline.join([*header, "1.50", "3e0"]).encode()


def test_many_rows_are_copied_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 1000)
    rows = splat_rows(501, 3)
    PlyData([PlyElement.describe(rows, "vertex"), camera("after")]).write(str(tmp_path / "s.ply"))
    mask = torch.rand(501, generator=torch.Generator().manual_seed(0)) > 0.4
    write_rows(tmp_path / "s.ply", mask, tmp_path / "o.ply")
    read = PlyData.read(str(tmp_path / "o.ply"))
    assert np.array(read["vertex"].data).tobytes() == rows[mask.numpy()].tobytes()
    assert read["after"]["focal"].tolist() == [1.5, -3.5]


def test_rows_that_cannot_be_drawn_are_known(tmp_path: Path) -> None:
    rows = splat_rows(6)
    rows["x"][1], rows["f_dc_2"][3], rows["opacity"][4], rows["time"][5] = np.nan, np.inf, np.nan, np.nan
    rows["opacity"][2], rows["scale_0"][2] = np.inf, -np.inf
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(tmp_path / "s.ply"))
    usable = usable_rows(tmp_path / "s.ply")
    assert usable.tolist() == [True, False, True, False, False, True]
    field = read_ply(tmp_path / "s.ply")
    assert torch.equal(field.splats.means[:, 0], torch.from_numpy(rows["x"].copy())[usable])
    assert field.about.notes["left_out"] == 3


def test_what_cannot_be_copied_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source, path = tmp_path / "s.ply", tmp_path / "o.ply"
    PlyData([PlyElement.describe(splat_rows(4), "vertex")]).write(str(source))
    one = torch.tensor([True, False, False, False])
    for mask, words in (
        (torch.zeros(4, dtype=torch.bool), "no splats to write"),
        (torch.ones(5, dtype=torch.bool), "rows of 5 splats were chosen, .* holds 4"),
    ):
        with pytest.raises(WriteError, match=words):
            write_rows(source, mask, path)
    with pytest.raises(FileFormatError, match="cannot read"):
        write_rows(tmp_path / "none.ply", one, path)
    whole = source.read_bytes()
    for content, words in (
        (whole[:-3], "is truncated"),
        (b"ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nend_header\n1\n2\n", "is truncated"),
        (b"ply\nformat ascii 1.0\nelement face 1\nproperty float x\nend_header\n1\n", "holds no vertices"),
        (b"no ply at all", "is not a PLY file"),
    ):
        source.write_bytes(content)
        with pytest.raises(FileFormatError, match=words):
            write_rows(source, one, path)
    source.write_bytes(whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.ply"]
    write_rows(source, one, path)
    with pytest.raises(WriteError, match="exists already"):
        write_rows(source, one, path)
    write_rows(source, one, source, overwrite=True)
    assert source.read_bytes() == path.read_bytes()
