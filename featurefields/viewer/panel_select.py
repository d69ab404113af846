"""Selecting: tools, signs, words, candidates, and what is selected."""

from typing import TYPE_CHECKING, Any

import torch

from featurefields.errors import PromptError
from featurefields.segmentation.prompts import Text
from featurefields.viewer.browser import Browser
from featurefields.viewer.strip import strip_of
from featurefields.viewer.view import TOOLS
from featurefields.viewer.widgets import Widgets, set_value

if TYPE_CHECKING:
    from featurefields.viewer.app import Viewer

NUMBERS = ("1", "2", "3", "4")
AUTOMATIC = 0.0
FIELDS = {"surfaces (indep)": "indep", "what is seen (total)": "total", "reflections (dep)": "dep"}


class SelectPanel:
    """Tools and what they selected."""

    def __init__(self, viewer: "Viewer", browser: Browser, widgets: Widgets) -> None:
        self._viewer, self._browser = viewer, browser
        widgets.choice("tool", TOOLS, self.take, "c b f g v")
        widgets.choice("prompts", ("+ this", "− not this"), lambda sign: self._signed(sign != "+ this"), "x")
        self._words: Any = None
        if viewer.document.understands_text:
            self._words = widgets.text("words", "", lambda _: None, "what to select, such as 'red mug'")
            widgets.choice(
                "", ("Add words", "Not these words"), lambda which: self._say(which == "Add words")
            )
        self._told = widgets.markdown("")
        self._strip = widgets.markdown("")
        self._strip_of: tuple[object, ...] = ()
        self._numbers = {  # viser's groups of buttons keep their buttons, so there is one for every count
            count: widgets.choice("candidate", NUMBERS[:count], lambda number: self._choose(int(number)), "n")
            for count in range(2, len(NUMBERS) + 1)
        }
        widgets.choice(
            "", ("Invert", "Clear"), lambda which: self.invert() if which == "Invert" else self._clear()
        )
        self._name = widgets.text("name", "object", lambda _: None)
        widgets.button("Keep selection", self.keep, "k")
        with widgets.folder("How is selected", open_at_first=False):
            config = viewer.document.session.config
            fields = {value: label for label, value in FIELDS.items()}
            self._field = widgets.dropdown(
                "compare",
                tuple(FIELDS),
                fields[config.field],
                lambda label: self._configure(field=FIELDS[label]),
            )
            self._threshold = widgets.slider(
                "least likeness", (AUTOMATIC, 1.0, 0.01), config.threshold or AUTOMATIC,
                lambda value: self._configure(threshold=None if value <= AUTOMATIC else float(value)),
                "0: found by itself",
            )  # fmt: skip
            self._connected = widgets.checkbox(
                "connected only", config.connected, lambda value: self._configure(connected=bool(value))
            )

    @property
    def name(self) -> str:
        """What the selection would be kept as."""
        return self._name.value

    def refresh(self) -> None:
        document = self._viewer.document
        config = document.session.config
        set_value(self._field, {value: label for label, value in FIELDS.items()}[config.field])
        set_value(self._threshold, config.threshold or AUTOMATIC)
        set_value(self._connected, config.connected)
        candidates = document.selections.candidates()
        for count, numbers in self._numbers.items():
            numbers.visible = count == min(len(candidates), len(NUMBERS))
        self._told.content = self._summary()
        self._refresh_strip(len(candidates))

    def take(self, tool: str) -> None:
        """Take a tool in hand."""
        self._browser.change(tool=tool)

    def switch_sign(self) -> None:
        self._signed(not self._browser.view.negative)

    def next_candidate(self) -> None:
        count = len(self._viewer.document.selections.candidates())
        if count > 1:
            self._choose(self._viewer.document.session.config.candidate % count + 1)

    def invert(self) -> None:
        document = self._viewer.document
        document.did(document.selections.invert())

    def keep(self) -> None:
        self._viewer.document.keep(self._name.value)
        self._viewer.tell(self._browser, f"kept as {self._name.value.strip()}")

    def _clear(self) -> None:
        document = self._viewer.document
        document.did(document.selections.clear())

    def _signed(self, negative: bool) -> None:
        self._browser.change(negative=negative)

    def _say(self, positive: bool) -> None:
        self._viewer.document.prompt(Text(self._words.value, positive))

    def _choose(self, number: int) -> None:
        document = self._viewer.document
        if number > len(document.selections.candidates()):
            raise PromptError(
                f"there are {len(document.selections.candidates())} candidates; choose one of them"
            )
        document.did(document.selections.configure(candidate=number))

    def _configure(self, **settings: Any) -> None:
        selections = self._viewer.document.selections
        self._viewer.document.did(selections.configure(**settings))

    def _summary(self) -> str:
        document = self._viewer.document
        selection = document.selections.current
        if selection is None:
            return "nothing is selected"
        line = f"**{selection.count:,}** of {len(document.base):,} splats"
        told, number = document.selections.candidates(), document.session.config.candidate
        if told:
            one = told[number - 1]
            line += f" · {one.share:.1%} of what photos show"
            line += f" · confidence **{one.confidence:.0%}** ({number} of {len(told)})"
        elif isinstance(threshold := selection.how.get("threshold"), float):
            line += f" · likeness from {threshold:.2f}"
        return line

    def _refresh_strip(self, count: int) -> None:
        """Previews of the candidates, drawn when there is nothing else to do."""
        steps = self._viewer.document.session.steps
        wanted = (*map(id, steps), self._viewer.document.session.config.field) if count > 1 else ()
        if wanted == self._strip_of:
            return
        self._strip_of = wanted
        self._strip.content = ""
        if wanted:
            self._viewer.idle(self._browser, self._draw_strip, self._show_strip)

    @torch.no_grad()
    def _draw_strip(self) -> tuple[tuple[object, ...], str]:
        selections = self._viewer.document.selections
        chosen = [selections.candidate(number + 1) for number in range(len(selections.candidates()))]
        if not chosen:  # what was selected was taken back before there was time
            return self._strip_of, ""
        return self._strip_of, strip_of(
            self._viewer.stage.painter, self._viewer.document.base, chosen, self._browser.pose
        )

    def _show_strip(self, made: tuple[tuple[object, ...], str]) -> None:
        if made[0] == self._strip_of:
            self._strip.content = made[1]
