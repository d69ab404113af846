"""Edits as JSON, both ways, and strictly: what is not understood is refused.

An edit is an object with its kind under "edit" and what it takes under the names of the class:
{"edit": "recolor", "rgb": [0.1, 0.4, 0.8], "layer": "indep", "flat": false}. What is left out is as in the class.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from jaxtyping import Bool
from torch import Tensor

from featurefields.editing.edits import KINDS, Edit
from featurefields.errors import FileFormatError, PromptError, shortened
from featurefields.json_tensors import unpacked

Record = dict[str, Any]

KIND_KEY = "edit"


def edit_record(edit: Edit) -> Record:
    """An edit as JSON; `edit_of` is the inverse."""
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(edit).items()}
    return {KIND_KEY: edit.kind, **values}


def edit_of(record: object, where: str) -> Edit:
    """The edit that was written; `where` begins the message of what is wrong.

    Raises:
        FileFormatError: no such kind of edit, a key it does not take, one that it needs is missing, a value of
            another type or out of range.
    """
    if not isinstance(record, Mapping):
        raise FileFormatError(f'{where} is no edit: write an object with the kind of edit under "{KIND_KEY}"')
    kind = record.get(KIND_KEY)
    if not isinstance(kind, str) or kind not in KINDS:
        found = "none" if kind is None else f"'{kind}'"
        raise FileFormatError(
            f'{where} names no known edit under "{KIND_KEY}" but {found}; known: {", ".join(KINDS)}'
        )
    cls = KINDS[kind]
    taken, hints = {field.name: field for field in fields(cls)}, _hints(cls)
    check_keys(record, {KIND_KEY, *taken}, f"{where} ({kind})")
    needed = [name for name, field in taken.items() if field.default is MISSING and name not in record]
    if needed:
        raise FileFormatError(f'{where} ({kind}) lacks "{needed[0]}"; add it')
    values = {
        name: _value(record[name], hints[name], f'{where} ({kind}): "{name}"')
        for name in taken
        if name in record
    }
    try:
        return cls(**values)
    except PromptError as error:
        raise FileFormatError(f"{where} ({kind}): {error}") from error


def check_keys(record: Mapping[str, object], known: set[str], where: str) -> None:
    """Raise `FileFormatError` when the record has other keys than the known ones."""
    unknown = [key for key in record if key not in known]
    if unknown:
        raise FileFormatError(
            f'{where} has the unknown key "{unknown[0]}"; it takes {", ".join(sorted(known)) or "none"}'
        )


def unpacked_rows(record: object, where: str) -> Bool[Tensor, "n"]:
    """The booleans that `packed` wrote. Raises `FileFormatError` when it is not what that writes."""
    try:
        rows = unpacked(record, torch.bool)
        if rows.ndim != 1:
            raise ValueError(f"{rows.ndim} dimensions")
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{where}: the packed rows are damaged; select again") from error
    return rows


@lru_cache(maxsize=64)
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _value(value: object, hint: Any, where: str) -> Any:
    """A JSON value as what the class declares: a number, truth value, word, or several of these."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number:
        return float(value)  # type: ignore[arg-type]
    if hint in (bool, str) and type(value) is hint:
        return value
    if get_origin(hint) is Literal and value in get_args(hint):
        return value
    if get_origin(hint) is tuple and isinstance(value, list) and len(value) == len(get_args(hint)):
        return tuple(_value(entry, kind, where) for entry, kind in zip(value, get_args(hint), strict=True))
    raise FileFormatError(f"{where} should be {_wanted(hint)}, not {_shown(value)}")


def _wanted(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(f'"{word}"' for word in get_args(hint))
    if get_origin(hint) is tuple:
        return f"{len(get_args(hint))} numbers in brackets"
    return {float: "a number", bool: "true or false", str: "a text"}[hint]


def _shown(value: object) -> str:
    return shortened(repr(value), 40)
