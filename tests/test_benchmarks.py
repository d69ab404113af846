"""The benchmark suite runs and reports every object."""

import importlib.util
import json
import math
import sys
import time
from argparse import Namespace
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tiny_fields import part, views_of
from tiny_lifting import CPU, REFERENCE, cameras_around, drawn_loss, half_masks, random_maps, scattered
from tiny_truth import truth_field, truth_scene

from benchmarks import clicks, memory, quality, scaling
from benchmarks.__main__ import BENCHMARKS
from benchmarks.raster.probe import summary
from benchmarks.raster.report import gate, save_baseline, show
from benchmarks.raster.torch_peers import BatchedTorch, GsplatTorch
from benchmarks.raster.workloads import made_up
from benchmarks.solvers.clock import Clock, Seconds
from benchmarks.solvers.problem import Problem, System
from benchmarks.solvers.race import Goal, Point, Run, first_step, race
from benchmarks.solvers.report import show as show_race
from benchmarks.solvers.report import verdicts
from benchmarks.solvers.stochastic import Schedule, descend
from featurefields.field import FeatureField, render
from featurefields.files.archive import write_archive
from featurefields.lifting.least_squares import LeastSquaresConfig, solve
from featurefields.raster import RasterConfig, Rasterizer, choose_rasterizer
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


def small_problem(degree: int = 1, rasterizer: Rasterizer = CPU) -> Problem:
    """Masked views of a few Gaussians; in double precision where the rasterizer can."""
    cameras, precision = cameras_around(), torch.float32 if rasterizer is CPU else torch.float64
    field = FeatureField(scattered().splats.to(precision), {})
    maps = {name: lambda make=make: make().to(precision) for name, make in random_maps(cameras).items()}
    config = LeastSquaresConfig(degree=degree)
    return Problem(field, views_of(cameras, half_masks(cameras)), maps, rasterizer, config, 2**30)


class TestSolvers:
    """The closed form against descent of the same objective."""

    @pytest.mark.parametrize("degree", [0, 1, 2])
    def test_the_objective_is_that_of_least_squares(self, degree: int):
        """Its gradient is nothing at the solution, and the derivative of its value elsewhere."""
        problem = small_problem(degree, REFERENCE)
        system, config = System(problem), replace(problem.config, iterations=400, tolerance=1e-9)
        best = solve(problem.field, problem.views, problem.maps, rasterizer=REFERENCE, config=config)

        def gradient(x: torch.Tensor) -> torch.Tensor:
            parts = [torch.empty_like(x) for _ in problem.views]
            for place, out in enumerate(parts):
                system.gradient(place, x, out)
            return torch.stack(parts).sum(0)

        def objective(x: torch.Tensor) -> float:
            field = system.field(x)
            return system.objective(field, system.loss(field))

        x = system.unknowns(best.field)
        assert gradient(x).abs().max() < 1e-6 < 1e-2 < gradient(system.start).abs().max()
        assert system.loss(best.field) == pytest.approx(best.losses[-1], rel=1e-6)
        along = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
        slope = (objective(x + 0.1 * along) - objective(x - 0.09 * along)) / 0.19
        wanted = 2 * float((gradient(x + 0.005 * along) * along).sum()) / system.size
        assert slope == pytest.approx(wanted, rel=1e-4) and slope > 0

    def test_losses_are_of_all_counted_pixels(self):
        problem, cameras = small_problem(), cameras_around()
        system = System(problem)
        field = system.field(system.start)
        wanted = drawn_loss(field, cameras, random_maps(cameras), half_masks(cameras))
        assert system.loss(field) == pytest.approx(wanted, rel=1e-4)

    def test_descent_comes_to_the_optimum_and_stops_when_told(self):
        problem = small_problem()
        system, epochs = System(problem), []
        found = system.field(
            descend(system, Schedule(rate=1.0, epochs=100), lambda x: bool(epochs.append(x)))
        )
        config = replace(problem.config, iterations=400, tolerance=1e-5)
        best = solve(problem.field, problem.views, problem.maps, rasterizer=CPU, config=config).field
        reached, optimum = (system.objective(field, system.loss(field)) for field in (found, best))
        assert len(epochs) == 100 and optimum < reached < 1.001 * optimum
        descend(
            system, Schedule(rate=1.0, epochs=100), lambda x: bool(epochs.append(x)) or len(epochs) == 103
        )
        assert len(epochs) == 103

    def test_the_first_step_is_found_by_looking_at_few(self):
        for last in (1, 2, 7, 30):
            for first in range(last + 1):
                looked: list[int] = []
                found = first_step(lambda step, f=first: looked.append(step) or step >= f, last)  # noqa: B023
                assert found == first and len(looked) <= 9 and max(looked, default=0) <= max(1, 2 * first)

    def test_paused_time_does_not_count(self):
        clock = Clock()
        with clock.paused():
            time.sleep(0.2)
        assert clock.read().wall < 0.15

    def test_verdicts_take_the_fastest_descent_or_the_longest(self):
        def point(step: int, loss: float) -> Point:
            return Point(step, Seconds(2.0 * step, 1.0 * step), loss, loss)

        goal = Goal(1.0, 1.0, 0.01)
        closed = Run("closed form", "closed", (point(0, 3.0), point(2, 1.005), point(3, 1.0)))
        slow = Run("sgd", "slow", (point(10, 1.5), point(40, 1.009)))
        fast, short = (
            Run("sgd", "fast", (point(10, 1.5), point(22, 1.01))),
            Run("sgd", "short", (point(5, 2),)),
        )
        beside = Run("beside", "ridge of its own", (point(1, 0.5),))
        by_loss, by_objective, of_best = verdicts([beside, closed, slow, fast, short], goal)
        assert by_loss.by == by_objective.by == "fast" and by_loss.reached and by_loss.ratios == (11, 11)
        assert of_best.by == "fast" and by_loss.met and by_loss.as_json()["ratio"] == 11
        by_loss, _, of_best = verdicts([closed, short], goal)
        assert (
            not by_loss.reached and by_loss.sgd.step == 5 and by_loss.ratios == (2.5, 2.5) and not by_loss.met
        )
        assert of_best.reached and of_best.closed.step == 2

    def test_a_race_has_all_solvers_and_tells_them(self, capsys: pytest.CaptureFixture[str]):
        problem = small_problem()
        runs, goal = race(problem, [Schedule(rate=0.2, epochs=3)], within=0.01, bound=1e6)
        assert [run.kind for run in runs] == ["beside", "beside", "closed form", "sgd", "beside", "beside"]
        uplifted, shipped, closed, sgd, directional, deferred = (run.points for run in runs)
        losses = [point.loss for point in closed]
        assert (
            all(after <= 1.00001 * before for before, after in pairwise(losses)) and goal.loss == losses[-1]
        )
        assert closed[-1].step > shipped[0].step > 1 and goal.objective < shipped[0].objective
        assert goal.objective < uplifted[0].objective and len(sgd) == 3
        assert sgd[0].seconds.wall < sgd[1].seconds.wall and sgd[-1].objective < closed[0].loss
        assert directional[0].loss < closed[0].loss and deferred[0].objective is None
        reached = Run("closed form", "", closed).first(goal.by_objective)
        assert reached is not None and goal.by_objective(reached)
        show_race(runs, goal, verdicts(runs, goal), {"scene": "small"})
        told = capsys.readouterr().out
        assert "one-pass uplift" in told and "deferred" in told and "within 1 %" in told

    def test_the_command_measures_a_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        from benchmarks import solvers

        field = truth_field()
        data = truth_scene(tmp_path / "scene", field)
        write_archive(field, tmp_path / "field.safetensors")
        command = [
            "--field",
            str(tmp_path / "field.safetensors"),
            "--data",
            str(data),
            "--dim",
            "4",
            "--rates",
            "0.3",
        ]
        report = tmp_path / "solvers.json"
        assert solvers.main([*command, "--epochs", "2", "--json", str(report)]) == 0
        found = json.loads(report.read_text(encoding="utf-8"))
        assert found["facts"]["stored dimensions"] == 4 and len(found["verdicts"]) == 3
        assert found["runs"][2]["points"][-1]["loss"] == found["goal"]["loss"]
        assert "to come to" in capsys.readouterr().out


class TestMemory:
    """Peaks of lifting against its budget."""

    def test_a_case_is_measured_in_a_process_of_its_own(self, tmp_path: Path):
        if not sys.platform.startswith("linux"):
            pytest.skip("peaks can only be set back on Linux")
        field = truth_field()
        data = truth_scene(tmp_path / "scene", field)
        write_archive(field, tmp_path / "field.safetensors")
        options = Namespace(
            field=tmp_path / "field.safetensors", data=data, features="classical", no_cache=True
        )
        (peak,) = memory.measure(options, [memory.Case("uplift", "photos", "100KB")])
        assert 0.1 < peak.peak_mb < 300 and peak.budget_mb == 0.1 and peak.before_mb > 50 and not peak.kept
        assert "more than the memory budget" in peak.notes[0]

    def test_a_broken_case_is_told(self, tmp_path: Path):
        options = Namespace(
            field=tmp_path / "no.safetensors", data=tmp_path, features="classical", no_cache=True
        )
        with pytest.raises(RuntimeError, match="does not exist"):
            memory.measure(options, [memory.Case("uplift", "photos", "1GB")])

    def test_what_is_over_the_budget_is_marked(self, capsys: pytest.CaptureFixture[str]):
        case = memory.Case("sgd", "photos", "200MB")
        memory.show([memory.Peak(case, 300, 250, 200, 1.0, ("it is slow",))])
        told = capsys.readouterr().out
        assert "125 %" in told and "over" in told and "told: it is slow" in told


def test_splitting_keeps_the_look():
    field = truth_field()
    camera = next(iter(field.about.cameras.values()))
    many = clicks.split(field, 3 * len(field) - 1)
    assert len(many) == 3 * len(field)
    one, other = (render(f, camera, rasterizer=CPU).layers["rgb"]["total"] for f in (field, many))
    assert float((one - other).abs().mean()) < 0.03 < float(one.mean())


def test_the_first_and_further_clicks_are_timed_in_processes_of_their_own(tmp_path: Path, capsys):
    field = truth_field()
    folder = truth_scene(tmp_path / "scene", field)
    write_archive(field, tmp_path / "field.safetensors")
    command = ["--field", str(tmp_path / "field.safetensors"), "--data", str(folder), "--gaussians", "500"]
    report = tmp_path / "clicks.json"
    assert clicks.main([*command, "--tries", "1", "--json", str(report)]) in (0, 1)
    (found,) = json.loads(report.read_text(encoding="utf-8"))
    assert found["gaussians"] >= 500 and found["first"][0] > max(wall for wall, _ in found["warm"]) > 0
    assert "first" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="a try failed"):
        clicks.main([*command[:2], "--data", str(tmp_path), "--tries", "1"])
