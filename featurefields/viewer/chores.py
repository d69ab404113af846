"""Long work beside everything else: exports, videos, thumbnails. One after the other, each with its progress."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

Progress = Callable[[str, float], None]
"""Is told what is being done and how much of it is, 0..1."""
Chore = Callable[[Progress], object]


@dataclass(frozen=True)
class Order:
    """A chore, where its progress goes, and what is done with what it gives."""

    chore: Chore
    progress: Progress
    done: Callable[[object], object]
    failed: Callable[[Exception], object]


class Chores:
    """A thread that does chores."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="viewer chores", daemon=True)
        self._thread.start()

    def do(
        self, chore: Chore, *, progress: Progress, done: Callable[[object], object],
        failed: Callable[[Exception], object],
    ) -> None:  # fmt: skip
        """Do this after all chores so far."""
        self._orders.put(Order(chore, progress, done, failed))

    def stop(self) -> None:
        """End the thread after the chores so far; do not wait for it."""
        self._orders.put(None)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                order.done(order.chore(order.progress))
            except Exception as error:
                order.failed(error)
