"""One object, edited in every way that a subject allows, and measured in the held-out views.

Letters: n Gaussians · h w pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan

import torch
from torch import Tensor

from featurefields.camera import Camera
from featurefields.editing.edits import RemoveSpecular, apply
from featurefields.editing.ordinary import HighlightConfig, without_highlights
from featurefields.editing.sightings import Sightings, seen_by, seen_from_above
from featurefields.evaluation.metrics import decibel, squared_error
from featurefields.evaluation.regions import METAL, MIN_PIXELS, SceneObject, instance_ids, scene_objects
from featurefields.field import FeatureField, render
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.maths.colour import linear_from_srgb, srgb_from_linear
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.scene import Scene, View

AS_COMMAND = HighlightConfig()
"""What `ff edit --splat` takes."""
PERFECT = "perfect"
"""The pictures as they are less the true reflections: no edit, but the most that one could gain."""


@dataclass(frozen=True)
class Row:
    """One object after one edit; dB, NaN where the scene has no truth for it.

    Attributes:
        subject: "field", "baked" or "ordinary".
        chosen: by what the Gaussians were chosen, "masks" or "click".
        edit: "none" or what was done.
        diffuse_db: inside the object against the pictures without reflections.
        albedo_db: the same against the albedo.
        outside_db: change of the PSNR against the photos outside the dilated mask.
    """

    object: str
    material: str
    subject: str
    chosen: str
    edit: str
    diffuse_db: float
    albedo_db: float
    outside_db: float


@dataclass(frozen=True)
class Truth:
    """Held-out views, and their pixels' objects."""

    views: Sequence[View]
    ids: Sequence[Tensor]
    objects: Sequence[SceneObject]
    margin: int

    @staticmethod
    def of(scene: Scene, margin: int) -> "Truth":
        views = scene.split("test")
        return Truth(views, [instance_ids(view) for view in views], scene_objects(scene), margin)

    @cached_property
    def photos(self) -> list[Tensor]:
        return [view.picture.image() for view in self.views]

    @cached_property
    def layers(self) -> Mapping[str, list[Tensor | None]]:
        return {name: [view.picture.layer(name) for view in self.views] for name in ("diffuse", "albedo")}

    def inside(self, pictures: Sequence[Tensor], id: int, layer: str) -> float:
        """dB inside the object against a layer, over the views that show enough of it."""
        errors = []
        for picture, wanted, ids in zip(pictures, self.layers[layer], self.ids, strict=True):
            mask = ids == id
            if wanted is not None and int(mask.sum()) >= MIN_PIXELS:
                errors.append(float(squared_error(picture, wanted[..., :3])[mask].mean()))
        return decibel(errors)

    def outside(self, pictures: Sequence[Tensor], id: int) -> float:
        """dB outside the dilated object against the photos, over the views that show it."""
        errors = []
        for picture, photo, ids in zip(pictures, self.photos, self.ids, strict=True):
            mask = (ids == id).float()
            if int(mask.sum()) < MIN_PIXELS:
                continue
            size = 2 * self.margin + 1
            near = torch.nn.functional.max_pool2d(mask[None, None], size, stride=1, padding=self.margin)[0, 0]
            errors.append(float(squared_error(picture, photo)[near < 0.5].mean()))
        return decibel(errors)

    @torch.no_grad()
    def without_reflections(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Pictures of the held-out views less the true reflections: what a perfect edit makes of the reconstruction."""
        made = []
        for picture, photo, diffuse in zip(pictures, self.photos, self.layers["diffuse"], strict=True):
            wanted = photo if diffuse is None else diffuse[..., :3]
            reflected = linear_from_srgb(photo) - linear_from_srgb(wanted)
            made.append(srgb_from_linear((linear_from_srgb(picture) - reflected).clamp(min=0)))
        return made

    def psnr(self, subject: "Subject") -> float:
        """Mean over the views of the PSNR of whole pictures."""
        pictures = subject.pictures(subject.field, self.views)
        values = [
            decibel([float(squared_error(a, b).mean())]) for a, b in zip(pictures, self.photos, strict=True)
        ]
        return sum(values) / len(values)


@dataclass(frozen=True)
class Subject:
    """Something that is edited.

    Attributes:
        name: what the report calls it.
        field: as it is.
        rasterizer: draws.
        scene: its photos, whose training cameras tell from where Gaussians are seen.
        rows: the first so many Gaussians can be selected (None: all); a sky made of splats follows them.
    """

    name: str
    field: FeatureField
    rasterizer: Rasterizer
    scene: Scene
    rows: int | None = None

    @cached_property
    def shares(self) -> Tensor:
        """By how much of what each Gaussian shows, over all views with ids, it belongs to each id (n ids)."""
        views = [view for view in self.scene.views if view.picture.layer("instance") is not None]
        count = 1 + max(int(instance_ids(view).max()) for view in views)
        total = torch.zeros(len(self.field), count)
        for view in views:
            maps = torch.nn.functional.one_hot(instance_ids(view).clamp(min=0), count).float()
            total += self.rasterizer.gather(self.field.splats, maps, view.camera, RasterConfig())
        return total / total.sum(-1, keepdim=True).clamp(min=1e-9)

    def shown_by(self, id: int) -> Tensor:
        """Gaussians that show the object more than all else (n)."""
        mask = self.shares[:, id] > 0.5
        if self.rows is not None:
            mask[self.rows :] = False
        return mask

    def padded(self, mask: Tensor) -> Tensor:
        """A mask of the first rows as one of all."""
        return torch.cat([mask, mask.new_zeros(len(self.field) - len(mask))])

    @cached_property
    def cameras(self) -> list[Camera]:
        return [view.camera for view in self.scene.split("train")]

    @cached_property
    def seen(self) -> Sightings:
        """All Gaussians from the training cameras."""
        everything = torch.ones(len(self.field), dtype=torch.bool)
        return seen_by(self.field.splats, everything, self.cameras, rasterizer=self.rasterizer)

    @torch.no_grad()
    def pictures(self, field: FeatureField, views: Sequence[View]) -> list[Tensor]:
        return [
            render(field, view.camera, rasterizer=self.rasterizer, heads=("rgb",))["rgb"]["total"].clamp(0, 1)
            for view in views
        ]

    @cached_property
    def unedited(self) -> list[Tensor]:
        return self.pictures(self.field, self.scene.split("test"))

    def edits(self, material: str) -> dict[str, Callable[[Tensor], FeatureField]]:
        """Ways to take reflections from a mask, by name."""
        if not isinstance(self.field.heads["rgb"], HarmonicsHead):
            ways = {"remove": lambda mask: apply(RemoveSpecular(), self.field, mask)}
            if material == METAL:
                base = RemoveSpecular(metals="base-colour")
                ways["remove, base colour"] = lambda mask: apply(base, self.field, mask)
            return ways
        return {
            "drop bands": lambda mask: apply(RemoveSpecular(), self.field, mask),
            "--splat, photos": lambda mask: self.tamed(mask, self.seen.select(mask)),
            "--splat": lambda mask: self.tamed(mask, seen_from_above(self.field.splats, mask)),
            "--splat, photos, flat": lambda mask: self.tamed(
                mask, self.seen.select(mask), HighlightConfig(flat=True)
            ),
            "--splat, photos, 0.25": lambda mask: self.tamed(
                mask, self.seen.select(mask), HighlightConfig(brightness=0.25)
            ),
        }

    def tamed(self, mask: Tensor, seen: Sightings, config: HighlightConfig = AS_COMMAND) -> FeatureField:
        """The splat as `ff edit --splat --remove-specular` leaves it."""
        bands = self.field.splats.columns["harmonics"].clone()
        bands[mask] = without_highlights(self.field.splats, mask, seen, config)
        return self.field.with_splats(self.field.splats.with_columns(harmonics=bands))


def measure_object(
    subject: Subject, truth: Truth, entry: SceneObject, chosen: str, mask: Tensor
) -> list[Row]:
    """Rows of one object: as it is, and after every edit; those are empty when nothing was chosen."""

    def row(edit: str, pictures: Sequence[Tensor]) -> Row:
        return Row(
            entry.name, entry.material, subject.name, chosen, edit,
            diffuse_db=truth.inside(pictures, entry.id, "diffuse"),
            albedo_db=truth.inside(pictures, entry.id, "albedo") if entry.material == METAL else nan,
            outside_db=truth.outside(pictures, entry.id) - truth.outside(subject.unedited, entry.id),
        )  # fmt: skip

    rows = [row("none", subject.unedited)]
    for name, edit in subject.edits(entry.material).items():
        edited = edit(mask) if bool(mask.any()) else subject.field
        rows.append(row(name, subject.pictures(edited, truth.views)))
    if chosen == "masks" and subject.name == "field":
        rows.append(row(PERFECT, truth.without_reflections(subject.unedited)))
    return rows
