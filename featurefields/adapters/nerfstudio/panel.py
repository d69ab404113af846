"""The viewer's controls: click to segment, choose what is compared, edit, save.

nerfstudio calls an element's hook with its training lock held and draws again afterwards; a click on the scene arrives
in another thread without the lock. What goes wrong is told in the panel's last line: an exception would end the thread.

Letters: n Gaussians.
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

from featurefields.camera import Camera
from featurefields.editing.edits import Delete, Edit, Keep, Recolor, RemoveSpecular, ScaleRoughness, apply
from featurefields.errors import FeatureFieldsError, PromptError
from featurefields.field import FeatureField
from featurefields.files.archive import write_archive
from featurefields.files.selection import write_selection
from featurefields.maths.similarity import Similarity
from featurefields.raster import Rasterizer
from featurefields.segmentation.prompts import Click
from featurefields.segmentation.select import SelectConfig
from featurefields.segmentation.session import Session
from featurefields.selection import Selection

CLICKED_PX, CLICKED_FOCAL = 384, 450.0
"""Size and focal length, in pixels, of the picture around a clicked ray."""
AUTOMATIC = -1.0
"""Where the slider of the threshold means that the engine finds one."""


class Panel(nn.Module):
    """A session on the field as it is, and edits of what is selected.

    The viewer lists the elements in the alphabetical order of their attributes.

    Attributes:
        version: changes whenever what is shown does.
        shown: the field with its edits; None before there is a field.
    """

    def __init__(
        self,
        made: Callable[[], FeatureField | None],
        rasterizer: Callable[[], Rasterizer],
        world_from_nerfstudio: Callable[[], Similarity],
    ) -> None:
        super().__init__()
        self._made, self._rasterizer, self._frame = made, rasterizer, world_from_nerfstudio
        self._session: Session | None = None
        self._edits: list[tuple[Edit, Bool[Tensor, n]]] = []
        self._fields: list[FeatureField] = []
        self.version = 0
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

    @property
    def shown(self) -> FeatureField | None:
        return self._fields[-1] if self._fields else self._made()

    @property
    def selection(self) -> Selection | None:
        """What is selected; None without clicks, and when an edit has changed the number of Gaussians."""
        if self._session is None or not self._session.steps:
            return None
        try:
            selection = self._session.selection
        except FeatureFieldsError:
            return None
        shown = self.shown
        return selection if shown is not None and len(shown) == len(selection.mask) else None

    def reset(self) -> None:
        """Forget clicks and edits: the field is another one."""
        self._session, self._fields = None, []
        self.version += 1

    def add_click(self, camera: Camera, *, positive: bool = True) -> None:
        """A click on the middle of a camera's picture, in the field's world.

        Raises:
            PromptError: there is nothing, or the field has no features yet.
        """
        field = self._made()
        if field is None or "feature" not in field.heads:
            raise PromptError("the field has no features yet: they come at the end of training")
        if self._session is None:
            self._session = Session(field, self._rasterizer(), self._config())
        self._session.add(Click(camera.width / 2, camera.height / 2, camera, positive))
        self.version += 1

    def edit(self, edit: Edit) -> None:
        """Apply an edit to what is selected. Raises `PromptError` when nothing is, or the edit makes no sense."""
        if self._session is None or not self._session.steps:
            raise PromptError("nothing is selected; press 'Select' and click on an object first")
        shown, mask = self.shown, self._session.selection.mask
        assert shown is not None
        if len(shown) != len(mask):
            raise PromptError("the last edit changed the number of splats; undo it first")
        self._fields.append(apply(edit, shown, mask))
        self.version += 1

    def save(self, folder: Path) -> list[Path]:
        """Write the field as it is shown, and what is selected; replaces what was saved before."""
        shown = self.shown
        if shown is None:
            raise PromptError("there is no field to save yet")
        paths = [write_archive(shown, folder / "field.safetensors", overwrite=True)]
        if self._session is not None and self._session.steps and not self._fields:
            paths.append(
                write_selection(self._session.selection, folder / "selection.safetensors", overwrite=True)
            )
        return paths

    # Hooks of the elements; the training lock is held

    def _settings(self, element: ViewerElement) -> None:
        with self._told():
            if self._session is not None:
                self._session.config = self._config()
            self.version += 1

    def _config(self) -> SelectConfig:
        threshold = float(self.d_threshold.value)
        found = None if threshold <= AUTOMATIC else threshold
        return SelectConfig(threshold=found, field=self.c_field.value)  # type: ignore[arg-type]

    def _undo(self, element: ViewerElement) -> None:
        with self._told():
            if self._session is not None:
                self._session.undo()
            self.version += 1
            self._tell_selected()

    def _clear(self, element: ViewerElement) -> None:
        with self._told():
            self._session = None
            self.version += 1
            self._tell("")

    def _carry_out(self, element: ViewerElement) -> None:
        with self._told():
            name = str(self.g_edit.value)
            red, green, blue = (value / 255 for value in self.h_colour.value)
            self.edit(EDITS[name]((red, green, blue)))
            self._tell(f"{name}: done")

    def _undo_edit(self, element: ViewerElement) -> None:
        with self._told():
            if self._fields:
                self._fields.pop()
            self.version += 1
            self._tell(f"{len(self._fields)} edits are left")

    def _save(self, element: ViewerElement) -> None:
        with self._told():
            folder = Path(self.control.viewer.log_filename).parent / "saved"
            paths = self.save(folder)
            self._tell(f"wrote {', '.join(path.name for path in paths)} to {folder}")

    # Clicks on the scene; no lock is held

    def _wait_for_click(self, element: ViewerElement) -> None:
        with self._told():
            self._tell("click on the object in the picture")
            self.control.register_pointer_cb("click", self._clicked)

    def _clicked(self, click: ViewerClick) -> None:
        with self._told():
            self.control.unregister_pointer_cb()
        with self._lock(), self._told():
            camera = camera_along(click.origin, click.direction, self._frame())
            self.add_click(camera, positive=not self.b_negative.value)
            self._tell_selected()
        with self._told():
            self.control.viewer._trigger_rerender()

    def _lock(self) -> AbstractContextManager[Any]:
        lock: threading.Lock | None = self.control.viewer.train_lock
        return nullcontext() if lock is None else lock

    # What is told

    def _tell_selected(self) -> None:
        if self._session is None or not self._session.steps:
            self._tell("nothing is selected")
        else:
            self._tell(f"{self._session.selection.count:,} splats are selected")

    def _tell(self, line: str) -> None:
        self.l_status.value = line

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors go to the status line; what nobody foresaw also goes to the terminal, with its traceback."""
        try:
            yield
        except FeatureFieldsError as error:
            self._tell(str(error))
        except Exception as error:
            CONSOLE.print(traceback.format_exc(), markup=False)
            self._tell(f"internal error, see the terminal: {type(error).__name__}: {error}")


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
