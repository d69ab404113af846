"""What comes out: files, and videos along a recorded path."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurefields.errors import PromptError
from featurefields.viewer.autosave import EDITS, SESSION
from featurefields.viewer.browser import Browser
from featurefields.viewer.camera_list import flown
from featurefields.viewer.chores import Progress
from featurefields.viewer.filming import film
from featurefields.viewer.gate import FILE
from featurefields.viewer.widgets import Widgets, set_value

if TYPE_CHECKING:
    from featurefields.viewer.app import Viewer

PLY, OBJECT, MASKS, SCRIPT = "edited.ply", "object.ply", "masks", "Session and edits"
PATH_FILE, VIDEO_FILE = "path.json", "video.mp4"
EVEN = 2
"""Videos need even sides."""


class OutputPanel:
    """Exports, and the camera path."""

    def __init__(self, viewer: "Viewer", browser: Browser, widgets: Widgets) -> None:
        self._viewer, self._browser = viewer, browser
        widgets.button("Edited scene (.ply)", self.edited_ply, "the same as `ff edit … -o edited.ply`")
        widgets.button(
            "Selected object (.ply)", self.object_ply, "of the original scene, as `ff segment` writes it"
        )
        widgets.button("Masks of the photos", self.masks, "of kept selections, or of what is selected")
        widgets.button("Session and edits (.json)", self.script, "what `ff segment` and `ff edit` replay")
        self._wrote = widgets.markdown("")
        with widgets.folder("Camera path"):
            self._count = widgets.markdown("")
            widgets.choice("", ("Add", "Remove last", "Clear"), self._place, "r adds this place")
            path = viewer.path
            self._seconds = widgets.number(
                "seconds between", path.seconds, self._setting("seconds"), step=0.25
            )
            self._fps = widgets.number("frames a second", path.fps, self._setting("fps"), step=1.0)
            self._closed = widgets.checkbox("back to the start", path.closed, self._setting("closed"))
            widgets.button("Render video", self.video)

    def refresh(self) -> None:
        path = self._viewer.path
        self._count.content = f"{len(path.keyframes)} places"
        set_value(self._seconds, path.seconds)
        set_value(self._fps, path.fps)
        set_value(self._closed, path.closed)

    def edited_ply(self) -> None:
        viewer, edited = self._viewer, self._viewer.document.edits.edited.field
        target = viewer.export_path(PLY)
        viewer.chore(
            self._browser,
            lambda progress: viewer.exports.edited_ply(viewer.document.base, edited, target, progress),
            self._told,
        )

    def object_ply(self) -> None:
        viewer, selection = self._viewer, self._viewer.document.selections.current
        if selection is None or not selection.count:
            raise PromptError("nothing is selected, so there is no object to write; click on one")
        mask, target = selection.mask.cpu(), viewer.export_path(OBJECT)
        base = viewer.document.base
        viewer.chore(self._browser, lambda p: viewer.exports.object_ply(base, mask, target, p), self._told)

    def masks(self) -> None:
        viewer, document = self._viewer, self._viewer.document
        named = {name: kept.selection.to("cpu") for name, kept in document.session.kept.items()}
        if not named and document.selections.current is not None:
            named = {"selection": document.selections.current.to("cpu")}
        if not named:
            raise PromptError(
                "nothing is kept or selected, so there are no masks to draw; click on an object"
            )
        target, base = viewer.export_path(MASKS), viewer.document.base
        viewer.chore(
            self._browser, lambda progress: viewer.exports.masks(base, named, target, progress), self._told
        )

    def script(self) -> None:
        """Both files are always there: they are what is saved."""
        self._viewer.save()
        self._told([self._viewer.folder / SESSION, self._viewer.folder / EDITS])

    def record(self) -> None:
        """Add where the browser is to the path."""
        self._viewer.path.add(self._browser.pose, self._viewer.document.base)
        self._viewer.path_changed()

    def video(self) -> None:
        viewer, browser = self._viewer, self._browser
        camera = browser.camera()
        width, height = (max(EVEN, length // EVEN * EVEN) for length in camera.size)
        file = viewer.path.write(viewer.export_path(PATH_FILE), (width, height))
        seen, view, painter = (
            viewer.stage.seen(original=browser.view.shows == "original", marked=False),
            browser.view,
            viewer.stage.painter,
        )
        cameras, fps = flown(file, viewer.document.base)
        target = viewer.export_path(VIDEO_FILE)
        draw = partial(painter.picture, seen, layer=view.layer, marked=False)

        def chore(progress: Progress) -> list[Path]:
            return [film(cameras, draw, target, fps, progress), file]

        viewer.chore(browser, chore, self._told)

    def _told(self, paths: Any) -> None:
        links = [f"[{path.name}]({FILE}{path.name})" if path.is_file() else f"`{path}`" for path in paths[:4]]
        folder = paths[0].parent if paths else self._viewer.folder
        self._wrote.content = f"wrote {', '.join(links)} to `{folder}`"
        self._viewer.tell(self._browser, f"wrote {', '.join(path.name for path in paths[:4])}")

    def _place(self, which: str) -> None:
        keyframes = self._viewer.path.keyframes
        if which == "Add":
            return self.record()
        if which == "Clear":
            keyframes.clear()
        elif keyframes:
            keyframes.pop()
        return self._viewer.path_changed()

    def _setting(self, name: str) -> Callable[[Any], None]:
        def change(value: Any) -> None:
            setattr(self._viewer.path, name, value)
            self._viewer.path_changed()

        return change
