"""Selections on disk."""

from pathlib import Path

import torch

from featurefields.errors import FileFormatError
from featurefields.files.container import read_container, reporting_damage, write_container
from featurefields.selection import Selection

KIND = "selection"


def write_selection(selection: Selection, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a selection: the mask as booleans, the score as float32, field and prompts in the JSON header.

    `how` comes back as JSON has it (tuples become lists).

    Raises:
        WriteError: as `write_container`.
    """
    tensors = {"mask": selection.mask.bool(), "score": selection.score.float()}
    header = {"field_id": selection.field_id, "how": dict(selection.how)}
    return write_container(path, tensors, header, kind=KIND, overwrite=overwrite)


def read_selection(path: str | Path) -> Selection:
    """The inverse of `write_selection`. Whether it fits a field is `Selection.check`'s business.

    Raises:
        FileFormatError: as `read_container`, or mask and score are missing or do not fit together.
    """
    path = Path(path)
    tensors, header = read_container(path, KIND)
    with reporting_damage(path, "the selection"):
        mask, score = tensors["mask"], tensors["score"]
        field_id, how = str(header["field_id"]), dict(header["how"])
    if (
        mask.dtype != torch.bool
        or score.dtype != torch.float32
        or mask.ndim != 1
        or mask.shape != score.shape
    ):
        raise FileFormatError(
            f"{path} is damaged: mask {mask.dtype} {tuple(mask.shape)} and score {score.dtype} "
            f"{tuple(score.shape)} do not fit together; select again"
        )
    return Selection(mask, score, field_id, how)
