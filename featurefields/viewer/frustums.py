"""The cameras of the photos as frustums with thumbnails; a click on one stands there."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from featurefields.scene import Scene
from featurefields.viewer.browser import Browser
from featurefields.viewer.cameras import Pose
from featurefields.viewer.chores import Progress

if TYPE_CHECKING:
    from featurefields.viewer.app import Viewer

THUMBNAIL_PX = 64
SIZE = 0.05
"""Length of a frustum, as a part of the distance to what the photos show."""
NEAR = 5.0
"""Frustums that begin within so many of their lengths are not shown: they would cover what they stand in."""
AT_MOST = 300
COLOUR = (0, 114, 178)


class Frustums:
    """Frustums in every browser that wants them; thumbnails are read when the first does."""

    def __init__(self, viewer: "Viewer", scene: Scene | None) -> None:
        self._viewer = viewer
        self._files = {} if scene is None else {view.name: Path(view.picture.path) for view in scene.views}
        self._thumbnails: Mapping[str, NDArray[np.uint8]] | None = None if self._files else {}
        self._shown: dict[int, list[tuple[Any, Pose]]] = {}

    def show(self, browser: Browser, shown: bool) -> None:
        """Show or hide them; those that the browser stands in are hidden in any case."""
        if browser.number not in self._shown and shown:
            if self._thumbnails is None:
                self._viewer.chore(browser, self._read, lambda _: self._again(browser))
                return
            self._shown[browser.number] = self._added(browser)
        self.moved(browser)

    def moved(self, browser: Browser) -> None:
        """The browser stands elsewhere, or wants them no more."""
        eye, reach = browser.client.camera.position, NEAR * SIZE * browser.distance
        for handle, pose in self._shown.get(browser.number, ()):
            visible = browser.view.frustums and math.dist(eye, pose.position) > reach
            if handle.visible != visible:
                handle.visible = visible

    def forget(self, browser: Browser) -> None:
        """The browser is closed."""
        self._shown.pop(browser.number, None)

    def _again(self, browser: Browser) -> None:
        if browser.view.frustums:
            self.show(browser, True)

    def _read(self, progress: Progress) -> None:
        found = {}
        for index, (name, path) in enumerate(self._files.items()):
            progress("reading photos", index / len(self._files))
            if (picture := thumbnail(path)) is not None:
                found[name] = picture
        self._thumbnails = found

    def _added(self, browser: Browser) -> list[tuple[Any, Pose]]:
        cameras = self._viewer.document.base.about.cameras
        step = -(-len(cameras) // AT_MOST)
        handles = []
        for name in list(cameras)[::step]:
            pose = Pose.of(cameras[name])
            handle = browser.client.scene.add_camera_frustum(
                f"/cameras/{name.replace('/', '_')}", fov=pose.fov, aspect=pose.aspect, scale=SIZE * browser.distance,
                color=COLOUR, image=(self._thumbnails or {}).get(name), format="jpeg", wxyz=pose.wxyz,
                position=pose.position,
            )  # fmt: skip
            handle.on_click(
                lambda _, name=name: self._viewer.act(browser, lambda: self._chosen(browser, name))
            )
            handles.append((handle, pose))
        browser.client.camera.on_update(lambda _: self.moved(browser))
        return handles

    def _chosen(self, browser: Browser, name: str) -> None:
        if browser.view.tool == "move":
            self._viewer.go_to_photo(browser, name)
            self._viewer.tell(browser, name)


def thumbnail(path: Path) -> NDArray[np.uint8] | None:
    """A photo file, small (h w 3); None when it cannot be read."""
    try:
        with Image.open(path) as photo:
            photo.draft("RGB", (THUMBNAIL_PX, THUMBNAIL_PX))
            small = ImageOps.exif_transpose(photo).convert("RGB")
            small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
            return np.asarray(small)
    except OSError:
        return None
