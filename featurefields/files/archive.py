"""A feature field on disk: one safetensors file that holds everything.

Letters: n Gaussians · v cameras · D extracted feature dimension · d stored feature dimension.

Tensors: "splats.<means | quats | log_scales | opacity_logits | columns.NAME>", "heads.NAME.STATE KEY",
"about.cameras.<poses (v 4 4) | focal_px (v 2) | centre_px (v 2)>", "about.feature_mean" (D),
"about.feature_basis" (d D). Everything else is in the JSON header. Reading gives back exactly what was
written, bit by bit; only float64 tensors become float32.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featurefields.atomic import refuse_existing
from featurefields.camera import Camera
from featurefields.errors import FileFormatError, WriteError
from featurefields.field import About, FeatureField
from featurefields.files.container import read_container, reporting_damage, write_container
from featurefields.files.drawable import drawable
from featurefields.heads import Head, head_from_config
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats

KIND = "field"
FILE_NAME = "field.safetensors"
"""Name of the archive inside a folder."""

CONVENTIONS = {
    "camera": "OpenCV axes (x right, y down, z forward); pixel centres at +0.5; poses are world_from_camera",
    "quats": "w x y z, not necessarily unit",
    "log_scales": "natural logarithm of the standard deviation in world units",
    "opacity_logits": "logit of the opacity",
}

GEOMETRY = {"means": (3,), "quats": (4,), "log_scales": (3,), "opacity_logits": ()}
CAMERAS = {"poses": (4, 4), "focal_px": (2,), "centre_px": (2,)}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def write_archive(field: FeatureField, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write `field` to `path` (ending .safetensors recommended) and return the path.

    The same field always gives the same bytes. `about.notes` and the heads' configurations come back as JSON
    has them (tuples become lists).

    Raises:
        WriteError: `path` exists and `overwrite` is False, the field could not be read back (unusable
            geometry, columns of other lengths, a head without its columns), or the system refused.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    tensors, header = packed(field, path)
    return write_container(path, tensors, header, kind=KIND, overwrite=overwrite)


def packed(
    field: FeatureField, path: str | Path = "the field"
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors and JSON-able header that `unpacked` makes the field of again: what an archive holds.

    Raises:
        WriteError: the field could not be read back; `path` is named as what was to be written.
    """
    fault = _misfit(field.splats.tensors()) or _fault(field.splats, field.heads)
    if fault:
        raise WriteError(f"cannot write {path}: {fault}; nothing was written")
    tensors = {f"splats.{name}": tensor for name, tensor in field.splats.tensors().items()}
    for name, head in field.heads.items():
        tensors |= {f"heads.{name}.{key}": tensor for key, tensor in head.state_dict().items()}
    about, about_tensors = _packed_about(field.about)
    header = {
        "heads": {name: {"kind": head.kind, "config": head.config()} for name, head in field.heads.items()},
        "columns": sorted(field.splats.columns),
        "about": about,
        "conventions": CONVENTIONS,
    }
    return {name: _single(tensor) for name, tensor in (tensors | about_tensors).items()}, header


def read_archive(path: str | Path) -> FeatureField:
    """The field in the archive `path`, or in `path`/field.safetensors when `path` is a folder; on the CPU.

    Raises:
        FileFormatError: no such file, not an archive, damaged, incomplete, or of a newer schema.
        UnknownNameError, UnavailableError: one of its heads is of a kind this installation does not have.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
    return unpacked(*read_container(path, KIND), path)


def unpacked(tensors: Mapping[str, Tensor], header: Mapping[str, Any], path: str | Path) -> FeatureField:
    """The field that was `packed`; messages name `path` as where it comes from. Raises as `read_archive`."""
    path = Path(path)
    with reporting_damage(path, "the table of splats"):
        names = [*GEOMETRY, *(f"columns.{name}" for name in header["columns"])]
        table = {name: tensors[f"splats.{name}"] for name in names}
    misfit = _misfit(table)
    if misfit:
        raise FileFormatError(f"{path} is damaged: {misfit}; write it again")
    splats = Splats.from_tensors(table)
    with reporting_damage(path, "its list of heads"):
        heads = {name: _head(path, name, entry, tensors) for name, entry in dict(header["heads"]).items()}
        fault = _fault(splats, heads)
    if fault:
        raise FileFormatError(f"{path} is damaged: {fault}; write it again")
    with reporting_damage(path, "what it says about the scene"):
        about = _unpacked_about(header["about"], tensors)
    return FeatureField(splats, heads, about)


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _misfit(table: Mapping[str, Tensor]) -> str:
    """What does not fit together in the tensors of a table of splats, in words; "" when everything does."""
    count = table["means"].shape[0] if table["means"].ndim else 0
    for name, row in GEOMETRY.items():
        tensor = table[name]
        if tuple(tensor.shape) != (count, *row) or tensor.dtype not in FLOATS:
            return f"'{name}' is {tensor.dtype} {tuple(tensor.shape)} instead of floats {(count, *row)}"
    for name, column in table.items():
        if column.ndim == 0 or column.shape[0] != count:
            return f"'{name}' is {tuple(column.shape)} for {count} splats"
    return ""


def _fault(splats: Splats, heads: Mapping[str, Head]) -> str:
    """What keeps these splats from being drawn with these heads, in words; "" when nothing does."""
    bad = len(splats) - int(drawable(splats).sum())
    if bad:
        return f"the geometry of {bad} of {len(splats)} splats is not finite"
    for name, head in heads.items():
        if "." in name:
            return f"the name of head '{name}' has a dot in it"
        missing = [column for column in head.reads if column not in splats.columns]
        if missing:
            return f"head '{name}' needs the missing column '{missing[0]}'"
        for column, row in head.row_shapes(splats.columns).items():
            needed, found = (len(splats), *row), tuple(splats.columns[column].shape)
            if found != needed:
                return f"head '{name}' needs column '{column}' {needed}, not {found}"
    return ""


def _head(path: Path, name: str, entry: Any, tensors: Mapping[str, Tensor]) -> Head:
    prefix = f"heads.{name}."
    state = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    with reporting_damage(path, f"head '{name}'"):
        _refuse_promises(entry, state)
        head = head_from_config(entry["kind"], entry["config"])
        head.load_state_dict(state)
    return head


def _refuse_promises(entry: Any, state: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` when the head of this configuration would not have the shapes of `state`.

    It is built without memory first, so that a forged configuration cannot ask for more than the file holds.
    """
    try:
        with torch.device("meta"):
            promised = head_from_config(entry["kind"], entry["config"]).state_dict()
    except RuntimeError:  # a constructor that looks at numbers; `load_state_dict` will compare
        return
    for name in promised.keys() | state.keys():
        shapes = [tuple(table[name].shape) if name in table else None for table in (promised, state)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"'{name}' should be {shapes[0]} and is {shapes[1]}")


def _packed_about(about: About) -> tuple[dict[str, object], dict[str, Tensor]]:
    capture, cameras = about.world_from_capture, list(about.cameras.values())
    tensors = {
        "about.cameras.poses": [camera.world_from_camera for camera in cameras],
        "about.cameras.focal_px": [camera.focal_px for camera in cameras],
        "about.cameras.centre_px": [camera.centre_px for camera in cameras],
    }
    packed = {
        name: torch.stack([row.detach().cpu() for row in rows]) for name, rows in tensors.items() if rows
    }
    for name in ("feature_mean", "feature_basis"):
        tensor = getattr(about, name)
        if tensor is not None:
            packed[f"about.{name}"] = tensor
    return {
        "scene": about.scene,
        "data": about.data,
        "extractor": about.extractor,
        "features": [name for name in ("feature_mean", "feature_basis") if f"about.{name}" in packed],
        "world_from_capture": {
            "scale": float(capture.scale),
            "rotation": capture.rotation.tolist(),
            "translation": capture.translation.tolist(),
            "dtype": str(capture.rotation.dtype).removeprefix("torch."),
        },
        "cameras": [{"name": name, "size": list(camera.size)} for name, camera in about.cameras.items()],
        "notes": dict(about.notes),
    }, packed


def _unpacked_about(header: Any, tensors: Mapping[str, Tensor]) -> About:
    capture = header["world_from_capture"]
    dtype = DTYPES[capture["dtype"]]
    rotation = torch.tensor(capture["rotation"], dtype=dtype).reshape(3, 3)
    translation = torch.tensor(capture["translation"], dtype=dtype).reshape(3)
    features = {
        name: tensors[f"about.{name}"]
        for name in ("feature_mean", "feature_basis")
        if name in header["features"]
    }
    for rank, (name, tensor) in enumerate(features.items(), start=1):
        if tensor.ndim != rank or tensor.shape[-1] != features["feature_mean"].shape[-1]:
            raise ValueError(f"{name} is {tuple(tensor.shape)}")
    return About(
        scene=str(header["scene"]),
        data=str(header["data"]),
        world_from_capture=Similarity(float(capture["scale"]), rotation, translation),
        cameras=_cameras(header["cameras"], tensors),
        extractor=str(header["extractor"]),
        notes=dict(header["notes"]),
        **features,
    )


def _cameras(entries: Any, tensors: Mapping[str, Tensor]) -> dict[str, Camera]:
    if not entries:
        return {}
    arrays = {name: tensors[f"about.cameras.{name}"] for name in CAMERAS}
    for name, row in CAMERAS.items():
        if tuple(arrays[name].shape) != (len(entries), *row):
            raise ValueError(f"{len(entries)} cameras with {name} of shape {tuple(arrays[name].shape)}")
    cameras = {}
    for index, entry in enumerate(entries):
        width, height = entry["size"]
        cameras[str(entry["name"])] = Camera(
            arrays["poses"][index].clone(),
            arrays["focal_px"][index].clone(),
            arrays["centre_px"][index].clone(),
            (int(width), int(height)),
        )
    return cameras
