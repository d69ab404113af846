"""What is segmented: a field with features, or a splat that is given some."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import PromptError

from .console import Console
from .existing import field_of_splat
from .features import FeatureOptions
from .inputs import load_field
from .options import ComputeOptions

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a field comes from.

    Attributes:
        path: whatever `load_field` reads, or a .ply.
        splat: whether it is a .ply that gets cameras and features first.
        data: folder of the photos.
        transform: file that says where the .ply is.
        lifting: which features the .ply gets.
        compute: where that is done.
    """

    path: Path
    splat: bool
    data: Path | None
    transform: Path | None
    lifting: FeatureOptions
    compute: ComputeOptions


def segmentable(
    source: Source, rasterizer: "Rasterizer", console: Console, *, needs_views: bool = True
) -> "tuple[FeatureField, bool]":
    """A field to point at, and whether it was made from a splat just now.

    Raises:
        PromptError: the photos of a splat were not named, or the field remembers no views and needs some.
        FeatureFieldsError: what `load_field` and `field_of_splat` raise.
    """
    if source.splat:
        if source.data is None:
            raise PromptError(
                f"{source.path} comes without its photos; say where they are with --data FOLDER"
            )
        field = field_of_splat(
            source.path, source.data, rasterizer=rasterizer, console=console, lifting=source.lifting,
            device=source.compute.torch_device(), transform=source.transform,
        )  # fmt: skip
        return field, True
    field = load_field(source.path)
    if needs_views and not field.about.cameras:
        raise PromptError(
            f"{source.path} remembers no views to click in; give a field that `ff fit` wrote from photos, or the "
            "photos of a .ply with --data"
        )
    return field, False
