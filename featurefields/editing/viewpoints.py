"""From where a field is looked at when it is baked: its own cameras, and between them.

Letters: v cameras · n Gaussians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.editing.dome import even_directions
from featurefields.field import FeatureField
from featurefields.visualization.paths import looked_at, looking, mean_up

STRAY = 0.8
"""Standard deviation, along every axis, of a way between cameras, in distances to the nearest other camera."""
LEAST_STRAY, MOST_STRAY = 0.05, 0.2
"""The same at least and at most, in distances to what the cameras look at: further away things are seen that no photo
shows."""
AROUND_SIZE, AROUND_VIEWS = (128, 128), 96
AROUND_DISTANCE = 3.5
"""Distance of made-up cameras from the middle of Gaussians that come without, in median distances from it."""


@dataclass(frozen=True, kw_only=True)
class ViewpointsConfig:
    """How many, and how large their pictures are."""

    views: int = 256
    """Most cameras."""
    between: int = 4
    """Cameras that are made up between the given ones, for each of these; 0 for none."""
    least: int = 48
    """More are made up when they are fewer than this together with the given ones."""
    work: int = 16_000_000
    """Fewer cameras, but not fewer than `least`, for many Gaussians: about so many Gaussians times cameras."""
    pixels: int = 1 << 17
    """Larger pictures are reduced to so many pixels."""
    seed: int = 0
    """Of the places between."""


def baking_cameras(field: FeatureField, config: ViewpointsConfig) -> list[Camera]:
    """The field's cameras, evenly thinned out, then strays from them; all around the Gaussians when it has none."""
    own = [camera.to(field.splats.means) for camera in field.about.cameras.values()]
    views = min(config.views, max(config.least, config.work // max(len(field), 1)))
    if not own:
        return _around(field.splats.means, min(views, AROUND_VIEWS))
    chosen = [own[index * len(own) // min(len(own), views)] for index in range(min(len(own), views))]
    wanted = max(config.between * len(chosen), config.least - len(chosen)) if config.between else 0
    extra = min(views - len(chosen), wanted)
    return [_reduced(camera, config.pixels) for camera in (*chosen, *_strays(chosen, extra, config.seed))]


def checking_cameras(field: FeatureField, count: int, config: ViewpointsConfig) -> list[Camera]:
    """Other cameras like those, which nothing was baked from."""
    own = [camera.to(field.splats.means) for camera in field.about.cameras.values()]
    if not own:
        return _around(field.splats.means, count)
    chosen = [own[index * len(own) // count] for index in range(count)]
    return [_reduced(camera, config.pixels) for camera in _strays(chosen, count, config.seed + 1, among=own)]


def _strays(
    cameras: Sequence[Camera], count: int, seed: int, *, among: Sequence[Camera] | None = None
) -> list[Camera]:
    """Cameras moved by about the distance of neighbours `among` all, turned to what they looked at."""
    generator = torch.Generator().manual_seed(seed)
    among = among or cameras
    everywhere = torch.stack([camera.position.double().cpu() for camera in among])
    positions = torch.stack([camera.position.double().cpu() for camera in cameras])
    target, up = looked_at(among), mean_up(among)
    depths = (positions - target).norm(dim=-1).clamp(min=1e-6)
    apart = torch.cdist(everywhere, everywhere).fill_diagonal_(torch.inf).amin(-1)
    near = float(apart[apart.isfinite()].median()) if len(among) > 1 else 0.0
    made = []
    for index in range(count):
        which = index % len(cameras)
        camera, depth = cameras[which], float(depths[which])
        size = min(max(STRAY * near, LEAST_STRAY * depth), MOST_STRAY * depth)
        shift = size * torch.randn(3, generator=generator).double()
        front = positions[which] + depth * camera.forward.double().cpu()
        made.append(looking(positions[which] + shift, front, up, camera))
    return made


def _reduced(camera: Camera, pixels: int) -> Camera:
    ratio = (pixels / (camera.width * camera.height)) ** 0.5
    if ratio >= 1:
        return camera
    return camera.resized((max(1, round(camera.width * ratio)), max(1, round(camera.height * ratio))))


def _around(means: Float[Tensor, "n 3"], count: int) -> list[Camera]:
    """Cameras on a sphere that show most of the Gaussians; far outliers do not count."""
    centre = means.median(0).values
    distance = AROUND_DISTANCE * float((means - centre).norm(dim=-1).median().clamp(min=1e-3))
    focal = torch.tensor([AROUND_SIZE[0], AROUND_SIZE[1]], dtype=means.dtype, device=means.device)
    like = Camera(torch.eye(4).to(means), focal, focal / 2, AROUND_SIZE)
    up = torch.tensor([0.0, 0.0, 1.0])
    positions = centre.cpu() + distance * even_directions(count)
    return [looking(p.double(), centre.cpu().double(), up.double(), like) for p in positions]
