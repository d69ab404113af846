"""Seconds that a solver takes, without those that measuring it takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Seconds:
    """By the clock on the wall, and of all processors together (which other jobs of the machine hardly change)."""

    wall: float
    cpu: float


class Clock:
    """Runs from when it is made, except while paused."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        return Seconds(time.perf_counter() - self._wall, time.process_time() - self._cpu)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        before = self.read()
        yield
        after = self.read()
        self._wall += after.wall - before.wall
        self._cpu += after.cpu - before.cpu
