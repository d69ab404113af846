"""Reading what a command is given: fields, scenes and selections, whatever their form."""

from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import FileFormatError, FittingError

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.selection import Selection

FIELD_FILE = "field.safetensors"
"""What a field is called inside the folder that `ff fit` writes."""


def existing(path: Path) -> Path:
    """`path`, when there is something. Raises `FileFormatError` otherwise."""
    if not path.exists():
        raise FileFormatError(f"{path} does not exist; give a file or folder that does")
    return path


def check_downscale(downscale: float | None) -> None:
    """Raise `FittingError` when photos cannot be reduced by the factor that was given."""
    if downscale is not None and downscale <= 0:
        raise FittingError(f"--downscale must be positive, got {downscale}; leave it out for the default")


def load_field(path: Path) -> "FeatureField":
    """The field at `path`: a .safetensors archive, a folder with field.safetensors, or any 3DGS .ply.

    Raises:
        FileFormatError: nothing there, nothing of these, or a damaged file.
    """
    existing(path)
    if path.is_dir() and not (path / FIELD_FILE).exists():
        raise FileFormatError(
            f"{path} is a folder without {FIELD_FILE}, so it holds no field; give the folder that `ff fit` "
            "wrote, a .safetensors archive, or a 3DGS .ply"
        )
    if path.suffix.lower() == ".ply":
        from featurefields.files.ply import read_ply

        return read_ply(path)
    if path.suffix.lower() != ".safetensors" and not path.is_dir():
        raise FileFormatError(
            f"{path} is no field: its name ends in '{path.suffix}'; give a .safetensors archive, a folder "
            "that `ff fit` wrote, or a 3DGS .ply"
        )
    from featurefields.files.archive import read_archive

    return read_archive(path / FIELD_FILE if path.is_dir() else path)


def load_selection(path: Path, field: "FeatureField") -> "Selection":
    """The selection at `path`, made on `field`.

    Raises:
        FileFormatError: nothing there, or no selection.
        PromptError: it was made on another field.
    """
    existing(path)
    from featurefields.files.selection import read_selection

    selection = read_selection(path)
    selection.check(field)
    return selection
