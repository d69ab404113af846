"""One thread that does everything that touches the document, and draws what browsers ask for.

Jobs (clicks, edits) are done in their order and never dropped. Between jobs, pictures are drawn: of every browser's
requests only the newest counts, and a picture that a newer request has overtaken is thrown away unseen.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
Picture = TypeVar("Picture")

Job = Callable[[], object]


@dataclass(frozen=True)
class Wish(Generic[Picture]):
    """A picture that is wanted.

    Attributes:
        draw: makes it.
        deliver: takes it to the browser.
        due: not before this time (`time.monotonic`).
        number: grows with every wish.
        fleeting: it is worth showing even when a newer one is wanted by then, as pictures of a movement are.
    """

    draw: Callable[[], Picture]
    deliver: Callable[[Picture], object]
    due: float
    number: int
    fleeting: bool


class Worker(Generic[Key, Picture]):
    """The thread. `failed` is told of every exception, which then ends the job or picture but not the thread."""

    def __init__(self, failed: Callable[[Exception], object]) -> None:
        self._failed = failed
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._wishes: dict[Key, Wish[Picture]] = {}
        self._numbers, self._stopping, self._busy = 0, False, False
        self._newest: dict[Key, int] = {}
        self.delivered = self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="viewer", daemon=True)
        self._thread.start()

    def do(self, job: Job) -> None:
        """Do this after all jobs so far."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def wish(
        self, key: Key, draw: Callable[[], Picture], deliver: Callable[[Picture], object], *, wait_s: float = 0.0,
        fleeting: bool = False,
    ) -> None:  # fmt: skip
        """Draw this in `wait_s` seconds, unless another picture for `key` is wanted until then."""
        with self._changed:
            self._numbers += 1
            self._newest[key] = self._numbers
            self._wishes[key] = Wish(draw, deliver, time.monotonic() + wait_s, self._numbers, fleeting)
            self._changed.notify()

    def forget(self, key: Key) -> None:
        """Nothing is wanted for `key` any more."""
        with self._changed:
            self._wishes.pop(key, None)
            self._newest.pop(key, None)

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is left to do; False when that took too long."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while self._jobs or self._wishes or self._busy:
                if not self._changed.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    return False
            return True

    def stop(self) -> None:
        """Finish the jobs, draw nothing more, end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=30.0)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                found = self._next()
                while found is None:
                    if self._stopping and not self._jobs:
                        return
                    self._changed.wait(self._patience())
                    found = self._next()
                self._busy = True
            try:
                found()
            except Exception as error:
                self._failed(error)

    def _next(self) -> Job | None:
        """The next job or picture that is due; the lock is held."""
        if self._jobs:
            return self._jobs.popleft()
        if self._stopping:
            return None
        now = time.monotonic()
        due = [(wish.number, key) for key, wish in self._wishes.items() if wish.due <= now]
        if not due:
            return None
        _, key = min(due, key=lambda entry: entry[0])
        wish = self._wishes.pop(key)
        return lambda: self._draw(key, wish)

    def _patience(self) -> float | None:
        """Seconds until the next picture is due."""
        if not self._wishes:
            return None
        return max(0.0, min(wish.due for wish in self._wishes.values()) - time.monotonic())

    def _draw(self, key: Key, wish: Wish[Picture]) -> None:
        picture = wish.draw()
        with self._changed:
            newest = self._newest.get(key)
            stale = newest is None or (newest != wish.number and not wish.fleeting)
        if stale:
            self.dropped += 1
            return
        self.delivered += 1
        wish.deliver(picture)
