"""Timing on a machine that others use too: samples bracketed by a spin probe, candidates taken in turns.

A job beside a two-threaded kernel slows it several times. A short spin on all threads before and after every sample
tells whether the machine was busy; busy samples are dropped, and medians of the quiet ones are compared.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.raster.limits import multiply_adds
from featurefields.simd import GROUP, LANES
from featurefields.threads import run_parallel, thread_count

TOLERANCE = 1.15
"""A probe that takes this much longer than the fastest one ever means a busy machine."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of the quiet samples (of all where fewer than two were quiet)."""

    median: float
    fastest: float
    quiet: int
    taken: int


SPIN = 800_000
"""Steps of the spin: about a millisecond, so that handing it to the threads does not count."""


class Probe:
    """Knows how fast this machine can be. It waits `patience_s` for quiet at most, all waits together: some machines
    are never quiet."""

    def __init__(self, patience_s: float = 60.0) -> None:
        self._patience = patience_s
        self._numbers = np.full(LANES, 1e-3, np.float32)
        self._outs = [np.empty(LANES * GROUP, np.float32) for _ in range(thread_count())]
        self._best = float("inf")
        for _ in range(40):
            self.look()

    def look(self) -> float:
        """Seconds that the spin takes now, relative to the fastest ever seen."""
        started = time.perf_counter()
        run_parallel(lambda part: multiply_adds(SPIN, self._numbers, self._outs[part]), len(self._outs))
        seconds = time.perf_counter() - started
        self._best = min(self._best, seconds)
        return seconds / self._best

    def wait_for_quiet(self, at_most_s: float = 0.5) -> None:
        """Return when the machine is quiet, or when that takes too long."""
        started = time.perf_counter()
        while self.look() > TOLERANCE and time.perf_counter() - started < min(at_most_s, self._patience):
            time.sleep(0.01)
        self._patience -= time.perf_counter() - started


def in_turns(
    candidates: Mapping[str, Callable[[], object]], probe: Probe, *, samples: int, budget_s: float
) -> dict[str, Timing]:
    """Time every candidate until `samples` of it were quiet, one after the other in every round; four times as many
    rounds at most.

    A candidate stops being called when its own samples took more than its share of `budget_s`; it is called at least
    twice. The first call of each is not counted.
    """
    taken: dict[str, list[tuple[float, bool]]] = {name: [] for name in candidates}
    for call in candidates.values():
        call()
    share = budget_s / max(1, len(candidates))
    for _ in range(4 * samples):
        for name, call in candidates.items():
            spent = sum(seconds for seconds, _ in taken[name])
            enough = sum(quiet for _, quiet in taken[name]) >= samples
            if enough or (len(taken[name]) >= 2 and spent > share):
                continue
            probe.wait_for_quiet()
            before = probe.look()
            started = time.perf_counter()
            call()
            seconds = time.perf_counter() - started
            taken[name].append((seconds, max(before, probe.look()) <= TOLERANCE))
    return {name: summary(values) for name, values in taken.items()}


def summary(values: list[tuple[float, bool]]) -> Timing:
    """Of samples (seconds, whether it was quiet)."""
    quiet = [seconds for seconds, ok in values if ok]
    used = quiet if len(quiet) >= 2 else [seconds for seconds, _ in values]
    return Timing(1e3 * median(used), 1e3 * min(used), len(quiet), len(values))
