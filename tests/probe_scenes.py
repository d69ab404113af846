"""Small sets of pictures with truth, made in memory, and extractors that know the answers or nothing."""

from dataclasses import replace
from functools import partial
from math import cos, radians, sin

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize

from featurefields.camera import Camera
from featurefields.readers.probe_sets import IGNORED, ProbeSample, ProbeSet

SIZE = (48, 40)
STRIDE = 4
UP = torch.tensor([0.0, 0.0, -1.0])


class Colours:
    """Mean colours and their products: an extractor that knows all that `planted` asks."""

    fingerprint, dim, stride = "colours", 3, STRIDE

    def __call__(self, images: Tensor) -> Tensor:
        return avg_pool2d(images, STRIDE)


class Blank(Colours):
    """The same features everywhere but for a little noise that means nothing, another one in every picture."""

    fingerprint = "blank"

    def __call__(self, images: Tensor) -> Tensor:
        grid = avg_pool2d(images, STRIDE)
        seed = int(1e4 * images.sum())
        return torch.ones_like(grid) + 0.1 * torch.rand(
            grid.shape, generator=torch.Generator().manual_seed(seed)
        )


def smooth(seed: int, channels: int = 3) -> Tensor:
    """A picture (h w c) in 0..1 that varies slowly."""
    noise = torch.rand(1, channels, 4, 5, generator=torch.Generator().manual_seed(seed))
    picture = interpolate(noise, size=(SIZE[1], SIZE[0]), mode="bicubic", align_corners=False)
    return picture.clamp(0, 1)[0].movedim(0, -1)


def planted(scenes: int = 3, views: int = 4, held: int = 1) -> ProbeSet:
    """Depth, normals and labels that are simple functions of the colours; a corner of every picture is sky."""
    samples = []
    for scene in range(scenes):
        for view in range(views):
            image = smooth(100 * scene + view)
            sky = torch.zeros(SIZE[1], SIZE[0], dtype=torch.bool)
            sky[:10, :12] = True
            depth = torch.where(sky, 0.0, 1 + 3 * image[..., 0])
            tilt = torch.stack(
                [image[..., 1] - 0.5, image[..., 2] - 0.5, torch.zeros_like(sky, dtype=torch.float)], -1
            )
            normal = torch.where(sky[..., None], 0.0, normalize(tilt + 0.6 * UP, dim=-1))
            labels = torch.where(sky, IGNORED, (image[..., 0] > 0.5).long())
            samples.append(
                ProbeSample(
                    f"scene{scene}/{view}", f"scene{scene}", "test" if scene >= scenes - held else "train", SIZE,
                    image=image.clone, depth=depth.clone, normal=normal.clone, labels=labels.clone,
                )
            )  # fmt: skip
    return ProbeSet("planted", tuple(samples), classes=("dark", "bright"))


def slanted_plane(views: int = 5, step_deg: float = 8.0, held: bool = True) -> ProbeSet:
    """One textured slanted plane, seen by cameras that turn around it; exact depth."""
    samples = []
    for view in range(views):
        camera = turned_camera(view * step_deg)
        depth, texture = _seen(camera)
        samples.append(
            ProbeSample(
                f"plane/{view}", "plane", "test" if held else "train", SIZE,
                image=texture.clone, depth=depth.clone, regions=partial(_halves, texture), camera=camera,
            )
        )  # fmt: skip
    return ProbeSet("plane", tuple(samples), regions=("left", "right"))


def turned_camera(angle_deg: float) -> Camera:
    """A camera at distance 4 from the origin, turned about the y axis, that looks at the origin."""
    c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    pose[:3, 3] = pose[:3, :3] @ torch.tensor([0.0, 0.0, -4.0])
    width, height = SIZE
    return Camera(pose, torch.tensor([50.0, 50.0]), torch.tensor([width / 2, height / 2]), SIZE)


def _seen(camera: Camera) -> tuple[Tensor, Tensor]:
    """Depth and texture of the plane z = 0.2 x: colours are smooth functions of the place, different everywhere."""
    normal = torch.tensor([-0.2, 0.0, 1.0])
    ray = camera.directions()
    along = -(normal @ camera.position) / (ray @ normal)
    points = camera.position + along[..., None] * ray
    depth = camera.project(points.reshape(-1, 3))[1].reshape(SIZE[1], SIZE[0])
    x, y = points[..., 0], points[..., 1]
    colours = torch.stack([0.5 + x / 6, 0.5 + y / 6, 0.5 + 0.3 * torch.sin(1.3 * x + 2 * y)], -1)
    return depth, colours.clamp(0, 1)


def _halves(texture: Tensor) -> Tensor:
    """Region 0 where the plane's x is negative, region 1 elsewhere."""
    return (texture[..., 0] > 0.5).long()


def with_truth(data: ProbeSet, split: str, **truth: object) -> ProbeSet:
    """The set with other truth in one half; each value is a function of a sample."""
    return replace(
        data,
        samples=tuple(
            replace(sample, **{name: make(sample) for name, make in truth.items()})  # type: ignore[operator]
            if sample.split == split
            else sample
            for sample in data.samples
        ),
    )
