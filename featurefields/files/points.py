"""Point clouds as PLY files: x y z · nx ny nz (float) · red green blue (uchar), as open3d and MeshLab read them.

Letters: m points.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.atomic import refuse_existing
from featurefields.errors import WriteError
from featurefields.ply_table import write_vertices


def write_points(
    positions: Float[Tensor, "m 3"],
    normals: Float[Tensor, "m 3"],
    colours: Float[Tensor, "m 3"],
    path: str | Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write points with unit normals and sRGB colours in 0..1 as a binary little-endian PLY.

    Raises:
        WriteError: no points, the file exists, or the system refused.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    if len(positions) == 0:
        raise WriteError(f"cannot write {path}: there are no points to write")
    levels = (colours.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    table = {}
    for names, values in (
        (("x", "y", "z"), positions.float()),
        (("nx", "ny", "nz"), normals.float()),
        (("red", "green", "blue"), levels),
    ):
        array = values.detach().cpu().numpy()
        table |= {name: array[:, index] for index, name in enumerate(names)}
    write_vertices(table, path, overwrite=overwrite)
    return path
