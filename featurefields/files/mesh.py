"""Triangle meshes with coloured vertices, and writing them as PLY, OBJ or binary glTF.

Letters: n vertices · m triangles.
"""

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from featurefields.atomic import refuse_existing, write_bytes
from featurefields.errors import WriteError
from featurefields.maths.colour import linear_from_srgb


@dataclass(frozen=True)
class Mesh:
    """Triangles, counter-clockwise seen from outside.

    Attributes:
        vertices: places.
        triangles: numbers of three vertices each.
        normals: unit, outwards.
        colours: sRGB in 0..1.
    """

    vertices: Float[Tensor, "n 3"]
    triangles: Int[Tensor, "m 3"]
    normals: Float[Tensor, "n 3"]
    colours: Float[Tensor, "n 3"]

    @property
    def areas(self) -> Float[Tensor, "m"]:
        """Area of every triangle, square units."""
        a, b, c = (self.vertices[self.triangles[:, corner]] for corner in range(3))
        return 0.5 * torch.linalg.cross(b - a, c - a).norm(dim=-1)


def write_mesh(mesh: Mesh, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a mesh; the ending of `path` decides the format: .ply, .obj or .glb.

    PLY (binary, colours uchar) and GLB keep normals and colours. OBJ has colours behind the places, as most programs
    read them. GLB colours are linear, as glTF 2.0 asks; the axes are left as they are.

    Raises:
        WriteError: another ending, an empty mesh, the file exists, or the system refused.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise WriteError(f"cannot write {path}: a mesh ends in {', '.join(FORMATS)}, not '{path.suffix}'")
    refuse_existing(path, overwrite)
    if len(mesh.vertices) == 0 or len(mesh.triangles) == 0:
        raise WriteError(f"cannot write {path}: the mesh has no triangles")
    cpu = Mesh(*(each.detach().cpu() for each in (mesh.vertices, mesh.triangles, mesh.normals, mesh.colours)))
    return write_bytes(path, FORMATS[path.suffix.lower()](cpu), overwrite=overwrite)


def _ply(mesh: Mesh) -> bytes:
    vertices = np.empty(len(mesh.vertices), [("place", "<f4", 3), ("normal", "<f4", 3), ("colour", "u1", 3)])
    vertices["place"], vertices["normal"] = mesh.vertices.numpy(), mesh.normals.numpy()
    vertices["colour"] = _levels(mesh.colours)
    triangles = np.empty(len(mesh.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, mesh.triangles.numpy()
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")]
    header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(header).encode("ascii") + vertices.tobytes() + triangles.tobytes()


def _obj(mesh: Mesh) -> bytes:
    text = io.StringIO()
    places = np.concatenate([mesh.vertices.numpy(), mesh.colours.clamp(0, 1).numpy()], axis=1)
    np.savetxt(text, places, fmt="v %.7g %.7g %.7g %.4f %.4f %.4f")
    np.savetxt(text, mesh.normals.numpy(), fmt="vn %.5f %.5f %.5f")
    corners = (mesh.triangles.numpy() + 1).repeat(2, axis=1)
    np.savetxt(text, corners, fmt="f %d//%d %d//%d %d//%d")
    return text.getvalue().encode("ascii")


def _glb(mesh: Mesh) -> bytes:
    """glTF 2.0 in one binary file: a JSON chunk and a chunk of numbers, each filled up to 4 bytes."""
    places = mesh.vertices.numpy().astype("<f4")
    linear = linear_from_srgb(mesh.colours.clamp(0, 1)).numpy()
    colours = np.concatenate([linear, np.ones_like(linear[:, :1])], axis=1)
    arrays = {
        "POSITION": (places, 5126, "VEC3", 34962),
        "NORMAL": (mesh.normals.numpy().astype("<f4"), 5126, "VEC3", 34962),
        "COLOR_0": ((colours * 65535).round().astype("<u2"), 5123, "VEC4", 34962),
        "indices": (mesh.triangles.numpy().astype("<u4").reshape(-1), 5125, "SCALAR", 34963),
    }
    views, accessors, content = [], [], b""
    for number, (name, (array, component, kind, target)) in enumerate(arrays.items()):
        data = array.tobytes()
        views.append({"buffer": 0, "byteOffset": len(content), "byteLength": len(data), "target": target})
        accessor = {"bufferView": number, "componentType": component, "count": len(array), "type": kind}
        if name == "POSITION":
            accessor |= {"min": places.min(0).tolist(), "max": places.max(0).tolist()}
        if name == "COLOR_0":
            accessor["normalized"] = True
        accessors.append(accessor)
        content += data + b"\0" * (-len(data) % 4)
    attributes = {name: number for number, name in enumerate(arrays) if name != "indices"}
    rough = {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0, "roughnessFactor": 1}
    document = {
        "asset": {"version": "2.0", "generator": "featurefields"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": rough}],
        "buffers": [{"byteLength": len(content)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(content)
    head = struct.pack("<4sII", b"glTF", 2, length)
    return (
        head
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(content), b"BIN\0")
        + content
    )


def _levels(colours: Float[Tensor, "n 3"]) -> np.ndarray:
    return (colours.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


FORMATS: dict[str, Callable[[Mesh], bytes]] = {".ply": _ply, ".obj": _obj, ".glb": _glb}
"""Encoders by file ending."""
