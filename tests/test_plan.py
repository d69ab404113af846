"""ff plan: sums against brute force, choices within budgets, and a forecast of the bundled scene."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from featurefields.fitting.appearance import AppearanceConfig
from featurefields.fitting.densify import DensifyConfig
from featurefields_cli import main
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


def planned(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main(["plan", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_forecast_of_the_bundled_scene(demo_scene: Path, capsys: pytest.CaptureFixture[str]):
    asked = ("--steps", 400, "--splats", 9000, "--features", "classical")
    told = planned(capsys, "--data", demo_scene, *asked)
    assert told["minutes_in_all"] == pytest.approx(told["fit_minutes"] + told["features_minutes"])
    assert 0.05 < told["fit_minutes"] < 60 and told["features_minutes"] > 0
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
