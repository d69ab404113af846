"""Steps that can be undone and done again."""

from typing import Generic, TypeVar

Step = TypeVar("Step")


class Timeline(Generic[Step]):
    """What was done so far, and what it was before and after every change."""

    def __init__(self) -> None:
        self.steps: tuple[Step, ...] = ()
        self._past: list[tuple[Step, ...]] = []
        self._future: list[tuple[Step, ...]] = []

    def go(self, steps: tuple[Step, ...]) -> None:
        """These are the steps now; what was undone before cannot be done again."""
        self._past.append(self.steps)
        self.steps = steps
        self._future.clear()

    def copy(self) -> "Timeline[Step]":
        """The same past, present and future, to come back to."""
        other: Timeline[Step] = Timeline()
        other.steps, other._past, other._future = self.steps, self._past.copy(), self._future.copy()
        return other

    def undo(self) -> bool:
        """Take back the last change; False when there is none."""
        return self._shift(self._past, self._future)

    def redo(self) -> bool:
        """Do again what was undone last; False when nothing was, or something else was done since."""
        return self._shift(self._future, self._past)

    def _shift(self, source: list[tuple[Step, ...]], target: list[tuple[Step, ...]]) -> bool:
        if not source:
            return False
        target.append(self.steps)
        self.steps = source.pop()
        return True
