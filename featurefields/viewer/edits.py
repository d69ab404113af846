"""Edits that are done, and the one that is tried.

Letters: n Gaussians.
"""

from jaxtyping import Bool
from torch import Tensor

from featurefields.editing.edits import Delete, Duplicate, Edit, Hide, Keep, Move, Rotate, Scale, Show
from featurefields.editing.history import Edited, History, Step, step_of
from featurefields.field import FeatureField
from featurefields.viewer.log import Act

DISPLACING = (Delete, Duplicate, Hide, Keep, Move, Rotate, Scale, Show)
"""Edits after which a pixel may show something else."""
EDITED_KEPT = 24
"""Fields after edits that are kept, so that undo need not carry out everything anew."""

Rows = Bool[Tensor, "n"] | None


class Edits:
    """A history on one field, with the fields after its latest steps.

    Attributes:
        base: the field that the edits begin with.
        history: edits that are done, and undone.
    """

    def __init__(self, base: FeatureField, history: History | None = None) -> None:
        self.base, self._edited = base, [Edited.start(base)]
        self.history = history or History(self._edited[0].base_id)
        self._tried: tuple[Step, Edited] | None = None
        for step in self.history.done:
            self._remember(self.edited.after(step))

    @property
    def edited(self) -> Edited:
        """The field after all edits that are done."""
        return self._edited[-1]

    @property
    def shown(self) -> Edited:
        """The field after all edits, the tried one too."""
        return self.edited if self._tried is None else self._tried[1]

    @property
    def tried(self) -> Step | None:
        """The edit that is tried, not carried out yet."""
        return None if self._tried is None else self._tried[0]

    @property
    def displacing(self) -> bool:
        """Whether what is shown may be somewhere else than in the base."""
        steps = [*self.history.done, *([] if self.tried is None else [self.tried])]
        return any(isinstance(step.edit, DISPLACING) for step in steps)

    def acts(self) -> tuple[list[Act], list[Act]]:
        """Edits that are done, and those that are undone, the next one last."""
        done, undone = self.history.done, self.history.steps[self.history.cursor :]
        return [self._act(step) for step in done], [self._act(step) for step in reversed(undone)]

    def attempt(self, edit: Edit, rows: Rows, name: str) -> None:
        """Show what an edit of these rows of `edited` would do. Raises `PromptError` when it cannot be done."""
        self._tried = None
        self._tried = self._after(edit, rows, name)

    def give_up(self) -> bool:
        """Show what is without the edit that is tried; False when none is."""
        was, self._tried = self._tried, None
        return was is not None

    def do(self, edit: Edit, rows: Rows, name: str) -> Act:
        """Carry out an edit of these rows of `edited`. Raises `PromptError` when it cannot be done."""
        step, edited = self._after(edit, rows, name)
        self._tried = None
        self.history = self.history.did(step)
        self._remember(edited)
        return self._act(step)

    def _after(self, edit: Edit, rows: Rows, name: str) -> tuple[Step, Edited]:
        step = step_of(edit, self.edited, rows, name=name)
        return step, self.edited.after(step)

    def _act(self, step: Step) -> Act:
        return Act(step.words, self._undo, self._redo, edits=True)

    def _undo(self) -> None:
        self.history = self.history.undone()
        if len(self._edited) > 1:
            self._edited.pop()
        else:
            self._edited = [self.history.replay(self.base)]

    def _redo(self) -> None:
        self.history = self.history.redone()
        self._remember(self.edited.after(self.history.done[-1]))

    def _remember(self, edited: Edited) -> None:
        self._edited.append(edited)
        if len(self._edited) > EDITED_KEPT:
            self._edited.pop(0)
