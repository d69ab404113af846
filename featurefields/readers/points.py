"""Seed points from a PLY file.

Letters: m points.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurefields.errors import FileFormatError, SceneError
from featurefields.ply_table import Table, read_vertices
from featurefields.readers.capture import Points

_COLOURS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


def read_points(path: Path) -> Points:
    """Positions and colours of a PLY's finite vertices; grey where it has no colours.

    Colours are whole numbers up to the largest of their type, or floats in 0..1.

    Raises:
        SceneError: the file is damaged or has no vertices with x, y, z.
    """
    try:
        vertices = read_vertices(path)
    except FileFormatError as error:
        reason = str(error).replace(f"{path} ", "it ", 1)
        raise SceneError(
            f"point cloud {path} cannot be read ({reason}); replace the file or remove ply_file_path"
        ) from error
    missing = [axis for axis in "xyz" if axis not in vertices]
    if missing:
        raise SceneError(
            f"point cloud {path} cannot be read (its vertices have no {', '.join(missing)}); replace the file or "
            "remove ply_file_path"
        )
    positions = np.stack([vertices[axis] for axis in "xyz"], axis=-1).astype(np.float64)
    return finite_points(positions, _colours(vertices))


def finite_points(positions: NDArray[np.float64], colours: NDArray[np.float64]) -> Points:
    """Only the points whose coordinates are numbers."""
    finite = np.isfinite(positions).all(-1)
    return Points(positions[finite], np.clip(np.nan_to_num(colours[finite]), 0.0, 1.0))


def _colours(vertices: Table) -> NDArray[np.float64]:
    names = next((names for names in _COLOURS if vertices.keys() >= {*names}), None)
    if names is None:
        return np.full((len(vertices["x"]), 3), 0.5)
    kind = vertices[names[0]].dtype
    largest = np.iinfo(kind).max if kind.kind in "iu" else 1.0
    return np.stack([vertices[name] for name in names], axis=-1).astype(np.float64) / largest
