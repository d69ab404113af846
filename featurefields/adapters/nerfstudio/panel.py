"""The viewer's controls: click to segment, choose what is compared, edit, save.

nerfstudio calls an element's hook with its training lock held and draws again afterwards; a click on the scene arrives
in another thread without the lock. What goes wrong is told in the panel's last line: an exception would end the thread.
"""

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.viewer_elements import (
    ViewerButton,
    ViewerCheckbox,
    ViewerClick,
    ViewerControl,
    ViewerDropdown,
    ViewerElement,
    ViewerRGB,
    ViewerSlider,
    ViewerText,
)
from torch import nn

from featurefields.adapters.nerfstudio.editor import Editor
from featurefields.camera import Camera
from featurefields.editing.edits import Delete, Edit, Keep, Recolor, RemoveSpecular, ScaleRoughness
from featurefields.errors import FeatureFieldsError
from featurefields.maths.similarity import Similarity
from featurefields.segmentation.prompts import Click
from featurefields.segmentation.select import SelectConfig

CLICKED_PX, CLICKED_FOCAL = 384, 450.0
"""Size and focal length, in pixels, of the picture around a clicked ray."""
AUTOMATIC = -1.0
"""Where the slider of the threshold means that the engine finds one."""
WAITING = "click on the object in the picture"


class Panel(nn.Module):
    """The controls of an `Editor`.

    The viewer lists the elements in the alphabetical order of their attributes.
    """

    def __init__(self, editor: Editor, world_from_nerfstudio: Callable[[], Similarity]) -> None:
        super().__init__()
        self._editor, self._frame = editor, world_from_nerfstudio
        self._last_failure = ""
        self.control = ViewerControl()
        self.a_click = ViewerButton("Select", self._wait_for_click)
        self.b_negative = ViewerCheckbox("Negative", False)
        self.c_field = ViewerDropdown("Features", "indep", ["indep", "total", "dep"], cb_hook=self._settings)
        self.d_threshold = ViewerSlider(
            "Threshold (-1: found)", AUTOMATIC, AUTOMATIC, 1.0, 0.01, cb_hook=self._settings
        )
        self.e_undo = ViewerButton("Undo click", self._undo)
        self.f_clear = ViewerButton("Clear", self._clear)
        self.g_edit = ViewerDropdown("Edit", "remove reflections", list(EDITS))
        self.h_colour = ViewerRGB("Colour", (200, 60, 40))
        self.i_apply = ViewerButton("Apply to selection", self._carry_out)
        self.j_undo_edit = ViewerButton("Undo edit", self._undo_edit)
        self.k_save = ViewerButton("Save", self._save)
        self.l_status = ViewerText("Status", "")

    def tell_failure(self, error: Exception) -> None:
        """Tell of an error in the status line; of one that nobody foresaw also in the terminal, once.

        Call it while the error is handled.
        """
        if isinstance(error, FeatureFieldsError):
            self._tell(str(error))
            return
        line = f"internal error, see the terminal: {type(error).__name__}: {error}"
        if line != self._last_failure:
            CONSOLE.print(traceback.format_exc(), markup=False)
        self._last_failure = line
        self._tell(line)

    # Hooks of the elements; the training lock is held

    def _settings(self, element: ViewerElement) -> None:
        with self._told():
            self._editor.set_config(self._config())
            self._tell_selected()

    def _config(self) -> SelectConfig:
        threshold = float(self.d_threshold.value)
        found = None if threshold <= AUTOMATIC else threshold
        return SelectConfig(threshold=found, field=self.c_field.value)  # type: ignore[arg-type]

    def _undo(self, element: ViewerElement) -> None:
        with self._told():
            self._editor.undo()
            self._tell_selected()

    def _clear(self, element: ViewerElement) -> None:
        with self._told():
            self._editor.clear()
            self._tell_selected()

    def _carry_out(self, element: ViewerElement) -> None:
        with self._told():
            name = str(self.g_edit.value)
            red, green, blue = (value / 255 for value in self.h_colour.value)
            self._editor.edit(EDITS[name]((red, green, blue)))
            self._tell(f"{name}: done")

    def _undo_edit(self, element: ViewerElement) -> None:
        with self._told():
            self._editor.undo_edit()
            self._tell(f"edits left: {len(self._editor.edits)}")

    def _save(self, element: ViewerElement) -> None:
        with self._told():
            folder = Path(self.control.viewer.log_filename).parent / "saved"
            paths = self._editor.save(folder)
            self._tell(f"wrote {', '.join(path.name for path in paths)} to {folder}")

    # Clicks on the scene; no lock is held

    def _wait_for_click(self, element: ViewerElement) -> None:
        with self._told():
            self._tell(WAITING)
            self.control.register_pointer_cb("click", self._clicked)

    def _clicked(self, click: ViewerClick) -> None:
        with self._told():
            self.control.unregister_pointer_cb()
        with self._lock(), self._told():
            camera = camera_along(click.origin, click.direction, self._frame())
            positive = not self.b_negative.value
            self._editor.add(Click(camera.width / 2, camera.height / 2, camera, positive), self._config())
            self._tell_selected()
        with self._told():
            self.control.viewer._trigger_rerender()

    def _lock(self) -> AbstractContextManager[Any]:
        lock: threading.Lock | None = self.control.viewer.train_lock
        return nullcontext() if lock is None else lock

    # What is told

    def _tell_selected(self) -> None:
        selected = self._editor.selected
        self._tell("nothing is selected" if selected is None else f"{selected.count:,} splats are selected")

    def _tell(self, line: str) -> None:
        self.l_status.value = line

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors go to the status line and no further."""
        try:
            yield
        except Exception as error:
            self.tell_failure(error)


EDITS: dict[str, Callable[[tuple[float, float, float]], Edit]] = {
    "remove reflections": lambda colour: RemoveSpecular(),
    "recolour": lambda colour: Recolor(colour),
    "rougher": lambda colour: ScaleRoughness(2.0),
    "delete": lambda colour: Delete(),
    "keep only this": lambda colour: Keep(),
}
"""Edits by the names of the viewer's list; each is made with the colour that is chosen."""


def camera_along(
    origin: tuple[float, float, float],
    direction: tuple[float, float, float],
    world_from_nerfstudio: Similarity,
) -> Camera:
    """A camera in the field's world at a ray's origin in nerfstudio's, the ray through its picture's middle."""
    forward = torch.nn.functional.normalize(torch.tensor(direction, dtype=torch.float64), dim=0)
    axis = torch.eye(3, dtype=torch.float64)[forward.abs().argmin()]
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, axis), dim=0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    pose[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    half = CLICKED_PX / 2
    return Camera(
        world_from_nerfstudio.pose(pose).float(),
        torch.tensor([CLICKED_FOCAL, CLICKED_FOCAL]),
        torch.tensor([half, half]),
        (CLICKED_PX, CLICKED_PX),
    )
