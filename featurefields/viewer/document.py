"""What is worked on: a field, what is selected in it, and edits. It knows no browser.

Selections are made on the field as it was opened; edits hold the identities of Gaussians, so that both can be replayed
by the command line. Every change is an act that can be taken back, whatever it was.

Letters: n Gaussians.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.editing.edits import Edit
from featurefields.editing.history import Edited, History
from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.segmentation.prompts import PixelPrompt, Prompt, Text, TextTower
from featurefields.segmentation.session import Session
from featurefields.viewer.edits import Edits
from featurefields.viewer.log import Act, Log
from featurefields.viewer.selections import Look, Selections

EVERYTHING, CURRENT = "everything", "current selection"
"""Targets of edits beside the names of kept selections and copies."""
FROZEN_BYTES = 256 * 2**20
"""For places from which was prompted; every click from a new one would keep its own."""
SAME_SHOWN = 0.5
"""A prompt on the edited scene counts only where at least this part of what it shows is where it was."""


class Document:
    """One field and everything that was done to it. Not for several threads at once.

    Attributes:
        selections: what is selected and kept, on the field as it was opened.
        edits: what was changed.
        version: grows with every change of what is shown.
    """

    def __init__(
        self, base: FeatureField, rasterizer: Rasterizer, *, text: TextTower | None = None,
        device: torch.device | str = "cpu", record: Mapping[str, Any] | None = None, history: History | None = None,
        looks: Mapping[str, Look] | None = None,
    ) -> None:  # fmt: skip
        self.rasterizer, self.understands_text = rasterizer, text is not None
        placed = base if base.splats.means.device == torch.device(device) else base.to(device)
        if record is None:
            session = Session(placed, rasterizer, text=text, budget_bytes=FROZEN_BYTES)
        else:
            session = Session.replay(record, placed, rasterizer, text=text, budget_bytes=FROZEN_BYTES)
        self.selections, self.edits = Selections(session, looks), Edits(base, history)
        done, undone = self.edits.acts()
        self._log = Log([*self.selections.acts(), *done], undone)
        self.version = 0

    @property
    def base(self) -> FeatureField:
        """The field as it was opened."""
        return self.edits.base

    @property
    def session(self) -> Session:
        """Prompts and kept selections."""
        return self.selections.session

    @property
    def targets(self) -> tuple[str, ...]:
        """What edits can be of."""
        current = (CURRENT,) if self.session.steps else ()
        return (*current, *self.session.kept, *self.edits.edited.copies, EVERYTHING)

    @property
    def last(self) -> tuple[str | None, str | None]:
        """What undo would take back, and what redo would do again."""
        past, future = self._log.past, self._log.future
        return past[-1].words if past else None, future[-1].words if future else None

    @property
    def editing(self) -> bool:
        """Whether the scene was changed last, or a change is tried, rather than something selected."""
        past = self._log.past
        return self.edits.tried is not None or (bool(past) and past[-1].edits)

    def prompt(self, prompt: Prompt, *, on_edited: bool = False) -> None:
        """One more prompt; with `on_edited` it was given in a picture of the edited scene.

        Raises:
            PromptError: it says nothing, nothing can be selected with it, or the edited scene shows something else
                there. Nothing has changed then.
        """
        if on_edited and not isinstance(prompt, Text) and self.edits.displacing:
            self._check_in_place(prompt)
        self.did(self.selections.prompt(prompt))

    def keep(self, name: str) -> None:
        """Keep what is selected. Raises `PromptError` when nothing is, or the name is empty or means a target."""
        self._check_name(name)
        self.did(self.selections.keep(name))

    def rename(self, old: str, new: str) -> None:
        """Call a kept selection otherwise. Raises `PromptError` when the name is empty or taken."""
        new = new.strip()
        if new == old:
            return
        self._check_name(new)
        if new in self.session.kept:
            raise PromptError(f"there is a selection called '{new}' already; choose another name")
        self.did(self.selections.rename(old, new))

    def show(self, name: str, shown: bool) -> None:
        """Show or hide the colour of a kept selection; undo leaves that alone."""
        looks = self.selections.looks
        if name in looks and looks[name].shown != shown:
            looks[name] = replace(looks[name], shown=shown)
            self.version += 1

    def rows_of(self, target: str, edited: Edited) -> Bool[Tensor, "n"] | None:
        """Rows of a field that a target means; None for everything. Raises `PromptError` when there is no such one."""
        if target == EVERYTHING:
            return None
        if target in edited.copies:
            return edited.copied(target)
        if target == CURRENT:
            selection = self.selections.current
            if selection is None or not selection.count:
                raise PromptError("nothing is selected; click on an object, or edit everything")
            return edited.rows(selection.mask.cpu())
        if target not in self.session.kept:
            raise PromptError(f"no selection called '{target}' is kept; choose one of the list")
        return edited.rows(self.session.kept[target].selection.mask.cpu())

    def try_edit(self, edit: Edit, target: str) -> None:
        """Show what an edit would do. Raises `PromptError` when it cannot be done; what was tried is given up then."""
        self.give_up()
        self.edits.attempt(edit, self.rows_of(target, self.edits.edited), _named(target))
        self.version += 1

    def give_up(self) -> None:
        """Show what is without the edit that is tried."""
        if self.edits.give_up():
            self.version += 1

    def edit(self, edit: Edit, target: str) -> None:
        """Carry out an edit. Raises `PromptError` when it cannot be done; nothing has changed then."""
        self.did(self.edits.do(edit, self.rows_of(target, self.edits.edited), _named(target)))

    def did(self, act: Act | None) -> None:
        """Note a change that `selections` just made; None: there was none."""
        if act is not None:
            self._log.did(act)
            self.version += 1

    def undo(self) -> str | None:
        """Take back the last change and say what it was; None when there is none."""
        return self._moved(self._log.undo)

    def redo(self) -> str | None:
        """Make again what was taken back last and say what it was; None when there is nothing."""
        return self._moved(self._log.redo)

    def _moved(self, move: Callable[[], str | None]) -> str | None:
        self.edits.give_up()
        words = move()
        self.version += 1
        return words

    def _check_name(self, name: str) -> None:
        if not name.strip() or name.strip() in (EVERYTHING, CURRENT, *self.edits.edited.copies):
            raise PromptError(
                f"a selection cannot be called '{name.strip()}': give it a name that means nothing else"
            )

    def _check_in_place(self, prompt: PixelPrompt) -> None:
        """Raise `PromptError` when the prompted pixels show something that edits moved or uncovered."""
        shown = self.edits.shown
        prompt.check()
        pixels = prompt.pixels(self.session.config.radius_px)[..., None].float()

        def weights(field: FeatureField, identities: Tensor) -> Tensor:
            camera = prompt.camera.to(field.splats.means)
            found = self.rasterizer.gather(
                field.splats, pixels.to(field.splats.means), camera, RasterConfig()
            )
            return torch.zeros(shown.born).index_copy(0, identities.cpu(), found[:, 0].float().cpu())

        now = weights(shown.field, shown.identities)
        then = weights(self.base, torch.arange(len(self.base)))
        if float(torch.minimum(now, then).sum()) < SAME_SHOWN * float(now.sum()):
            raise PromptError(
                "edits moved or uncovered what is there, and selections are made on the original; press o to see it, "
                "and select there"
            )


def _named(target: str) -> str:
    """What the history calls a target."""
    return {EVERYTHING: "", CURRENT: "selection"}.get(target, target)
