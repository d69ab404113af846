"""What the viewer exports, written by the code of `ff edit`, `ff segment` and `ff masks`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .console import Advance, Console
from .edited import write_edited
from .masks import COCO_FILE, MasksOptions
from .masks import run as run_masks
from .options import ComputeOptions, WriteOptions
from .selected import write_parts_of

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.selection import Selection

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Told(Console):
    """A console whose progress goes elsewhere; each step that is told fills `share` of the whole."""

    json: bool = True
    report: Report = lambda words, share: None
    start: float = 0.0
    share: float = 1.0

    def progress(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]:
        return self._reported(title, total)

    @contextmanager
    def _reported(self, title: str, total: int | None) -> Iterator[Advance]:
        done = 0

        def advance(n: int = 1, **info: object) -> None:
            nonlocal done
            del info
            done += n
            part = done / total if total else done / (done + 10)
            self.report(title, self.start + self.share * min(part, 0.99))

        self.report(title, self.start)
        yield advance


@dataclass(frozen=True)
class CommandExports:
    """Exports of a field whose archive is at `archive`."""

    archive: Path
    data: Path | None
    compute: ComputeOptions

    def edited_ply(
        self, base: "FeatureField", edited: "FeatureField", path: Path, progress: Report
    ) -> list[Path]:
        import torch

        nothing = torch.zeros(len(base), dtype=torch.bool)
        return write_edited(
            base, edited, nothing, path, self.compute.rasterizer(), Told(report=progress), overwrite=True
        )

    def object_ply(self, field: "FeatureField", mask: "Tensor", path: Path, progress: Report) -> list[Path]:
        return write_parts_of(field, {path.stem: mask}, path.parent, Told(report=progress), overwrite=True)

    def masks(
        self, field: "FeatureField", selections: "Mapping[str, Selection]", folder: Path, progress: Report
    ) -> list[Path]:
        from featurefields.files.selection import write_selection

        del field  # it is that of the archive
        files = [
            write_selection(selection, folder / f"{_file_name(name)}.safetensors", overwrite=True)
            for name, selection in selections.items()
        ]
        options = MasksOptions(
            field=self.archive, output=folder, selection=tuple(files), data=self.data, compute=self.compute,
            write=WriteOptions(overwrite=True),
        )  # fmt: skip
        return [folder / COCO_FILE, *run_masks(options, Told(report=progress)).paths]


def _file_name(name: str) -> str:
    """A selection's name as that of a file."""
    return (
        "".join(letter if letter.isalnum() or letter in "-_ ." else "_" for letter in name).strip(". ")
        or "selection"
    )
