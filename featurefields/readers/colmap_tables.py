"""Whether COLMAP's binary tables are complete.

pycolmap does not check: a table that was cut off makes it invent values, ask for endless memory or never
return. The record sizes follow COLMAP's documentation of its output format.
"""

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

import pycolmap

from featurefields.errors import SceneError

_COUNT = struct.Struct("<Q")


def require_complete(model: Path) -> None:
    """Raise `SceneError` when a binary table of the model ends before its last record does."""
    walkers = {"cameras": _after_camera, "images": _after_image, "points3D": _after_point}
    walkers |= {"rigs": _after_rig, "frames": _after_frame}
    for file in sorted(model.glob("*.bin")):
        if not _is_complete(file, walkers.get(file.stem)):
            raise SceneError(f"COLMAP table {file} is cut off; copy it again or export the model anew")


def _is_complete(file: Path, after: Callable[[mmap.mmap, int], int] | None) -> bool:
    if file.stat().st_size < _COUNT.size:
        return False
    if after is None:
        return True
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as table:
        (count,) = _COUNT.unpack_from(table)
        offset = _COUNT.size
        try:
            for _ in range(count):
                offset = after(table, offset)
                if offset > len(table):
                    return False
        except struct.error:  # a field lies beyond the end
            return False
    return True


def _after_camera(table: mmap.mmap, offset: int) -> int:
    (model,) = struct.unpack_from("<i", table, offset + 4)
    known = [number.value for number in pycolmap.CameraModelId.__members__.values()]
    if model < 0 or model not in known:
        raise SceneError(f"COLMAP camera model number {model} is not known; upgrade pycolmap or export anew")
    parameters = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId(model), 1.0, 1, 1).params
    return offset + 24 + 8 * len(parameters)


def _after_image(table: mmap.mmap, offset: int) -> int:
    name_end = table.find(b"\0", offset + 64)
    if name_end < 0:
        return len(table) + 1
    (observations,) = _COUNT.unpack_from(table, name_end + 1)
    return name_end + 9 + 24 * observations


def _after_point(table: mmap.mmap, offset: int) -> int:
    (observations,) = _COUNT.unpack_from(table, offset + 43)
    return offset + 51 + 8 * observations


def _after_rig(table: mmap.mmap, offset: int) -> int:
    """A rig: its number, how many sensors it has, and of all but the first one whether it has a pose."""
    (sensors,) = struct.unpack_from("<I", table, offset + 4)
    offset += 16 if sensors else 8
    for _ in range(sensors - 1):
        (posed,) = struct.unpack_from("<B", table, offset + 8)
        offset += 9 + 56 * (posed != 0)
    return offset


def _after_frame(table: mmap.mmap, offset: int) -> int:
    (images,) = struct.unpack_from("<I", table, offset + 64)
    return offset + 68 + 16 * images
