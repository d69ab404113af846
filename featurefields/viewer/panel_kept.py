"""Kept selections: one row each, with its colour, name, and what can be done with it."""

from typing import TYPE_CHECKING, Any

from featurefields.viewer.browser import Browser
from featurefields.viewer.palette import NAMES
from featurefields.viewer.widgets import Widgets, set_value

if TYPE_CHECKING:
    from featurefields.viewer.app import Viewer

ACTS = ("Select", "Add", "Minus", "Forget")


class Row:
    """The controls of one kept selection."""

    def __init__(self, panel: "KeptPanel", widgets: Widgets, name: str) -> None:
        self.name, document = name, panel.viewer.document
        look = document.selections.looks[name]
        self._folder = widgets.folder(f"{name} ({NAMES[look.colour % len(NAMES)]})")
        with self._folder:
            self._shown = widgets.checkbox("show", look.shown, lambda shown: document.show(name, shown))
            widgets.text("called", name, lambda new: panel.typed(name, new))
            widgets.choice("", ACTS, lambda act: panel.act(name, act))

    def refresh(self, shown: bool) -> None:
        set_value(self._shown, shown)

    def remove(self) -> None:
        self._folder.remove()


class KeptPanel:
    """The list of kept selections.

    Attributes:
        viewer: what is worked on.
    """

    def __init__(self, viewer: "Viewer", browser: Browser, widgets: Widgets) -> None:
        self.viewer, self._browser, self._widgets = viewer, browser, widgets
        self._folder: Any = widgets.folder("Kept selections")
        self._rows: list[Row] = []
        self._typed: dict[str, str] = {}
        with self._folder:
            self._hint = widgets.markdown("none so far")
            self._rename = widgets.button(
                "Rename as typed", self._rename_all, "gives selections their typed names"
            )

    def refresh(self) -> None:
        looks = self.viewer.document.selections.looks
        if [row.name for row in self._rows] != list(looks):
            for row in self._rows:
                row.remove()
            self._typed.clear()
            with self._folder:
                self._rows = [Row(self, self._widgets, name) for name in looks]
        for row in self._rows:
            row.refresh(looks[row.name].shown)
        self._hint.visible = not looks
        self._rename.visible = bool(self._typed)

    def typed(self, name: str, new: str) -> None:
        """Remember what was typed: every key sends a text, and a rename is one change."""
        self._typed[name] = new
        self._rename.visible = True

    def act(self, name: str, act: str) -> None:
        """Do what a row's button says."""
        document = self.viewer.document
        if act == "Select":
            document.did(document.selections.pick(name))
        elif act == "Forget":
            document.did(document.selections.forget(name))
        else:
            document.did(document.selections.combine("or" if act == "Add" else "minus", name))

    def _rename_all(self) -> None:
        typed, self._typed = self._typed, {}
        for name, new in typed.items():
            self.viewer.document.rename(name, new)
            self.viewer.tell(self._browser, f"{name} is now called {new.strip()}")
