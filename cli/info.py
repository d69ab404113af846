"""`ff info`: what a field, .ply, selection or folder of photos holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from featurefields.errors import FileFormatError

from .console import Console, Summary
from .inputs import FIELD_FILE, existing, load_field
from .options import ReportOptions

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.field import FeatureField


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Say what a file or folder holds: a field, a 3DGS .ply, a selection, or posed photos."""

    path: tyro.conf.Positional[Path]
    """File or folder to look into."""
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: InfoOptions, console: Console) -> Summary:
    """Look and tell; nothing is written."""
    del console
    path = existing(options.path)
    describe = _describer(path)
    return describe(path)


def _describer(path: Path) -> Callable[[Path], Summary]:
    """Who can tell about `path`."""
    if path.is_dir():
        return _field_archive if (path / FIELD_FILE).exists() else _photos
    suffix = path.suffix.lower()
    if suffix == ".ply":
        return _ply
    if suffix == ".json":
        return _photos
    if suffix != ".safetensors":
        raise FileFormatError(
            f"{path} is of no kind known here; give a .safetensors or .ply file, a transforms.json, or a "
            "folder of posed photos"
        )
    from featurefields.files.container import read_header

    kind = read_header(path)["kind"]
    return {"field": _field_archive, "selection": _selection}.get(kind, _container)


def _field_archive(path: Path) -> Summary:
    field = load_field(path)
    file = path / FIELD_FILE if path.is_dir() else path
    about = field.about
    rows = {
        "kind": "field",
        "MB": file.stat().st_size / 1e6,
        "splats": len(field),
        "heads": {name: head.kind for name, head in field.heads.items()},
        "columns": _columns(field.splats.columns),
        "low corner": _corner(field, 0.0),
        "high corner": _corner(field, 1.0),
        "scene": about.scene or None,
        "photos": about.data or None,
        "views": len(about.cameras),
        "world units per capture unit": about.world_from_capture.scale,
        "extractor": about.extractor or None,
        "fingerprint": field.fingerprint(),
        "notes": {name: value for name, value in about.notes.items() if name != "test_views"},
    }
    if about.feature_basis is not None:
        rows["feature channels"] = f"{about.feature_basis.shape[0]} of {about.feature_basis.shape[1]}"
    following = [f"ff render {path} -o pictures", f"ff export {path} -o splats.ply"]
    return Summary(f"{path}: a feature field", rows, next=following)


def _ply(path: Path) -> Summary:
    field = load_field(path)
    columns = field.splats.columns
    rows = {
        "kind": "ply",
        "MB": path.stat().st_size / 1e6,
        "splats": len(field),
        "sh degree": round(columns["harmonics"].shape[1] ** 0.5) - 1,
        "extra columns": [name.removeprefix("ply.") for name in columns if name.startswith("ply.")],
        "low corner": _corner(field, 0.0),
        "high corner": _corner(field, 1.0),
        "low corner without 1% outliers": _corner(field, 0.01),
        "high corner without 1% outliers": _corner(field, 0.99),
        "median opacity": field.splats.opacities.median().item(),
        "fingerprint": field.fingerprint(),
    }
    return Summary(f"{path}: a Gaussian-splat .ply", rows, next=[f"ff render {path} --orbit 8 -o pictures"])


def _selection(path: Path) -> Summary:
    from featurefields.files.selection import read_selection

    selection = read_selection(path)
    rows = {
        "kind": "selection",
        "chosen": selection.count,
        "of": len(selection.mask),
        "highest score": selection.score.max().item() if len(selection.score) else None,
        "field": selection.field_id,
        "how": selection.how,
    }
    return Summary(f"{path}: a selection", rows)


def _container(path: Path) -> Summary:
    from featurefields.files.container import read_header

    header = read_header(path)
    rows = {
        "MB": path.stat().st_size / 1e6,
        **{k: v for k, v in header.items() if isinstance(v, str | int | float)},
    }
    return Summary(f"{path}: a featurefields {header['kind']}", rows)


def _photos(path: Path) -> Summary:
    from featurefields.readers import read_scene

    scene = read_scene(path)
    sizes = dict.fromkeys(f"{view.camera.width} x {view.camera.height}" for view in scene.views)
    rows = {
        "kind": "scene",
        "views": len(scene.views),
        "train": len(scene.split("train")),
        "test": len(scene.split("test")),
        "size": list(sizes)[:4] + (["…"] if len(sizes) > 4 else []),
        "points": 0 if scene.points is None else len(scene.points.positions),
        "missing photos": len(scene.missing),
        "missing": list(scene.missing[:5]),
        "world units per capture unit": scene.world_from_capture.scale,
        "notes": list(scene.notes),
    }
    folder = path if path.is_dir() else path.parent
    return Summary(f"{path}: posed photos", rows, next=[f"ff fit {folder} -o {scene.name}-field"])


def _columns(columns: "Mapping[str, Tensor]") -> dict[str, str]:
    return {name: " x ".join(map(str, ("n", *column.shape[1:]))) for name, column in columns.items()}


def _corner(field: "FeatureField", fraction: float) -> list[float] | None:
    """The coordinates below which `fraction` of the centres lie, axis by axis."""
    means = field.splats.means
    if len(means) == 0:
        return None
    ordered = means.sort(dim=0).values
    return ordered[round(fraction * (len(means) - 1))].tolist()
