"""The folder in which a viewer's work survives: session.json, edits.json, view.json.

session.json is what `ff segment --session` and `ff edit --session` replay, edits.json what `ff edit --script` carries
out. Every file is replaced as a whole, so that what is there is always complete.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurefields.atomic import write_bytes
from featurefields.editing.history import History
from featurefields.editing.scripts import Base, history_record, read_script
from featurefields.errors import FileFormatError, PromptError, WriteError
from featurefields.files.session import read_session, write_session
from featurefields.viewer.document import Document
from featurefields.viewer.selections import Look

SESSION, EDITS, VIEW, EXPORTS = "session.json", "edits.json", "view.json", "exports"
KIND, SCHEMA = "view", 1


@dataclass(frozen=True)
class Saved:
    """What a folder holds; None and empty for a new one."""

    record: Mapping[str, Any] | None = None
    history: History | None = None
    looks: Mapping[str, Look] | None = None
    path: tuple[Mapping[str, Any], ...] = ()


def default_folder(source: Path, field_id: str) -> Path:
    """Beside what is viewed: FOLDER/viewer, or FILE.viewer; in the user's state folder where that cannot be written."""
    beside = source / "viewer" if source.is_dir() else source.with_name(f"{source.stem}.viewer")
    place = beside if beside.exists() else beside.parent
    if os.access(place, os.W_OK):
        return beside
    state = Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state"))
    return state / "featurefields" / field_id


def read_saved(folder: Path, field_id: str) -> Saved:
    """What was saved there, if anything.

    Raises:
        PromptError: it was saved for another field.
        FileFormatError: something in it is damaged.
    """
    record = read_session(folder / SESSION) if (folder / SESSION).exists() else None
    history = read_script(folder / EDITS).history if (folder / EDITS).exists() else None
    ids = {"" if record is None else record.get("field_id"), "" if history is None else history.base_id} - {
        ""
    }
    if ids - {field_id}:
        raise PromptError(
            f"{folder} holds the work on another field ({', '.join(map(str, ids - {field_id}))}, this one is "
            f"{field_id}); name another folder with --session"
        )
    looks, path = _read_view(folder / VIEW) if (folder / VIEW).exists() else ({}, ())
    return Saved(record, history, looks, path)


def save(document: Document, base: Base, folder: Path, path: tuple[Mapping[str, Any], ...] = ()) -> None:
    """Write everything. Raises `WriteError` when it cannot be written; what was there is still whole then."""
    looks = {
        name: {"colour": look.colour, "shown": look.shown} for name, look in document.selections.looks.items()
    }
    view = {"kind": KIND, "schema": SCHEMA, "looks": looks, "path": list(path)}
    write_session(document.session.record(), folder / SESSION, overwrite=True)
    edits = history_record(document.edits.history, base)
    write_bytes(folder / EDITS, (json.dumps(edits, indent=1) + "\n").encode(), overwrite=True)
    write_bytes(folder / VIEW, (json.dumps(view, indent=1) + "\n").encode(), overwrite=True)


def check_writable(folder: Path) -> None:
    """Make the folder. Raises `WriteError` when that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot make the folder {folder}: {error.strerror or error}; name another"
        ) from error


def _read_view(path: Path) -> tuple[dict[str, Look], tuple[Mapping[str, Any], ...]]:
    record = read_session(path)
    try:
        looks = {
            str(name): Look(int(look["colour"]), bool(look["shown"]))
            for name, look in dict(record["looks"]).items()
        }
        return looks, tuple(dict(entry) for entry in record.get("path", []))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(
            f"{path} is damaged ({error}); delete it, colours are chosen anew then"
        ) from error
