"""From the name of a model to a local folder with its weights, without hanging when there is no network.

Only the configuration and safetensors files are ever fetched; nothing that could run code.
"""

import threading
from pathlib import Path
from typing import Any

from featurefields.errors import UnavailableError
from featurefields.foreign_json import parsed

_PATTERNS = ["config.json", "preprocessor_config.json", "processor_config.json", "model*.safetensors*"]
_ANSWER_S = 5.0
"""Time the hub has to answer one request."""
_DEADLINE_S = 10.0
"""Time for the first answer in all, name look-up and connection included."""


def model_folder(name: str) -> Path:
    """The local folder of `name`: itself a folder, a model in the hub's cache, or one downloaded now.

    Raises:
        UnavailableError: neither, and the hub cannot be reached or refuses, or its package is missing.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UnavailableError(f"cannot load model '{name}': there is no such folder; check the path")
    try:
        import huggingface_hub
    except ImportError as error:
        raise UnavailableError(
            f"model '{name}' needs the hub's package: {error}; install it with: pip install huggingface_hub"
        ) from error
    cached = _cached(huggingface_hub, name)
    if cached is not None:
        return cached
    _contact(huggingface_hub, name)
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_PATTERNS, etag_timeout=_ANSWER_S))
    except Exception as error:  # the hub's errors and its HTTP library's have no common type
        raise _unreachable(name, error, "their download broke off; the next try goes on") from error


def weights_folder(name: str, what: str = "model") -> Path:
    """`model_folder`, where there are safetensors weights: pickled ones are never read.

    Raises:
        UnavailableError: as `model_folder`, or there are none; the message calls it `what`.
    """
    folder = model_folder(name)
    if not any(folder.glob("*.safetensors")):
        raise UnavailableError(
            f"cannot load {what} '{name}': {folder} has no .safetensors weights, and pickled ones are refused (they "
            "can run code); convert it with save_pretrained(safe_serialization=True)"
        )
    return folder


def _cached(huggingface_hub: Any, name: str) -> Path | None:
    """The model's folder in the hub's own cache, when its weights are there."""
    try:
        found = Path(huggingface_hub.snapshot_download(name, allow_patterns=_PATTERNS, local_files_only=True))
    except OSError:
        return None
    except ValueError as error:
        raise UnavailableError(
            f"cannot load model '{name}': it is neither a folder nor a hub id ({_line(error)}); check it"
        ) from error
    return found if _is_whole(found) else None


def _is_whole(folder: Path) -> bool:
    """Whether a download has been finished: the hub's cache holds every file as soon as that one is whole."""
    index, weights = folder / "model.safetensors.index.json", [*folder.glob("*.safetensors")]
    if index.is_file():
        try:
            parts = {str(part) for part in parsed(index.read_bytes())["weight_map"].values()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        return (folder / "config.json").is_file() and all((folder / part).is_file() for part in parts)
    return (folder / "config.json").is_file() and any("-of-" not in file.name for file in weights)


def _contact(huggingface_hub: Any, name: str) -> None:
    """Ask the hub for the model once, in bounded time even where look-ups or connections hang."""
    outcome: list[Exception] = []

    def ask() -> None:
        try:
            url = huggingface_hub.hf_hub_url(name, "config.json")
            huggingface_hub.get_hf_file_metadata(url, timeout=_ANSWER_S)
        except Exception as error:  # reported by the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_DEADLINE_S)
    if thread.is_alive():
        raise _unreachable(name, TimeoutError(f"no answer in {_DEADLINE_S:.0f} s"))
    if outcome:
        raise _unreachable(name, outcome[0]) from outcome[0]


def _unreachable(name: str, error: Exception, why: str = "the hub could not be reached") -> UnavailableError:
    """One line: the hub said no (it has an HTTP status), or it could not be reached."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        found = f"its weights are not on this machine and {why} ({_line(error)})"
    else:
        found = (
            f"the hub refused it (HTTP {status}): the id is wrong, or the model is gated and needs a login"
        )
    return UnavailableError(
        f"cannot load model '{name}': {found}; use a local folder with transformers:<folder>, a file with "
        "onnx:<file>, or the built-in --features classical"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
