"""Other values for some properties of some vertices of a PLY file: not another byte of it changes.

Letters: n rows of element "vertex" · m of them that get other values.
"""

import io
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from featurefields.atomic import atomic_path, refuse_existing
from featurefields.errors import FileFormatError, WriteError
from featurefields.ply_table import BrokenPlyError, Element, read_header, skip_rows

BLOCK_ROWS = 1 << 16
"""Rows that are in memory at once."""


def write_values(
    source: str | Path,
    rows: Bool[Tensor, "n"],
    values: Mapping[str, Tensor],
    path: str | Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Copy `source` to `path`; properties named in `values` (m each) become these in the rows chosen.

    `rows` are the file's own, in its order (`usable_rows` says which of them `read_ply` gives). Values are rounded to
    the properties' types. Binary files of either byte order and text are written as they were read.

    Raises:
        FileFormatError: `source` cannot be read, or is damaged.
        WriteError: a property does not exist there, `rows` are not of this file or do not fit the values, `path` exists
            and `overwrite` is False, or the system refused.
    """
    source, path = Path(source), Path(path)
    refuse_existing(path, overwrite)
    chosen = rows.cpu().numpy()
    columns = {name: tensor.detach().cpu().numpy() for name, tensor in values.items()}
    try:
        with open(source, "rb") as stream:
            order, elements, start = read_header(stream)
            before, vertices = _vertices(elements, source)
            _check(vertices, chosen, columns, source, path)
            with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as target:
                stream.seek(0)
                if order:
                    _patch(stream, target, order, before, vertices, start, chosen, columns)
                else:
                    skipped = sum(element.count for element in before)
                    target.write(stream.read(start))
                    for line in _lines(stream, skipped, vertices, chosen, columns):
                        target.write(line)
    except BrokenPlyError as fault:
        raise FileFormatError(f"{source} {fault}") from fault
    except OSError as error:
        raise FileFormatError(f"cannot read {source}: {error.strerror or error}") from error
    return path


def _vertices(elements: list[Element], source: Path) -> tuple[list[Element], Element]:
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise FileFormatError(f"{source} holds no vertices; pass a Gaussian-splat PLY")
    place = names.index("vertex")
    if any(each.counter for each in elements[place].properties):
        raise FileFormatError(
            f"{source} has lists among the properties of its vertices; export it without them"
        )
    return elements[:place], elements[place]


def _check(
    vertices: Element,
    chosen: NDArray[np.bool_],
    columns: Mapping[str, NDArray[Any]],
    source: Path,
    path: Path,
) -> None:
    if vertices.count != len(chosen):
        raise WriteError(
            f"cannot write {path}: rows of {len(chosen)} splats were chosen, {source} holds {vertices.count}; has it "
            "changed? select again"
        )
    known = {each.name for each in vertices.properties}
    missing = [name for name in columns if name not in known]
    if missing:
        raise WriteError(f"cannot write {path}: {source} has no property {', '.join(missing)} to change")
    count = int(chosen.sum())
    wrong = [name for name, values in columns.items() if values.shape != (count,)]
    if wrong:
        raise WriteError(f"cannot write {path}: {count} rows were chosen, {wrong[0]} has other values")


def _patch(
    stream: BinaryIO,
    target: BinaryIO,
    order: str,
    before: list[Element],
    vertices: Element,
    start: int,
    chosen: NDArray[np.bool_],
    columns: Mapping[str, NDArray[Any]],
) -> None:
    """Binary: everything is copied, then blocks of vertices are written again."""
    stream.seek(start)
    for element in before:
        skip_rows(stream, element, order)
    body = stream.tell()
    stream.seek(0)
    shutil.copyfileobj(stream, target, 1 << 22)
    dtype = np.dtype([(each.name, order + each.kind) for each in vertices.properties])
    if target.tell() < body + vertices.count * dtype.itemsize:
        raise BrokenPlyError("is truncated within its vertices; copy it again")
    passed = np.concatenate([[0], np.cumsum(chosen)])
    for first in range(0, vertices.count, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, vertices.count)
        part = slice(int(passed[first]), int(passed[last]))
        if part.start == part.stop:
            continue
        stream.seek(body + first * dtype.itemsize)
        block = np.frombuffer(stream.read((last - first) * dtype.itemsize), dtype).copy()
        for name, values in columns.items():
            block[name][chosen[first:last]] = values[part]
        target.seek(body + first * dtype.itemsize)
        target.write(block.tobytes())


def _lines(
    stream: BinaryIO,
    skipped: int,
    vertices: Element,
    chosen: NDArray[np.bool_],
    columns: Mapping[str, NDArray[Any]],
) -> Iterator[bytes]:
    """Text: the rows chosen get other words, with the blanks between them as they were."""
    places = {each.name: place for place, each in enumerate(vertices.properties)}
    kinds = {each.name: each.kind for each in vertices.properties}
    texts = {name: [str(value) for value in values.astype(kinds[name])] for name, values in columns.items()}
    lines, row = io.TextIOWrapper(stream, encoding="ascii", newline=""), 0  # ends of lines stay as they are
    for number, line in enumerate(lines):
        vertex = number - skipped
        if 0 <= vertex < vertices.count and chosen[vertex]:
            words = re.split(r"(\s+)", line)
            first = 2 if not words[0] else 0  # a line may begin with blanks
            if len(words) < first + 2 * len(places) - 1:
                raise BrokenPlyError("is damaged: a vertex has too few numbers; copy it again")
            for name, text in texts.items():
                words[first + 2 * places[name]] = text[row]
            line, row = "".join(words), row + 1
        yield line.encode("ascii")
    lines.detach()
    if row < int(chosen.sum()):
        raise BrokenPlyError("is truncated within its vertices; copy it again")
