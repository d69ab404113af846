"""The benchmark suite runs and reports every object."""

import json
import math
from pathlib import Path

import pytest

from benchmarks import quality
from benchmarks.__main__ import BENCHMARKS


def test_quality_measures_every_object_of_the_demo_scene(tmp_path: Path, demo_scene: Path, capsys):
    report = tmp_path / "quality.json"
    command = ["--data", str(demo_scene), "--steps", "5", "--splats", "2000", "--json", str(report)]
    assert quality.main(command) == 0
    found = json.loads(report.read_text(encoding="utf-8"))
    clicks = json.loads((demo_scene / "clicks.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in found["objects"]] == list(clicks)
    for row in found["objects"]:
        assert 0 <= row["iou"] <= row["oracle"] + 0.05 and row["oracle"] <= 1
        assert all(math.isfinite(row[key]) for key in ("photo_psnr", "before_db", "after_db"))
    assert "single click mIoU" in capsys.readouterr().out


@pytest.mark.parametrize(("errors", "expected"), [([0.01], 20.0), ([0.0], 120.0), ([1.0, 1.0], 0.0)])
def test_decibels(errors: list[float], expected: float):
    assert quality.decibel(errors) == pytest.approx(expected)


def test_no_pixels_are_no_number():
    assert math.isnan(quality.decibel([]))


def test_every_listed_benchmark_is_there():
    for name in BENCHMARKS:
        assert (Path(quality.__file__).parent / f"{name}.py").exists()
