"""The protocol "clicks": one click an object, then a simulated user who corrects what is most wrong."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from statistics import median
from typing import TYPE_CHECKING

from featurefields.errors import SceneError

from .clicks import CLICKS_FILE, ClickRow, ClickTrial, ObjectClick, read_clicks
from .photos import click_of

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.evaluation.regions import RegionRows, SceneObject
    from featurefields.evaluation.simulated_user import Corrections, UserClick
    from featurefields.field import FeatureField
    from featurefields.raster import FrozenViews
    from featurefields.scene import Scene, View
    from featurefields.segmentation.session import Session


@dataclass(frozen=True)
class UserRow:
    """What the simulated user reached on one object.

    Attributes:
        name: the object.
        material: what it is made of, "" where nobody said.
        clicks: how many were needed to reach the goal; None when all of them were not enough.
        ious: mean intersection over union over held-out views after 1, 2, … clicks.
        record: every click: view, x, y (pixels of the camera) and whether it was positive.
    """

    name: str
    material: str
    clicks: int | None
    ious: tuple[float, ...]
    record: tuple[dict[str, object], ...] = ()


def mean(values: Sequence[float]) -> float:
    """NaN for none."""
    return sum(values) / len(values) if values else nan


@dataclass(frozen=True)
class UserTable:
    """All objects with one kind of features, and milliseconds from a click to its selection (warm)."""

    rows: tuple[UserRow, ...]
    click_ms: tuple[float, ...] = field(default=())

    @property
    def most(self) -> int:
        return max((len(row.ious) for row in self.rows), default=0)

    @property
    def judged(self) -> tuple[UserRow, ...]:
        """The objects that some held-out view shows; means are over these."""
        return tuple(row for row in self.rows if row.ious[0] == row.ious[0])

    @property
    def mean_clicks(self) -> float:
        """Mean number of clicks to the goal; an object that does not get there counts with all its clicks."""
        return mean([float(row.clicks or len(row.ious)) for row in self.judged])

    @property
    def reached(self) -> float:
        """Share of the objects that get to the goal."""
        return mean([float(row.clicks is not None) for row in self.judged])

    @property
    def mean_ious(self) -> tuple[float, ...]:
        """Mean over objects after every number of clicks."""
        return tuple(mean([row.ious[place] for row in self.judged]) for place in range(self.most))

    @property
    def median_ms(self) -> float | None:
        return median(self.click_ms) if self.click_ms else None


@dataclass(frozen=True)
class ClickResults:
    """By features: single clicks with automatic and best thresholds, and the simulated user."""

    single: "Mapping[str, RegionRows[ClickRow]]"
    user: Mapping[str, UserTable]


def first_clicks(scene: "Scene", objects: "Sequence[SceneObject]") -> tuple[ObjectClick, ...]:
    """The scene's clicks.json; without one, the centre of every object's largest mask among the fitted views.

    Raises:
        SceneError: clicks.json is damaged, or there are neither clicks nor instance masks in fitted views.
    """
    from featurefields.evaluation.protocols import instance_tasks, photo_pixel
    from featurefields.evaluation.simulated_user import centre_of

    clicks = read_clicks(scene)
    if clicks:
        return clicks
    ids = {entry.name: entry.id for entry in objects}
    found = []
    for task in instance_tasks(scene, objects):
        x, y = centre_of(task.reference.positive)
        at = photo_pixel(scene.view(task.reference.view), x + 0.5, y + 0.5)
        found.append(ObjectClick(task.name, ids[task.name], task.reference.view, at[0] - 0.5, at[1] - 0.5))
    if not found:
        raise SceneError(
            f"{scene.folder} has no instance masks of objects in both fitted and held-out views "
            f"(instance_file_path, {CLICKS_FILE}), so nobody knows what a click means; choose another --protocol or "
            "scene"
        )
    return tuple(found)


@dataclass(frozen=True)
class UserTrial:
    """The objects of a scene in the views that the user looks at, and in those that are judged.

    Attributes:
        trial: clicks, and the held-out views.
        views: names of the views that the user looks at.
        frozen: the same, ready to draw.
        ids: their instance ids.
    """

    trial: ClickTrial
    views: tuple[str, ...]
    frozen: "FrozenViews"
    ids: "list[Tensor]"

    @staticmethod
    def of(trial: ClickTrial, most_views: int) -> "UserTrial":
        """The user looks at the fitted views; with `most_views` > 0 at so many of them, evenly spread."""
        from featurefields.evaluation.regions import instance_ids
        from featurefields.raster import FrozenViews

        looked_at = spread(trial.scene.split("train"), most_views)
        cameras = [view.camera.to(trial.field.splats.means) for view in looked_at]
        frozen = FrozenViews(trial.rasterizer, trial.field.splats, cameras)
        names = tuple(view.name for view in looked_at)
        return UserTrial(trial, names, frozen, [instance_ids(view) for view in looked_at])

    def measure(
        self, featured: "FeatureField", most: int, on_object: Callable[[], object] = lambda: None
    ) -> UserTable:
        """Every object with one kind of features."""
        from featurefields.segmentation.session import Session

        session, rows, times = Session(featured, self.trial.rasterizer), [], []
        for click in self.trial.clicks:
            found = self.corrections(click, session, most, times)
            record = tuple(
                {"view": entry.view, "x": entry.x, "y": entry.y, "positive": entry.positive}
                for entry in found.clicks
            )
            material = self.trial.materials.get(click.id, "")
            ious = tuple(round(iou, 6) for iou in found.ious)
            rows.append(UserRow(click.name, material, found.needed(), ious, record))
            on_object()
        return UserTable(tuple(rows), tuple(times[1:]))

    def corrections(
        self, click: ObjectClick, session: "Session", most: int, times: list[float]
    ) -> "Corrections":
        """What the user does to one object; appends the milliseconds of every selection to `times`."""
        from featurefields.evaluation.regions import LEFT_OUT
        from featurefields.evaluation.simulated_user import UserClick, UserView, correct

        trial = self.trial
        views = [
            UserView(name, ids == click.id, ids != LEFT_OUT)
            for name, ids in zip(self.views, self.ids, strict=True)
        ]

        def selected(clicks: "Sequence[UserClick]") -> "Tensor":
            started = time.perf_counter()
            mask = _clicked(session, clicks[-1])
            times.append(1000 * (time.perf_counter() - started))
            return mask

        def shown(mask: "Tensor") -> "list[Tensor]":
            channel = mask.to(trial.field.splats.means)[:, None]
            return [self.frozen[place].draw(channel)[..., 0].cpu() > 0.5 for place in range(len(views))]

        session.clear()
        start = click_of(f"{click.x},{click.y}", click.view, trial.field, trial.scene)
        return correct(
            UserClick(click.view, start.x, start.y), views, select=selected, shown=shown,
            measure=lambda mask: trial.mean_ious(mask[:, None], click.id)[0], most=most,
        )  # fmt: skip


def _clicked(session: "Session", click: "UserClick") -> "Tensor":
    """What is selected after one more click. Raises `PromptError` and leaves the session as it was if it is refused."""
    from featurefields.segmentation.prompts import Click

    camera = session.field.about.cameras[click.view].to(session.field.splats.means)
    with session.attempt():
        session.add(Click(click.x, click.y, camera, click.positive))
    return session.selection.mask


def spread(views: "Sequence[View]", most: int) -> "Sequence[View]":
    """At most so many of the views (0: all), evenly spread, the first among them."""
    if most <= 0 or len(views) <= most:
        return views
    return [views[place * len(views) // most] for place in range(most)]
