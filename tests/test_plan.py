"""ff plan: sums against brute force, choices within budgets, and a forecast of the bundled scene."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from featurefields.files.archive import write_archive
from featurefields.fitting.appearance import AppearanceConfig, AppearanceFit
from featurefields.fitting.densify import DensifyConfig
from featurefields.fitting.loop import finished_field, save_checkpoint
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene
from featurefields.vision.cache import extract_features
from featurefields.vision.select import choose_extractor
from featurefields_cli import forecast, main
from featurefields_cli.forecast import Memory, StepCosts, fit_seconds
from featurefields_cli.plan import LEAST_SPLATS, chosen

GB = 10**9
COSTS = StepCosts(first=1000, last=3000, half_s=0.1, first_s=0.2, last_s=0.6)


def test_a_step_costs_what_was_measured_and_between_that_in_proportion():
    assert COSTS.at(1000, half=False) == pytest.approx(0.2)
    assert COSTS.at(3000, half=False) == pytest.approx(0.6)
    assert COSTS.at(2000, half=False) == pytest.approx(0.4)
    assert COSTS.at(2000, half=True) == pytest.approx(0.2)
    constant = replace(COSTS, last=1000, last_s=0.2)
    assert constant.at(1000, half=False) == pytest.approx(0.2), "no growth, no division by nothing"


def test_steps_add_up_as_the_gaussians_grow():
    config = AppearanceConfig(
        steps=1000,
        half_until=0.2,
        densify=DensifyConfig(budget=3000, every=100, start=0.1, stop=0.5, growth=0.5),
    )
    counts = [1000] * 100 + [1500] * 100 + [2250] * 100 + [3000] * 700
    brute = sum((0.2 + 0.4 * (n - 1000) / 2000) * (0.5 if i < 200 else 1) for i, n in enumerate(counts))
    assert fit_seconds(COSTS, config) == pytest.approx(brute)


MEMORY = Memory(program=1 * GB, photos=2 * GB, table=1 * GB, lifting=3 * GB)


def test_enough_memory_changes_nothing():
    found = chosen(MEMORY, 8 * GB, 50_000, 1.0)
    assert (found.splats, found.downscale, found.fits) == (50_000, 1.0, True)
    assert chosen(MEMORY, None, 50_000, 2.0).downscale == 2.0


def test_views_kept_while_lifting_go_first_then_photos_then_gaussians():
    less = chosen(MEMORY, 5 * GB, 50_000, 1.0)
    assert (less.splats, less.downscale, less.lifting_bytes) == (50_000, 1.0, 1 * GB)
    smaller = chosen(MEMORY, int(3.3 * GB), 50_000, 1.0)
    assert smaller.splats == 50_000 and smaller.downscale > 1.2 and smaller.fits
    fewer = chosen(MEMORY, int(1.5 * GB), 50_000, 1.0)
    assert fewer.splats < 50_000 and fewer.fits and fewer.lifting_bytes >= 200 * 10**6
    none = chosen(MEMORY, int(1.1 * GB), 50_000, 1.0)
    assert not none.fits and none.splats == LEAST_SPLATS


def test_gaussians_that_are_never_reached_are_not_what_is_saved():
    found = chosen(MEMORY, int(1.8 * GB), 50_000, 1.0, reached=20_000)
    assert found.splats < 20_000 and found.fits
    assert chosen(MEMORY, 5 * GB, 50_000, 1.0, reached=20_000).splats == 50_000


def planned(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main(["plan", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_forecast_of_the_bundled_scene(demo_scene: Path, capsys: pytest.CaptureFixture[str]):
    asked = ("--steps", 400, "--splats", 9000, "--features", "classical")
    told = planned(capsys, "--data", demo_scene, *asked)
    assert told["minutes_in_all"] == pytest.approx(told["fit_minutes"] + told["features_minutes"])
    assert 0.05 < told["fit_minutes"] < 60 and told["features_minutes"] > 0
    assert told["splats_at_the_end"] == 9000
    assert told["memory_GB"] > told["program_GB"] > 0.2
    assert told["feature_cache_MB"] > 1 and 1 < told["field_on_disk_MB"] < 20
    assert told["next"] == [f"ff fit --data {demo_scene} --steps 400 --features classical --splats 9000"]


def test_a_small_budget_is_put_into_the_command(demo_scene: Path, capsys: pytest.CaptureFixture[str]):
    asked = ("--features", "none", "--splats", 9000, "--budget", "10MB")
    told = planned(capsys, "--data", demo_scene, *asked)
    assert told["choice"]["fits"] is False and "--budget 200MB" in told["next"][0]


def test_what_makes_no_sense_is_one_line(demo_scene: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "--data", str(demo_scene), "--steps", "0"]) == 1
    assert "--steps must be positive" in capsys.readouterr().err
    assert main(["plan", "--data", "nowhere"]) == 1
    assert "does not exist" in capsys.readouterr().err


@dataclass
class Priced:
    """A fit whose steps cost what a law says, on a clock of its own."""

    config: AppearanceConfig
    count: int
    step: int = 0
    now: float = 0.0

    @property
    def splats(self) -> range:
        return range(self.count)

    def cost(self, count: int, half: bool) -> float:
        return (0.02 + 1e-5 * count) * (0.3 if half else 1.0)

    def run_step(self) -> None:
        self.now += self.cost(self.count, self.step < self.config.half_until * self.config.steps)

    def grow(self, count: int) -> None:
        self.count = count


@pytest.mark.parametrize("half_until", [0.0, 0.15, 0.5])
@pytest.mark.parametrize("budget", [1000, 4000, 20_000, 100_000])
def test_a_forecast_is_the_sum_of_all_steps_where_steps_follow_the_law(
    half_until: float, budget: int, monkeypatch: pytest.MonkeyPatch
):
    config = AppearanceConfig(steps=3000, half_until=half_until, densify=DensifyConfig(budget=budget))
    fit, whole = Priced(config, 1000), Priced(config, 1000)
    monkeypatch.setattr(forecast, "time", SimpleNamespace(perf_counter=lambda: fit.now))
    told = fit_seconds(forecast.step_costs(cast(AppearanceFit, fit)), config)
    for step in range(config.steps):
        whole.step = step
        if config.densify.due(step, config.steps):
            whole.count = min(budget, int(whole.count * (1 + config.densify.growth)))
        whole.run_step()
    assert told == pytest.approx(whole.now)
    assert forecast.reached(1000, config) == whole.count <= budget


@pytest.fixture(scope="module")
def grown(demo_scene: Path) -> tuple[Scene, AppearanceFit]:
    scene = read_scene(demo_scene, downscale=2)
    config = AppearanceConfig(steps=400, densify=DensifyConfig(budget=3000))
    fit = AppearanceFit(scene, config, rasterizer=choose_rasterizer("reference"))
    fit.grow(3000)
    return scene, fit


def test_bytes_are_those_of_the_files_and_photos(grown: tuple[Scene, AppearanceFit], tmp_path: Path):
    scene, fit = grown
    save_checkpoint(fit, scene, tmp_path / "checkpoint.safetensors")
    table = forecast.FLOATS_KEPT * sum(tensor.nbytes for tensor in fit.splats.tensors().values())
    said = forecast.checkpoint_bytes(table)
    assert said == pytest.approx((tmp_path / "checkpoint.safetensors").stat().st_size, rel=0.05)
    field = finished_field(fit, scene, {})
    written = write_archive(field, tmp_path / "field.safetensors").stat().st_size
    assert forecast.field_bytes(field) == pytest.approx(written, rel=0.05)
    held = sum(photo.colours.nbytes for photos in fit.photos.values() for photo in photos)
    assert forecast.photo_bytes(scene.split("train")) == pytest.approx(held, rel=0.02)
    views = scene.split("train")
    assert forecast.photo_bytes(views[:3]) == pytest.approx(3 / len(views) * held, rel=0.02)


def test_the_cache_takes_what_a_few_views_say(demo_scene: Path, tmp_path: Path):
    views, extractor = read_scene(demo_scene).split("train"), choose_extractor("classical")

    def cached(count: int) -> int:
        extract_features(views[:count], extractor, cache_dir=tmp_path / str(count))
        return sum(file.stat().st_size for file in (tmp_path / str(count)).rglob("*") if file.is_file())

    assert cached(3) * 9 // 3 == pytest.approx(cached(9), rel=0.01)
