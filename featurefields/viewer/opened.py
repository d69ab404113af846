"""What a command hands to the viewer: the field that is viewed, and how its results are written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.editing.scripts import Base
from featurefields.field import FeatureField
from featurefields.raster import Rasterizer
from featurefields.scene import Scene
from featurefields.segmentation.prompts import TextTower
from featurefields.selection import Selection
from featurefields.viewer.chores import Progress


@runtime_checkable
class Exports(Protocol):
    """Writes results as the command line writes them, so that they are the same files. May take minutes."""

    def edited_ply(
        self, base: FeatureField, edited: FeatureField, path: Path, progress: Progress
    ) -> list[Path]:
        """The edited field as an ordinary .ply."""
        ...

    def object_ply(
        self, field: FeatureField, mask: Bool[Tensor, "n"], path: Path, progress: Progress
    ) -> list[Path]:
        """Some Gaussians of the field as it was opened, as an ordinary .ply."""
        ...

    def masks(
        self, field: FeatureField, selections: Mapping[str, Selection], folder: Path, progress: Progress
    ) -> list[Path]:
        """Masks of the photos, as PNG files and COCO JSON."""
        ...


@dataclass(frozen=True, eq=False)
class Opened:
    """Attributes:
    field: what is viewed, on the CPU.
    base: its file, for records.
    folder: where the work is saved.
    rasterizer, device: what draws, and where.
    exports: writes results.
    scene: the photos, if they are at hand.
    text: understands words, if something can.
    """

    field: FeatureField
    base: Base
    folder: Path
    rasterizer: Rasterizer
    exports: Exports
    scene: Scene | None = None
    text: TextTower | None = None
    device: torch.device | str = "cpu"


Open = Callable[[Progress], Opened]
"""Opens what a command was given; told of progress. Raises `FeatureFieldsError`."""
