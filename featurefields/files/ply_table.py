"""The vertices of a PLY file as a table of properties.

Letters: n vertices.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement, PlyParseError

from featurefields.atomic import atomic_path
from featurefields.errors import FileFormatError, WriteError

Table = dict[str, NDArray[Any]]
"""Values (n,) of every scalar property by name, in the file's order."""

HEADER_LIMIT = 1 << 20
"""A PLY header longer than this many bytes is refused."""


def write_vertices(table: Mapping[str, NDArray[Any]], path: Path, *, overwrite: bool) -> None:
    """Write a binary little-endian PLY with one element "vertex". Raises `WriteError`."""
    dtypes = [(name, values.dtype.newbyteorder("<")) for name, values in table.items()]
    rows = np.empty(len(next(iter(table.values()))), dtype=dtypes)
    for name, values in table.items():
        rows[name] = values
    try:
        element = PlyElement.describe(rows, "vertex")
    except ValueError as error:
        raise WriteError(f"cannot write {path}: {error}; rename or convert that column") from error
    with atomic_path(path, overwrite=overwrite) as temporary:
        PlyData([element], byte_order="<").write(str(temporary))


def read_vertices(path: Path) -> Table:
    """The scalar properties of element "vertex"; binary files of either byte order, and ascii.

    Raises:
        FileFormatError: no such file, not a PLY, truncated or malformed, or without vertices.
    """
    try:
        with open(path, "rb") as stream:
            ascii_form = _checked_form(path, stream)
            content = None if ascii_form else PlyData.read(stream)
        if content is None:
            with open(path, encoding="ascii") as text:
                content = PlyData.read(text)
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (PlyParseError, ValueError, KeyError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(
            f"{path} is not a PLY file, or is truncated ({reason}); copy it again"
        ) from error
    if "vertex" not in content or len(content["vertex"]) == 0:
        raise FileFormatError(f"{path} holds no vertices; pass a Gaussian-splat PLY")
    vertices = content["vertex"].data
    return {name: vertices[name] for name in vertices.dtype.names if vertices.dtype[name].kind in "fiu"}


def _checked_form(path: Path, stream: BinaryIO) -> bool:
    """Whether the file is ascii.

    A header that promises more values than the file has bytes is refused here, before any memory is asked for.
    """
    start = stream.read(HEADER_LIMIT)
    header, end, _ = start.partition(b"end_header")
    if not start.startswith(b"ply") or not end:
        raise FileFormatError(f"{path} is not a PLY file: its header is missing or broken; pass a .ply file")
    size = stream.seek(0, 2)
    count = promised = 0
    for words in (line.split() for line in header.splitlines()):
        if words[:1] == [b"element"] and len(words) == 3 and words[2].isdigit():
            count = int(words[2])
            promised += count
        elif words[:1] == [b"property"]:
            promised += count
    if promised > 2 * size:
        raise FileFormatError(
            f"{path} is truncated: {size} bytes cannot hold what its header says; copy it again"
        )
    stream.seek(0)
    return header.split()[1:3] == [b"format", b"ascii"]
