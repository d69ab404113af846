"""viser's controls, the same for viser 0.2.7 and 1.x: made in one line, and quiet when the program sets them."""

from collections.abc import Callable, Sequence
from typing import Any

from viser import GuiApi

Act = Callable[[Any], object]


class Widgets:
    """Makes controls of one browser's panel. `act` runs what a control does, with its new value."""

    def __init__(self, gui: GuiApi, act: Callable[[Callable[[], object]], None]) -> None:
        self._gui, self._act = gui, act

    def folder(self, label: str, *, open_at_first: bool = True) -> Any:
        """A folder; what is made inside of `with` is in it."""
        return self._gui.add_folder(label, expand_by_default=open_at_first)

    def tabs(self) -> Any:
        """A group of tabs: `with tabs.add_tab(label): …`."""
        return self._gui.add_tab_group()

    def markdown(self, content: str) -> Any:
        from pathlib import Path

        return self._gui.add_markdown(content, image_root=Path())

    def progress(self) -> Any:
        """A bar from 0 to 100, not shown at first."""
        return self._gui.add_progress_bar(0.0, visible=False, animated=True)

    def button(self, label: str, act: Callable[[], object], hint: str | None = None) -> Any:
        handle = self._gui.add_button(label, hint=hint)
        handle.on_click(lambda _: self._act(act))
        return handle

    def choice(self, label: str, options: Sequence[str], act: Act, hint: str | None = None) -> Any:
        """Buttons side by side; `act` gets the label of the one that was pressed."""
        handle: Any = self._gui.add_button_group(label, tuple(options), hint=hint)
        handle._impl.is_button = True  # else viser 0.2.7 takes pressing the same one again for no change
        handle.on_click(lambda event: self._act(lambda: act(event.target.value)))
        return handle

    def checkbox(self, label: str, value: bool, act: Act, hint: str | None = None) -> Any:
        return self._told(self._gui.add_checkbox(label, value, hint=hint), act)

    def dropdown(
        self, label: str, options: Sequence[str], value: str, act: Act, hint: str | None = None
    ) -> Any:
        return self._told(self._gui.add_dropdown(label, tuple(options), initial_value=value, hint=hint), act)

    def slider(
        self, label: str, limits: tuple[float, float, float], value: float, act: Act, hint: str | None = None
    ) -> Any:
        """`limits` are the least, the most and the step."""
        low, high, step = limits
        return self._told(self._gui.add_slider(label, low, high, step, value, hint=hint), act)

    def number(
        self, label: str, value: float, act: Act, *, step: float = 0.1, hint: str | None = None
    ) -> Any:
        return self._told(self._gui.add_number(label, value, step=step, hint=hint), act)

    def vector(self, label: str, value: tuple[float, float, float], act: Act, hint: str | None = None) -> Any:
        return self._told(self._gui.add_vector3(label, value, step=0.01, hint=hint), act)

    def colour(self, label: str, value: tuple[int, int, int], act: Act, hint: str | None = None) -> Any:
        return self._told(self._gui.add_rgb(label, value, hint=hint), act)

    def text(self, label: str, value: str, act: Act, hint: str | None = None) -> Any:
        return self._told(self._gui.add_text(label, value, hint=hint), act)

    def _told(self, handle: Any, act: Act) -> Any:
        def updated(event: Any) -> None:
            if event.client is not None:  # else the program set the value itself
                value = event.target.value
                self._act(lambda: act(value))

        handle.on_update(updated)
        return handle


def set_value(handle: Any, value: object) -> None:
    """Set a control's value if it has another one: nothing is sent for nothing."""
    if handle.value != value:
        handle.value = value


def set_options(handle: Any, options: Sequence[str], value: str | None = None) -> None:
    """Other entries of a list, one of them chosen."""
    if tuple(handle.options) != tuple(options):
        handle.options = tuple(options)
    if value is not None:
        set_value(handle, value)
