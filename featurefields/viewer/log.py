"""What was done, so that it can be taken back and done again, whatever it was."""

from collections.abc import Callable
from dataclasses import dataclass, field

MOST = 300
"""Acts that can be taken back; older ones are forgotten."""


@dataclass(frozen=True)
class Act:
    """A change that was made.

    Attributes:
        words: what it was, for people.
        undo: takes it back.
        redo: makes it again.
        edits: whether it changes the scene, not only what is selected in it.
    """

    words: str
    undo: Callable[[], object]
    redo: Callable[[], object]
    edits: bool = False


@dataclass
class Log:
    """Acts that were done, and those that were taken back; the latest of each last."""

    past: list[Act] = field(default_factory=list)
    future: list[Act] = field(default_factory=list)

    def did(self, act: Act) -> None:
        """Note a change that was just made; what was taken back before is forgotten."""
        self.past.append(act)
        del self.past[:-MOST]
        self.future.clear()

    def undo(self) -> str | None:
        """Take back the last change and say what it was; None when there is none."""
        if not self.past:
            return None
        act = self.past[-1]
        act.undo()
        self.future.append(self.past.pop())
        return act.words

    def redo(self) -> str | None:
        """Make again what was taken back last and say what it was; None when there is nothing."""
        if not self.future:
            return None
        act = self.future[-1]
        act.redo()
        self.past.append(self.future.pop())
        return act.words
