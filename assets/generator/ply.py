"""Writing binary PLY files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_ply(path: Path, vertices: dict[str, NDArray], faces: NDArray[np.int32] | None = None) -> None:
    """A binary PLY of named vertex columns (bytes or 32-bit floats) and triangles."""
    kinds = {
        name: ("u1", "uchar") if column.dtype == np.uint8 else ("<f4", "float")
        for name, column in vertices.items()
    }
    table = np.empty(len(next(iter(vertices.values()))), [(name, kind) for name, (kind, _) in kinds.items()])
    for name, column in vertices.items():
        table[name] = column
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    lines += [f"property {ply_kind} {name}" for name, (_, ply_kind) in kinds.items()]
    body = table.tobytes()
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        triangles = np.empty(len(faces), [("count", "u1"), ("index", "<i4", 3)])
        triangles["count"], triangles["index"] = 3, faces
        body += triangles.tobytes()
    path.write_bytes("\n".join([*lines, "end_header\n"]).encode() + body)
