"""Checked access to the values of a JSON file: every wrong type is one clear line, never a traceback."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featurefields.errors import SceneError, shortened
from featurefields.foreign_json import parsed


@dataclass(frozen=True)
class Record:
    """One JSON object. `where` names it in messages; `parent` answers for keys it does not have."""

    where: str
    values: Mapping[str, object]
    parent: "Record | None" = None

    def get(self, key: str) -> object:
        """The raw value, the parent's when absent or null here, None when absent there too."""
        value = self.values.get(key)
        return self.parent.get(key) if value is None and self.parent else value

    def number(self, key: str) -> float | None:
        """A finite number, or None when absent. Raises `SceneError`."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            raise SceneError(f"{self.where}: {key} is {_shown(value)}, not a finite number; correct it")
        return float(value)

    def text(self, key: str) -> str | None:
        """Text that is not empty, or None when absent. Raises `SceneError`."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise SceneError(f"{self.where}: {key} is {_shown(value)}, not a file name; correct it")
        return value

    def texts(self, key: str) -> list[str] | None:
        """A list of texts, or None when absent. Raises `SceneError`."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise SceneError(f"{self.where}: {key} is {_shown(value)}, not a list of file names; correct it")
        return value

    def records(self, key: str) -> list["Record"]:
        """The objects of a list, each with this one as parent and named by its number. Raises `SceneError`."""
        value = self.values.get(key)
        if not isinstance(value, list):
            raise SceneError(
                f"{self.where}: '{key}' is {_shown(value)}, not a list; is this a file of camera poses?"
            )
        for number, item in enumerate(value):
            if not isinstance(item, dict):
                raise SceneError(
                    f"{self.where}: {key}[{number}] is {_shown(item)}, not an object; correct it"
                )
        return [Record(self._named(number, item), item, self) for number, item in enumerate(value)]

    def _named(self, number: int, item: Mapping[str, object]) -> str:
        return f"{self.where}: frame {number} ({_shown(item.get('file_path'))})"


def read_record(path: Path) -> Record:
    """The JSON object in `path`. Raises `SceneError` when it is missing, no JSON, or no object."""
    values = _read_json(path)
    if not isinstance(values, dict):
        raise SceneError(f"{path} holds {_shown(values)}, not a JSON object; is this a file of camera poses?")
    return Record(str(path), values)


def read_records(path: Path) -> list[Record]:
    """The JSON list of objects in `path`. Raises `SceneError` when it is missing, no JSON, or no such list."""
    values = _read_json(path)
    if not isinstance(values, list) or not all(isinstance(entry, dict) for entry in values):
        raise SceneError(f"{path} holds {_shown(values)}, not a JSON list of objects; restore it")
    return [Record(f"{path}: entry {number}", entry) for number, entry in enumerate(values)]


def _read_json(path: Path) -> object:
    try:
        return parsed(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SceneError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise SceneError(f"{path} is not valid JSON ({error}); write it again or restore a copy") from error


def _shown(value: object) -> str:
    return shortened(json.dumps(value, default=str) if value is not None else "missing")
