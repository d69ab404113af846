"""Our PLY tables against an independent reader and writer (plyfile), and against files made to do harm."""

import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from featurefields.errors import FileFormatError, SceneError, WriteError
from featurefields.ply_table import HEADER_LIMIT, KINDS, NAMES, read_vertices, write_vertices
from featurefields.readers.points import read_points

MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
FORMS = {"ascii": {"text": True}, "little": {"byte_order": "<"}, "big": {"byte_order": ">"}}


@st.composite
def tables(draw: st.DrawFn, least: int = 1) -> np.ndarray:
    """Structured rows with random names, kinds and values; extremes and non-finite numbers among them."""
    names = draw(st.lists(st.text("xyz_09#", min_size=1, max_size=5), min_size=1, max_size=6, unique=True))
    kinds = [draw(st.sampled_from(sorted(NAMES))) for _ in names]
    rows = np.empty(draw(st.integers(least, 9)), dtype=list(zip(names, kinds, strict=True)))
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    for name, kind in zip(names, kinds, strict=True):
        if kind[0] == "f":
            values = random.standard_normal(len(rows)) * 10.0 ** random.integers(-30, 30, len(rows))
            special = [np.nan, np.inf, -np.inf, -0.0, np.finfo(kind).max, np.finfo(kind).tiny]
            values[random.random(len(rows)) < 0.2] = special[random.integers(len(special))]
        else:
            limits = np.iinfo(kind)
            values = random.integers(limits.min, limits.max, len(rows), endpoint=True)
            values[random.random(len(rows)) < 0.2] = limits.max
        rows[name] = values
    return rows


def others(draw: st.DataObject, prefix: str) -> list[PlyElement]:
    """Elements that are no vertices; the last with lists of differing lengths."""
    scalars = [
        PlyElement.describe(rows, f"{prefix}{i}")
        for i, rows in enumerate(draw.draw(st.lists(tables(0), max_size=2)))
    ]
    if draw.draw(st.booleans()):
        return scalars
    lengths = draw.draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    faces = np.empty(
        len(lengths), dtype=[("flag", "u1"), ("indices", object), ("weight", "f8"), ("uv", object)]
    )
    for row, length in enumerate(lengths):
        faces[row] = (row, np.arange(length, dtype="i4"), row / 3, np.ones(5 - length, dtype="f4"))
    counter = draw.draw(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"]))
    options = {"len_types": {"indices": counter, "uv": "u1"}, "val_types": {"indices": "i4", "uv": "f4"}}
    return [*scalars, PlyElement.describe(faces, f"{prefix}_face", **options)]


def assert_equal(read: dict[str, np.ndarray], rows: np.ndarray) -> None:
    assert list(read) == list(rows.dtype.names)
    for name, values in read.items():
        kind = rows.dtype[name]
        assert values.dtype.kind == kind.kind and values.dtype.itemsize == kind.itemsize, name
        assert np.array_equal(values, rows[name], equal_nan=kind.kind == "f"), name
        assert kind.kind != "f" or np.array_equal(np.signbit(values), np.signbit(rows[name])), name


@MANY
@given(rows=tables(), form=st.sampled_from(sorted(FORMS)), data=st.data())
def test_what_others_write_is_read(tmp_path: Path, rows: np.ndarray, form: str, data: st.DataObject) -> None:
    elements = [*others(data, "before"), PlyElement.describe(rows, "vertex"), *others(data, "after")]
    content = PlyData(elements, comments=["end_header comes later"], obj_info=["by hand"], **FORMS[form])
    content.write(str(tmp_path / "s.ply"))
    assert_equal(read_vertices(tmp_path / "s.ply"), rows)


@MANY
@given(rows=tables())
def test_what_is_written_others_read(tmp_path: Path, rows: np.ndarray) -> None:
    table = {name: rows[name] for name in rows.dtype.names}
    write_vertices(table, tmp_path / "s.ply", overwrite=True)
    theirs = PlyData.read(str(tmp_path / "s.ply"))
    assert [element.name for element in theirs.elements] == ["vertex"]
    assert_equal({name: theirs["vertex"][name] for name in rows.dtype.names}, rows)
    assert_equal(read_vertices(tmp_path / "s.ply"), rows)
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(tmp_path / "theirs.ply"))
    assert (tmp_path / "s.ply").read_bytes() == (tmp_path / "theirs.ply").read_bytes()


def test_big_endian_columns_are_written_little_endian(tmp_path: Path) -> None:
    values = np.array([1.5, -2.0], ">f4")
    write_vertices({"x": values, "n": np.array([1, 258], ">u2")}, tmp_path / "s.ply", overwrite=False)
    read = read_vertices(tmp_path / "s.ply")
    assert read["x"].tolist() == [1.5, -2.0] and read["n"].tolist() == [1, 258]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a b": np.zeros(1, "f4")}, "'a b' is not a PLY name"),
        ({"": np.zeros(1, "f4")}, "'' is not a PLY name"),
        ({"a\nproperty": np.zeros(1, "f4")}, "not a PLY name"),
        ({"ü": np.zeros(1, "f4")}, "'ü' is not a PLY name"),
        ({"a": np.zeros(1, "i8")}, r"no type for column 'a' \(int64\)"),
        ({"a": np.zeros(1, "f2")}, r"no type for column 'a' \(float16\)"),
        ({"a": np.zeros(1, bool)}, r"no type for column 'a' \(bool\)"),
    ],
)
def test_columns_that_ply_has_no_words_for(
    table: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    with pytest.raises(WriteError, match=message):
        write_vertices(table, tmp_path / "s.ply", overwrite=False)
    assert not list(tmp_path.iterdir())


def written(path: Path, header: str, body: bytes, newline: str = "\n") -> Path:
    lines = ["ply", *header.strip().splitlines(), "end_header", ""]
    path.write_bytes(newline.join(line.strip() for line in lines).encode() + body)
    return path


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_type_name(name: str, tmp_path: Path) -> None:
    kind = np.dtype(KINDS[name])
    body = np.array([3, 100], kind.newbyteorder(">")).tobytes()
    path = written(
        tmp_path / "s.ply", f"format binary_big_endian 1.0\nelement vertex 2\nproperty {name} a", body
    )
    read = read_vertices(path)["a"]
    assert read.tolist() == [3, 100] and read.dtype.newbyteorder("=") == kind
    path = written(tmp_path / "s.ply", f"format ascii 1.0\nelement vertex 2\nproperty {name} a", b"3\n100\n")
    assert read_vertices(path)["a"].tolist() == [3, 100] and read_vertices(path)["a"].dtype == kind


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_blanks_comments_and_a_missing_last_line_end(newline: str, tmp_path: Path) -> None:
    header = "comment größe\nformat ascii 1.0\n\nobj_info by  hand\n"
    header += "element  vertex\t2 \nproperty float x\nproperty uchar n"
    body = newline.join(["1.5 2", " -7e-2\t255"]).encode()
    read = read_vertices(written(tmp_path / "s.ply", header, body, newline))
    assert read["x"].tolist() == [1.5, np.float32(-0.07)] and read["n"].tolist() == [2, 255]
    packed = header.replace("ascii", "binary_little_endian")
    body = b"\n\r\n\r\n" + b"\r\n\r\n\r"  # values that look like line ends
    rows = np.frombuffer(body, [("x", "<f4"), ("n", "u1")])
    assert_equal(read_vertices(written(tmp_path / "s.ply", packed, body, newline)), rows)


TEXT = "format ascii 1.0\nelement vertex 2\nproperty float x\nproperty uchar n"
PACKED = "format binary_little_endian 1.0\n"
AFTER = "\nelement vertex 1\nproperty char x"


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        (TEXT, b"1 2\n3\n", r"is (damaged|truncated)"),
        (TEXT, b"1 2\n\n3 4\n", r"damaged, or is truncated: \(1, 2\) numbers instead of \(2, 2\)"),
        (TEXT, b"1 2 3\n4 5 6\n", r"\(2, 3\) numbers instead of \(2, 2\)"),
        (TEXT, b"1 2 \n3 4 5\n", "damaged"),
        (TEXT, b"1 2\n3 four\n", "four"),
        (TEXT, "1 2\n3 ²\n".encode(), "damaged"),
        (TEXT, b"1 2\n3 256\n", "'n' has values that are no uchar"),
        (TEXT, b"1 2\n3 -1\n", "'n' has values that are no uchar"),
        (TEXT, b"1 2\n3 2.5\n", "'n' has values that are no uchar"),
        (TEXT, b"1 2\n3 nan\n", "'n' has values that are no uchar"),
        (TEXT, b"\n\n\n\n\n\n\n\n\n", "damaged, or is truncated"),
        (TEXT + "\nproperty float x", b"1 2 3\n" * 2, "same property of its vertices twice"),
        (TEXT + "\nproperty list uchar int x2", b"1 2 0\n" * 2, "lists among the properties of its vertices"),
        (PACKED + "element vertex 2\nproperty list uchar int x", bytes(2), "lists among the properties"),
        (TEXT.replace("uchar", "byte"), b"1 2\n" * 2, "header says 'property byte n'"),
        (TEXT.replace("vertex 2", "vertex -2"), b"1 2\n" * 2, "header says 'element vertex -2'"),
        (TEXT.replace("vertex 2", "vertex"), b"1 2\n" * 2, "header says 'element vertex'"),
        (TEXT.replace("vertex 2", "vertex ²"), b"1 2\n" * 2, "header says 'element vertex ²'"),
        (TEXT.replace("1.0", "2.0"), b"1 2\n" * 2, "header says 'format ascii 2.0'"),
        (TEXT + "\nformat ascii 1.0", b"1 2\n" * 2, "header says 'format ascii 1.0'"),
        (TEXT + "\nx" * 90, b"1 2\n" * 2, "header says 'x'"),
        (TEXT + "\n" + "x" * 9000, b"1 2\n" * 2, r"header says 'x{77}\.\.\.'"),
        ("format ascii 1.0\nproperty float x\nelement vertex 1", b"1\n", "header says 'property float x'"),
        ("element vertex 1\nproperty float x", b"1\n", "names no format"),
        (PACKED + "element f 1\nproperty list float int i" + AFTER, bytes(9), "header says"),
        (PACKED + "element f 2\nproperty list char int i" + AFTER, b"\0\xff\0", "-1 values"),
        (PACKED + "element f 2\nproperty list uint int i" + AFTER, b"\xff" * 40, "truncated within element 'f'"),
        (PACKED + "element f 1\nproperty list uchar int i" + AFTER, b"\1\0\0\0\0", "do not end within"),
    ],
)  # fmt: skip
def test_damage_is_said(header: str, body: bytes, message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "s.ply", header, body)
    with pytest.raises(FileFormatError, match=message) as raised:
        read_vertices(path)
    said = str(raised.value)
    assert said.startswith(f"{path} ") and "\n" not in said and len(said) < len(str(path)) + 200
    with pytest.raises(SceneError, match=r"^point cloud .*s\.ply cannot be read \(it .*\); replace the file"):
        read_points(path)


def test_whole_numbers_may_be_written_like_fractions(tmp_path: Path) -> None:
    assert read_vertices(written(tmp_path / "s.ply", TEXT, b"1 255.0\n3 1e2\n"))["n"].tolist() == [255, 100]


def test_nothing_to_read_is_an_empty_table(tmp_path: Path) -> None:
    assert read_vertices(written(tmp_path / "s.ply", "format ascii 1.0", b"")) == {}
    assert (
        read_vertices(written(tmp_path / "s.ply", PACKED + "element face 3\nproperty int v", bytes(12))) == {}
    )
    for form in ("format ascii 1.0\n", PACKED):
        read = read_vertices(written(tmp_path / "s.ply", form + "element vertex 0\nproperty int v", b""))
        assert list(read) == ["v"] and read["v"].shape == (0,) and read["v"].dtype == np.int32
        assert read_vertices(written(tmp_path / "s.ply", form + "element vertex 2", b"\n\n")) == {}


HUGE = ["999999999999", "9" * 18, "9" * 30, "9" * 5000]


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("count", HUGE, ids=len)
@pytest.mark.parametrize(
    "elements",
    [
        "element vertex {}\nproperty double x",
        "element vertex 1\nproperty list uint double x\nelement face {}\nproperty int v",
        "element face {}\nproperty int v\nelement vertex 1\nproperty double x",
        "element face {}\nproperty list uchar int v\nelement vertex 1\nproperty double x",
    ],
)
def test_promises_ask_for_no_memory(form: str, count: str, elements: str, tmp_path: Path) -> None:
    path = written(tmp_path / "s.ply", f"format {form} 1.0\n" + elements.format(count), b"0 " * 500)
    assert peak_of_refusal(path) < 8 * HEADER_LIMIT


@pytest.mark.parametrize(
    "content", [b"ply\n" + b"comment\n" * 2_000_000, b"ply" * 5_000_000, b"ply\n" + b"x" * 9**7]
)
def test_headers_without_an_end_are_not_read_to_theirs(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.ply").write_bytes(content)
    assert peak_of_refusal(tmp_path / "s.ply") < 2 * HEADER_LIMIT


def peak_of_refusal(path: Path) -> int:
    """Bytes asked for while reading a file that must be refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError):
            read_vertices(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@MANY
@given(data=st.data(), rows=tables(), form=st.sampled_from(sorted(FORMS)))
def test_any_damage_is_read_or_refused_in_words(
    tmp_path: Path, data: st.DataObject, rows: np.ndarray, form: str
) -> None:
    path = tmp_path / "s.ply"
    elements = [*others(data, "before"), PlyElement.describe(rows, "vertex")]
    PlyData(elements, **FORMS[form]).write(str(path))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read = read_vertices(path)
        except FileFormatError as error:
            assert "\n" not in str(error) and str(path) in str(error)
        else:
            assert len({len(values) for values in read.values()}) <= 1


def test_every_truncation_of_packed_rows_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s.ply"
    write_vertices({"x": np.arange(9.0), "n": np.arange(9, dtype="u1")}, path, overwrite=False)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError):
            read_vertices(path)


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize(
    "names", [("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b")]
)
@pytest.mark.parametrize("form", sorted(FORMS))
def test_point_clouds(kind: str, names: tuple[str, ...], form: str, tmp_path: Path) -> None:
    rows = np.zeros(4, [*((axis, "f8") for axis in "zyx"), *((name, kind) for name in names)])
    full = 1 if kind == "f4" else np.iinfo(kind).max
    for index, axis in enumerate("xyz"):
        rows[axis] = [index + 1.25, 2, np.nan, 4]
    rows[names[0]], rows[names[2]] = full, [0, full, full, 0]
    PlyData([PlyElement.describe(rows, "vertex")], **FORMS[form]).write(str(tmp_path / "p.ply"))
    points = read_points(tmp_path / "p.ply")
    assert points.positions.tolist() == [[1.25, 2.25, 3.25], [2, 2, 2], [4, 4, 4]]
    assert points.colours.tolist() == [[1, 0, 0], [1, 0, 1], [1, 0, 0]]


def test_point_clouds_without_places_colours_or_points(tmp_path: Path) -> None:
    path = tmp_path / "p.ply"
    write_vertices({"x": np.zeros(2), "z": np.ones(2), "red": np.zeros(2, "u1")}, path, overwrite=False)
    with pytest.raises(
        SceneError, match=r"p\.ply cannot be read \(its vertices have no y\); replace the file"
    ):
        read_points(path)
    write_vertices({axis: np.arange(2.0) for axis in "xyz"} | {"red": np.zeros(2)}, path, overwrite=True)
    assert (read_points(path).colours == 0.5).all() and read_points(path).positions[1].tolist() == [1, 1, 1]
    write_vertices({axis: np.zeros(0) for axis in "xyz"}, path, overwrite=True)
    assert read_points(path).positions.shape == (0, 3) == read_points(path).colours.shape
    with pytest.raises(SceneError, match=r"cannot be read \(cannot read .*No such file"):
        read_points(tmp_path / "none.ply")
