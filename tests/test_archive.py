"""Fields written and read back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from featurefields.camera import Camera
from featurefields.errors import FeatureFieldsError, FileFormatError, UnknownNameError, WriteError
from featurefields.field import About, FeatureField, render
from featurefields.files import read_archive, read_container, read_header, write_archive, write_container
from featurefields.heads import HEADS, Head, head_from_config
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats

MANY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class TinyHead(Head):
    """A head with learned tensors, a buffer and settings."""

    kind = "tiny"

    def __init__(self, column: str, width: int) -> None:
        super().__init__()
        self.column, self.width = column, width
        self.layer = nn.Linear(width, 2)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def splat(self, splats: Splats, camera: Camera) -> Tensor:
        return splats.columns[self.column]

    def decode(self, pixels: Tensor, alpha: Tensor, camera: Camera) -> dict[str, Tensor]:
        return {"total": self.layer(pixels)}

    def config(self) -> dict[str, Any]:
        return {"column": self.column, "width": self.width}


@pytest.fixture(autouse=True)
def tiny_head_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS.entries, "tiny", f"{__name__}:TinyHead")


def make_field(count: int = 7, views: int = 3, seed: int = 0, features: bool = True) -> FeatureField:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    splats = Splats(
        normal(count, 3), normal(count, 4), normal(count, 3), normal(count),
        {
            "latent": normal(count, 5),
            "half": normal(count, 2).half(),
            "labels": torch.randint(-5, 9, (count,), generator=generator),
            "harmonics": normal(count, 4, 3),
        },
    )  # fmt: skip
    tiny = TinyHead("latent", 5)
    with torch.no_grad():
        for parameter in tiny.parameters():
            parameter.copy_(normal(*parameter.shape))
        tiny.seen.fill_(seed + 3)
    heads = {"rgb": HEADS.load("harmonics")(degree=1), "code": tiny}
    rotation = torch.linalg.qr(normal(3, 3)).Q
    cameras = {
        f"images/ü {index}.jpg": Camera(normal(4, 4), normal(2) + 50, normal(2) + 20, (40 + index, 30))
        for index in reversed(range(views))
    }
    about = About(
        scene="tabletop", data="../photos", world_from_capture=Similarity(0.1 + seed / 7, rotation, normal(3)),
        cameras=cameras, extractor="dino:abc" if features else "", feature_mean=normal(9) if features else None,
        feature_basis=normal(4, 9) if features else None,
        notes={"steps": 300, "psnr": [31.25, None], "deep": {"ä": True}},
    )  # fmt: skip
    return FeatureField(splats, heads, about)


def assert_same_tensors(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def assert_same(a: FeatureField, b: FeatureField) -> None:
    """Bit by bit, heads and cameras in the same order."""
    assert_same_tensors(a.splats.tensors(), b.splats.tensors())
    assert list(a.heads) == list(b.heads)
    for name in a.heads:
        assert type(a.heads[name]) is type(b.heads[name])
        assert a.heads[name].config() == b.heads[name].config()
        assert_same_tensors(a.heads[name].state_dict(), b.heads[name].state_dict())
    assert list(a.about.cameras) == list(b.about.cameras)
    for one, other in zip(a.about.cameras.values(), b.about.cameras.values(), strict=True):
        assert one.size == other.size
        for part in ("world_from_camera", "focal_px", "centre_px"):
            assert torch.equal(getattr(one, part), getattr(other, part))
    one, other = a.about.world_from_capture, b.about.world_from_capture
    assert one.scale == other.scale and one.rotation.dtype == other.rotation.dtype
    assert torch.equal(one.rotation, other.rotation) and torch.equal(one.translation, other.translation)
    for part in ("feature_mean", "feature_basis"):
        x, y = getattr(a.about, part), getattr(b.about, part)
        assert (x is None and y is None) or torch.equal(x, y)
    for part in ("scene", "data", "extractor", "notes"):
        assert getattr(a.about, part) == getattr(b.about, part)


@MANY
@given(count=st.integers(0, 30), views=st.integers(0, 4), seed=st.integers(0, 99), features=st.booleans())
def test_round_trip_is_exact(tmp_path: Path, count: int, views: int, seed: int, features: bool) -> None:
    written = make_field(count, views, seed, features)
    assert_same(read_archive(write_archive(written, tmp_path / "f.safetensors", overwrite=True)), written)


def test_the_same_field_gives_the_same_bytes(tmp_path: Path) -> None:
    field = make_field()
    first = write_archive(field, tmp_path / "a.safetensors").read_bytes()
    columns = dict(reversed(field.splats.columns.items()))
    again = field.with_splats(replace(field.splats, columns=columns))
    assert write_archive(again, tmp_path / "b.safetensors").read_bytes() == first
    assert (
        write_archive(read_archive(tmp_path / "a.safetensors"), tmp_path / "c.safetensors").read_bytes()
        == first
    )
    field.splats.means[0, 0] += 1
    assert write_archive(field, tmp_path / "d.safetensors").read_bytes() != first


def test_any_safetensors_reader_opens_it(tmp_path: Path) -> None:
    field = make_field()
    path = write_archive(field, tmp_path / "f.safetensors")
    tensors = load_file(path)
    assert torch.equal(tensors["splats.columns.latent"], field.splats.columns["latent"])
    assert torch.equal(tensors["heads.code.layer.weight"], field.heads["code"].layer.weight)
    with safe_open(path, "pt") as stream:
        header = json.loads(stream.metadata()["featurefields"])
    assert header["schema"] == 1 and header["heads"]["code"]["kind"] == "tiny"
    assert header == read_header(path)


def test_views_of_one_storage_and_other_precisions(tmp_path: Path) -> None:
    field = make_field()
    block = torch.randn(7, 6, dtype=torch.float64)
    splats = field.splats.with_columns(latent=block[:, :5], transposed=block.T[:5].T, same=block[:, :5])
    splats = replace(splats, means=torch.randn(7, 3, dtype=torch.float64).requires_grad_())
    read = read_archive(write_archive(field.with_splats(splats), tmp_path / "f.safetensors"))
    assert read.splats.means.dtype == torch.float32 and torch.equal(read.splats.means, splats.means.float())
    assert torch.equal(read.splats.columns["transposed"], block[:, :5].float())
    about = replace(
        field.about, world_from_capture=Similarity(1 / 3, torch.eye(3).double() / 7, torch.ones(3).double())
    )
    read = read_archive(write_archive(replace(field, about=about), tmp_path / "g.safetensors"))
    assert torch.equal(read.about.world_from_capture.rotation, about.world_from_capture.rotation)


def test_a_folder_stands_for_its_archive(tmp_path: Path) -> None:
    written = make_field()
    write_archive(written, tmp_path / "run" / "field.safetensors")
    assert_same(read_archive(tmp_path / "run"), written)
    with pytest.raises(FileFormatError, match=r"field\.safetensors: there is no such file"):
        read_archive(tmp_path)


def test_what_was_read_survives_the_file(tmp_path: Path) -> None:
    written = make_field()
    path = write_archive(written, tmp_path / "f.safetensors")
    read = read_archive(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert_same(read, written)


def test_an_existing_file_stops_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.safetensors"
    path.write_bytes(b"old")
    monkeypatch.setattr(Splats, "tensors", lambda self: pytest.fail("worked"))
    with pytest.raises(WriteError, match="exists already"):
        write_archive(make_field(), path)
    assert path.read_bytes() == b"old"


def broken(field: FeatureField, **geometry: Tensor) -> FeatureField:
    return field.with_splats(replace(field.splats, **geometry))


def with_column(field: FeatureField, **columns: Tensor) -> FeatureField:
    return field.with_splats(field.splats.with_columns(**columns))


def with_heads(field: FeatureField, **heads: tuple[str, dict[str, Any]]) -> FeatureField:
    added = {name: head_from_config(kind, config) for name, (kind, config) in heads.items()}
    return replace(field, heads={**field.heads, **added})


def reflected_columns() -> dict[str, Tensor]:
    """All columns of the reflected head but those of near reflections."""
    three = {name: torch.ones(7, 3) for name in ("diffuse", "tint", "normals")}
    return {**three, "roughness": torch.ones(7, 1), "gloss": torch.ones(7, 1)}


UNUSABLE = {
    "of 1 of 7 splats is not finite": lambda f: broken(
        f, means=f.splats.means.index_fill(0, torch.tensor(2), torch.nan)
    ),
    "of 2 of 7 splats": lambda f: broken(
        f, quats=f.splats.quats.index_fill(0, torch.tensor([0, 5]), torch.inf)
    ),
    "of 7 of 7 splats": lambda f: broken(f, log_scales=torch.full((7, 3), torch.inf)),
    "geometry of 7 of 7": lambda f: broken(f, opacity_logits=torch.full((7,), torch.nan)),
    "head 'code' needs the missing column 'latent'": lambda f: f.with_splats(
        f.splats.without_columns("latent")
    ),
    r"head 'rgb' needs column 'harmonics' \(7, 4, 3\), not \(7, 3, 3\)": lambda f: with_column(
        f, harmonics=torch.zeros(7, 3, 3)
    ),
    r"'harmonics' \(7, 9, 3\), not \(7, 9, 1\)": lambda f: with_column(f, harmonics=torch.zeros(7, 9, 1)),
    r"'harmonics' \(7, 4, 3\), not \(7,\)": lambda f: with_column(f, harmonics=torch.zeros(7)),
    r"'labels' \(7, 7\), not \(7,\)": lambda f: with_heads(f, labels=("direct", {"column": "labels"})),
    r"'latent_dep' \(7, 3, 5\), not \(7, 8, 5\)": lambda f: with_heads(
        with_column(f, latent_dep=torch.zeros(7, 8, 5), latent_centre=torch.zeros(7, 3)),
        latent=("directional", {"name": "latent", "degree": 1}),
    ),
    r"'latent_centre' \(7, 8\), not \(7, 3\)": lambda f: with_heads(
        with_column(f, latent_dep=torch.zeros(7, 8, 5), latent_centre=torch.zeros(7, 3)),
        latent=("directional", {"name": "latent", "degree": 2}),
    ),
    r"'near' \(7, 3, 3\), not \(7, 8, 3\)": lambda f: with_heads(
        with_column(f, near=torch.zeros(7, 8, 3), near_centre=torch.zeros(7, 3), **reflected_columns()),
        seen=("reflected", {"near": 1}),
    ),
}


@pytest.mark.parametrize("message", UNUSABLE)
def test_an_unusable_field_is_neither_written_nor_read(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = UNUSABLE[message](make_field())
    path = tmp_path / "f.safetensors"
    with pytest.raises(WriteError, match=message):
        write_archive(field, path)
    assert not path.exists()
    with monkeypatch.context() as patch:
        patch.setattr("featurefields.files.archive._fault", lambda splats, heads: "")
        write_archive(field, path)
    with pytest.raises(FileFormatError, match=message) as raised:
        read_archive(path)
    assert "\n" not in str(raised.value)


def test_columns_that_every_kind_of_head_can_draw_are_kept(tmp_path: Path) -> None:
    """More harmonics than the head's degree, and one field with all kinds of heads."""
    columns = {"code_dep": torch.ones(7, 8, 6), "code_centre": torch.ones(7, 8), "code": torch.ones(7, 6)}
    field = with_column(make_field(), **columns, harmonics=torch.ones(7, 16, 3), **reflected_columns())
    field = with_column(replace(field, heads={"rgb": field.heads["rgb"]}), latent=torch.ones(7, 4))
    field = with_column(field, near=torch.ones(7, 8, 3), near_centre=torch.ones(7, 8))
    kinds = {
        "seen": ("reflected", {"near": 2}),
        "code": ("directional", {"name": "code", "degree": 2}),
        "plain": ("direct", {"column": "code"}),
    }
    field = with_heads(field, **kinds)
    read = read_archive(write_archive(field, tmp_path / "f.safetensors"))
    assert_same(read, field)
    camera = Camera(torch.eye(4), torch.tensor([9.0, 9.0]), torch.tensor([4.0, 4.0]), (8, 8))
    assert render(read, camera)["code"]["dep"].shape == (8, 8, 6)


def test_extreme_but_usable_geometry_is_kept(tmp_path: Path) -> None:
    field = make_field()
    field.splats.opacity_logits[:2] = torch.tensor([torch.inf, -torch.inf])
    field.splats.log_scales[0, 2] = -torch.inf
    assert_same(read_archive(write_archive(field, tmp_path / "f.safetensors")), field)


def test_a_head_with_a_dot_in_its_name_is_refused(tmp_path: Path) -> None:
    field = make_field()
    with pytest.raises(WriteError, match=r"head 'a\.b' has a dot"):
        write_archive(replace(field, heads={"a.b": field.heads["rgb"]}), tmp_path / "f.safetensors")


def test_foreign_files_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"

    def message(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(FileFormatError) as raised:
            read_archive(path)
        assert "\n" not in str(raised.value) and str(path) in str(raised.value)
        return str(raised.value)

    for content in (
        b"",
        b"hello",
        b"PK\x03\x04" * 100,
        b"\xff" * 64,
        (1 << 40).to_bytes(8, "little") + b"{}",
    ):
        assert "is not a safetensors file, or is truncated" in message(content)
    whole = write_archive(make_field(), tmp_path / "whole.safetensors").read_bytes()
    for size in range(0, len(whole), 97):
        assert "is truncated" in message(whole[:size])
    table = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    assert "truncated" in message(len(table).to_bytes(8, "little") + table)
    assert "has no header" in message((2).to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "names no schema"),
        ("{}", "names no schema"),
        ('{"schema": "1", "kind": "field"}', "names no schema"),
        ('{"schema": true, "kind": "field"}', "names no schema"),
        ('{"schema": 1}', "names no schema"),
        (
            '{"schema": 7, "kind": "field"}',
            "newer featurefields: schema 7, this version reads up to 1; upgrade",
        ),
        ('{"schema": 1, "kind": "selection"}', "is a featurefields selection, not a field"),
    ],
)
def test_headers_that_are_not_ours(text: str, message: str, tmp_path: Path) -> None:
    table = json.dumps({"__metadata__": {"featurefields": text}}).encode()
    path = tmp_path / "f.safetensors"
    path.write_bytes(len(table).to_bytes(8, "little") + table)
    with pytest.raises(FileFormatError, match=message) as raised:
        read_archive(path)
    assert "\n" not in str(raised.value)


def rewritten(path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> Path:
    tensors, header = read_container(path, "field")
    change(tensors, header)
    return write_container(path, tensors, header, kind="field", overwrite=True)


DAMAGE = {
    r"'quats' is torch.float32 \(6, 4\) instead of floats \(7, 4\)": lambda t, h: t.update(
        {"splats.quats": torch.ones(6, 4)}
    ),
    r"'log_scales' is torch.float32 \(7, 2\)": lambda t, h: t.update({"splats.log_scales": torch.ones(7, 2)}),
    "'opacity_logits' is torch.int64": lambda t, h: t.update({"splats.opacity_logits": torch.ones(7).long()}),
    r"'means' is torch.float32 \(\) instead": lambda t, h: t.update({"splats.means": torch.tensor(1.0)}),
    r"'columns.half' is \(6, 2\) for 7": lambda t, h: t.update({"splats.columns.half": torch.ones(6, 2)}),
    r"'columns.half' is \(\) for 7": lambda t, h: t.update({"splats.columns.half": torch.tensor(1.0)}),
    r"no 'splats\.means'": lambda t, h: t.pop("splats.means"),
    r"no 'splats\.columns\.half'": lambda t, h: t.pop("splats.columns.half"),
    r"head 'code' cannot be read \('layer\.bias' should be \(2,\) and is None\)": lambda t, h: t.pop(
        "heads.code.layer.bias"
    ),
    r"'extra' should be None and is \(1,\)": lambda t, h: t.update({"heads.code.extra": torch.zeros(1)}),
    r"head 'code' cannot be read .*'layer.weight' should be \(2, 100000000000\)": lambda t, h: h["heads"][
        "code"
    ]["config"].update(width=10**11),
    "head 'code' cannot be read": lambda t, h: h["heads"]["code"]["config"].update(colour="red"),
    "(list of heads|head 'code') cannot be read": lambda t, h: h["heads"]["code"]["config"].update(
        column=[1]
    ),
    "head 'rgb' cannot be read": lambda t, h: h["heads"].update(rgb=3),
    r"list of heads cannot be read \(no 'heads'\)": lambda t, h: h.pop("heads"),
    r"table of splats cannot be read \(no 'columns'\)": lambda t, h: h.pop("columns"),
    "no 'about'": lambda t, h: h.pop("about"),
    "no 'world_from_capture'": lambda t, h: h["about"].pop("world_from_capture"),
    r"no 'about\.feature_basis'": lambda t, h: t.pop("about.feature_basis"),
    r"feature_basis is \(4, 8\)": lambda t, h: t.update({"about.feature_basis": torch.zeros(4, 8)}),
    r"no 'about\.cameras\.poses'": lambda t, h: t.pop("about.cameras.poses"),
    r"3 cameras with focal_px of shape \(2, 2\)": lambda t, h: t.update(
        {"about.cameras.focal_px": torch.ones(2, 2)}
    ),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_archives_are_one_clear_line(message: str, tmp_path: Path) -> None:
    path = rewritten(write_archive(make_field(), tmp_path / "f.safetensors"), DAMAGE[message])
    with pytest.raises(FileFormatError, match=message) as raised:
        read_archive(path)
    assert "\n" not in str(raised.value)


def test_a_head_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = write_archive(make_field(), tmp_path / "f.safetensors")
    rewritten(path, lambda t, h: h["heads"]["code"].update(kind="holographic"))
    with pytest.raises(UnknownNameError, match="unknown head 'holographic'"):
        read_archive(path)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[Any], object]:
    """Replaces the value at a random place of the header by something else."""
    picks = draw(st.lists(st.integers(0, 20), min_size=1, max_size=5))
    junk = draw(st.sampled_from([None, True, -1, 10**30, 0.5, "", "x", [], [1], {}, {"a": 1}, float("nan")]))

    def mutate(node: Any) -> None:
        for depth, pick in enumerate(picks):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = keys[pick % len(keys)]
            if depth == len(picks) - 1 or not isinstance(node[key], dict | list) or not node[key]:
                node[key] = junk
                return
            node = node[key]

    return mutate


@settings(MANY, max_examples=50)
@given(mutate=mutations())
def test_any_header_is_read_or_refused_in_words(tmp_path: Path, mutate: Callable[[Any], object]) -> None:
    path = write_archive(make_field(), tmp_path / "f.safetensors", overwrite=True)
    tensors, header = read_container(path, "field")
    content = {name: value for name, value in header.items() if name not in ("schema", "kind")}
    mutate(content)
    write_container(path, tensors, content, kind="field", overwrite=True)
    try:
        read_archive(path)
    except FeatureFieldsError as error:
        assert "\n" not in str(error)


def test_the_container_keeps_every_dtype_and_shape(tmp_path: Path) -> None:
    dtypes = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16)
    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    tensors = {str(dtype): torch.tensor([[1, 0, 3]]).to(dtype) for dtype in (*dtypes, *floats)}
    tensors |= {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "odd": torch.ones(3, dtype=torch.uint8),
    }
    path = write_container(tmp_path / "c", tensors, {"step": 4}, kind="checkpoint")
    read, header = read_container(path, "checkpoint")
    assert_same_tensors(read, tensors)
    assert header == {"schema": 1, "kind": "checkpoint", "step": 4}
    with pytest.raises(WriteError, match="'z' has dtype"):
        write_container(tmp_path / "d", {"z": torch.zeros(1).cfloat()}, {}, kind="checkpoint")
