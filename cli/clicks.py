"""One click an object, and how much of the object it selects: the protocol of docs/evaluation.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurefields.errors import PromptError, SceneError

from .photos import click_of

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.evaluation.regions import RegionRows, SceneObject
    from featurefields.field import FeatureField
    from featurefields.raster import FrozenViews, Rasterizer
    from featurefields.scene import Scene
    from featurefields.segmentation.prompts import Click
    from featurefields.segmentation.viewed import ViewedField

CLICKS_FILE = "clicks.json"


@dataclass(frozen=True)
class ObjectClick:
    """The click on an object: pixel x,y of the photo file behind a view, the top left pixel being 0,0."""

    name: str
    id: int
    view: str
    x: float
    y: float


@dataclass(frozen=True)
class ClickRow:
    """Mean IoU over held-out views of what a click selects, and of the best among all sizes it can grow to.

    NaN where no held-out view shows enough of the object.
    """

    name: str
    material: str
    iou: float
    oracle: float


def read_clicks(scene: "Scene") -> tuple[ObjectClick, ...]:
    """The clicks in the scene's clicks.json: {"cup": {"id": 3, "image": "images/000.png", "x": 10, "y": 20}, …}.

    Empty without such a file.

    Raises:
        SceneError: the file is damaged, or a click is on a photo that the scene does not have.
    """
    from featurefields.readers.record import Record, read_record

    path = scene.folder / CLICKS_FILE
    if not path.is_file():
        return ()
    clicks, views = [], scene.cameras()
    for name, values in read_record(path).values.items():
        if not isinstance(values, dict):
            raise SceneError(
                f"{path}: '{name}' is {values!r}, not an object with id, image, x and y; correct it"
            )
        record = Record(f"{path}: '{name}'", values)
        id, x, y = (record.number(key) for key in ("id", "x", "y"))
        view = record.text("image")
        if id is None or x is None or y is None or view is None:
            raise SceneError(
                f"{path}: '{name}' needs id, image, x and y, found {', '.join(values) or 'nothing'}"
            )
        if view not in views:
            raise SceneError(
                f"{path}: '{name}' is clicked in {view}, which is no photo of this scene; correct it"
            )
        clicks.append(ObjectClick(name, int(id), view, x, y))
    return tuple(clicks)


@dataclass(frozen=True)
class ClickTrial:
    """A scene's clicks and the true objects in its held-out views, for any features on one set of Gaussians."""

    field: "FeatureField"
    scene: "Scene"
    clicks: Sequence[ObjectClick]
    materials: dict[int, str]
    rasterizer: "Rasterizer"
    views: "FrozenViews"
    ids: "list[Tensor]"

    @staticmethod
    def of(
        field: "FeatureField",
        scene: "Scene",
        clicks: Sequence[ObjectClick],
        objects: "Sequence[SceneObject]",
        *,
        rasterizer: "Rasterizer",
    ) -> "ClickTrial":
        """The field must remember the cameras of the scene's views, in their frame."""
        from featurefields.evaluation.regions import instance_ids
        from featurefields.raster import FrozenViews

        held = scene.split("test")
        cameras = [view.camera.to(field.splats.means) for view in held]
        views = FrozenViews(rasterizer, field.splats, cameras)
        materials = {entry.id: entry.material for entry in objects}
        ids = [instance_ids(view) for view in held]
        return ClickTrial(field, scene, clicks, materials, rasterizer, views, ids)

    def measure(
        self, featured: "Callable[[Camera], FeatureField]", on_click: Callable[[], object] = lambda: None
    ) -> "RegionRows[ClickRow]":
        """Click every object in the field that `featured` gives for the clicked camera.

        The larger regions are the means over all "objects" and over the "objects but matte".
        """
        from featurefields.evaluation.regions import MATTE, RegionRows, material_means, mean_row
        from featurefields.segmentation.viewed import ViewedField

        rows, viewed = [], None
        for click in self.clicks:
            prompt = self._prompt(click)
            field = featured(prompt.camera)
            if viewed is None or viewed.field is not field:  # else its tree of regions is there already
                viewed = ViewedField(field, self.rasterizer)
            ious = self.ious(click, viewed, prompt)
            rows.append(ClickRow(click.name, self.materials.get(click.id, ""), *ious))
            on_click()
        glossy = [row for row in rows if row.material != MATTE]
        wide = [mean_row(rows, "objects")] if rows else []
        if 0 < len(glossy) < len(rows):
            wide.append(mean_row(glossy, "objects but matte"))
        return RegionRows(tuple(wide), tuple(rows), material_means(rows))

    def _prompt(self, click: ObjectClick) -> "Click":
        """The click in the view's camera, where the field is."""
        from dataclasses import replace

        found = click_of(f"{click.x},{click.y}", click.view, self.field, self.scene)
        return replace(found, camera=found.camera.to(self.field.splats.means))

    def ious(
        self, click: ObjectClick, viewed: "ViewedField", prompt: "Click | None" = None
    ) -> tuple[float, float]:
        """Mean IoU of what is selected, and of the best size it can grow to; 0 where the click hits nothing."""
        import torch

        from featurefields.segmentation.nested import nested_selections
        from featurefields.segmentation.select import SelectConfig

        try:
            selection, nested = nested_selections(viewed, prompt or self._prompt(click), SelectConfig())
        except PromptError:  # a hole in the reconstruction: the object cannot be clicked
            return 0.0, 0.0
        values = self.mean_ious(torch.cat([selection.mask[:, None], nested], dim=-1), click.id)
        return values[0], max(values)

    def mean_ious(self, masks: "Tensor", id: int) -> list[float]:
        """Mean IoU of every column of masks (n m) with the object over the views that show enough of it, or NaN.

        A pixel is selected when the masked Gaussians show more than half of it.
        """
        import torch

        from featurefields.evaluation.regions import LEFT_OUT, MIN_PIXELS

        found = []
        for place, ids in enumerate(self.ids):
            truth = (ids == id)[..., None]
            if int(truth.sum()) < MIN_PIXELS:
                continue
            drawn = self.views[place].draw(masks.to(self.field.splats.means)).cpu()
            chosen = (drawn > 0.5) & (ids != LEFT_OUT)[..., None]
            both, either = ((chosen & truth).sum((0, 1)), (chosen | truth).sum((0, 1)))
            found.append(both / either)
        if not found:
            return [float("nan")] * masks.shape[1]
        return torch.stack(found).double().mean(0).tolist()
