"""A session: prompts one after the other, each of which can be taken back, and selections that are kept by name.

What is selected follows from a recipe (`featurefields.segmentation.recipes`): the steps so far and the settings. It is
recorded as JSON; the same recipe on the same field gives the same selection bit for bit.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.raster import FROZEN_BYTES, Rasterizer
from featurefields.segmentation.combine import combined, known_operation, nothing
from featurefields.segmentation.evidence import Evidence
from featurefields.segmentation.gathered import Gathered
from featurefields.segmentation.prompts import Prompt, TextTower
from featurefields.segmentation.recipes import (
    Combination,
    Inversion,
    Kept,
    Recipe,
    Step,
    check_record,
    kept_of,
    recipe_of,
    reporting_damage,
    session_record,
)
from featurefields.segmentation.select import SelectConfig, decide
from featurefields.segmentation.timeline import Timeline
from featurefields.segmentation.viewed import ViewedField
from featurefields.selection import Selection


class Session:
    """Prompts on one field.

    `add`, `combine` and `invert` append a step, `undo` and `redo` go back and forth over these and `clear`;
    `selection` is calculated when it is asked for and remembered until something changes. Frozen views of the cameras
    that prompts were given in, and what every prompt says, are kept, so that one more prompt costs only itself.

    Not for several threads at once.
    """

    def __init__(
        self,
        field: FeatureField,
        rasterizer: Rasterizer,
        config: SelectConfig | None = None,
        *,
        text: TextTower | None = None,
        budget_bytes: int = FROZEN_BYTES,
    ) -> None:
        self._viewed = ViewedField(field, rasterizer, budget_bytes=budget_bytes)
        self._gathered, self._config = Gathered(self._viewed, text), config or SelectConfig()
        self._timeline: Timeline[Step] = Timeline()
        self._kept: dict[str, Kept] = {}
        self._selection: Selection | None = None

    @property
    def field(self) -> FeatureField:
        return self._viewed.field

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done so far, without what was undone."""
        return self._timeline.steps

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        return self.recipe.prompts

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.steps, self._config)

    @property
    def config(self) -> SelectConfig:
        """The settings; assign others to change them for all prompts. They are no step: `undo` leaves them."""
        return self._config

    @config.setter
    def config(self, config: SelectConfig) -> None:
        self._config, self._selection = config, None

    @property
    def kept(self) -> Mapping[str, Kept]:
        """Kept selections by name."""
        return MappingProxyType(self._kept)

    def add(self, prompt: Prompt) -> None:
        """One more prompt.

        Raises:
            PromptError: it is outside the picture, shows nothing, or is a text that cannot be understood. Nothing has
                changed then.
        """
        self.evidence(prompt)
        self._go((*self.steps, prompt))

    def combine(self, operation: str, other: str | Selection, name: str = "") -> None:
        """Combine what is selected with a kept selection, by its name, or with one from elsewhere, called `name`.

        Raises:
            PromptError: no selection of that name is kept, it is of another field, or there is no such operation.
        """
        known = known_operation(operation)
        if isinstance(other, Selection):
            other.check(self.field)
            kept = Kept(name, other.to(self.field.splats.means.device))
        elif other in self._kept:
            kept = self._kept[other]
        else:
            names = ", ".join(self._kept) or "none so far"
            raise PromptError(f"no selection called '{other}' is kept; kept are: {names}")
        self._go((*self.steps, Combination(known, kept)))

    def invert(self) -> None:
        """Select what is not selected."""
        self._go((*self.steps, Inversion()))

    def clear(self) -> None:
        """Take back all steps; `undo` brings them back. Kept selections stay."""
        if self.steps:
            self._go(())

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Whatever is done in here, settings included, never happened if it ends in a `PromptError`, or if nothing can
        be selected afterwards (which raises what `selection` does)."""
        timeline, config = self._timeline.copy(), self._config
        try:
            yield
            _ = self.selection
        except PromptError:
            self._timeline, self._config, self._selection = timeline, config, None
            raise

    def undo(self) -> bool:
        """Take back the last change of the steps; False when there is none."""
        return self._moved(self._timeline.undo())

    def redo(self) -> bool:
        """Do again what was undone last; False when nothing was, or something else was done since."""
        return self._moved(self._timeline.redo())

    def keep(self, name: str) -> Selection:
        """Keep what is selected under `name`, in place of what had this name, and return it.

        Raises:
            PromptError: the name is empty, or nothing can be selected, see `selection`.
        """
        if not name.strip():
            raise PromptError("a selection cannot be kept without a name; give it one")
        selection = self.selection
        self._kept[name] = Kept(name, selection, self.recipe)
        return selection

    def restore(self, kept: Kept) -> None:
        """Keep what was kept in another session of the same field, with its own name.

        Raises:
            PromptError: it is of another field.
        """
        kept.selection.check(self.field)
        self._kept[kept.name] = kept

    def forget(self, name: str) -> None:
        """Keep the selection called `name` no longer. Steps that it was combined in are not affected."""
        self._kept.pop(name, None)

    @property
    def selection(self) -> Selection:
        """What is selected; nothing while there are no steps.

        Raises:
            PromptError: there are prompts, but none says what to select, or they contradict each other; or the
                settings ask for features that the field does not have.
        """
        if self._selection is None:
            self._selection = self.selected_by(self.recipe)
        return self._selection

    def selected_by(self, recipe: Recipe) -> Selection:
        """What a recipe selects. Raises as `selection` does."""
        prompts = recipe.prompts
        if prompts:
            evidence = [self.evidence(prompt, recipe.config) for prompt in prompts]
            found = decide(prompts, evidence, self._viewed, recipe.config)
        else:
            found = nothing(self.field)
        for step in recipe.steps:
            if isinstance(step, Combination):
                found = combined(found, step.operation, step.other.selection)
            elif isinstance(step, Inversion):
                found = ~found
        return found

    def evidence(self, prompt: Prompt, config: SelectConfig | None = None) -> Evidence:
        """What a prompt says: what it shows, how well that is covered, whether it is a reflection. Gathered once.

        Only clicks depend on a setting, their radius; the session's own is used without a `config`.

        Raises:
            PromptError: as `add`.
        """
        return self._gathered.evidence(prompt, config or self._config)

    def named(self, name: str) -> Selection:
        """The current selection with its name written into `how`."""
        selection = self.selection
        return replace(selection, how={"name": name, **selection.how}) if name else selection

    def record(self) -> dict[str, Any]:
        """The session as JSON: settings, steps, kept selections, the field it belongs to, versions."""
        return session_record(self.recipe, self._kept.values(), self._viewed)

    @staticmethod
    def replay(
        record: Mapping[str, Any],
        field: FeatureField,
        rasterizer: Rasterizer,
        *,
        text: TextTower | None = None,
        budget_bytes: int = FROZEN_BYTES,
    ) -> "Session":
        """The session that was recorded, ready to go on; its steps can be undone one by one.

        Raises:
            FileFormatError: the record is none of a session, damaged, or of a newer version.
            PromptError: it was recorded on another field, or a prompt does not fit it.
        """
        session = Session(field, rasterizer, text=text, budget_bytes=budget_bytes)
        check_record(record, session._viewed.fingerprint)
        with reporting_damage():
            session._restore_all(record)
        return session

    def _restore_all(self, record: Mapping[str, Any]) -> None:
        cameras = self.field.about.cameras
        for entry in record["kept"]:
            self.restore(kept_of(entry, cameras, self.selected_by))
        recipe = recipe_of(dict(record), cameras, self.selected_by)
        self._config = recipe.config
        for prompt in recipe.prompts:
            self.evidence(prompt, recipe.config)
        for step in recipe.steps:
            if isinstance(step, Combination):
                step.other.selection.check(self.field)
            self._go((*self.steps, step))

    def _go(self, steps: tuple[Step, ...]) -> None:
        self._timeline.go(steps)
        self._selection = None

    def _moved(self, moved: bool) -> bool:
        if moved:
            self._selection = None
        return moved
