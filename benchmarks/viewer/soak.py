"""Hours of random use: whether memory grows, and whether anything fails."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.viewer.seat import Seat

SAMPLE_S = 10.0
WARM_UP = 0.2
"""Growth is measured after this part of the time: caches fill first."""


@dataclass(frozen=True)
class Soak:
    """What a soak showed; memory in megabytes at the samples.

    Attributes:
        seconds: of each sample, from the start.
        resident_mb: of this process (viewer and playwright's client).
        heap_mb: of the page's scripts.
        acts: what was done.
        exceptions: of viewer and page.
        stale: whether the last picture was not the newest.
    """

    seconds: tuple[float, ...]
    resident_mb: tuple[float, ...]
    heap_mb: tuple[float, ...]
    acts: int
    exceptions: int
    stale: bool

    @property
    def growth_mb_per_hour(self) -> float:
        """Slope of a line through the samples after the warm-up."""
        start = int(WARM_UP * len(self.seconds))
        if len(self.seconds) - start < 3:
            return float("nan")
        return 3600 * float(np.polyfit(self.seconds[start:], self.resident_mb[start:], 1)[0])


def soak(seat: Seat, seconds: float, generator: np.random.Generator, tell: Callable[[str], object]) -> Soak:
    """Random turns, clicks, edits and undo for so long."""
    began = told = time.monotonic()
    times, resident, heap, acts = [], [], [], 0
    choices = _choices(seat, generator)
    while (now := time.monotonic()) - began < seconds:
        choices[generator.integers(len(choices))]()
        acts += 1
        if acts % 5 == 0:
            seat.steady(600.0)
        if now - told >= SAMPLE_S or not times:
            told = now
            times.append(now - began)
            resident.append(resident_mb())
            heap.append(
                seat.page.evaluate("(performance.memory || {usedJSHeapSize: 0}).usedJSHeapSize") / 1e6
            )
            tell(f"{now - began:6.0f} s: {acts} acts, {resident[-1]:.0f} MB, page {heap[-1]:.0f} MB")
    seat.steady(600.0)
    exceptions = seat.viewer.errors + len(seat.errors)
    return Soak(tuple(times), tuple(resident), tuple(heap), acts, exceptions, not seat.is_newest)


def resident_mb() -> float:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _choices(seat: Seat, generator: np.random.Generator) -> list[Callable[[], object]]:
    """What a user does, each as often as it is listed."""

    def turn() -> None:
        seat.drag(seat.place(0.5, 0.4), (generator.uniform(-60, 60), generator.uniform(-10, 10)))

    def click() -> None:
        x, y = seat.place(generator.uniform(0.35, 0.65), generator.uniform(0.45, 0.7))
        seat.page.mouse.click(x, y, button="right" if generator.uniform() < 0.3 else "left")

    def key(name: str) -> Callable[[], object]:
        return lambda: seat.page.keyboard.press(name)

    return [
        turn, turn, turn, turn, click, click, click, key("z"), key("z"), key("y"), key("n"), key("i"), key("Escape"),
        key("l"), key("o"), key("p"), key("m"), key("]"), key("k"), key("t"), key("Enter"), key("z"),
    ]  # fmt: skip
