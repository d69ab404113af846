"""Fields in nerfstudio's checkpoints, read without nerfstudio and without unpickling objects."""

from collections.abc import Mapping
from pathlib import Path

import torch

from featurefields.adapters.nerfstudio.run import field_in, part
from featurefields.errors import FileFormatError
from featurefields.field import FeatureField

FOLDER = "nerfstudio_models"
"""Where nerfstudio keeps a run's checkpoints."""
STATE = "_model.run."
"""Beginning of the names of our tensors in the state of nerfstudio's pipeline."""


def newest_checkpoint(run: Path) -> Path | None:
    """The checkpoint of the most steps in a run's folder; None when there is none."""
    found = [(int(path.stem.removeprefix("step-")), path) for path in (run / FOLDER).glob("step-*[0-9].ckpt")]
    return max(found)[1] if found else None


def read_checkpoint(path: Path) -> FeatureField:
    """The field as it was when the checkpoint was written, on the CPU; without features before the run's end.

    Raises:
        FileFormatError: the file cannot be read, holds more than tensors and numbers, or is of another method.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        pipeline = state["pipeline"]
    except Exception as error:  # what is wrong with a stranger's file has many names
        reason = str(error).strip().split("\n")[0]
        raise FileFormatError(
            f"{path} cannot be read as a checkpoint of disentangled-features ({type(error).__name__}: {reason}); "
            "train again"
        ) from error
    if not isinstance(pipeline, Mapping):
        raise FileFormatError(f"{path} is no checkpoint of nerfstudio; train again")
    return field_in(part(pipeline, STATE))
