"""Tokens of a frozen backbone: extracted once, with the class token beside every patch where it is wanted.

Letters: b batch · d token dimension · hp wp tokens · h w pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.readers.probe_sets.interface import ProbeSample
from featurefields.scene import View
from featurefields.vision.cache import MAX_BYTES, FeatureMaps, extract_features
from featurefields.vision.interface import Extractor

TINY = 1e-12


@dataclass(frozen=True)
class SamplePicture:
    """A sample's picture as the feature cache reads pictures; implements `Picture`."""

    sample: ProbeSample

    @property
    def path(self) -> Path:
        return Path(self.sample.name)

    def image(self) -> Float[Tensor, "h w 3"]:
        return self.sample.read_image()

    def mask(self) -> Bool[Tensor, "h w"] | None:
        return None

    def depth(self) -> Float[Tensor, "h w"] | None:
        return None

    def layer(self, name: str) -> Float[Tensor, "h w c"] | None:
        return None

    def photo_to_camera(self, x: int | float, y: int | float) -> tuple[float, float]:
        return float(x), float(y)

    def photo_size(self) -> tuple[int, int]:
        return self.sample.size


@contextmanager
def frozen_tokens(
    extractor: Extractor,
    samples: Sequence[ProbeSample],
    *,
    cache: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[FeatureMaps]:
    """Sample name → its tokens, in half precision.

    Without `cache` they lie in a temporary folder while the context is open: a backbone that is still being trained
    keeps its fingerprint, so that its tokens must not outlive the call.

    Raises:
        UnavailableError: the extractor gave values that are not finite.
    """
    views = [
        View(sample.name, _nominal(sample.size), sample.split, SamplePicture(sample)) for sample in samples
    ]
    if cache is not None:
        yield extract_features(views, extractor, cache_dir=cache, on_progress=on_progress)
        return
    with TemporaryDirectory(prefix="ff-probe-") as folder:
        yield extract_features(
            views, extractor, cache_dir=folder, max_bytes=10 * MAX_BYTES, on_progress=on_progress
        )


def tokens_of(maps: FeatureMaps, name: str) -> Float[Tensor, "d hp wp"]:
    """Tokens of one sample in single precision."""
    return maps[name].features.float()


def token_statistics(maps: FeatureMaps, names: Sequence[str]) -> tuple[Float[Tensor, "d"], float]:
    """Mean of every channel over the tokens of some samples, and the deviation of all channels together.

    One number for all channels: dividing each by its own would blow up channels that hardly vary, and heads fitted to
    those fail in other scenes.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for name in names:
        tokens = tokens_of(maps, name).flatten(1).double()
        count += tokens.shape[1]
        total = total + tokens.sum(1)
        squares = squares + tokens.square().sum(1)
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0).mean()
    return mean.float(), max(float(variance.sqrt()), TINY)


def _nominal(size: tuple[int, int]) -> Camera:
    """A camera that says nothing but the size of the picture, which is all that the cache asks."""
    half = torch.tensor([size[0] / 2, size[1] / 2])
    return Camera(torch.eye(4), torch.full((2,), float(max(size))), half, size)
