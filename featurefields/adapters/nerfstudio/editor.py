"""Clicks on a field and edits of what they select, as the viewer's panel gathers them. Knows nothing of nerfstudio.

Letters: n Gaussians.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from featurefields.editing.edits import Edit
from featurefields.editing.history import Edited, History, step_of
from featurefields.editing.scripts import Base, write_history
from featurefields.errors import FeatureFieldsError, PromptError
from featurefields.field import FeatureField
from featurefields.files.archive import FILE_NAME, write_archive
from featurefields.files.selection import write_selection
from featurefields.files.session import write_session
from featurefields.raster import Rasterizer
from featurefields.segmentation.prompts import Prompt
from featurefields.segmentation.select import SelectConfig
from featurefields.segmentation.session import Session
from featurefields.selection import Selection

BASE_FILE, EDITS_FILE = "base.safetensors", "edits.json"
SELECTION_FILE, SESSION_FILE = "selection.safetensors", "session.json"


class Editor:
    """A session of prompts and a history of edits on one field, which may be made while this is there.

    Prompts are always about the field as it was made; edits are of what is selected then, wherever earlier edits have
    put it. Not for several threads at once.

    Attributes:
        version: changes whenever what is shown may have.
    """

    def __init__(self, made: Callable[[], FeatureField | None], rasterizer: Callable[[], Rasterizer]) -> None:
        self._made, self._rasterizer = made, rasterizer
        self._session: Session | None = None
        self._history: History | None = None
        self._edited: Edited | None = None
        self.version = 0

    @property
    def shown(self) -> FeatureField | None:
        """The field with its edits; None before there is a field."""
        return self._made() if self._edited is None else self._edited.field

    @property
    def selected(self) -> Selection | None:
        """What is selected, on the field as it was made; None without prompts.

        Raises:
            PromptError: the prompts contradict each other, or the settings ask for what the field does not have.
        """
        return None if self._session is None or not self._session.steps else self._session.selection

    @property
    def selection(self) -> Selection | None:
        """What is selected, on the field as it is shown; copies are of no selection. None where `selected` raises."""
        try:
            selected, edited = self.selected, self._edited
        except FeatureFieldsError:
            return None
        if selected is None or edited is None:
            return selected
        score = selected.score.new_full((edited.born,), -1.0)
        score[: len(selected.score)] = selected.score
        return Selection(edited.rows(selected.mask), score[edited.identities], edited.field.fingerprint())

    @property
    def edits(self) -> tuple[str, ...]:
        """The edits so far, in words."""
        return () if self._history is None else tuple(step.words for step in self._history.done)

    def reset(self) -> None:
        """Forget prompts and edits: the field is another one."""
        self._session = self._history = self._edited = None
        self.version += 1

    def add(self, prompt: Prompt, config: SelectConfig) -> None:
        """One more prompt.

        Raises:
            PromptError: it shows nothing, or the field has no features yet.
        """
        field = self._made()
        if field is None or "feature" not in field.heads:
            raise PromptError("the field has no features yet: they come at the end of training")
        if self._session is None:
            self._session = Session(field, self._rasterizer(), config)
        self._session.add(prompt)
        self.version += 1

    def set_config(self, config: SelectConfig) -> None:
        """Other settings, for all prompts."""
        if self._session is not None:
            self._session.config = config
            self.version += 1

    def undo(self) -> None:
        """Take back the last prompt, or `clear`. Raises `PromptError` when there is none."""
        if self._session is None or not self._session.undo():
            raise PromptError("there is no click to take back")
        self.version += 1

    def clear(self) -> None:
        """Take back all prompts; `undo` brings them back."""
        if self._session is not None:
            self._session.clear()
            self.version += 1

    def edit(self, edit: Edit) -> None:
        """Carry out an edit of what is selected.

        Raises:
            PromptError: nothing is selected, or the edit makes no sense here.
        """
        selected = self.selected
        if self._session is None or selected is None:
            raise PromptError("nothing is selected; press 'Select' and click on an object first")
        edited = self._edited or Edited.start(self._session.field)
        history = self._history or History(edited.base_id)
        step = step_of(
            edit, edited, edited.rows(selected.mask), name="clicked", rasterizer=self._rasterizer()
        )
        self._edited, self._history = edited.after(step), history.did(step)
        self.version += 1

    def undo_edit(self) -> None:
        """Take back the last edit. Raises `PromptError` when there is none."""
        if self._history is None or self._session is None or not self._history.done:
            raise PromptError("there is no edit to take back")
        self._history = self._history.undone()
        self._edited = self._history.replay(self._session.field) if self._history.done else None
        self.version += 1

    def save(self, folder: Path) -> list[Path]:
        """Write what is shown, as `ff edit` writes its folders, and what is selected, as `ff segment` does.

        What was saved there before is replaced. Raises `PromptError` when there is no field yet.
        """
        shown = self.shown
        if shown is None:
            raise PromptError("there is no field to save yet")
        with torch.no_grad():
            paths = [write_archive(shown, folder / FILE_NAME, overwrite=True)]
            for name in (BASE_FILE, EDITS_FILE, SELECTION_FILE, SESSION_FILE):
                (folder / name).unlink(missing_ok=True)
            if self._session is not None:
                paths += self._save_session(self._session, folder)
        return paths

    def _save_session(self, session: Session, folder: Path) -> list[Path]:
        paths: list[Path] = []
        if self._history is not None and self._history.done:
            base = write_archive(session.field, folder / BASE_FILE, overwrite=True)
            told = Base(base.name, _sha256(base), self._history.base_id, len(session.field))
            result = _sha256(folder / FILE_NAME)
            paths += [base, write_history(self._history, told, folder / EDITS_FILE, result_sha256=result)]
        if session.steps:
            paths.append(write_session(session.record(), folder / SESSION_FILE))
            if self.selection is not None:
                paths.append(write_selection(session.selection, folder / SELECTION_FILE))
        return paths


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
