"""The vertices of a PLY file as a table of properties, read and written.

Letters: n vertices.

The format as its author describes it (Greg Turk, "The PLY Polygon File Format", 1994): a text header that lists
elements and their properties, then the values of all elements in that order, as text (one line a row) or as
packed numbers of either byte order.
"""

import io
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from featurefields.atomic import atomic_path
from featurefields.errors import FileFormatError, WriteError

Table = dict[str, NDArray[Any]]
"""Values (n,) of every scalar property by name, in the file's order."""

HEADER_LIMIT = 1 << 20
"""A PLY header longer than this many bytes is refused."""

BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
KINDS = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
"""Numpy kind and width of every PLY type."""

NAMES = {kind: name for name, kind in reversed(KINDS.items())}
"""The classic PLY name of every kind."""

COUNTERS = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}
"""Code in `struct` of every kind that may count."""


@dataclass(frozen=True)
class Property:
    """One value a row, or with a `counter` a list: its length, then that many values."""

    name: str
    kind: str
    counter: str | None = None

    @property
    def least_bytes(self) -> int:
        return int((self.counter or self.kind)[1:])


@dataclass(frozen=True)
class Element:
    """`count` rows of the same properties."""

    name: str
    count: int
    properties: tuple[Property, ...]

    def least_bytes(self, text: bool) -> int:
        """No file holds these rows in fewer bytes; a number in text has a digit and a separator."""
        row = 2 * len(self.properties) if text else sum(each.least_bytes for each in self.properties)
        return self.count * max(row, int(text))


class BrokenPlyError(ValueError):
    """What is wrong with the file, in words that follow its path."""


def write_vertices(table: Mapping[str, NDArray[Any]], path: Path, *, overwrite: bool) -> None:
    """Write columns (n,) as a binary little-endian PLY with one element "vertex".

    Raises:
        WriteError: a column's name or dtype does not exist in PLY files, `path` exists and `overwrite` is False,
            or the system refused.
    """
    for name, values in table.items():
        if not re.fullmatch(r"[!-~]+", name):
            raise WriteError(
                f"cannot write {path}: '{name}' is not a PLY name (ASCII without blanks); rename that column"
            )
        if values.dtype.str[1:] not in NAMES:
            raise WriteError(
                f"cannot write {path}: PLY has no type for column '{name}' ({values.dtype}); convert it first"
            )
    dtype = [(name, values.dtype.newbyteorder("<")) for name, values in table.items()]
    rows = np.empty(len(next(iter(table.values()), ())), dtype)
    for name, values in table.items():
        rows[name] = values
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    lines += [f"property {NAMES[values.dtype.str[1:]]} {name}" for name, values in table.items()]
    header = "\n".join([*lines, "end_header", ""]).encode("ascii")
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as stream:
        stream.write(header)
        stream.write(rows.data)


def read_vertices(path: Path) -> Table:
    """The properties of element "vertex" of a binary (either byte order) or ascii PLY; {} when it has none.

    Other elements are skipped, those after the vertices unseen. Dtypes are as in the file, byte order included.

    Raises:
        FileFormatError: no such file, not a PLY, truncated or malformed, or lists among the vertices' properties.
    """
    try:
        with open(path, "rb") as stream:
            return _table(stream)
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except BrokenPlyError as fault:
        raise FileFormatError(f"{path} {fault}") from fault


def _table(stream: BinaryIO) -> Table:
    order, elements, body = read_header(stream)
    names = [element.name for element in elements]
    if "vertex" not in names:
        return {}
    before, vertices = elements[: names.index("vertex")], elements[names.index("vertex")]
    properties = [each.name for each in vertices.properties]
    if len(set(properties)) < len(properties):
        raise BrokenPlyError(
            "is damaged: its header gives the same property of its vertices twice; copy it again"
        )
    if any(each.counter for each in vertices.properties):
        raise BrokenPlyError("has lists among the properties of its vertices; export it without them")
    size = stream.seek(0, io.SEEK_END)
    least = sum(element.least_bytes(text=not order) for element in (*before, vertices))
    if body + least > size + (not order):  # the last line of a text may go without its end
        raise BrokenPlyError(f"is truncated: {size} bytes cannot hold what its header says; copy it again")
    stream.seek(body)
    if not order:
        return _text_rows(stream, sum(element.count for element in before), vertices)
    for element in before:
        skip_rows(stream, element, order)
    dtype = np.dtype([(each.name, order + each.kind) for each in vertices.properties])
    if size - stream.tell() < vertices.count * dtype.itemsize:
        raise BrokenPlyError(f"is truncated: its vertices do not end within its {size} bytes; copy it again")
    if not vertices.properties:
        return {}
    rows = np.fromfile(stream, dtype=dtype, count=vertices.count)
    return {each.name: rows[each.name] for each in vertices.properties}


def read_header(stream: BinaryIO) -> tuple[str, list[Element], int]:
    """Byte order ("" for text), elements, and where the values begin."""
    start = stream.read(HEADER_LIMIT)
    first = re.match(rb"ply[ \t]*(\r\n|\r|\n)", start)
    last = first and re.search(first[1] + rb"[ \t]*end_header[ \t]*" + first[1], start)
    if not first or not last:
        raise BrokenPlyError("is not a PLY file: its header is missing or broken; pass a .ply file")
    text = start[first.end() : last.start()].decode("utf-8", errors="replace")
    order = None
    found: list[tuple[str, int, list[Property]]] = []
    for line in text.split(first[1].decode()):
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", str(form), "1.0"] if form in BYTE_ORDERS and order is None:
                order = BYTE_ORDERS[form]
            case ["element", str(name), str(count)] if re.fullmatch(r"[0-9]{1,18}", count):
                found.append((name, int(count), []))
            case ["property", *words] if found:
                found[-1][-1].append(_property(words))
            case _:
                raise _unreadable(line)
    elements = [Element(name, count, tuple(properties)) for name, count, properties in found]
    if order is None:
        raise BrokenPlyError("is not a PLY file: its header names no format; pass a .ply file")
    return order, elements, last.end()


def _property(words: list[str]) -> Property:
    match words:
        case ["list", str(counter), str(kind), str(name)] if KINDS.get(counter) in COUNTERS and kind in KINDS:
            return Property(name, KINDS[kind], KINDS[counter])
        case [str(kind), str(name)] if kind in KINDS:
            return Property(name, KINDS[kind])
    raise _unreadable(" ".join(["property", *words]))


def _unreadable(line: str) -> BrokenPlyError:
    shown = line if len(line) <= 80 else line[:77] + "..."
    return BrokenPlyError(f"is not a PLY file, or is damaged: its header says {shown!r}; copy it again")


def skip_rows(stream: BinaryIO, element: Element, order: str) -> None:
    """Move past all rows of a binary element; only lists have to be looked at."""
    if not any(each.counter for each in element.properties):
        stream.seek(element.least_bytes(text=False), io.SEEK_CUR)
        return
    steps = [
        (struct.Struct(order + COUNTERS[each.counter]) if each.counter else None, int(each.kind[1:]))
        for each in element.properties
    ]
    for _ in range(element.count):
        for counter, width in steps:
            length = 1
            if counter:
                read = stream.read(counter.size)
                if len(read) < counter.size:
                    raise BrokenPlyError(f"is truncated within element '{element.name}'; copy it again")
                (length,) = counter.unpack(read)
                if length < 0:
                    raise BrokenPlyError(
                        f"is damaged: a list of '{element.name}' has {length} values; copy it again"
                    )
            stream.seek(length * width, io.SEEK_CUR)


def _text_rows(stream: BinaryIO, skipped: int, vertices: Element) -> Table:
    """Columns from the lines of a text PLY. Every PLY number is exact in float64, so that is what is read."""
    shape = (vertices.count, len(vertices.properties))
    if 0 in shape:
        return {each.name: np.empty(0, each.kind) for each in vertices.properties}
    try:
        lines = islice(io.TextIOWrapper(stream, encoding="ascii"), skipped, skipped + vertices.count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # says that there are no rows; the shape says so too
            values = np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
    except ValueError as error:
        raise BrokenPlyError(
            f"is damaged, or is truncated ({' '.join(str(error).split())}); copy it again"
        ) from error
    if values.shape != shape:
        raise BrokenPlyError(
            f"is damaged, or is truncated: {values.shape} numbers instead of {shape}; copy it again"
        )
    return dict(_columns(vertices, values))


def _columns(vertices: Element, values: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[Any]]]:
    for each, column in zip(vertices.properties, values.T, strict=True):
        if each.kind[0] in "iu":
            limits = np.iinfo(each.kind)
            if not ((column >= limits.min) & (column <= limits.max) & (column == np.floor(column))).all():
                raise BrokenPlyError(
                    f"is damaged: '{each.name}' has values that are no {NAMES[each.kind]}; copy it again"
                )
        with np.errstate(over="ignore"):
            yield each.name, column.astype(each.kind)
