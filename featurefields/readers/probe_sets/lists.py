"""Text files that list pictures and their truth, one picture a line, as the depth benchmarks have them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.readers.probe_sets.interface import Split


@dataclass(frozen=True)
class Listed:
    """One line: the picture's name, its file, and the existing files of the further columns (None for "None")."""

    name: str
    split: Split
    image: Path
    others: tuple[Path | None, ...]


def listed_pictures(
    folder: Path, files: Sequence[tuple[Split, str]], roots: Sequence[Sequence[str]]
) -> Iterator[Listed]:
    """What the list files name, those that exist.

    A line holds the picture, then further files; a column that is a number (a focal length) is passed over. Column k is
    looked for below each of `roots[k]`; leading slashes are ignored.

    Raises:
        SceneError: a list file is unreadable, or a file that it names does not exist.
    """
    for split, file in files:
        path = folder / file
        if not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SceneError(f"{path} cannot be read: {error}; restore it") from error
        for number, line in enumerate(lines, 1):
            columns = [column for column in line.split() if not _is_number(column)]
            if not columns:
                continue
            found = [
                None if column == "None" else _existing(folder, column, below, f"{path}, line {number}")
                for column, below in zip(columns, roots, strict=False)
            ]
            if found[0] is not None:
                yield Listed(columns[0].lstrip("/"), split, found[0], tuple(found[1:]))


def names_in(path: Path) -> tuple[str, ...]:
    """The first word of every line of a text file; nothing when there is no such file."""
    if not path.is_file():
        return ()
    return tuple(line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _existing(folder: Path, name: str, below: Sequence[str], where: str) -> Path:
    for root in below:
        path = folder / root / name.lstrip("/")
        if path.is_file():
            return path
    raise SceneError(
        f"{where} names {name}, which does not exist below {folder}; complete the data or the list"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
