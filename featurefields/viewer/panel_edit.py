"""Editing: what, of what, shown before it is carried out."""

from typing import TYPE_CHECKING, Any

from featurefields.editing.edits import KINDS
from featurefields.viewer.browser import Browser
from featurefields.viewer.edit_forms import EditForm, words_of
from featurefields.viewer.widgets import Widgets, set_options

if TYPE_CHECKING:
    from featurefields.viewer.app import Viewer


class EditPanel:
    """The form of an edit, its target, and the list of what is done."""

    def __init__(self, viewer: "Viewer", browser: Browser, widgets: Widgets) -> None:
        self._viewer, self._browser, self._widgets = viewer, browser, widgets
        kinds = tuple(KINDS)
        self._known = viewer.document.targets
        self._target = widgets.dropdown(
            "of", viewer.document.targets, viewer.document.targets[0], lambda _: self._moved()
        )
        self._kind = widgets.dropdown("edit", kinds, kinds[0], self._chosen)
        self._words = widgets.markdown(words_of(kinds[0]))
        self._folder: Any = widgets.folder("How")
        self._live = widgets.checkbox("try while I change it", True, lambda _: self._moved())
        widgets.choice("", ("Try", "Apply", "Give up"), self._pressed, "t, Enter, Escape")
        self._done = widgets.markdown("")
        self._form = self._made(kinds[0])

    def refresh(self) -> None:
        document = self._viewer.document
        fresh = [target for target in document.targets if target not in self._known]
        self._known = document.targets
        set_options(
            self._target, document.targets, fresh[0] if fresh else None
        )  # what is new is what is meant
        tried, last = document.edits.tried, document.last
        lines = [
            f"{number}. {step.words}" for number, step in enumerate(document.edits.history.done, start=1)
        ]
        if tried is not None:
            lines.append(f"\n*tried: {tried.words}*")
        if last[0] is not None:
            lines.append(f"\nundo takes back: {last[0]}")
        self._done.content = "\n".join(lines) or "no edits so far"

    def attempt(self) -> None:
        """Show what the edit would do."""
        self._viewer.document.try_edit(self._form.edit, self._target.value)

    def apply(self) -> None:
        """Carry the edit out."""
        self._viewer.document.edit(self._form.edit, self._target.value)
        self._viewer.tell(self._browser, f"{self._form.kind}: done")

    def _pressed(self, which: str) -> None:
        if which == "Try":
            self.attempt()
        elif which == "Apply":
            self.apply()
        else:
            self._viewer.document.give_up()

    def _chosen(self, kind: str) -> None:
        self._viewer.document.give_up()
        self._form.remove()
        self._words.content = words_of(kind)
        self._form = self._made(kind)

    def _made(self, kind: str) -> EditForm:
        with self._folder:
            return EditForm(self._widgets, kind, self._moved)

    def _moved(self) -> None:
        """A control was moved."""
        if self._live.value:
            self.attempt()
        else:
            self._viewer.document.give_up()
