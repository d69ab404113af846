"""Writing files so that nothing on disk is ever lost or half written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurefields.errors import WriteError


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `WriteError` when `path` exists and may not be replaced, or when nothing can be written there."""
    try:
        exists = path.exists()
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error
    if exists and not overwrite:
        raise WriteError(f"{path} exists already; pass --overwrite to replace it, or choose another path")
    _refuse_locked(path)


def _refuse_locked(path: Path) -> None:
    """Raise `WriteError` when the nearest folder above `path` that is there takes no new files."""
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise WriteError(f"cannot write {path}: {above} is a file, not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise WriteError(f"cannot write {path}: the folder {above} is read-only; choose another path")


@contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` when the block ends well.

    The bytes reach the disk before the rename. When the block or the disk fails, the temporary file is
    removed and what was at `path` before is still there.

    Raises:
        WriteError: `path` exists and `overwrite` is False, or the system refused (full disk, no permission).
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes, *, overwrite: bool = False) -> Path:
    """Write `content` to `path` atomically and return the path. Raises `WriteError` as `atomic_path` does."""
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    return Path(path)
