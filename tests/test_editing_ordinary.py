"""Highlights of ordinary splats: the calculation, the file, the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_fields import DC, looking, part, photograph, picture, splats_at, two_balls
from torch import Tensor

from featurefields.editing.dome import even_directions
from featurefields.editing.ordinary import HighlightConfig, weighted_quantile, without_highlights
from featurefields.editing.sightings import seen_by, seen_from_above
from featurefields.errors import FileFormatError, PromptError, WriteError
from featurefields.field import FeatureField
from featurefields.files.ply import read_ply, write_ply
from featurefields.files.selection import write_selection
from featurefields.files.values import write_values
from featurefields.maths.harmonics import harmonics
from featurefields.ply_table import read_vertices
from featurefields.raster import choose_rasterizer
from featurefields.selection import Selection
from featurefields.splats import Splats
from featurefields_cli.main import main

MATTE = 0.3


def shiny(degree: int = 3, count: int = 40) -> Splats:
    """Flat splats facing up, of colour `MATTE`, with a highlight that is seen from a fifth of the sky or so."""
    generator = torch.Generator().manual_seed(7)
    directions = -even_directions(400)
    lobes = torch.nn.functional.normalize(
        torch.tensor([0.0, 0.0, 1.0]) + 0.4 * torch.randn(count, 3, generator=generator), dim=-1
    )
    shown = MATTE + 0.6 * ((-directions @ lobes.T).clamp(min=0) ** 12)
    basis = harmonics(directions, tuple(range(degree + 1)))
    bands = torch.linalg.lstsq(basis, shown - 0.5).solution.T
    normals = torch.tensor([[0.0, 0.0, 1.0]]).repeat(count, 1)
    means = torch.rand(count, 3, generator=generator) * torch.tensor([2.0, 2.0, 0.0])
    return splats_at(means, normals=normals, harmonics=bands[..., None].repeat(1, 1, 3))


def every(splats: Splats) -> Tensor:
    return torch.ones(len(splats), dtype=torch.bool)


def colours(splats: Splats, bands: Tensor, towards: Tensor) -> Tensor:
    degree = int(bands.shape[1] ** 0.5) - 1
    return (0.5 + harmonics(towards, tuple(range(degree + 1))) @ bands).clamp(min=0)


def test_the_quantile_is_the_one_of_repeated_values(generator: torch.Generator):
    """Whole weights against as many copies of the value."""
    values = torch.rand(30, 9, 3, generator=generator)
    weight = torch.randint(0, 4, (30, 9), generator=generator)
    weight[:, 0] += 1
    for share in (0.0, 0.3, 0.5, 1.0):
        found = weighted_quantile(values, weight.float(), share)
        for row in range(30):
            copies = values[row].repeat_interleave(weight[row], dim=0).sort(0).values
            index = max(int(np.ceil(share * len(copies) - 1e-6)) - 1, 0)
            assert torch.allclose(found[row], copies[index])


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_highlights_come_down_to_the_median_and_the_rest_stays(degree: int):
    splats = shiny(degree)
    seen = seen_from_above(splats, every(splats))
    old, towards = splats.columns["harmonics"], seen.towards(slice(None))
    new = without_highlights(splats, every(splats), seen)
    before, after = colours(splats, old, towards), colours(splats, new, towards)
    median = weighted_quantile(before, seen.weight, 0.5)[:, None]
    counted = (seen.weight > 0.2)[..., None].expand_as(before)
    above = counted & (before > median + 0.04)
    excess = (before - median)[above].mean()
    assert float(excess) > 0.04
    assert float((after - median)[above].abs().mean()) < 0.25 * float(excess)
    assert float((after - torch.minimum(before, median))[counted].abs().mean()) < 0.25 * float(excess)


def test_flat_is_the_median_from_everywhere():
    splats = shiny()
    seen = seen_from_above(splats, every(splats))
    new = without_highlights(splats, every(splats), seen, HighlightConfig(flat=True))
    median = weighted_quantile(
        colours(splats, splats.columns["harmonics"], seen.towards(slice(None))), seen.weight, 0.5
    )
    assert torch.equal(new[:, 1:], torch.zeros_like(new[:, 1:]))
    assert torch.allclose(0.5 + DC * new[:, 0], median, atol=1e-6)
    darker = without_highlights(splats, every(splats), seen, HighlightConfig(flat=True, brightness=0.1))
    assert bool((darker[:, 0] <= new[:, 0]).all()) and float((new - darker)[:, 0].mean()) > 0.01


def test_strength_goes_all_the_way_from_nothing():
    splats = shiny()
    seen, old = seen_from_above(splats, every(splats)), splats.columns["harmonics"]
    at = {
        s: without_highlights(splats, every(splats), seen, HighlightConfig(strength=s))
        for s in (0.0, 0.5, 1.0)
    }
    assert torch.equal(at[0], old)
    assert torch.allclose(at[0.5], (old + at[1]) / 2, atol=1e-6) and not torch.allclose(at[1], old, atol=0.05)


def test_matter_stays_bit_for_bit():
    splats = shiny()
    bands = splats.columns["harmonics"].clone()
    bands[::2, 1:] = 0
    splats = splats.with_columns(harmonics=bands)
    new = without_highlights(splats, every(splats), seen_from_above(splats, every(splats)))
    assert torch.equal(new[::2], bands[::2]) and not torch.equal(new[1::2], bands[1::2])
    flat = splats.with_columns(harmonics=bands[:, :1])
    assert torch.equal(
        without_highlights(flat, every(flat), seen_from_above(flat, every(flat))), bands[:, :1]
    )


def test_a_part_is_what_the_whole_has_there():
    splats, mask = shiny(), torch.arange(40) % 3 == 0
    camera = [looking((1.0, 1.1, 4.0), (1.0, 1.0, 0.0)), looking((3.0, 1.0, 3.0), (1.0, 1.0, 0.0))]
    for look in (
        lambda which: seen_from_above(splats, which),
        lambda which: seen_by(splats, which, camera, rasterizer=choose_rasterizer("cpu")),
    ):
        whole = without_highlights(splats, every(splats), look(every(splats)))
        assert torch.allclose(without_highlights(splats, mask, look(mask)), whole[mask], atol=1e-5)


def test_cameras_count_by_what_they_see():
    """Behind a wall is another camera, and what it would see does not count; nor does what is out of its picture."""
    wall = splats_at(
        torch.tensor([[0.0, 0.0, -0.5]]), scale=3.0, opacity=0.999, normals=torch.tensor([[0.0, 0.0, 1.0]])
    )
    wall = replace(wall, columns={})
    splats = replace(splats_at(torch.zeros(1, 3), scale=0.2), columns={})
    both = Splats.from_tensors(
        {name: torch.cat([tensor, wall.tensors()[name]]) for name, tensor in splats.tensors().items()}
    )
    cameras = [looking((0.0, 0.1, 4.0)), looking((0.0, 0.1, -4.0)), looking((0.0, 0.1, 4.0), (9.0, 0.0, 4.0))]
    seen = seen_by(both, torch.tensor([True, False]), cameras, rasterizer=choose_rasterizer("cpu"))
    share = seen.weight[0] / seen.weight[0].sum()
    assert float(share[0]) > 0.98 and float(share[1:].max()) < 0.02
    assert torch.allclose(seen.towards(slice(None))[0, 0], -cameras[0].position / cameras[0].position.norm())
    hidden = seen_by(both, torch.tensor([True, False]), cameras[2:], rasterizer=choose_rasterizer("cpu"))
    assert torch.equal(hidden.weight, torch.ones(1, 1))  # seen by none: all count alike


def test_above_is_along_the_shortest_axis_away_from_the_middle():
    field = two_balls("harmonics")
    bare = field.splats.without_columns("normals")
    mask = part("red")
    seen = seen_from_above(bare, mask)
    assert seen.directions is not None
    mean = torch.nn.functional.normalize((seen.weight[..., None] * -seen.directions).sum(1), dim=-1)
    assert float((mean * field.splats.columns["normals"][mask]).sum(-1).min()) > 0.95
    with_normals = seen_from_above(field.splats, mask)
    assert torch.allclose(seen.weight, with_normals.weight, atol=1e-3)


@pytest.mark.parametrize("name", ["strength", "brightness"])
def test_shares_out_of_range_are_one_clear_line(name: str):
    with pytest.raises(PromptError, match=f"the {name} of highlights is between 0 and 1, got 1.5"):
        replace(HighlightConfig(), **{name: 1.5})


# Files


def text_ply(path: Path, source: Path, end: str = "\r\n") -> Path:
    """The same splats as text, with comments, uneven blanks and an element after the vertices."""
    table = read_vertices(source)
    lines = ["ply", "format ascii 1.0", "comment  made by hand ", f"element vertex {len(table['x'])}"]
    lines += [f"property {'double' if name == 'f_dc_1' else 'float'} {name}" for name in table]
    lines += ["element camera 1", "property int id", "end_header"]
    table["f_dc_1"] = table["f_dc_1"].astype(np.float64)
    rows = ["  ".join(str(value) for value in row) + " " for row in zip(*table.values(), strict=True)]
    path.write_bytes((end.join([*lines, *rows, "17"]) + end).encode())
    return path


def big_endian_ply(path: Path, source: Path) -> Path:
    """The same splats in the other byte order, between two other elements."""
    table = read_vertices(source)
    dtype = [(name, ">f8" if name == "f_dc_1" else ">f4") for name in table]
    rows = np.empty(len(table["x"]), dtype)
    for name, values in table.items():
        rows[name] = values
    lines = ["ply", "format binary_big_endian 1.0", "comment kept", "element list 1"]
    lines += ["property list uchar int many", f"element vertex {len(rows)}"]
    lines += [f"property {'double' if kind == '>f8' else 'float'} {name}" for name, kind in dtype]
    lines += ["element tail 1", "property uchar last", "end_header", ""]
    before = bytes([2]) + np.array([7, 8], ">i4").tobytes()
    path.write_bytes("\n".join(lines).encode() + before + rows.tobytes() + b"\x09")
    return path


def made(folder: Path, kind: str = "little") -> Path:
    folder.mkdir(exist_ok=True)
    source = write_ply(
        shiny().with_columns(**{"ply.label": torch.arange(40, dtype=torch.int32)}), folder / "shiny.ply"
    )
    if kind == "text":
        return text_ply(folder / "text.ply", source)
    return source if kind == "little" else big_endian_ply(folder / "big.ply", source)


@pytest.mark.parametrize("kind", ["little", "big", "text"])
def test_values_change_and_no_other_byte(tmp_path: Path, kind: str):
    source = made(tmp_path, kind)
    rows = torch.arange(40) % 4 == 1
    values = {"f_dc_1": torch.linspace(-1, 1, 10), "f_rest_3": torch.linspace(3, 4, 10)}
    path = write_values(source, rows, values, tmp_path / "out.ply")
    old, new = read_vertices(source), read_vertices(path)
    for name in old:
        wanted = old[name].copy()
        if name in values:
            wanted[rows.numpy()] = values[name].numpy()
        assert np.array_equal(new[name], wanted), name
    back = {
        name: torch.from_numpy(old[name].astype(old[name].dtype.newbyteorder("="))[rows]) for name in values
    }
    restored = write_values(path, rows, back, tmp_path / "back.ply")
    assert restored.read_bytes() == source.read_bytes()
    if kind != "text":
        changed = np.frombuffer(path.read_bytes(), np.uint8) != np.frombuffer(source.read_bytes(), np.uint8)
        assert 0 < changed.sum() <= 10 * (4 + (4 if kind == "little" else 8))


@pytest.mark.parametrize("kind", ["little", "big", "text"])
def test_no_row_is_the_same_file(tmp_path: Path, kind: str):
    source = made(tmp_path, kind)
    none = torch.zeros(40, dtype=torch.bool)
    path = write_values(source, none, {"f_dc_0": torch.zeros(0)}, tmp_path / "out.ply")
    assert path.read_bytes() == source.read_bytes()


def test_values_that_cannot_be_written_are_one_clear_line(tmp_path: Path):
    source, rows = made(tmp_path), torch.arange(40) < 2
    with pytest.raises(WriteError, match="no property nonsense to change"):
        write_values(source, rows, {"nonsense": torch.zeros(2)}, tmp_path / "out.ply")
    with pytest.raises(WriteError, match="2 rows were chosen, f_dc_0 has other values"):
        write_values(source, rows, {"f_dc_0": torch.zeros(3)}, tmp_path / "out.ply")
    with pytest.raises(WriteError, match="rows of 5 splats were chosen"):
        write_values(source, rows[:5], {"f_dc_0": torch.zeros(2)}, tmp_path / "out.ply")
    short = tmp_path / "short.ply"
    short.write_bytes(source.read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="truncated"):
        write_values(short, rows, {"f_dc_0": torch.zeros(2)}, tmp_path / "out.ply")
    assert not (tmp_path / "out.ply").exists()


# The command


def ff(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def selected(folder: Path, field: FeatureField, mask: Tensor, name: str = "selection") -> Path:
    selection = Selection(mask, mask.float(), field.fingerprint())
    return write_selection(selection, folder / f"{name}.safetensors", overwrite=True)


@pytest.mark.parametrize("kind", ["little", "big", "text"])
def test_the_command_changes_the_selected_harmonics_only(tmp_path: Path, capsys, kind: str):
    source, mask = made(tmp_path, kind), torch.arange(40) % 2 == 0
    chosen = selected(tmp_path, read_ply(source), mask)
    out = tmp_path / "matte.ply"
    edit = ("edit", "--splat", source, "--selection", chosen, "--remove-specular")
    assert ff(*edit, "-o", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["splats_changed"] == 20 and told["splats"] == 40, told
    old, new = read_vertices(source), read_vertices(out)
    for name in old:
        if name.startswith(("f_dc_", "f_rest_")):
            assert np.array_equal(new[name][~mask.numpy()], old[name][~mask.numpy()])
            assert not np.array_equal(new[name][mask.numpy()], old[name][mask.numpy()])
        else:
            assert np.array_equal(new[name], old[name])
    above = looking((1.0, 1.1, 4.0), (1.0, 1.0, 0.0))
    before, after = picture(read_ply(source), above), picture(read_ply(out), above)
    assert float(before.max()) > float(after[before > before.quantile(0.98)].mean()) + 0.05
    assert ff(*edit, "--strength", 0, "-o", tmp_path / "same.ply") == 0
    assert (tmp_path / "same.ply").read_bytes() == source.read_bytes()


def test_photos_tell_from_where_it_is_seen(tmp_path: Path, capsys):
    """The splat is found in its photos' frame; from there every reading of a diffuse scene is the same."""
    folder = photograph(tmp_path / "photos")
    field = two_balls("harmonics")
    source = write_ply(field.splats, tmp_path / "balls.ply")
    out = tmp_path / "matte.ply"
    edit = ("edit", "--splat", source, "--remove-specular", "--data", folder, "-o", out, "--json")
    assert ff(*edit) == 0
    assert "9 photos" in json.loads(capsys.readouterr().out)["directions"]
    cameras = list(field.about.cameras.values())
    seen = seen_by(field.splats, every(field.splats), cameras, rasterizer=choose_rasterizer("cpu"))
    wanted = without_highlights(field.splats, every(field.splats), seen)
    assert torch.allclose(read_ply(out).splats.columns["harmonics"], wanted, atol=1e-3)


def test_a_selection_of_the_field_it_was_exported_from_fits(tmp_path: Path, capsys):
    from featurefields.files.archive import write_archive
    from featurefields.maths.rotations import matrix_from_quat
    from featurefields.maths.similarity import Similarity

    field = two_balls("harmonics")
    turn = matrix_from_quat(torch.tensor([[0.9, 0.1, -0.3, 0.2]]))[0]
    moved = field.moved(Similarity(2.5, turn, torch.tensor([1.0, -2.0, 0.3])))
    work = tmp_path / "work"
    write_archive(field, work / "field.safetensors")
    chosen = selected(work, field, part("red"))
    source = write_ply(moved.splats, tmp_path / "moved.ply")
    edit = ("edit", "--splat", source, "--remove-specular", "--selection", chosen)
    assert ff(*edit, "-o", tmp_path / "a.ply") == 0
    changed = read_ply(tmp_path / "a.ply").splats.columns["harmonics"] != moved.splats.columns["harmonics"]
    assert torch.equal(changed.flatten(1).any(-1), part("red"))
    elsewhere = selected(tmp_path / "elsewhere", field, part("red"), "red")
    edit = ("edit", "--splat", source, "--remove-specular", "--selection", elsewhere)
    assert ff(*edit, "-o", tmp_path / "b.ply") == 1
    assert "name that field before --splat" in capsys.readouterr().err
    assert ff("edit", work, *edit[1:], "-o", tmp_path / "b.ply") == 0
    assert (tmp_path / "b.ply").read_bytes() == (tmp_path / "a.ply").read_bytes()
    other = write_ply(two_balls("harmonics").splats.each(lambda x: x.flip(0)), tmp_path / "other.ply")
    assert (
        ff("edit", "--splat", other, "--remove-specular", "--selection", chosen, "-o", tmp_path / "c.ply")
        == 1
    )
    assert "belongs to other splats" in capsys.readouterr().err


def test_what_the_command_cannot_do_is_one_clear_line(tmp_path: Path, capsys):
    source = made(tmp_path)
    out = ("-o", tmp_path / "out.ply")
    for arguments, message in {
        ("--splat", tmp_path / "none.ply", "--remove-specular", *out): "does not exist",
        ("--splat", source, *out): "no edit was asked for",
        ("--splat", source, "--remove-specular"): "name it with --output FILE.ply",
        ("--splat", source, "--remove-specular", "-o", tmp_path / "folder"): "name it with --output FILE.ply",
        ("--splat", source, "--remove-specular", "--delete", *out): "--remove-specular and --strength only",
        ("--splat", source, "--remove-specular", "--strength", 2, *out): "between 0 and 1, got 2",
        ("--splat", source, "--remove-specular", "--undo", *out): "go with fields, not with --splat",
        ("--splat", source, "--remove-specular", "-o", source): "exists already",
    }.items():
        assert ff("edit", *arguments) == 1, arguments
        told = capsys.readouterr().err.strip()
        assert message in told and "\n" not in told, told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shiny.ply"]


def test_splats_without_bands_are_said_to_have_no_highlights(tmp_path: Path, capsys):
    splats = shiny()
    flat = splats.with_columns(harmonics=splats.columns["harmonics"][:, :1])
    source = write_ply(flat, tmp_path / "flat.ply")
    assert ff("edit", "--splat", source, "--remove-specular", "-o", tmp_path / "out.ply") == 0
    assert "no highlights to take" in capsys.readouterr().err
    assert (tmp_path / "out.ply").read_bytes() == source.read_bytes()
