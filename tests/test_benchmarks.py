"""The benchmark suite runs and reports every object."""

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_fields import part
from tiny_truth import truth_field, truth_scene

from benchmarks import quality, scaling
from benchmarks.__main__ import BENCHMARKS
from benchmarks.raster.probe import summary
from benchmarks.raster.report import gate, save_baseline, show
from benchmarks.raster.torch_peers import BatchedTorch, GsplatTorch
from benchmarks.raster.workloads import made_up
from featurefields.raster import RasterConfig, choose_rasterizer
from featurefields.raster.reference import ReferenceRasterizer
from featurefields.readers import read_scene


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
    assert "single click mIoU" in capsys.readouterr().out and found["facts"]["single click mIoU"] > 0


def test_gaussians_of_an_object_are_those_that_show_it(tmp_path: Path):
    """Every Gaussian of a ball belongs to it by the true masks, and hardly any other does."""
    field = truth_field()
    scene = read_scene(truth_scene(tmp_path / "scene", field), normalise=False)
    red = quality.true_gaussians(field, scene, 1, choose_rasterizer("cpu"))
    seen = red[part("red")].float().mean()
    assert seen > 0.8 and red[~part("red")].float().mean() < 0.05
    before, after = quality.reflections(field, scene, 1, choose_rasterizer("cpu"))
    assert after > before + 6  # the truth is the field's own matter


def test_every_listed_benchmark_is_there():
    for name in BENCHMARKS:
        assert importlib.util.find_spec(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def report() -> dict:
    """Everything measured on made-up scenes of little size."""
    from benchmarks.raster import suite

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "small_work", lambda folder: made_up(500, 32))
        patch.setattr(suite, "large_work", lambda folder: made_up(900, 48))
        patch.setattr(suite.m, "first_picture", lambda: [])
        patch.setattr(suite.m, "narrow_registers", lambda folder: [])
        return suite.measure(None, quick=True)


class TestRaster:
    """The suite of drawing speed."""

    def test_every_workload_is_timed(self, report: dict):
        assert [row["workload"] for row in report["rows"][:5]] == ["W1", "W2", "W3", "W4", "W5"]
        assert {row["workload"] for row in report["rows"][5:]} == {"W6"}
        for row in report["rows"]:
            assert row["taken"] >= 2 and row.get("forward ms", row.get("ms", 0)) > 0
        assert all(math.isfinite(ratio["value"]) and ratio["value"] > 0 for ratio in report["ratios"])
        json.dumps(report)

    def test_the_gate_lets_through_what_is_as_good_and_stops_what_is_worse(
        self, report: dict, tmp_path: Path, capsys
    ):
        baseline = tmp_path / "baseline.json"
        save_baseline(report, baseline)
        assert gate(report, baseline) == 0
        worse = json.loads(json.dumps(report))
        worse["ratios"][0]["value"] *= 0.5 if worse["ratios"][0]["better"] == "higher" else 2
        assert gate(worse, baseline) == 1
        assert worse["ratios"][0]["name"] in capsys.readouterr().out
        assert gate({**worse, "registers": "others"}, baseline) == 0
        show(report)

    def test_peers_draw_the_same_picture(self):
        work = made_up(300, 40)
        channels = work.channels(5)
        wanted = ReferenceRasterizer().draw(work.splats, channels, work.camera, RasterConfig())
        peers = [BatchedTorch()]
        if importlib.util.find_spec("gsplat"):
            peers += [GsplatTorch(search=True), GsplatTorch(search=False)]
        for peer in peers:
            drawn = peer.draw(work.splats, channels, work.camera, RasterConfig())
            assert (drawn.image - wanted.image).abs().mean() < 1e-4, peer.name
            assert (drawn.alpha - wanted.alpha).abs().mean() < 1e-4, peer.name

    def test_a_made_up_scene_keeps_its_contributions_per_pixel(self):
        few, many = made_up(1_000, 128), made_up(4_000, 128)
        assert 0.5 < many.contributions / few.contributions < 2

    def test_busy_samples_are_left_out(self):
        timing = summary([(0.010, True), (0.090, False), (0.012, True), (0.011, True)])
        assert timing.median == pytest.approx(11) and (timing.quiet, timing.taken) == (3, 4)
        assert summary([(0.010, False), (0.020, False)]).median == pytest.approx(15)


def test_scaling_measures_and_plots_every_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    point = scaling.Point(1, 1.0, 2.0, 10, 3.0)
    axes = {"threads (x)": [point, replace(point, size=2)], "largest (y)": [point]}
    scaling.plot(axes, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scaling-threads.svg"]
    scaling.show(axes)
