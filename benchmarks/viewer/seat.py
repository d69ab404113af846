"""Somebody before a browser: a page of headless chromium that shows a viewer, moved by mouse and keys."""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from featurefields.errors import UnavailableError
from featurefields.viewer.app import Viewer
from featurefields.viewer.browser import Browser
from featurefields.viewer.panel import Panel

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
"""WebGL without a graphics card."""
NO_NOTICES = "[class*='mantine-Notifications'] { display: none !important; }"
"""Newer versions of viser lay a warning of software WebGL over the picture, which would take the clicks."""
PATIENCE_S = 90.0


def chromium_path() -> str | None:
    """Where a chromium is installed; playwright's own is not needed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser. Raises `UnavailableError` when there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UnavailableError(
            f"browsers are driven by playwright ({error}); pip install playwright"
        ) from error
    path = chromium_path()
    if path is None:
        raise UnavailableError("there is no chromium; install one (Debian: apt-get install chromium)")
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Seat:
    """Attributes:
    viewer: what is looked at.
    page: the browser's page.
    number: viser's number of this browser.
    errors: exceptions of the page.
    """

    def __init__(self, viewer: Viewer, browser: Any, size: tuple[int, int] = (900, 480)) -> None:
        self.viewer, self.errors = viewer, []
        before = set(viewer.browsers)
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(1000 * PATIENCE_S)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(viewer.url)
        self.page.add_style_tag(content=NO_NOTICES)
        until(lambda: set(viewer.browsers) - before)
        (self.number,) = set(viewer.browsers) - before
        until(lambda: not viewer.stage.cameras or viewer.stage.photo_at(self.browser.pose) is not None)
        until(lambda: self.browser.last is not None)
        until(lambda: self.page.evaluate("window.featurefields.state() !== null"))
        until(self._laid_out, every_s=0.5)

    @property
    def browser(self) -> Browser:
        """How the viewer knows this browser."""
        return self.viewer.browsers[self.number][0]

    @property
    def panel(self) -> Panel:
        return self.viewer.browsers[self.number][1]

    @property
    def is_newest(self) -> bool:
        """Whether the picture that was sent last is what should be seen now."""
        last, browser = self.browser.last, self.browser
        now = (browser.pose, browser.view, self.viewer.stage.version)
        return last is not None and (last.pose, last.view, last.version) == now

    def _laid_out(self) -> bool:
        """Whether the viewer knows the shape that the picture has on the screen."""
        box = self.page.locator("canvas[data-engine]").first.bounding_box()
        return abs(box["width"] / box["height"] - self.browser.pose.aspect) < 0.02 and self.is_newest

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture (fractions) is in the window."""
        box = self.page.locator("canvas[data-engine]").first.bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def drag(self, start: tuple[float, float], by: tuple[float, float], steps: int = 3) -> None:
        """Turn the scene with the mouse."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(start[0] + by[0], start[1] + by[1], steps=steps)
        self.page.mouse.up()

    def button(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).first.click()

    def tab(self, label: str) -> None:
        self.page.get_by_role("tab", name=label, exact=True).first.click()

    def type(self, old: str, new: str) -> None:
        """Type over the text field that holds `old`."""
        find = f"[...document.querySelectorAll('input')].find(field => field.value === '{old}')"
        self.page.evaluate_handle(find).as_element().fill(new)

    def steady(self, seconds: float = PATIENCE_S) -> None:
        """Wait until nothing is left to do and the newest picture was sent."""
        until(lambda: self.viewer.worker.settle(1.0) and self.is_newest, seconds)

    def screen(self) -> np.ndarray:
        """What is on the screen (h w 3), 0..255."""
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"), dtype=float)

    def shows_what_it_should(self, most: float = 12.0) -> bool:
        """Whether the screen shows the picture that should be seen, but for its compression.

        Only the lower half counts: newer versions of viser lay a warning of software WebGL over the upper one.
        """
        drawn, screen = self.browser.redraw(), self.screen()
        width = round(screen.shape[0] * drawn.shape[1] / drawn.shape[0])
        picture = Image.fromarray(screen[:, :width].astype(np.uint8))
        shown = np.asarray(
            picture.resize((drawn.shape[1], drawn.shape[0]), Image.Resampling.BILINEAR), dtype=float
        )
        half = len(drawn) // 2
        return bool(np.abs(shown - drawn)[half:].mean() < most)


def until(condition: Callable[[], object], seconds: float = PATIENCE_S, every_s: float = 0.01) -> None:
    """Wait for something. Raises `TimeoutError` when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s in vain")
        time.sleep(every_s)
