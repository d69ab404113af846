"""From the mouse to the picture: seconds, and processor seconds of the viewer."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.viewer.seat import Seat, until


@dataclass(frozen=True)
class Latency:
    """Seconds of several tries, and the processor's seconds of this process (its threads together) meanwhile."""

    wall_s: tuple[float, ...]
    busy_s: tuple[float, ...]

    def told(self) -> dict[str, float]:
        return {
            "median_s": float(np.median(self.wall_s)),
            "worst_s": max(self.wall_s),
            "median_busy_s": float(np.median(self.busy_s)),
        }


@dataclass(frozen=True)
class Hurry:
    """What a hurried user left: pictures sent, drawn but overtaken, stale at the end, exceptions."""

    delivered: int
    dropped: int
    stale: bool
    exceptions: int


def measured(
    act: Callable[[], object], done: Callable[[], object], prepare: Callable[[], object], tries: int
) -> Latency:
    """`act` until `done`, several times; `prepare` before each is not counted."""
    wall, busy = [], []
    for _ in range(tries):
        prepare()
        began, work = time.perf_counter(), time.process_time()
        act()
        until(done, every_s=0.002)
        wall.append(time.perf_counter() - began)
        busy.append(time.process_time() - work)
    return Latency(tuple(wall), tuple(busy))


def release_to_picture(seat: Seat, tries: int, generator: np.random.Generator) -> Latency:
    """From releasing the mouse after a turn to the sharp picture being sent."""

    def turn() -> None:
        seat.steady()
        x, y = seat.place(0.5, 0.5)
        dx, dy = generator.uniform(-80, 80), generator.uniform(-20, 20)
        seat.page.mouse.move(x, y)
        seat.page.mouse.down()
        seat.page.mouse.move(x + dx, y + dy, steps=4)

    return measured(seat.page.mouse.up, lambda: seat.is_newest, turn, tries)


def click_to_overlay(seat: Seat, tries: int, generator: np.random.Generator) -> Latency:
    """From a click to the picture with the selection being sent; the first one included."""
    steps = [0]
    place = [0.0, 0.0]

    def prepare() -> None:
        seat.page.keyboard.press("Escape")
        until(lambda: not seat.viewer.document.session.steps)
        seat.steady()
        steps[0] = 0
        place[:] = seat.place(0.5 + generator.uniform(-0.1, 0.1), 0.55 + generator.uniform(-0.05, 0.1))

    return measured(
        lambda: seat.page.mouse.click(*place),
        lambda: seat.viewer.document.session.steps and seat.is_newest,
        prepare,
        tries,
    )


def hurry(seat: Seat, generator: np.random.Generator, moves: int = 30, clicks: int = 20) -> Hurry:
    """Many moves and clicks as fast as the browser takes them."""
    before = seat.viewer.worker.delivered, seat.viewer.worker.dropped
    x, y = seat.place(0.5, 0.5)
    for number in range(moves):
        seat.drag((x, y), (generator.uniform(-60, 60), generator.uniform(-20, 20)), steps=1)
        if number < clicks:
            seat.page.mouse.click(x + generator.uniform(-50, 50), y + generator.uniform(0, 30))
    seat.steady(600.0)
    worker = seat.viewer.worker
    stale = True
    for _ in range(20):
        if seat.shows_what_it_should():
            stale = False
            break
        time.sleep(0.5)
    exceptions = seat.viewer.errors + len(seat.errors)
    return Hurry(worker.delivered - before[0], worker.dropped - before[1], stale, exceptions)
