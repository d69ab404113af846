"""What every protocol starts from: a scene, its field, and the kinds of features that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import FileFormatError, SceneError

from .console import Console
from .held_out import measured_on
from .inputs import FIELD_FILE, load_field
from .options import ComputeOptions
from .queries import clicked_in, featured_fields, with_features

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.scene import Scene
    from featurefields.vision.interface import Extractor

COLOUR = "colour"
"""The baseline without features: every Gaussian's view-independent colour."""


@dataclass(frozen=True)
class Workbench:
    """What is the same for every scene of one benchmark.

    Attributes:
        fields: a field, a folder of fields by the name of their scene, or None.
        made: folder where fields are fitted that are not given.
        features: the extractor's name, as `ff fit` takes it.
    """

    console: Console
    compute: ComputeOptions
    fields: Path | None
    made: Path
    features: str = "none"
    extractor: "Extractor | None" = None
    solvers: tuple[str, ...] = ()
    cache: Path | None = None

    def scene(self, photos: Path, *, alone: bool) -> "tuple[FeatureField, Scene]":
        """The field of a folder of photos, and the photos, in one frame; fitted first where no field was given.

        Raises:
            FileFormatError: fields were given, but none for these photos.
            SceneError: the photos cannot be read, or are not the field's.
        """
        path = self._fitted(photos) if self.fields is None else self._given(self.fields, photos, alone)
        field, scene = measured_on(load_field(path), photos, self.console)
        return field.to(self.compute.torch_device()), scene

    def check_fields(self, scenes: Sequence[Path]) -> None:
        """Raise `FileFormatError` when fields were given, but not for every one of these scenes."""
        if self.fields is not None:
            for photos in scenes:
                self._given(self.fields, photos, alone=len(scenes) == 1)

    def _given(self, fields: Path, photos: Path, alone: bool) -> Path:
        name = photos.resolve().name
        places = [fields / name, fields / f"{name}.safetensors"]
        for place in places:
            if place.is_file() or (place / FIELD_FILE).is_file():
                return place
        if alone or fields.is_file():
            return fields
        raise FileFormatError(
            f"{fields} holds no field for {photos}: looked for {places[0]} and {places[1].name}; fit one with "
            f"`ff fit --data {photos} -o {places[0]}`"
        )

    def _fitted(self, photos: Path) -> Path:
        from .features import FeatureOptions
        from .fit import FitOptions, run

        folder = self.made / photos.resolve().name
        if not (folder / FIELD_FILE).is_file():
            self.console.note(f"no --field was given: fitting {photos} into {folder}")
            wanted = "auto" if self.features == "none" else self.features
            lifting = FeatureOptions(features=wanted, cache=self.cache)
            run(FitOptions(data=photos, output=folder, lifting=lifting, compute=self.compute), self.console)
        return folder

    def compared(self, field: "FeatureField", scene: "Scene") -> "tuple[dict[str, FeatureField], list[str]]":
        """The field with every kind of features that is compared, by name; and what to tell."""
        rasterizer = self.compute.rasterizer()
        lifted, notes = featured_fields(
            field, scene, self.extractor, rasterizer, self.console, solvers=self.solvers, cache=self.cache
        )
        compared = {name: entry for name, (entry, layer) in clicked_in(lifted).items() if layer == "indep"}
        return compared | {COLOUR: coloured(field)}, notes


def coloured(field: "FeatureField") -> "FeatureField":
    """The field with colours for features: view-independent sRGB, less its mean over what the Gaussians show.

    Raises:
        SceneError: the field has no colours.
    """
    if "rgb" not in field.heads:
        raise SceneError(f"the field has no colours (heads: {', '.join(field.heads) or 'none'})")
    colours, weights = _matter(field), field.splats.footprints[:, None]
    centred = colours - (weights * colours).sum(0) / weights.sum().clamp(min=1e-12)
    about = replace(field.about, extractor="", feature_mean=None, feature_basis=None)
    return replace(with_features(field, centred), about=about)


def _matter(field: "FeatureField") -> "Tensor":
    """Every Gaussian's own sRGB colour (n 3), without what depends on the view."""
    import torch

    from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit
    from featurefields.maths.colour import srgb_from_linear

    head, splats = field.heads["rgb"], field.splats
    if isinstance(head, ReflectedHead):
        return srgb_from_linear(diffuse_from_logit(splats.columns["diffuse"])).detach()
    camera = next(iter(field.about.cameras.values())).to(splats.means)
    with torch.no_grad():
        layers = head.at_gaussians(splats, camera)
    return layers.get("indep", layers["total"]).clamp(0, 1)
