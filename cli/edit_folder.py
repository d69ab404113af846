"""A folder of edits: the base, the list, and what came of it.

`base.*` is a copy of what was edited first, `edits.json` the list and how much of it is done, `field.safetensors` the
field after that. The list is written last, with a checksum of the field: a field that something else has changed since
is noticed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import FileFormatError, PromptError, WriteError

from .inputs import FIELD_FILE, load_field

if TYPE_CHECKING:
    from featurefields.editing.history import Edited, History
    from featurefields.editing.scripts import Script
    from featurefields.field import FeatureField

HISTORY_FILE, BASE_STEM = "edits.json", "base"


@dataclass(frozen=True)
class Opened:
    """What is edited.

    Attributes:
        path: the file that the edits begin with.
        base: the field in it.
        history: edits of earlier commands.
        edited: what came of them.
    """

    path: Path
    base: "FeatureField"
    history: "History"
    edited: "Edited"


def has_history(path: Path) -> bool:
    """Whether this is a folder that `ff edit` wrote."""
    return (path / HISTORY_FILE).is_file()


def open_edited(path: Path, *, overwrite: bool = False) -> Opened:
    """What is at `path`, with its edits where `ff edit` wrote it.

    Raises:
        FileFormatError: no field, or a damaged list of edits.
        PromptError: the field or its base were changed by something else; `overwrite` forgives the field.
    """
    from featurefields.editing.history import Edited, History

    if not has_history(path):
        field = load_field(path)
        edited = Edited.start(field)
        return Opened(path / FIELD_FILE if path.is_dir() else path, field, History(edited.base_id), edited)
    from featurefields.editing.scripts import read_script

    script = read_script(path / HISTORY_FILE)
    history = script.history
    file = _checked_base(path, script)
    result = path / FIELD_FILE
    if not overwrite and result.is_file() and sha256_of(result) != script.result_sha256:
        raise PromptError(
            f"{result} is not what its edits made of it any more: something else changed it; give that file as FIELD "
            "to begin anew, or pass --overwrite to make it again"
        )
    base = load_field(file)
    return Opened(file, base, history, history.replay(base))


def _checked_base(folder: Path, script: "Script") -> Path:
    if script.base is None:
        raise FileFormatError(f"{folder / HISTORY_FILE} does not say what the edits begin with; edit again")
    file = folder / script.base.file
    if not file.is_file():
        raise FileFormatError(f"{file} is gone, with which the edits of {folder} begin; put it back")
    if sha256_of(file) != script.base.sha256:
        raise FileFormatError(f"{file} was changed since its edits were made; put back what was there")
    return file


def write_base(opened: Opened, output: Path, *, overwrite: bool) -> Path:
    """A copy of what the edits begin with, in the folder `output`. Raises `WriteError`."""
    import shutil

    from featurefields.atomic import atomic_path

    target = base_path(opened, output)
    if target.exists() and (target.samefile(opened.path) or sha256_of(target) == sha256_of(opened.path)):
        return target
    with atomic_path(target, overwrite=overwrite) as temporary:
        shutil.copyfile(opened.path, temporary)
    return target


def base_path(opened: Opened, output: Path) -> Path:
    """Where `write_base` writes."""
    return output / f"{BASE_STEM}{opened.path.suffix.lower()}"


def write_list(opened: Opened, history: "History", output: Path, *, overwrite: bool) -> Path:
    """The list of edits, after everything else. Raises `WriteError`."""
    from featurefields.editing.scripts import Base, write_history

    file = base_path(opened, output)
    base = Base(file.name, sha256_of(file), history.base_id, len(opened.base))
    result = sha256_of(output / FIELD_FILE)
    return write_history(history, base, output / HISTORY_FILE, result_sha256=result, overwrite=overwrite)


def restore_base(opened: Opened, output: Path) -> None:
    """Put the archive that the edits begin with in place of the edited field, byte by byte."""
    import shutil

    from featurefields.atomic import atomic_path

    if opened.path.suffix.lower() == ".safetensors":
        with atomic_path(output / FIELD_FILE, overwrite=True) as temporary:
            shutil.copyfile(opened.path, temporary)


def sha256_of(path: Path) -> str:
    """Checksum of a file's bytes. Raises `WriteError` when it cannot be read."""
    import hashlib

    try:
        with open(path, "rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise WriteError(
            f"cannot read {path} to tell whether it changed: {error.strerror or error}"
        ) from error
