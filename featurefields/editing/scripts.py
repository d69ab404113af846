"""Lists of edits as JSON documents: written by people to be carried out, or by us to be gone on with.

A document has "schema", "kind" ("edits") and "edits": a list of edits (`featurefields.editing.records`), each of which
may name a "selection" besides. What a person writes names a copy that an earlier edit made, an entry of "selections"
(name to file), a selection that the "session" keeps, or a file; without one, an edit is of everything. What we write
holds the identities themselves, so that it needs nothing else, and knows its base and how much of the list is done.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from featurefields.atomic import write_bytes
from featurefields.editing.edits import Edit
from featurefields.editing.history import Edited, History, Step, step_of
from featurefields.editing.records import Record, check_keys, edit_of, edit_record, unpacked_rows
from featurefields.errors import FileFormatError, PromptError
from featurefields.foreign_json import parsed
from featurefields.json_tensors import packed
from featurefields.raster import Rasterizer

SCHEMA, KIND = 1, "edits"
VERSION = str(import_module(__name__.partition(".")[0]).__version__)
KEYS = {"schema", "kind", "version", "base", "result_sha256", "done", "selections", "session", "edits"}
BASE_KEYS = {"file", "sha256", "field_id", "splats"}

Resolve = Callable[[str], Bool[Tensor, "i"]]
"""Finds the identities that a selection of this name has."""


@dataclass(frozen=True)
class Base:
    """What a list of edits begins with.

    Attributes:
        file: name of the file beside the list.
        sha256: of its bytes.
        field_id: fingerprint of the field in it.
        splats: number of its Gaussians.
    """

    file: str
    sha256: str
    field_id: str
    splats: int


@dataclass(frozen=True, eq=False)
class Planned:
    """An edit of a document.

    Attributes:
        edit: the change.
        name: its selection's name; "" for everything, or a selection without a name.
        who: the identities, where the document holds them.
    """

    edit: Edit
    name: str = ""
    who: Bool[Tensor, "i"] | None = None


@dataclass(frozen=True, eq=False)
class Script:
    """A document.

    Attributes:
        planned: all edits.
        done: how many of them are done; the rest was undone.
        base: what they begin with, where we wrote the document.
        result_sha256: of the archive that came of it; "" when unknown.
        selections: files by name.
        session: file of a session that keeps selections; "" for none.
    """

    planned: tuple[Planned, ...]
    done: int
    base: Base | None = None
    result_sha256: str = ""
    selections: Mapping[str, str] = attribute(default_factory=dict)
    session: str = ""

    @property
    def history(self) -> History:
        """The history that was written. Raises `FileFormatError` when a person wrote the document."""
        if self.base is None or any(entry.name and entry.who is None for entry in self.planned):
            raise FileFormatError(
                "this list of edits was not written by `ff edit`, so that it cannot be gone on with; carry it out "
                "with --script"
            )
        steps = tuple(Step(entry.edit, entry.who, entry.name) for entry in self.planned)
        return History(self.base.field_id, steps, self.done)

    def carry_out(
        self, history: History, edited: Edited, resolve: Resolve, *, rasterizer: Rasterizer | None = None
    ) -> tuple[History, Edited]:
        """The history and the field after the edits of this document that are done.

        Raises:
            PromptError: the document holds selections of another field, a name means nothing, or an edit cannot be
                carried out.
        """
        for number, entry in enumerate(self.planned[: self.done], start=1):
            try:
                if entry.who is None:
                    mask = _found(entry.name, edited, resolve) if entry.name else None
                    step = step_of(entry.edit, edited, mask, name=entry.name, rasterizer=rasterizer)
                else:
                    self._check_identities(edited)
                    step = Step(entry.edit, entry.who, entry.name)
                history, edited = history.did(step), edited.after(step)
            except PromptError as error:
                raise PromptError(f"edit {number} ({entry.edit.kind}): {error}") from error
        return history, edited

    def _check_identities(self, edited: Edited) -> None:
        """Refuse selections that were written for other Gaussians."""
        if self.base is None or self.base.field_id != edited.base_id:
            written = "an unknown field" if self.base is None else f"field {self.base.field_id}"
            raise PromptError(
                f"its selection was written for {written}, and this one is {edited.base_id}; name a selection of this "
                "field instead"
            )


def read_script(path: str | Path) -> Script:
    """The document in a file.

    Raises:
        FileFormatError: no such file, no list of edits, of a newer version, or something in it is not understood.
    """
    path = Path(path)
    try:
        record = parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is no list of edits: it is not JSON ({error})") from error
    try:
        return script_of(record)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def write_history(
    history: History, base: Base, path: str | Path, *, result_sha256: str = "", overwrite: bool = False
) -> Path:
    """Write a history, which `read_script` reads. Raises `WriteError` as `write_bytes` does."""
    record = history_record(history, base, result_sha256=result_sha256)
    return write_bytes(path, (json.dumps(record, indent=1) + "\n").encode(), overwrite=overwrite)


def history_record(history: History, base: Base, *, result_sha256: str = "") -> Record:
    """A history as a document."""
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "version": VERSION,
        "base": {
            "file": base.file,
            "sha256": base.sha256,
            "field_id": base.field_id,
            "splats": base.splats,
        },
        "result_sha256": result_sha256,
        "done": history.cursor,
        "edits": [_step_record(step) for step in history.steps],
    }


def script_of(record: object) -> Script:
    """The document that was written.

    Raises:
        FileFormatError: as `read_script`.
    """
    if not isinstance(record, Mapping) or record.get("kind") != KIND or "edits" not in record:
        raise FileFormatError(f'this is no list of edits: it needs "kind": "{KIND}" and "edits"')
    schema = record.get("schema")
    if type(schema) is not int or schema < 1:
        raise FileFormatError(f'the list of edits does not say its version; add "schema": {SCHEMA}')
    if schema > SCHEMA:
        raise FileFormatError(
            f"the list of edits is of a newer featurefields (schema {schema}, this version reads up to {SCHEMA}); "
            "upgrade"
        )
    check_keys(record, KEYS, "the list of edits")
    entries = record["edits"]
    if not isinstance(entries, list):
        raise FileFormatError('"edits" should be a list of edits in brackets')
    planned = tuple(_planned(entry, f"edit {number}") for number, entry in enumerate(entries, start=1))
    done = record.get("done", len(planned))
    if type(done) is not int or not 0 <= done <= len(planned):
        raise FileFormatError(f'"done" should be a whole number of the {len(planned)} edits, not {done!r}')
    selections = _texts(record.get("selections", {}), '"selections"')
    session, result = (
        _texts({key: record.get(key, "")}, f'"{key}"')[key] for key in ("session", "result_sha256")
    )
    base = _base(record["base"]) if "base" in record else None
    return Script(planned, done, base, result, selections, session)


def _planned(entry: Any, where: str) -> Planned:
    if not isinstance(entry, Mapping):
        return Planned(edit_of(entry, where))
    selection = entry.get("selection")
    edit = edit_of({key: value for key, value in entry.items() if key != "selection"}, where)
    if selection is None or isinstance(selection, str):
        return Planned(edit, selection or "")
    if not isinstance(selection, Mapping):
        raise FileFormatError(f'{where}: "selection" should be the name of one, not {selection!r:.40}')
    check_keys(selection, {"name", "who"}, f'{where}: "selection"')
    name = _texts({"name": selection.get("name", "")}, f'{where}: "selection"')["name"]
    return Planned(edit, name, unpacked_rows(selection.get("who"), f'{where}: "selection"'))


def _base(record: Any) -> Base:
    if not isinstance(record, Mapping) or record.keys() != BASE_KEYS:
        raise FileFormatError(f'"base" should have {", ".join(sorted(BASE_KEYS))}')
    texts = _texts({key: record[key] for key in ("file", "sha256", "field_id")}, '"base"')
    count = record["splats"]
    if type(count) is not int or texts["file"] != Path(texts["file"]).name:
        raise FileFormatError('"base" should name a file beside the list and how many splats it holds')
    return Base(texts["file"], texts["sha256"], texts["field_id"], count)


def _texts(record: Any, where: str) -> dict[str, str]:
    if not isinstance(record, Mapping) or not all(isinstance(value, str) for value in record.values()):
        raise FileFormatError(f"{where} should be text")
    return dict(record)


def _step_record(step: Step) -> Record:
    selection = {} if step.who is None else {"selection": {"name": step.name, "who": packed(step.who)}}
    return edit_record(step.edit) | selection


def _found(name: str, edited: Edited, resolve: Resolve) -> Bool[Tensor, "n"]:
    return edited.copied(name) if name in edited.copies else edited.rows(resolve(name))
