"""Objects of a scene that are measured by themselves, and the regions of pixels that are averaged over.

Letters: h w pixels · `...` any batch of pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from featurefields.evaluation.heldout import mean
from featurefields.readers.objects import SceneObject, described_objects
from featurefields.scene import Scene, View

MIN_PIXELS = 30
"""An object counts in the views that show at least so many pixels of it."""
LEFT_OUT = -1
"""The id of pixels that the view's mask leaves out."""
METAL, MATTE = "metal", "matte"
"""Materials that are also told apart from all others."""


@dataclass(frozen=True)
class Region:
    """Pixels by their instance ids; `ids` None means every pixel.

    A region that is one `object` is averaged over the views that show at least `MIN_PIXELS` of it.
    """

    name: str
    ids: tuple[int, ...] | None
    material: str = ""
    object: bool = False

    def holds(self, ids: Int[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """Which pixels belong to the region; those left out never do."""
        if self.ids is None:
            return ids != LEFT_OUT
        return torch.isin(ids, torch.tensor(self.ids, dtype=ids.dtype, device=ids.device))

    def seen(self, ids: Int[Tensor, "h w"]) -> Bool[Tensor, "h w"] | None:
        """The region's pixels of a view; None where the view shows too little of it."""
        mask = self.holds(ids)
        return mask if int(mask.sum()) >= (MIN_PIXELS if self.object else 1) else None


def instance_ids(view: View) -> Int[Tensor, "h w"]:
    """Instance ids of a view's pixels, 0 where there is no object and everywhere without a picture of ids."""
    picture, mask = view.picture.layer("instance"), view.picture.mask()
    if picture is None:
        ids = torch.zeros(view.camera.height, view.camera.width, dtype=torch.long)
    else:
        ids = picture[..., 0].long()
    return ids if mask is None else torch.where(mask, ids, LEFT_OUT)


def scene_objects(scene: Scene) -> tuple[SceneObject, ...]:
    """The objects that the held-out views show, by id; names and materials are those of meta.json, if there is one.

    meta.json beside the poses: {"objects": [{"id": 1, "name": "cup", "kind": "matte"}, …]}, further keys ignored.

    Raises:
        SceneError: meta.json is damaged.
    """
    shown: set[int] = set()
    for view in scene.split("test"):
        shown.update(instance_ids(view).unique().tolist())
    known = described_objects(scene.folder)
    return tuple(known.get(id, SceneObject(id, f"object {id}")) for id in sorted(shown) if id > 0)


def regions_of(objects: Sequence[SceneObject]) -> tuple[Region, ...]:
    """Every pixel, the objects together, those that are no metal, and every object by itself."""
    wide = [Region("everything", None)]
    if objects:
        wide.append(Region("objects", tuple(entry.id for entry in objects)))
    others = tuple(entry.id for entry in objects if entry.material != METAL)
    if 0 < len(others) < len(objects):
        wide.append(Region("objects but metals", others))
    return (*wide, *(Region(entry.name, (entry.id,), entry.material, object=True) for entry in objects))


@runtime_checkable
class Measured(Protocol):
    """A frozen dataclass of numbers that belong to something."""

    @property
    def name(self) -> str: ...

    @property
    def material(self) -> str: ...


Row = TypeVar("Row", bound=Measured)


@dataclass(frozen=True)
class RegionRows(Generic[Row]):
    """One row for every larger region ("everything", "objects", "objects but metals"), object and material."""

    regions: tuple[Row, ...]
    objects: tuple[Row, ...]
    materials: tuple[Row, ...]

    @staticmethod
    def of(regions: Sequence[Region], rows: Sequence[Row]) -> "RegionRows[Row]":
        """From a row for every region, in order."""
        pairs = list(zip(regions, rows, strict=True))
        single = tuple(row for region, row in pairs if region.object)
        wide = tuple(row for region, row in pairs if not region.object)
        return RegionRows(wide, single, material_means(single))

    def region(self, name: str) -> Row | None:
        """The row of a larger region, where the scene has it."""
        return next((row for row in self.regions if row.name == name), None)


def material_means(rows: Sequence[Row]) -> tuple[Row, ...]:
    """For every material its objects' rows together: means of fractions (NaN does not count), sums of counts."""
    materials = dict.fromkeys(row.material for row in rows if row.material)
    return tuple(
        mean_row([row for row in rows if row.material == material], material) for material in materials
    )


def mean_row(rows: Sequence[Row], name: str) -> Row:
    """One row called `name` for some rows: means of their floats, sums of their ints; there must be a row."""
    first: Any = rows[0]
    numbers: dict[str, float | int] = {}
    for field in fields(first):
        values = [getattr(row, field.name) for row in rows]
        if isinstance(values[0], float):
            numbers[field.name] = mean(values)
        elif isinstance(values[0], int):
            numbers[field.name] = sum(values)
    return replace(first, name=name, material=name, **numbers)
