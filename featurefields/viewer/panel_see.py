"""How the scene is looked at: layer, before and after, photos."""

from typing import TYPE_CHECKING

from featurefields.viewer.browser import Browser
from featurefields.viewer.view import SHOWS
from featurefields.viewer.widgets import Widgets, set_options, set_value

if TYPE_CHECKING:
    from featurefields.viewer.app import Viewer

SIZES = ("384", "512", "768", "1024", "1536")
NOWHERE = "–"


class SeePanel:
    """Layer, shows, line of the split view, selections, size; photos to stand at."""

    def __init__(self, viewer: "Viewer", browser: Browser, widgets: Widgets) -> None:
        self._viewer, self._browser = viewer, browser
        view, layers, photos = browser.view, viewer.stage.painter.layers, tuple(viewer.stage.cameras)
        self._layer = widgets.dropdown(
            "layer", layers, layers[0], lambda layer: browser.change(layer=layer), "l and L"
        )
        self._shows = widgets.dropdown(
            "scene", SHOWS, view.shows, lambda shows: browser.change(shows=shows), "o and p"
        )
        self._divide = widgets.slider(
            "split at", (0.0, 1.0, 0.02), view.divide, lambda place: browser.change(divide=float(place)),
            "before is on the left of the line",
        )  # fmt: skip
        self._overlay = widgets.checkbox(
            "show selections", view.overlay, lambda shown: browser.change(overlay=shown), "m"
        )
        size = min(SIZES, key=lambda size: abs(int(size) - view.longest))
        self._size = widgets.dropdown(
            "pixels",
            SIZES,
            size,
            lambda size: browser.change(longest=int(size)),
            "longer side of sharp pictures",
        )
        self._photo = None
        if photos:
            self._frustums = widgets.checkbox("cameras", view.frustums, lambda _: self.switch_frustums(), "u")
            self._photo = widgets.dropdown("go to photo", (NOWHERE, *photos), NOWHERE, self._go_to, "[ and ]")
            widgets.choice(
                "", ("< photo", "photo >"), lambda which: self.step_photo(1 if which == "photo >" else -1)
            )

    def refresh(self) -> None:
        view = self._browser.view
        set_options(self._layer, self._viewer.stage.painter.layers, view.layer)
        set_value(self._shows, view.shows)
        set_value(self._overlay, view.overlay)
        self._divide.visible = view.shows == "split"
        if self._photo is not None:
            set_value(self._frustums, view.frustums)
            set_value(self._photo, self._viewer.stage.photo_at(self._browser.pose) or NOWHERE)

    def step_layer(self, by: int) -> None:
        layers = self._viewer.stage.painter.layers
        at = layers.index(self._browser.view.layer) if self._browser.view.layer in layers else 0
        self._browser.change(layer=layers[(at + by) % len(layers)])
        self._viewer.tell(self._browser, self._browser.view.layer)

    def switch_original(self) -> None:
        self._browser.change(shows="edited" if self._browser.view.shows == "original" else "original")

    def switch_split(self) -> None:
        self._browser.change(shows="edited" if self._browser.view.shows == "split" else "split")

    def switch_overlay(self) -> None:
        self._browser.change(overlay=not self._browser.view.overlay)

    def switch_frustums(self) -> None:
        shown = not self._browser.view.frustums
        self._browser.change(frustums=shown, tool="move" if shown else "click")
        self._viewer.show_frustums(self._browser, shown)
        self._viewer.tell(self._browser, "click on a camera to stand there; c selects again" if shown else "")

    def step_photo(self, by: int) -> None:
        photos = tuple(self._viewer.stage.cameras)
        if photos:
            at = self._viewer.stage.photo_near(self._browser.pose)
            self._go_to(photos[(photos.index(at) + by) % len(photos)] if at in photos else photos[0])

    def _go_to(self, name: str) -> None:
        if name != NOWHERE:
            self._viewer.go_to_photo(self._browser, name)
