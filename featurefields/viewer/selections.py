"""What is selected, and what is kept under names, with colours. Every change gives the act that takes it back."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from featurefields.camera import Camera
from featurefields.errors import PromptError
from featurefields.segmentation.prompts import Click, Prompt
from featurefields.segmentation.recipes import Kept, Recipe
from featurefields.segmentation.select import SelectConfig
from featurefields.segmentation.session import Session
from featurefields.selection import Selection
from featurefields.viewer.log import Act


@dataclass(frozen=True)
class Look:
    """How a kept selection is shown: in the colour of this index, or not at all."""

    colour: int
    shown: bool = True


@dataclass(frozen=True)
class Told:
    """A candidate, for people: its share of what the photos show, and how confident the engine is (both 0..1)."""

    share: float
    confidence: float


class Selections:
    """A session, and the looks of what it keeps.

    Attributes:
        session: prompts and kept selections.
        looks: how kept selections are shown, by name.
    """

    def __init__(self, session: Session, looks: Mapping[str, Look] | None = None) -> None:
        self.session = session
        self.looks = {name: look for name, look in (looks or {}).items() if name in session.kept}
        for name in session.kept:
            self.looks.setdefault(name, Look(self._next_colour()))

    @property
    def current(self) -> Selection | None:
        """What is selected; None while nothing was prompted."""
        return self.session.selection if self.session.steps else None

    def acts(self) -> list[Act]:
        """An act for every step of the session."""
        return [Act("a step of selecting", self.session.undo, self.session.redo) for _ in self.session.steps]

    def candidates(self) -> tuple[Told, ...]:
        """What the prompts may mean, the likeliest first; empty when that was not a question."""
        told: Any = [] if self.current is None else self.current.how.get("candidates", [])
        return tuple(Told(entry["share"], entry["confidence"]) for entry in told)

    def candidate(self, number: int) -> Selection:
        """The selection that candidate `number` (from 1) is. Raises `PromptError` when there is none."""
        recipe = self.session.recipe
        return self.session.selected_by(replace(recipe, config=replace(recipe.config, candidate=number)))

    def prepare(self, camera: Camera) -> None:
        """Find out what every prompt needs (what belongs together), so that the first one need not wait for it."""
        click = Click(camera.width / 2, camera.height / 2, camera)
        with suppress(PromptError):  # it may hit nothing
            self.session.selected_by(Recipe((click,), self.session.config))

    def prompt(self, prompt: Prompt) -> Act:
        """One more prompt. Raises `PromptError` when it says nothing, or nothing can be selected with it."""
        before = self.session.config
        with self.session.attempt():
            self.session.add(prompt)
            self.session.config = replace(before, candidate=1)  # which one it was before means nothing now
        return self._step(f"{'+' if prompt.positive else '-'} {prompt.kind}", before)

    def combine(self, operation: str, name: str) -> Act:
        """Combine what is selected with a kept selection. Raises `PromptError` as `Session.combine`."""
        with self.session.attempt():
            self.session.combine(operation, name)
        return self._step(f"{operation} {name}", self.session.config)

    def invert(self) -> Act:
        """Select the rest. Raises `PromptError` when nothing is selected so far."""
        if not self.session.steps:
            raise PromptError("nothing is selected, so there is no rest; click on an object first")
        with self.session.attempt():
            self.session.invert()
        return self._step("the inversion", self.session.config)

    def clear(self) -> Act | None:
        """Select nothing; kept selections stay. None when nothing was selected."""
        if not self.session.steps:
            return None
        before = self.session.config
        self.session.clear()
        self.session.config = replace(before, candidate=1)
        return self._step("clearing the selection", before)

    def pick(self, name: str) -> Act:
        """Make a kept selection the current one. Raises `PromptError` when there is none of this name."""
        if name not in self.session.kept:
            raise PromptError(f"no selection called '{name}' is kept; choose one of the list")
        session, cleared = self.session, bool(self.session.steps)
        session.clear()
        session.combine("or", name)

        def undo() -> None:
            session.undo()
            if cleared:
                session.undo()

        def redo() -> None:
            if cleared:
                session.redo()
            session.redo()

        return Act(f"choosing {name}", undo, redo)

    def configure(self, **settings: Any) -> Act | None:
        """Other settings (`SelectConfig`); None when they are as before. Raises `PromptError` when none can be met."""
        before = self.session.config
        after = replace(before, **settings)
        if after == before:
            return None
        with self.session.attempt():
            self.session.config = after
        return Act("a setting", lambda: self._configured(before), lambda: self._configured(after))

    def keep(self, name: str) -> Act:
        """Keep what is selected. Raises `PromptError` when nothing is, or there is no name."""
        name = name.strip()
        if not self.session.steps:
            raise PromptError("nothing is selected, so there is nothing to keep; click on an object first")

        def change() -> None:
            self.session.keep(name)
            self.looks.setdefault(name, Look(self._next_colour()))

        return self._changed_kept(f"keeping {name}", change)

    def rename(self, old: str, new: str) -> Act:
        """Call a kept selection otherwise; in its place of the list."""

        def change() -> None:
            kept = {new if name == old else name: entry for name, entry in self.session.kept.items()}
            looks = {new if name == old else name: look for name, look in self.looks.items()}
            self._set_kept(kept, looks)

        return self._changed_kept(f"renaming {old} to {new}", change)

    def forget(self, name: str) -> Act:
        """Keep a selection no longer."""

        def change() -> None:
            self.session.forget(name)
            self.looks.pop(name, None)

        return self._changed_kept(f"forgetting {name}", change)

    def _step(self, words: str, before: SelectConfig) -> Act:
        after = self.session.config

        def undo() -> None:
            self.session.undo()
            self.session.config = before

        def redo() -> None:
            self.session.redo()
            self.session.config = after

        return Act(words, undo, redo)

    def _configured(self, config: SelectConfig) -> None:
        self.session.config = config

    def _next_colour(self) -> int:
        taken = {look.colour for look in self.looks.values()}
        return next(index for index in range(len(taken) + 1) if index not in taken)

    def _changed_kept(self, words: str, change: Callable[[], None]) -> Act:
        before = dict(self.session.kept), dict(self.looks)
        change()
        after = dict(self.session.kept), dict(self.looks)
        return Act(words, lambda: self._set_kept(*before), lambda: self._set_kept(*after))

    def _set_kept(self, kept: Mapping[str, Kept], looks: Mapping[str, Look]) -> None:
        for name in list(self.session.kept):
            self.session.forget(name)
        for name, entry in kept.items():
            self.session.restore(replace(entry, name=name))
        self.looks = dict(looks)
