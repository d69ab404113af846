"""Views of overlapping Gaussians with feature maps, small enough to write their problem out with dense matrices."""

from collections.abc import Callable, Mapping

import torch
from tiny_fields import looking, ring, splats_at
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import FeatureField, render
from featurefields.raster import choose_rasterizer

CPU, REFERENCE = choose_rasterizer("cpu"), choose_rasterizer("reference")
SIZE = (20, 16)
Maps = dict[str, Callable[[], Tensor]]


def cameras_around(count: int = 4) -> dict[str, Camera]:
    positions = [camera.position.tolist() for camera in ring(count, radius=2.0, height=2.4)]
    return {f"v{i}": looking(tuple(p), size=SIZE, focal=19.0) for i, p in enumerate(positions)}


def scattered(count: int = 30) -> FeatureField:
    """Gaussians that cover each other, with normals; the last one is where no view sees it."""
    generator = torch.Generator().manual_seed(3)
    means = 1.4 * (torch.rand(count, 3, generator=generator) - 0.5)
    means[-1] = torch.tensor([0.0, 0.0, 9.0])
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    opacity = 0.3 + 0.6 * torch.rand(count, generator=generator)
    return FeatureField(splats_at(means, scale=0.2, opacity=opacity, normals=normals), {})


def random_maps(cameras: Mapping[str, Camera], dim: int = 3, seed: int = 7) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    pictures = {n: torch.randn(c.height, c.width, dim, generator=generator) for n, c in cameras.items()}
    return {name: lambda p=picture: p for name, picture in pictures.items()}


def constant(cameras: Mapping[str, Camera], value: Tensor) -> Maps:
    return {n: lambda c=camera: value.expand(c.height, c.width, -1) for n, camera in cameras.items()}


def half_masks(cameras: Mapping[str, Camera]) -> dict[str, Tensor]:
    """Different parts of the views count."""
    masks = {}
    for number, (name, camera) in enumerate(cameras.items()):
        masks[name] = torch.ones(camera.height, camera.width, dtype=torch.bool)
        masks[name][:, (5 + 3 * number) % 15 :: 4] = False
    return masks


def drawn_loss(
    field: FeatureField, cameras: Mapping[str, Camera], maps: Maps, masks: Mapping[str, Tensor] | None = None
) -> float:
    """The loss as the documentation states it, of pictures that `render` makes."""
    error = mass = 0.0
    for name, camera in cameras.items():
        drawn = render(field, camera, rasterizer=REFERENCE)
        weight = drawn.alpha**2 * (masks or {}).get(name, torch.ones(1))
        error += float((weight * (drawn["feature"]["total"] - maps[name]()).square().mean(-1)).sum())
        mass += float(weight.sum())
    return error / mass
