"""A nerfstudio run's config.yml in the place of a field: `--load-config outputs/…/config.yml`, as nerfstudio has it.

Training writes the field beside config.yml; nothing of nerfstudio is needed to read it.
"""

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

    Raises:
        FileFormatError: there is no such file, it is no config.yml, or training has not come to its end.
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
    if not archive.exists():
        raise FileFormatError(
            f"there is no {FIELD_FILE} beside {config}: it is a run of another method, or its training was cut off; "
            f"train disentangled-features, or go on with --load-dir {folder / 'nerfstudio_models'}"
        )
    return archive


def with_archive(command: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with the archive in the place of `--load-config PATH`.

    Raises:
        FileFormatError: see `archive_beside`; or nothing follows the option.
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
