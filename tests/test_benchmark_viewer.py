"""What the viewer's benchmark makes of its samples."""

import pytest

from benchmarks.viewer.command import seconds_of, told
from benchmarks.viewer.latency import Latency, measured
from benchmarks.viewer.seat import until
from benchmarks.viewer.soak import Soak, resident_mb


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("0m", 0.0)])
def test_durations(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "ten m", "10d"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError):
        seconds_of(text)


def test_growth_is_the_slope_after_the_warm_up():
    seconds = tuple(60.0 * minute for minute in range(20))
    filling = tuple(500.0 + (300.0 * minute if minute < 4 else 1200.0 + 2.0 * minute) for minute in range(20))
    soaked = Soak(seconds, filling, filling, 100, 0, False)
    assert soaked.growth_mb_per_hour == pytest.approx(120.0)
    assert Soak(seconds[:2], filling[:2], filling[:2], 1, 0, False).growth_mb_per_hour != 0  # not a number


def test_latencies_count_what_is_asked_and_nothing_before():
    calls: list = []
    found = measured(lambda: calls.append("act"), lambda: True, lambda: calls.append("prepare"), 3)
    assert calls == ["prepare", "act"] * 3 and len(found.wall_s) == 3 and max(found.wall_s) < 1
    assert Latency((1.0, 3.0, 2.0), (0.5, 0.5, 0.5)).told() == {
        "median_s": 2.0,
        "worst_s": 3.0,
        "median_busy_s": 0.5,
    }


def test_waiting_has_an_end():
    with pytest.raises(TimeoutError):
        until(lambda: False, 0.02)


def test_the_report_is_lines():
    lines = told({"splats": 3, "open_s": 1.23456, "release": {"median_s": 0.5, "stale": False}})
    assert "1.235" in lines and "median_s 0.5, stale False" in lines and resident_mb() > 10
