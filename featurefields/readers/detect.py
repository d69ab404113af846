"""Which format a folder is in."""

from pathlib import Path

from featurefields.errors import SceneError
from featurefields.readers.scannetpp import is_scannetpp


def detect_kind(path: Path) -> str:
    """The name of the reader for `path`; transforms.json wins over transforms_train.json, ScanNet++, a COLMAP model.

    Raises:
        SceneError: it does not exist, or nothing in it looks like a scene.
    """
    if not path.exists():
        raise SceneError(f"scene {path} does not exist; check the path")
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise SceneError(f"scene {path} is a file, but not a JSON file of camera poses; give the folder")
        return "blender" if path.name in ("transforms_train.json", "transforms_test.json") else "nerfstudio"
    if (path / "transforms.json").is_file():
        return "nerfstudio"
    if (path / "transforms_train.json").is_file():
        return "blender"
    if is_scannetpp(path):
        return "scannetpp"
    if colmap_models(path):
        return "colmap"
    found = sorted(entry.name for entry in path.iterdir())
    shown = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "") if found else "nothing"
    raise SceneError(
        f"no scene in {path}: looked for transforms.json (nerfstudio), transforms_train.json (blender) and "
        f"sparse/0 (COLMAP), found {shown}; give the folder that holds one of them"
    )


def colmap_models(path: Path) -> list[Path]:
    """Every COLMAP model below the usual places of `path`: numbered folders first, then the place itself."""
    for place in (path / "sparse", path / "colmap" / "sparse", path):
        if not place.is_dir():
            continue
        numbered = sorted(folder for folder in place.iterdir() if folder.is_dir() and folder.name.isdigit())
        models = [folder for folder in [*numbered, place] if _is_model(folder)]
        if models:
            return models
    return []


def _is_model(folder: Path) -> bool:
    return any(
        all((folder / f"{table}{ending}").is_file() for table in ("cameras", "images"))
        for ending in (".bin", ".txt")
    )
