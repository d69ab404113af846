"""Weights on disk: one safetensors file that says how the network was trained."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from featurefields.errors import FileFormatError, UnavailableError
from featurefields.files.container import read_container, write_container
from featurefields.lifting.lifter.network import Lifter, LifterConfig

KIND = "lifter"


def save_lifter(path: Path, lifter: Lifter, record: Mapping[str, object], *, overwrite: bool = False) -> Path:
    """Write the network's weights with its `record` (JSON-able: command, seeds, measured numbers), atomically.

    Raises:
        WriteError: the file exists and `overwrite` is False, or the system refused.
    """
    header = {"config": asdict(lifter.config), "record": dict(record)}
    return write_container(path, lifter.state_dict(), header, kind=KIND, overwrite=overwrite)


def load_lifter(path: Path) -> tuple[Lifter, dict[str, object]]:
    """The network, ready to use, and its record.

    Raises:
        UnavailableError: there is no such file.
        FileFormatError: damaged, of a newer schema, or weights of another network.
    """
    if not path.is_file():
        raise UnavailableError(
            f"there are no weights of the lifter at {path}; give the path of a file that `ff train-lifter` wrote"
        )
    tensors, header = read_container(path, KIND)
    config = header.get("config", {})
    known = {field.name for field in fields(LifterConfig)}
    if set(config) - known:
        raise FileFormatError(
            f"{path} has settings this version does not know ({', '.join(sorted(set(config) - known))}); "
            "use the version that wrote it, or train again"
        )
    lifter = Lifter(LifterConfig(**config))
    expected = {name: tuple(value.shape) for name, value in lifter.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != found:
        odd = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        raise FileFormatError(
            f"{path} holds weights of another network: {len(odd)} of its tensors do not fit, the first is {odd[0]}; "
            "train again with this version"
        )
    lifter.load_state_dict(tensors)
    return lifter.eval().requires_grad_(False), header.get("record", {})
