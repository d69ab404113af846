"""What the network practises on: posed pictures with depth, drawn at random and disturbed.

Letters: v views · h w pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import FittingError
from featurefields.scene import Scene

SATURATED_SHARE = 0.002
"""A depth map's largest value counts as "too far to measure" when at least this share of the scene's pixels have it."""


@dataclass(frozen=True)
class PracticeScene:
    """A scene's pictures and depth maps in memory: pictures in 255ths, depth in world units, 0 unknown, inf too far."""

    name: str
    cameras: tuple[Camera, ...]
    pictures: UInt8[Tensor, "v 3 h w"]
    depth: Float[Tensor, "v h w"]


class Sample(NamedTuple):
    """Views of one scene to encode; the first `references` of them have their depth asked for."""

    cameras: tuple[Camera, ...]
    pictures: Float[Tensor, "v 3 h w"]
    depth: Float[Tensor, "v h w"]
    near: float
    far: float

    def to(self, device: torch.device) -> "Sample":
        """The same on another device."""
        cameras = tuple(camera.to(device) for camera in self.cameras)
        return Sample(cameras, self.pictures.to(device), self.depth.to(device), self.near, self.far)


def load_practice_scene(scene: Scene) -> PracticeScene:
    """Read every view of `scene` that has depth.

    Raises:
        FittingError: fewer than two views have depth maps, or the pictures' sizes differ.
    """
    views, maps = [], []
    for view in scene.views:
        depth = view.picture.depth()
        if depth is not None:
            views.append(view)
            maps.append(depth.float())
    if len(views) < 2 or len({view.camera.size for view in views}) > 1:
        raise FittingError(
            f"{scene.folder} cannot be trained on: {len(views)} of its {len(scene.views)} views have depth maps, of "
            f"{len({view.camera.size for view in views})} sizes; two or more views of one size are needed"
        )
    pictures = torch.stack(
        [(view.picture.image().permute(2, 0, 1) * 255).round().to(torch.uint8) for view in views]
    )
    depth = torch.stack(maps)
    largest = depth.max()
    if (depth == largest).float().mean() > SATURATED_SHARE:
        depth = torch.where(depth == largest, torch.inf, depth)
    return PracticeScene(scene.name, tuple(view.camera for view in views), pictures, depth)


class Practice:
    """Scenes, read when first needed and then kept."""

    def __init__(self, loaders: Sequence[Callable[[], PracticeScene]]) -> None:
        self._loaders = loaders
        self.scene = lru_cache(maxsize=None)(self._load)

    def __len__(self) -> int:
        return len(self._loaders)

    def _load(self, index: int) -> PracticeScene:
        return self._loaders[index]()


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def draw_sample(
    scene: PracticeScene, views: int, generator: torch.Generator, *, disturb: bool = True
) -> Sample:
    """`views` random views of a scene (fewer when it has fewer); near and far are guessed as badly as a user would."""
    order = torch.randperm(len(scene.cameras), generator=generator)[:views]
    depth = scene.depth[order]
    seen = depth[(depth > 0) & depth.isfinite()]
    if len(seen) == 0:
        seen = torch.ones(1)
    near = float(torch.quantile(seen[:: max(1, len(seen) // 20000)], 0.003)) * uniform(generator, 0.6, 0.98)
    far = float(torch.quantile(seen[:: max(1, len(seen) // 20000)], 0.997)) * uniform(generator, 1.02, 1.5)
    pictures = scene.pictures[order].float() / 255
    if disturb:
        pictures = disturbed(pictures, generator)
    return Sample(tuple(scene.cameras[i] for i in order), pictures, depth, near, max(far, 1.05 * near))


def disturbed(pictures: Float[Tensor, "v 3 h w"], generator: torch.Generator) -> Float[Tensor, "v 3 h w"]:
    """Other colours for all views together, and a little of exposure, blur and noise for each."""
    count = len(pictures)
    pictures = pictures[:, torch.randperm(3, generator=generator)]
    grey = pictures.mean(1, keepdim=True)
    pictures = grey + (pictures - grey) * uniform(generator, 0.1, 1.1)
    pictures = pictures.clamp(0, 1) ** uniform(generator, 0.7, 1.4)
    contrast = uniform(generator, 0.5, 1.1)
    pictures = pictures * contrast + uniform(generator, 0.0, 1 - min(contrast, 1.0))
    pictures = pictures * (1 + 0.04 * torch.randn(count, 1, 1, 1, generator=generator))
    if uniform(generator, 0.0, 1.0) < 0.3:
        soft = torch.nn.functional.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
        pictures = pictures + (soft - pictures) * uniform(generator, 0.0, 1.0)
    noise = 0.025 * uniform(generator, 0.0, 1.0) ** 2
    return (pictures + noise * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)
