"""Files that a scene names: where they lie, and what is missing."""

from pathlib import Path

from featurefields.errors import SceneError
from featurefields.readers.record import Record

PHOTO_ENDINGS = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG", ".webp", ".tif", ".tiff")


def is_file(path: Path) -> bool:
    """Whether there is a file; there is none under a name that the system does not take (too long, say)."""
    try:
        return path.is_file()
    except OSError:
        return False


def find_photo(folder: Path, name: str) -> Path | None:
    """The photo called `name` (with or without its ending, either slash) seen from `folder`, or None."""
    plain = name.replace("\\", "/")
    path = folder / plain
    if is_file(path):
        return path
    if not path.name:  # nothing but dots and slashes: a folder
        return None
    candidates = (path.with_name(path.name + ending) for ending in PHOTO_ENDINGS)
    return next((candidate for candidate in candidates if is_file(candidate)), None)


def shown_name(folder: Path, photo: Path) -> str:
    """How a photo is called: its path as seen from the folder, with forward slashes and its ending."""
    try:
        return photo.relative_to(folder).as_posix()
    except ValueError:
        return photo.as_posix()


class Companions:
    """Finds the pictures that accompany photos and counts those that a file names but nobody kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.absent: dict[str, int] = {}

    def find(self, frame: Record, key: str) -> Path | None:
        """The existing file under `key` of `frame`, or None."""
        name = frame.text(key)
        if name is None:
            return None
        path = self.folder / name.replace("\\", "/")
        if is_file(path):
            return path
        self.absent[key] = self.absent.get(key, 0) + 1
        return None

    def find_mask(self, frame: Record) -> Path | None:
        """The file under `mask_path`; it must exist, for without it wrong pixels would be fitted.

        Raises:
            SceneError: it does not exist.
        """
        path, name = self.find(frame, "mask_path"), frame.text("mask_path")
        if path is None and name is not None:
            raise SceneError(
                f"{frame.where}: mask_path '{name}' does not exist; restore it or remove the key"
            )
        return path

    def notes(self) -> list[str]:
        return [f"{count} files named by {key} do not exist; ignored" for key, count in self.absent.items()]
