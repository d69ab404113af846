"""Feature maps of a scene's views: extracted once, cached on disk, loaded when looked at.

Letters: b batch · h w pixels.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import UnavailableError, UnknownNameError
from featurefields.scene import View
from featurefields.vision.interface import Extractor, FeatureMap
from featurefields.vision.store import FeatureStore

log = logging.getLogger(__name__)

MAX_BYTES = 20 * 10**9
"""Default size cap of the cache on disk."""
MEMORY_BYTES = 2 * 10**9
"""Default size of maps held in memory because the disk cannot keep them."""

_HALF_MAX = torch.finfo(torch.float16).max


def default_cache_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """$FF_CACHE, or featurefields below $XDG_CACHE_HOME, or below ~/.cache."""
    if chosen := environment.get("FF_CACHE"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "featurefields"


class FeatureMaps(Mapping[str, FeatureMap]):
    """View name → feature map; made by `extract_features`.

    A map is read from the cache when it is looked at (mapped from its file, so that memory stays small),
    taken from memory where the disk could not keep it, and extracted again where neither has it.
    """

    def __init__(
        self,
        views: Sequence[View],
        extractor: Extractor,
        store: FeatureStore,
        keys: Mapping[str, str],
        memory_bytes: int,
    ) -> None:
        self.extractor = extractor
        self._views = {view.name: view for view in views}
        self._store = store
        self._keys = keys
        self._needed = frozenset(keys.values())
        self._held: dict[str, FeatureMap] = {}
        self._free_bytes = memory_bytes

    def __getitem__(self, name: str) -> FeatureMap:
        if name not in self._views:
            raise UnknownNameError(
                f"no feature map of view '{name}'; there are maps of {_some(list(self._views))}"
            )
        held = self._held.get(name) or self._store.read(self._keys[name])
        if held is not None:
            return held
        (made,) = self._extract([name])
        self._keep(name, made)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    @property
    def held_bytes(self) -> int:
        """Bytes of the maps that are held in memory because the disk cannot keep them."""
        return sum(held.features.nbytes for held in self._held.values())

    def fill(self, *, batch: int, on_progress: Callable[[int, int], None]) -> None:
        """Check every cached map and extract the missing ones, `batch` images of one size at a time."""
        missing = [name for name in self if self._store.read(self._keys[name], verify=True) is None]
        done = len(self) - len(missing)
        on_progress(done, len(self))
        for names in _batches(missing, self._views, batch):
            for name, made in zip(names, self._extract(names), strict=True):
                self._keep(name, made)
            done += len(names)
            on_progress(done, len(self))

    def _extract(self, names: Sequence[str]) -> list[FeatureMap]:
        """Maps of views of one image size."""
        images = torch.stack([_quantised(self._views[name].picture.image()) for name in names])
        features = self.extractor(images.movedim(-1, 1).float() / 255)
        if not torch.isfinite(features).all():
            raise UnavailableError(
                f"extractor {self.extractor.fingerprint} gave values that are not finite for view '{names[0]}'; its "
                "weights may be damaged or overflow on this device: check them, or choose another extractor"
            )
        height, width = images.shape[1:3]
        halves = features.clamp(-_HALF_MAX, _HALF_MAX).to("cpu", torch.float16)
        return [FeatureMap(half.clone(), (width, height)) for half in halves]

    def _keep(self, name: str, made: FeatureMap) -> None:
        size = made.features.nbytes
        if self._store.write(self._keys[name], made, needed=self._needed) or size > self._free_bytes:
            return
        self._held[name] = made
        self._free_bytes -= size


def extract_features(
    views: Sequence[View],
    extractor: Extractor,
    *,
    cache_dir: str | Path | None = None,
    max_bytes: int = MAX_BYTES,
    memory_bytes: int = MEMORY_BYTES,
    batch: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureMaps:
    """Feature maps of all `views`, from the cache where it has them.

    A map is cached under the sha256 of the undistorted, resized pixels (as uint8), their size and the
    extractor's fingerprint, so it is found again whatever the scene or the photo is called. A damaged file is
    computed again. A cache that cannot be written, or that is too small for this run, only costs time.

    Args:
        views: posed photos; their pictures are read once for the key and once more where a map is missing.
        extractor: see `choose_extractor`.
        cache_dir: folder of the cache; default `default_cache_dir()`.
        max_bytes: the cache is kept below this size by removing the least recently used maps.
        memory_bytes: maps that the disk cannot keep are held in memory up to this size in total; beyond it
            they are extracted anew each time they are looked at.
        batch: images given to the extractor at once (consecutive images of one size).
        on_progress: called with (views done, all views) at the start and after each batch.

    Raises:
        UnavailableError: the extractor gave values that are not finite.
    """
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    store = FeatureStore(folder / "features", max_bytes=max_bytes)
    keys = {view.name: _key(view, extractor) for view in views}
    maps = FeatureMaps(views, extractor, store, keys, memory_bytes)
    maps.fill(batch=batch, on_progress=on_progress or (lambda done, total: None))
    return maps


def _key(view: View, extractor: Extractor) -> str:
    pixels = _quantised(view.picture.image())
    digest = sha256(f"{extractor.fingerprint}|{tuple(pixels.shape)}|".encode())
    digest.update(pixels.numpy().tobytes())
    return digest.hexdigest()


def _quantised(image: Float[Tensor, "h w 3"]) -> Tensor:
    """Pixels as uint8: what is hashed is exactly what the extractor sees."""
    return (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)


def _batches(names: Sequence[str], views: Mapping[str, View], batch: int) -> Iterator[list[str]]:
    """Runs of at most `batch` consecutive views of one image size."""
    run: list[str] = []
    for name in names:
        if run and (len(run) == batch or views[name].camera.size != views[run[0]].camera.size):
            yield run
            run = []
        run.append(name)
    if run:
        yield run


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
