"""One safetensors file with a JSON header: what archives, selections and checkpoints share.

The file is an ordinary safetensors file (https://github.com/huggingface/safetensors, section "Format"): any
safetensors reader opens it. Its metadata holds one key, "featurefields", whose value is a JSON object with at
least `schema` (a whole number) and `kind`. The same tensors and header always give the same bytes.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from featurefields.atomic import atomic_path, refuse_existing
from featurefields.errors import FileFormatError, WriteError
from featurefields.foreign_json import parsed

SCHEMA = 1
"""Version of the layout written by this code; files with a higher one are refused."""

METADATA_KEY = "featurefields"

DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}


def write_container(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, object],
    *,
    kind: str,
    overwrite: bool = False,
) -> Path:
    """Write `tensors` (any device, dtypes kept) and a JSON-able `header` as a file of this `kind`.

    The bytes are streamed, so that a full disk is an ordinary error and no second copy is held in memory.

    Raises:
        WriteError: `path` exists and `overwrite` is False, the header is not JSON-able, a tensor's dtype
            cannot be stored, or the system refused. What was at `path` before is still there.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    try:
        text = json.dumps({"schema": SCHEMA, "kind": kind, **header})
    except (TypeError, ValueError, RecursionError) as error:
        raise WriteError(f"cannot write {path}: its header does not fit into JSON ({error})") from error
    preamble, order = _preamble(path, tensors, text)
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as stream:
        stream.write(preamble)
        for name in order:
            stream.write(_content(tensors[name]))
    return path


def read_container(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (CPU, in memory of their own, independent of the file) and header of a file of this `kind`.

    Raises:
        FileFormatError: no such file, not a file of ours or of another kind, truncated, or of a newer schema.
    """
    path = Path(path)
    with _opened(path) as stream:
        header = _header(path, stream.metadata())
        if header["kind"] != kind:
            raise FileFormatError(
                f"{path} is a featurefields {header['kind']}, not a {kind}; pass a {kind} file"
            )
        tensors = {name: stream.get_tensor(name).clone() for name in stream.keys()}  # noqa: SIM118
    return tensors, header


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON header alone (with `schema` and `kind`), whatever the kind. Raises as `read_container`."""
    path = Path(path)
    with _opened(path) as stream:
        return _header(path, stream.metadata())


@contextmanager
def reporting_damage(path: Path, what: str) -> Iterator[None]:
    """Turn the errors of reading a foreign header into one `FileFormatError` about `what`."""
    try:
        yield
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise FileFormatError(
            f"{path} is damaged: {what} cannot be read ({reason}); write it again"
        ) from error


def _preamble(path: Path, tensors: Mapping[str, Tensor], text: str) -> tuple[bytes, list[str]]:
    """Length prefix and JSON table of contents, padded to 8 bytes, and the order of the tensors.

    Wider elements come first, so that every tensor is aligned; ties go by name.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise WriteError(
                f"cannot write {path}: tensor '{name}' has dtype {tensor.dtype}; convert it first"
            )
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    table: dict[str, object] = {"__metadata__": {METADATA_KEY: text}}
    end = 0
    for name in order:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        shape = list(tensor.shape)
        table[name] = {"dtype": DTYPES[tensor.dtype], "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(table, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded, order


def _content(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file as safetensors sees it; its table of contents has been checked against the file's size."""
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "there is no such file"
        raise FileFormatError(f"cannot read {path}: {found}")
    try:
        with safe_open(path, framework="pt") as stream:
            yield stream
    except SafetensorError as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(
            f"{path} is not a safetensors file, or is truncated ({reason}); copy or write it again"
        ) from error
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error


def _header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise FileFormatError(
            f"{path} is a safetensors file, but not of featurefields: it has no header; pass a file of ours"
        )
    try:
        header = parsed(text)
    except ValueError as error:
        raise FileFormatError(
            f"{path} is damaged: its header is not JSON ({error}); write it again"
        ) from error
    schema = header.get("schema") if isinstance(header, dict) else None
    if type(schema) is not int or schema < 1 or not isinstance(header.get("kind"), str):
        raise FileFormatError(f"{path} is damaged: its header names no schema and kind; write it again")
    if schema > SCHEMA:
        raise FileFormatError(
            f"{path} was written by a newer featurefields: schema {schema}, "
            f"this version reads up to {SCHEMA}; upgrade"
        )
    return header
