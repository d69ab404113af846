"""Labels: which object every splat of a PLY file belongs to, and what is known about the objects.

Letters: n Gaussians.

The numbers are one integer property "label" of an ordinary splat PLY, 0 meaning nothing. Names, prompts, versions and
the field's fingerprint are in a JSON file beside it, called as the PLY with ".labels.json" appended. The PLY alone
says which splats belong together, the JSON alone says nothing about splats.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from featurefields.atomic import refuse_existing, write_bytes
from featurefields.errors import FileFormatError, WriteError
from featurefields.field import FeatureField
from featurefields.files.container import reporting_damage
from featurefields.files.ply import EXTRA, read_ply, write_ply
from featurefields.foreign_json import parsed
from featurefields.splats import Splats

SCHEMA = 1
"""Version of the JSON layout written by this code; files with a higher one are refused."""
PROPERTY = "label"
"""Name of the PLY property."""
ENDING = ".labels.json"


@dataclass(frozen=True)
class Label:
    """What is known about one object: its name, and the JSON-able record of how it was chosen."""

    name: str
    how: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """The object that every Gaussian belongs to.

    Attributes:
        ids: a whole number for every Gaussian; 0 means none.
        entries: what is known about the objects, by number.
        field_id: fingerprint of the field the labels were made on ("" when unknown).
    """

    ids: Int[Tensor, "n"]
    entries: Mapping[int, Label] = field(default_factory=dict)
    field_id: str = ""

    def count(self, number: int) -> int:
        """How many Gaussians belong to the object."""
        return int((self.ids == number).sum())

    def present(self) -> list[int]:
        """The numbers of objects that have Gaussians, in order."""
        return [number for number in self.ids.unique().tolist() if number != 0]

    def names(self) -> dict[int, str]:
        """What the objects that have Gaussians are called, each differently; "label 3" where nobody said."""
        given = {
            number: self.entries[number].name if number in self.entries else f"label {number}"
            for number in self.present()
        }
        often = {name for name, times in Counter(given.values()).items() if times > 1}
        return {number: f"{name} ({number})" if name in often else name for number, name in given.items()}


def labels_path(path: str | Path) -> Path:
    """Where the JSON file of a labelled PLY is."""
    path = Path(path)
    return path.with_name(path.name + ENDING)


def write_labels(
    splats: Splats, labels: Labels, path: str | Path, *, overwrite: bool = False
) -> tuple[Path, Path]:
    """Write splats with their labels (one for each) as a PLY and its JSON file; both paths are returned.

    A property "label" that the splats carry from an earlier PLY is replaced; their other columns go as `write_ply`
    takes them.

    Raises:
        WriteError: one of the files exists and `overwrite` is False, or as `write_ply`; nothing of the JSON is
            written before the PLY is complete.
    """
    path = Path(path)
    sidecar = labels_path(path)
    refuse_existing(sidecar, overwrite)
    try:
        document = json.dumps(_document(splats, labels, path), indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise WriteError(f"cannot write {sidecar}: it does not fit into JSON ({error})") from error
    extra = {PROPERTY: labels.ids.to(torch.int32)}
    write_ply(splats.without_columns(EXTRA + PROPERTY), path, overwrite=overwrite, extra=extra)
    return path, write_bytes(sidecar, document.encode(), overwrite=overwrite)


def read_labels(path: str | Path) -> tuple[FeatureField, Labels]:
    """The splats of a labelled PLY (without the column) and their labels; names are those of its JSON file.

    Where that file is gone, objects are called "label 3" and nothing more is known about them.

    Raises:
        FileFormatError: `path` is the JSON file, a PLY without whole-numbered labels, or as `read_ply`; the JSON
            file is damaged or newer.
    """
    path = Path(path)
    if path.name.lower().endswith(".json"):
        raise FileFormatError(
            f"{path} names labels, but holds no splats to find them by; give the labelled .ply beside it"
        )
    loaded = read_ply(path)
    column = loaded.splats.columns.get(EXTRA + PROPERTY)
    if column is None:
        raise FileFormatError(
            f"{path} has no property '{PROPERTY}' (an editor may have dropped it); give the .ply that was labelled, "
            "or attach its labels to this one with `ff labels attach`"
        )
    ids = column.long()
    if column.is_floating_point() and not torch.equal(ids.to(column), column):
        raise FileFormatError(
            f"{path} has labels that are no whole numbers; write it again, its labels as int"
        )
    sidecar = labels_path(path)
    entries, field_id = _described(sidecar) if sidecar.is_file() else ({}, "")
    kept = loaded.with_splats(loaded.splats.without_columns(EXTRA + PROPERTY))
    return kept, Labels(ids, entries, field_id)


def _document(splats: Splats, labels: Labels, path: Path) -> dict[str, Any]:
    names = {number: entry.name for number, entry in labels.entries.items()}
    names = labels.names() | names
    return {
        "schema": SCHEMA,
        "kind": "labels",
        "ply": path.name,
        "property": PROPERTY,
        "splats": len(splats),
        "unlabelled": labels.count(0),
        "fingerprint": FeatureField(splats, {}).fingerprint(),
        "field": labels.field_id,
        "versions": {"featurefields": _version(), "torch": torch.__version__},
        "labels": {
            str(number): {
                "name": name,
                "splats": labels.count(number),
                "how": dict(labels.entries[number].how) if number in labels.entries else {},
            }
            for number, name in sorted(names.items())
        },
    }


def _version() -> str:
    """Of this package; "" in a checkout that is not installed."""
    try:
        return version("featurefields")
    except PackageNotFoundError:
        return ""


def _described(path: Path) -> tuple[dict[int, Label], str]:
    """What a JSON file says about the objects, and the fingerprint of their field."""
    try:
        document = parsed(path.read_bytes())
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is damaged: it is not JSON ({error}); write it again") from error
    with reporting_damage(path, "what it says about labels"):
        if document["kind"] != "labels" or type(document["schema"]) is not int:
            raise ValueError(f"kind is {document['kind']!r}, schema {document['schema']!r}")
        schema = document["schema"]
    if schema > SCHEMA:
        raise FileFormatError(
            f"{path} was written by a newer featurefields: schema {schema}, this version reads up to {SCHEMA}; upgrade"
        )
    with reporting_damage(path, "what it says about labels"):
        entries = {
            int(number): Label(str(entry["name"]), dict(entry.get("how", {})))
            for number, entry in document["labels"].items()
        }
        return entries, str(document.get("field", ""))
