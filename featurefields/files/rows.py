"""Some splats of a PLY file as another file: nothing but which rows there are changes.

Letters: n rows of element "vertex".
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from featurefields.atomic import atomic_path, refuse_existing
from featurefields.errors import FileFormatError, WriteError
from featurefields.ply_table import BrokenPlyError, Element, read_header, skip_rows

BLOCK_BYTES = 1 << 24
"""Bytes of rows that are in memory at once."""


def write_rows(
    source: str | Path, rows: Bool[Tensor, "n"], path: str | Path, *, overwrite: bool = False
) -> Path:
    """Copy the chosen vertices of `source` to `path` byte for byte, with its header and every property.

    `rows` are the file's own, in its order (`usable_rows` says which of them `read_ply` gives). Other elements are
    copied whole, but for those with lists, as faces are: they count vertices, and those have other numbers now.

    Raises:
        FileFormatError: `source` cannot be read, or is damaged.
        WriteError: no row is chosen, `rows` are not of this file, `path` exists and `overwrite` is False, or the
            system refused.
    """
    source, path = Path(source), Path(path)
    refuse_existing(path, overwrite)
    chosen = rows.cpu().numpy()
    if not chosen.any():
        raise WriteError(f"cannot write {path}: there are no splats to write; choose at least one")
    try:
        with open(source, "rb") as stream:
            content = _Content.of(stream, source)
            if content.vertices.count != len(chosen):
                raise WriteError(
                    f"cannot write {path}: rows of {len(chosen)} splats were chosen, {source} holds "
                    f"{content.vertices.count}; has it changed? select again"
                )
            with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as target:
                target.write(content.header(int(chosen.sum())))
                for block in content.body(stream, chosen):
                    target.write(block)
    except BrokenPlyError as fault:
        raise FileFormatError(f"{source} {fault}") from fault
    except OSError as error:
        raise FileFormatError(f"cannot read {source}: {error.strerror or error}") from error
    return path


@dataclass(frozen=True)
class _Content:
    """A PLY file's header, and how its values are written ("" for text, else the byte order)."""

    start: bytes
    order: str
    elements: tuple[Element, ...]

    @staticmethod
    def of(stream: BinaryIO, source: Path) -> "_Content":
        order, elements, size = read_header(stream)
        if "vertex" not in (element.name for element in elements):
            raise FileFormatError(f"{source} holds no vertices; pass a Gaussian-splat PLY")
        stream.seek(0)
        return _Content(stream.read(size), order, tuple(elements))

    @property
    def vertices(self) -> Element:
        return next(element for element in self.elements if element.name == "vertex")

    def header(self, count: int) -> bytes:
        """The header with another number of vertices, without the elements that are left out."""
        kept, keeping, passed = [], True, 0
        for line in re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)", self.start):
            word = b"".join(line.split(maxsplit=1)[:1])
            if word == b"element":
                element = self.elements[passed]
                keeping, passed = _is_copied(element), passed + 1
                if element is self.vertices:
                    line = re.sub(rb"[0-9]+(\s*)$", str(count).encode() + rb"\1", line)
            if keeping or word not in (b"element", b"property"):
                kept.append(line)
        return b"".join(kept)

    def body(self, stream: BinaryIO, chosen: NDArray[np.bool_]) -> Iterator[bytes]:
        """The values of all elements that are kept."""
        stream.seek(len(self.start))
        elements = self._packed(stream, chosen) if self.order else self._lines(stream, chosen)
        yield from elements

    def _packed(self, stream: BinaryIO, chosen: NDArray[np.bool_]) -> Iterator[bytes]:
        for element in self.elements:
            if element is self.vertices:
                yield from _chosen_rows(stream, element, chosen)
                continue
            start = stream.tell()
            skip_rows(stream, element, self.order)
            length = stream.tell() - start
            if _is_copied(element):
                stream.seek(start)
                yield stream.read(length)

    def _lines(self, stream: BinaryIO, chosen: NDArray[np.bool_]) -> Iterator[bytes]:
        lines = io.TextIOWrapper(stream, encoding="ascii", newline="")  # ends of lines stay as they are
        for element in self.elements:
            for number in range(element.count):
                line = lines.readline()
                if not line:
                    raise BrokenPlyError(f"is truncated within element '{element.name}'; copy it again")
                if chosen[number] if element is self.vertices else _is_copied(element):
                    yield line.encode("ascii")
        lines.detach()


def _is_copied(element: Element) -> bool:
    return not any(each.counter for each in element.properties)


def _chosen_rows(stream: BinaryIO, element: Element, chosen: NDArray[np.bool_]) -> Iterator[bytes]:
    """The bytes of the chosen rows of a binary element without lists, some at a time."""
    width = element.least_bytes(text=False) // max(element.count, 1)
    block = max(1, BLOCK_BYTES // max(width, 1))
    for start in range(0, element.count, block):
        part = chosen[start : start + block]
        read = stream.read(len(part) * width)
        if len(read) < len(part) * width:
            raise BrokenPlyError("is truncated within its vertices; copy it again")
        yield np.frombuffer(read, np.uint8).reshape(len(part), width)[part].tobytes()
