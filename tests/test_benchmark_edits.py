"""The benchmark of edits: every object, subject and edit, against truth that is the field's own."""

import json
from math import isnan
from pathlib import Path

import pytest
import torch
from tiny_fields import part
from tiny_truth import truth_field, truth_scene

from benchmarks.edits import main
from benchmarks.edits.measurement import Row, Subject, Truth, measure_object
from benchmarks.edits.report import mean_gain, summarise
from featurefields.files.archive import write_archive
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    truth_scene(folder, truth_field())
    file = folder / "transforms.json"
    frames = [frame["file_path"] for frame in json.loads(file.read_text())["frames"]]
    document = json.loads(file.read_text()) | {"train_filenames": frames[:6], "test_filenames": frames[6:]}
    file.write_text(json.dumps(document))
    return folder


def test_a_field_whose_matter_is_the_truth_gains_much_and_changes_nothing_else(folder: Path):
    field, scene = truth_field(), read_scene(folder, normalise=False)
    truth, rasterizer = Truth.of(scene, 3), choose_rasterizer("cpu")
    subject = Subject("field", field, rasterizer, scene)
    red = next(entry for entry in truth.objects if entry.name == "red")
    mask = subject.shown_by(red.id)
    assert float(mask[part("red")].float().mean()) > 0.8 and int(mask[~part("red")].sum()) < 8
    rows = {row.edit: row for row in measure_object(subject, truth, red, "masks", part("red"))}
    assert rows["remove"].diffuse_db > rows["none"].diffuse_db + 10
    assert rows["none"].outside_db == 0 and abs(rows["remove"].outside_db) < 1
    assert "remove, base colour" in rows  # it is called a metal
    nothing = measure_object(subject, truth, red, "click", torch.zeros(len(field), dtype=torch.bool))
    assert {round(row.diffuse_db, 6) for row in nothing} == {round(rows["none"].diffuse_db, 6)}


def test_it_reports_every_subject(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    from featurefields.editing.baking import QUICK, bake_harmonics
    from featurefields.files.ply import write_ply

    field = truth_field()
    archive = write_archive(field, tmp_path / "field.safetensors")
    ordinary = write_ply(bake_harmonics(field, config=QUICK), tmp_path / "ordinary.ply")
    report = tmp_path / "edits.json"
    command = ["--field", archive, "--ordinary", ordinary, "--data", folder, "--quick", "--margin", 2]
    assert main([str(word) for word in [*command, "--json", report, "--objects", "red", "floor"]]) == 0
    told = json.loads(report.read_text())
    found = {(row["object"], row["subject"], row["chosen"], row["edit"]) for row in told["rows"]}
    for name in ("red", "floor"):
        for chosen in ("masks", "click"):
            assert (name, "field", chosen, "remove") in found
            assert (name, "baked", chosen, "--splat, photos") in found
        assert (name, "ordinary", "masks", "drop bands") in found
        assert (name, "ordinary", "click", "drop bands") not in found
    assert told["facts"]["PSNR of field"] > told["facts"]["PSNR of baked"] > 20
    assert told["summary"]["gain of field, masks, no metal"] == pytest.approx(
        mean_gain([Row(**row) for row in told["rows"] if row["object"] == "floor" and row["chosen"] == "masks"
                   and row["subject"] == "field"], "remove")
    )  # fmt: skip
    assert "ordinary, chosen by masks" in capsys.readouterr().out


def row(material: str, edit: str, diffuse: float, outside: float = 0.0) -> Row:
    return Row(material, material, "field", "masks", edit, diffuse, float("nan"), outside)


def test_means_leave_metals_out_and_count_objects_alike():
    rows = [
        row("coated", "none", 20.0), row("coated", "remove", 24.0, 0.02),
        row("matte", "none", 30.0), row("matte", "remove", 29.0, -0.3),
        row("metal", "none", 5.0), row("metal", "remove", 25.0),
    ]  # fmt: skip
    summary = summarise(rows)
    assert summary["gain of field, masks, no metal"] == pytest.approx(1.5)
    assert summary["gain of field, masks, coated"] == pytest.approx(4.0)
    assert summary["most change outside, field, masks"] == pytest.approx(0.3)
    assert "gain of field, masks, metal" not in summary
    assert isnan(mean_gain([], "remove"))
