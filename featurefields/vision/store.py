"""Feature maps on disk: one safetensors file an image, under a size cap, least recently used first out.

A file's name is the sha256 of what made the map (pixels, size, extractor); its header holds the image size
and a checksum of the features. The time a file was last used is its modification time.
"""

import logging
import os
import time
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from featurefields.atomic import atomic_path
from featurefields.errors import WriteError
from featurefields.vision.interface import FeatureMap

log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
_ABANDONED_S = 24 * 3600
"""Temporary files of processes that died are swept after this many seconds."""


class FeatureStore:
    """Reads and writes maps by key; never raises for a disk that refuses, but says so once and goes on."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._told: set[str] = set()
        self._sizes: dict[str, int] = {}
        self.writable = self._open()

    def read(self, key: str, *, verify: bool = False) -> FeatureMap | None:
        """The map of `key`, its features mapped from the file, or None when there is no sound one.

        With `verify` the checksum is compared, a damaged file removed, and the file marked as used.
        """
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as archive:
                header = archive.metadata() or {}
                features = archive.get_tensor("features")
            size = int(header["width"]), int(header["height"])
            if verify and header["sha256"] != _checksum(features):
                raise ValueError("its checksum does not fit")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            # another process may have made room after the header was read, which torch tells as a RuntimeError
            if not path.exists():
                return None
            log.warning("feature map %s in the cache is damaged (%s); computing it again", path, error)
            self._remove(key)
            return None
        if verify:
            self._touch(path)
        return FeatureMap(features, size)

    def write(self, key: str, features: FeatureMap, *, needed: Collection[str] = ()) -> bool:
        """Keep a map, making room first without the keys in `needed`. False when it was not kept."""
        if not self.writable:
            return False
        if not self._make_room(features.features.nbytes + 1024, needed):
            self._tell(
                f"feature cache {self.folder} is full: this run alone needs more than its "
                f"{self.max_bytes / 1e9:.1f} GB; further maps are computed without being cached"
            )
            return False
        header = {"width": str(features.size[0]), "height": str(features.size[1])}
        header["sha256"] = _checksum(features.features)
        path = self._path(key)
        try:
            with atomic_path(path, overwrite=True) as temporary:
                save_file({"features": features.features.cpu().contiguous()}, temporary, metadata=header)
            self._sizes[key] = path.stat().st_size
        except (WriteError, OSError, SafetensorError) as error:
            self.writable = False
            self._tell(f"{error}; going on without the feature cache")
            return False
        return True

    def _open(self) -> bool:
        """Take stock of the folder, oldest file first; False when nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = [(entry.stat(), Path(entry.path)) for entry in os.scandir(self.folder)]
        except OSError as error:
            self._tell(f"cannot use feature cache {self.folder}: {error.strerror}; going on without a cache")
            return False
        for status, path in sorted(found, key=lambda item: item[0].st_mtime):
            if path.name.startswith(".") and status.st_mtime < time.time() - _ABANDONED_S:
                path.unlink(missing_ok=True)
            elif path.suffix == _SUFFIX and not path.name.startswith("."):
                self._sizes[path.stem] = status.st_size
        if not os.access(self.folder, os.W_OK | os.X_OK):
            self._tell(f"cannot write to feature cache {self.folder}; going on without keeping new maps")
            return False
        return True

    def _make_room(self, size: int, needed: Collection[str]) -> bool:
        """Remove least recently used files until `size` more bytes fit; False, and nothing removed, if never."""
        kept = sum(self._sizes[key] for key in self._sizes if key in needed)
        if kept + size > self.max_bytes:
            return False
        old = [key for key in self._sizes if key not in needed]
        total = sum(self._sizes.values())
        for key in old:
            if total + size <= self.max_bytes:
                break
            total -= self._sizes[key]
            self._remove(key)
        return True

    def _touch(self, path: Path) -> None:
        try:
            os.utime(path)
        except OSError as error:
            log.debug("cannot mark %s as used: %s", path, error)

    def _remove(self, key: str) -> None:
        self._sizes.pop(key, None)
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            log.debug("cannot remove %s: %s", self._path(key), error)

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            log.warning(message)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


def _checksum(features: Tensor) -> str:
    return sha256(features.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
