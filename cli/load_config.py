"""A nerfstudio run's config.yml in the place of a field: `--load-config outputs/…/config.yml`, as nerfstudio has it.

Training writes the field beside config.yml. What that file says is never read: it names Python objects to make, and
nothing of nerfstudio is needed to read the field.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from featurefields.errors import FileFormatError

from .inputs import FIELD_FILE

OPTION = "--load-config"
WITHOUT_FIELD = ("demo", "fit")
"""Commands that take no field; they do not know the option."""
NAMED = {"bench": "--field"}
"""Commands that take their field by an option instead of by its place."""
CONFIG_ENDINGS = (".yml", ".yaml")


def archive_beside(config: Path) -> Path:
    """The archive that training wrote beside a config.yml (or in a run's folder).

    Where training was cut off there is none yet: then the field of the newest checkpoint is written as one.

    Raises:
        FileFormatError: there is no such file, it is no config.yml, or neither archive nor checkpoint is beside it.
        WriteError: the field of a checkpoint cannot be written beside it.
    """
    if not config.exists():
        raise FileFormatError(
            f"{OPTION} {config} does not exist; give the config.yml in a run's folder of outputs/"
        )
    if config.is_file() and config.suffix.lower() not in CONFIG_ENDINGS:
        raise FileFormatError(
            f"{OPTION} takes the config.yml of a nerfstudio run, got {config}; give a field without the option"
        )
    folder = config if config.is_dir() else config.parent
    archive = folder / FIELD_FILE
    return archive if archive.is_file() else _archive_of_checkpoint(folder, archive)


def _archive_of_checkpoint(folder: Path, archive: Path) -> Path:
    from featurefields.adapters.nerfstudio.checkpoint import FOLDER, newest_checkpoint, read_checkpoint
    from featurefields.files.archive import write_archive

    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        raise FileFormatError(
            f"there is neither {FIELD_FILE} nor a checkpoint in {folder}: it is a run of another method, or training "
            "was cut off before the first checkpoint; train disentangled-features again"
        )
    field = read_checkpoint(checkpoint)
    write_archive(field, archive)
    early = (
        ""
        if "feature" in field.heads
        else f", without features: go on with ns-train --load-dir {folder / FOLDER}"
    )
    print(f"training has not come to its end; wrote {archive} from {checkpoint.name}{early}", file=sys.stderr)
    return archive


def with_archive(command: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with the archive in the place of `--load-config PATH`.

    Raises:
        FileFormatError, WriteError: see `archive_beside`; or nothing follows the option.
    """
    if command in WITHOUT_FIELD:
        return list(arguments)
    found: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name.replace("_", "-") != OPTION:
            found.append(word)
            continue
        if not equals and not rest:
            raise FileFormatError(
                f"{OPTION} was given without a path; add the config.yml of a nerfstudio run"
            )
        path = value if equals else rest.pop(0)
        found += [*([NAMED[command]] if command in NAMED else []), str(archive_beside(Path(path)))]
    return found
