"""The panel of one browser: a status line, and a tab for each part of the job."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from featurefields.viewer.browser import Browser
from featurefields.viewer.keys import help_table
from featurefields.viewer.panel_edit import EditPanel
from featurefields.viewer.panel_kept import KeptPanel
from featurefields.viewer.panel_output import OutputPanel
from featurefields.viewer.panel_see import SeePanel
from featurefields.viewer.panel_select import SelectPanel
from featurefields.viewer.view import TOOLS, View
from featurefields.viewer.widgets import Widgets

if TYPE_CHECKING:
    from featurefields.viewer.app import Viewer

MARKER = "#ff="
"""Begins the link from which the page knows which browser it is, and the tool in hand (see page.js)."""


@runtime_checkable
class Part(Protocol):
    """A part of the panel."""

    def refresh(self) -> None:
        """Show what is."""
        ...


class Panel:
    """Attributes:
    actions: what keys do, by the names of `featurefields.viewer.keys`.
    """

    def __init__(self, viewer: "Viewer", browser: Browser) -> None:
        self.viewer, self.browser = viewer, browser
        widgets = Widgets(browser.client.gui, lambda act: viewer.act(browser, act))
        self._message = self._told = ""
        self._doing: str | None = None
        self._status = widgets.markdown(self._line())
        self._bar = widgets.progress()
        widgets.choice("", ("Undo", "Redo"), lambda which: self._back_or_forth(which == "Undo"), "z and y")
        tabs = widgets.tabs()
        with tabs.add_tab("Select"):
            select = SelectPanel(viewer, browser, widgets)
            kept = KeptPanel(viewer, browser, widgets)
        with tabs.add_tab("See"):
            see = SeePanel(viewer, browser, widgets)
        with tabs.add_tab("Edit"):
            edit = EditPanel(viewer, browser, widgets)
        with tabs.add_tab("Output"):
            output = OutputPanel(viewer, browser, widgets)
        with tabs.add_tab("Keys"):
            widgets.markdown(help_table())
        self._parts: tuple[Part, ...] = (select, kept, see, edit, output)
        self.select, self.kept, self.see, self.edit, self.output = select, kept, see, edit, output
        self.actions: dict[str, Callable[[], Any]] = {
            **{f"tool {tool}": lambda tool=tool: select.take(tool) for tool in TOOLS},
            "sign": select.switch_sign,
            "next candidate": select.next_candidate,
            "invert": select.invert,
            "clear": self._clear,
            "keep": select.keep,
            "apply": edit.apply,
            "try": edit.attempt,
            "undo": lambda: self._back_or_forth(True),
            "redo": lambda: self._back_or_forth(False),
            "next layer": lambda: see.step_layer(1),
            "previous layer": lambda: see.step_layer(-1),
            "original": see.switch_original,
            "split": see.switch_split,
            "overlay": see.switch_overlay,
            "frustums": see.switch_frustums,
            "next photo": lambda: see.step_photo(1),
            "previous photo": lambda: see.step_photo(-1),
            "record": output.record,
            "help": self._help,
        }
        self.refresh()

    def refresh(self) -> None:
        """Show what is."""
        for part in self._parts:
            part.refresh()
        self._tell_line()

    @property
    def message(self) -> str:
        """What was told last."""
        return self._message

    def tell(self, message: str) -> None:
        """A line for people in the status."""
        self._message = message
        self._tell_line()

    def progress(self, words: str, share: float) -> None:
        """How far something is, 0..1; at 1 there is no bar, and the status says what was told before or meanwhile."""
        self._bar.visible = share < 1
        self._bar.value = 100 * min(max(share, 0.0), 1.0)
        if self._message != self._doing:
            self._told = self._message
        self._doing = words if share < 1 else None
        self.tell(words if share < 1 else self._told)

    def _tell_line(self) -> None:
        line = self._line()
        if self._status.content != line:
            self._status.content = line

    def _line(self) -> str:
        view: View = self.browser.view
        sign = "minus" if view.negative else "plus"
        link = f"[·]({MARKER}{self.browser.number},{view.tool},{sign})"
        return f"{view.words} {link}\n\n{self._message or '&nbsp;'}"

    def _back_or_forth(self, back: bool) -> None:
        document = self.viewer.document
        words = document.undo() if back else document.redo()
        verb = "took back" if back else "did again"
        self.tell(
            f"{verb}: {words}" if words else f"there is nothing to {'take back' if back else 'do again'}"
        )

    def _clear(self) -> None:
        document = self.viewer.document
        if document.edits.tried is not None:
            document.give_up()
        else:
            document.did(document.selections.clear())

    def _help(self) -> None:
        with self.browser.client.gui.add_modal("Keys") as modal:
            widgets = Widgets(self.browser.client.gui, lambda act: self.viewer.act(self.browser, act))
            widgets.markdown(help_table())
            widgets.button("Close", modal.close)
