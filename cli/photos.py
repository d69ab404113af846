"""The photos behind a field: finding them again, and what a pixel of them means."""

from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import PromptError, SceneError

from .console import Console

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.scene import Scene
    from featurefields.segmentation.prompts import Click


def scene_of(field: "FeatureField", data: Path | None, console: Console) -> "Scene | None":
    """The photos a field was fitted to: those in `data`, or where they were then; None when they are gone.

    Raises:
        SceneError: `data` was given and cannot be read.
    """
    from featurefields.readers import read_scene

    notes = field.about.notes
    folder = data or Path(field.about.data or "-")
    if data is None and not folder.exists():
        return None
    try:
        kind, downscale = notes.get("kind", "auto"), notes.get("downscale", 1.0)
        return read_scene(
            folder, kind=str(kind), downscale=float(downscale) if isinstance(downscale, int | float) else 1.0,  # type: ignore[arg-type]
            points=False,
        )  # fmt: skip
    except SceneError as error:
        if data is not None:
            raise
        console.note(f"the photos in {folder} cannot be read any more ({error}); going on without them")
        return None


def parse_click(text: str) -> tuple[float, float]:
    """The numbers of "x,y".

    Raises:
        PromptError: not two numbers.
    """
    parts = text.replace(" ", "").split(",")
    try:
        x, y = (float(part) for part in parts)
    except ValueError as error:
        raise PromptError(f"a click is two numbers x,y (pixels of the photo), got '{text}'") from error
    return x, y


def click_of(
    text: str, view: str, field: "FeatureField", scene: "Scene | None", *, positive: bool = True
) -> "Click":
    """A click on pixel x,y of the photo file behind `view`; of the drawn view where the photo is gone.

    Raises:
        PromptError: not a click, or outside the photo.
        UnknownNameError: the scene has no such view.
    """
    from featurefields.segmentation.prompts import Click

    x, y = parse_click(text)
    camera = field.about.cameras[view]
    width, height = camera.size
    known = {entry.name: entry for entry in scene.views} if scene is not None else {}
    if view in known:
        width, height = known[view].picture.photo_size()
    if not (0 <= x < width and 0 <= y < height):
        raise PromptError(
            f"the click {x:g},{y:g} is outside {view}, which is {width} x {height} pixels; x counts from the left "
            "edge, y from the top"
        )
    at = x + 0.5, y + 0.5
    if view in known:
        at = known[view].picture.photo_to_camera(*at)
    return Click(at[0], at[1], camera, positive, f"{x:g},{y:g}")
