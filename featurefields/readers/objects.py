"""What the objects of a scene are: names and materials by instance id, from the meta.json beside the poses."""

from dataclasses import dataclass
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.readers.record import read_record


@dataclass(frozen=True)
class SceneObject:
    """One object with instance ids; `material` is "" where nobody said, `roughness` (0 mirror, 1 matte) None."""

    id: int
    name: str
    material: str = ""
    roughness: float | None = None


def described_objects(folder: Path) -> dict[int, SceneObject]:
    """Objects that the scene's meta.json lists, by id; none without that file.

    meta.json: {"objects": [{"id": 1, "name": "cup", "kind": "matte", "roughness": 1.0}, …]}, further keys ignored.

    Raises:
        SceneError: meta.json is damaged.
    """
    path = (folder if folder.is_dir() else folder.parent) / "meta.json"
    if not path.is_file():
        return {}
    record = read_record(path)
    if not isinstance(record.get("objects"), list):
        return {}
    found = {}
    for entry in record.records("objects"):
        id = entry.values.get("id")
        if isinstance(id, bool) or not isinstance(id, int) or id < 1:
            raise SceneError(f"{entry.where}: id is {id!r}, not a whole number above 0; correct it")
        name, material, roughness = (entry.values.get(key) for key in ("name", "kind", "roughness"))
        found[id] = SceneObject(
            id,
            name if isinstance(name, str) and name else f"object {id}",
            material if isinstance(material, str) else "",
            float(roughness) if isinstance(roughness, int | float) else None,
        )
    return found
