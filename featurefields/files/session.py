"""Records of sessions on disk: plain JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurefields.atomic import write_bytes
from featurefields.errors import FileFormatError
from featurefields.foreign_json import parsed


def write_session(record: Mapping[str, Any], path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a session's record, one key a line. Raises `WriteError` as `write_bytes` does."""
    return write_bytes(path, (json.dumps(record, indent=1) + "\n").encode("utf-8"), overwrite=overwrite)


def read_session(path: str | Path) -> dict[str, Any]:
    """The record in a file; what it means is `Session.replay`'s business.

    Raises:
        FileFormatError: no such file, or not a JSON object.
    """
    path = Path(path)
    try:
        record = parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FileFormatError(
            f"{path} is no session: it is not JSON ({error}); give a session's file"
        ) from error
    if not isinstance(record, dict):
        raise FileFormatError(f"{path} is no session: it is not a JSON object; give a session's file")
    return record
