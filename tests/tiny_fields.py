"""Tiny fields and photographed scenes whose truth is known, for tests of the workflows.

Letters: n Gaussians. World: z up, everything within a few units of the origin.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tiny_scenes import FLIP, look_at, nerfstudio_json, photo, write_nerfstudio, write_ply
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import About, FeatureField, render
from featurefields.fitting.initialize import frame_of
from featurefields.heads.direct import DirectHead
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.reflected import ReflectedHead
from featurefields.maths.rotations import quat_from_matrix
from featurefields.raster import RasterConfig, choose_rasterizer
from featurefields.scene import View
from featurefields.splats import Splats, concatenate

SIZE, FOCAL = (40, 40), 44.0
DC = 0.28209479177387814
RED, BLUE, GREY = (0.85, 0.12, 0.1), (0.12, 0.2, 0.8), (0.45, 0.45, 0.4)
BALLS = {"red": (0.0, -0.75, 0.35), "blue": (0.0, 0.75, 0.35)}


def looking(
    position: tuple[float, float, float],
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
    size: tuple[int, int] = SIZE,
    focal: float = FOCAL,
) -> Camera:
    """A camera at `position` that looks at `target`, z up in the picture."""
    pose = torch.from_numpy(look_at(position, target) @ FLIP).float()
    centre = torch.tensor([size[0] / 2, size[1] / 2])
    return Camera(pose, torch.tensor([focal, focal]), centre, size)


def ring(count: int, radius: float = 3.0, height: float = 1.6) -> list[Camera]:
    """Cameras on a circle above the floor, all looking at the origin."""
    turns = [2 * math.pi * index / count + 0.2 for index in range(count)]
    return [looking((radius * math.cos(turn), radius * math.sin(turn), height)) for turn in turns]


def splats_at(
    means: Tensor,
    *,
    scale: float | Tensor = 0.1,
    opacity: float | Tensor = 0.9,
    normals: Tensor | None = None,
    **columns: Tensor,
) -> Splats:
    """Gaussians of one size, round, or flat across `normals` when these are given."""
    n = len(means)
    log_scales = torch.log(torch.as_tensor(scale).expand(n))[:, None].repeat(1, 3)
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(n, 1)
    if normals is not None:
        quats, log_scales[:, 2] = quat_from_matrix(frame_of(normals)), log_scales[:, 2] - 1.5
        columns["normals"] = normals
    return Splats(means, quats, log_scales, torch.logit(torch.as_tensor(opacity).expand(n)).clone(), columns)


def ball(centre: tuple[float, float, float], count: int, radius: float = 0.35) -> tuple[Tensor, Tensor]:
    """Evenly spread points of a sphere, and their outward normals."""
    index = torch.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, index * 2.399963
    flat = (1 - height**2).sqrt()
    normals = torch.stack([flat * turn.cos(), flat * turn.sin(), height], dim=-1)
    return torch.tensor(centre) + radius * normals, normals


def floor(cells: int = 12, extent: float = 1.8) -> tuple[Tensor, Tensor]:
    """Points of a square in the plane z = 0, and their upward normals."""
    steps = torch.linspace(-extent, extent, cells)
    x, y = (axis.reshape(-1) for axis in torch.meshgrid(steps, steps, indexing="ij"))
    return torch.stack([x, y, torch.zeros_like(x)], -1), torch.tensor([[0.0, 0.0, 1.0]]).repeat(len(x), 1)


def reflected_columns(colours: Tensor, normals: Tensor, *, gloss: float = -30.0) -> dict[str, Tensor]:
    """Columns of a `ReflectedHead` that show these sRGB colours; without reflections unless `gloss` is raised."""
    columns = ReflectedHead().initial_columns(colours, normals)
    near = 0.02 * torch.randn(columns["near"].shape, generator=torch.Generator().manual_seed(4))
    return columns | {
        "gloss": torch.full_like(columns["gloss"], gloss),
        "tint": torch.full_like(columns["tint"], -1.0),
        "near": near,
    }


def reflected_head(seed: int = 3) -> ReflectedHead:
    """A head with random light, the same for the same seed; the sky is nearly black."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = ReflectedHead(walls=True)
    with torch.no_grad():
        head.walls.duals.mul_(3.0)
        head.light.log_light.normal_(generator=torch.Generator().manual_seed(seed))
        head.background[0] = -12.0
    return head.eval().requires_grad_(False)


def part(name: str) -> Tensor:
    """Which rows of `two_balls` belong to "red", "blue" or "floor"."""
    owner = torch.tensor([0] * 60 + [1] * 60 + [2] * 144)
    return owner == ("red", "blue", "floor").index(name)


def two_balls(kind: str = "reflected", *, gloss: float = -30.0, views: int = 9) -> FeatureField:
    """A red and a blue ball on a grey floor, 264 Gaussians with features that tell the three apart."""
    generator = torch.Generator().manual_seed(5)
    pieces, colours = [], []
    shapes = [ball(BALLS["red"], 60), ball(BALLS["blue"], 60), floor()]
    for (means, normals), colour, scale in zip(shapes, (RED, BLUE, GREY), (0.09, 0.09, 0.17), strict=True):
        shade = 1 + 0.25 * (torch.rand(len(means), 1, generator=generator) - 0.5)
        colours.append((torch.tensor(colour) * shade).clamp(0, 1))
        pieces.append(splats_at(means, scale=scale, opacity=0.95, normals=normals))
    splats, rgb = concatenate(pieces), torch.cat(colours)
    feature = torch.eye(3)[torch.tensor([0] * 60 + [1] * 60 + [2] * 144)]
    feature = torch.cat([feature, torch.zeros(len(feature), 1)], -1)
    feature = feature + 0.03 * torch.randn(feature.shape, generator=generator)
    if kind == "reflected":
        columns, head = reflected_columns(rgb, splats.columns["normals"], gloss=gloss), reflected_head()
    else:
        bands = torch.zeros(len(rgb), 16, 3)
        bands[:, 0] = (rgb - 0.5) / DC
        bands[:, 1:4] = 0.05 * torch.randn(len(rgb), 3, 3, generator=generator)
        columns, head = {"harmonics": bands}, HarmonicsHead(3)
    about = About(
        scene="balls",
        cameras={f"images/{number:03d}.png": camera for number, camera in enumerate(ring(views))},
    )
    splats = splats.with_columns(**columns, feature=feature)
    return FeatureField(splats, {"rgb": head, "feature": DirectHead("feature")}, about)


@torch.no_grad()
def picture(field: FeatureField, camera: Camera) -> Tensor:
    """What the camera sees (h w 3), sRGB."""
    return render(field, camera, rasterizer=choose_rasterizer("cpu"), heads=("rgb",))["rgb"]["total"]


def coverage(field: FeatureField, camera: Camera, rows: Tensor) -> Tensor:
    """Share of every pixel (h w) that these Gaussians show."""
    drawn = choose_rasterizer("cpu").draw(field.splats, rows.float()[:, None], camera, RasterConfig())
    return drawn.image[..., 0]


def pixel_of(field: FeatureField, camera: Camera, name: str) -> tuple[int, int]:
    """The pixel (x, y) that shows a part of `two_balls` best."""
    shown = coverage(field, camera, part(name))
    blurred = torch.nn.functional.avg_pool2d(shown[None, None], 5, stride=1, padding=2)[0, 0]
    index = int(blurred.argmax())
    return index % camera.width, index // camera.width


def photograph(folder: Path, *, views: int = 9, points: bool = True, sky: float = 0.5) -> Path:
    """`two_balls` before a grey sky as photos, transforms.json and grey seed points with noise."""
    field = two_balls("harmonics", views=views)
    poses = [camera.world_from_camera.double().numpy() @ FLIP for camera in field.about.cameras.values()]
    document = nerfstudio_json(
        views, w=SIZE[0], h=SIZE[1], fl_x=FOCAL, fl_y=FOCAL, cx=SIZE[0] / 2, cy=SIZE[1] / 2,
        ply_file_path="points.ply" if points else None,
    )  # fmt: skip
    for frame, pose in zip(document["frames"], poses, strict=True):
        frame["transform_matrix"] = pose.tolist()
    write_nerfstudio(folder, document, photos=False)
    for name, camera in field.about.cameras.items():
        uncovered = 1 - coverage(field, camera, torch.ones(len(field)))[..., None]
        pixels = ((picture(field, camera) + sky * uncovered).clamp(0, 1) * 255).round().byte().numpy()
        photo(folder / name, pixels)
    if points:
        generator = torch.Generator().manual_seed(9)
        means = field.splats.means
        noisy = means + 0.03 * torch.randn(means.shape, generator=generator)
        write_ply(folder / "points.ply", noisy.numpy(), np.full((len(means), 3), 128))
    return folder


def edited_document(folder: Path, **changes: object) -> Path:
    """Change top-level keys of a folder's transforms.json."""
    file = folder / "transforms.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


@dataclass(frozen=True)
class Canvas:
    """A picture in memory; implements `Picture`."""

    colours: Tensor
    counted: Tensor | None = None
    path: Path = Path("canvas.png")

    def image(self) -> Tensor:
        return self.colours

    def mask(self) -> Tensor | None:
        return self.counted

    def depth(self) -> None:
        return None

    def layer(self, name: str) -> None:
        return None

    def photo_to_camera(self, x: float, y: float) -> tuple[float, float]:
        return x, y

    def photo_size(self) -> tuple[int, int]:
        return self.colours.shape[1], self.colours.shape[0]


def views_of(cameras: Mapping[str, Camera], masks: Mapping[str, Tensor] | None = None) -> tuple[View, ...]:
    """Grey views of these cameras, all to be fitted."""
    masks = masks or {}
    return tuple(
        View(
            name, camera, "train", Canvas(torch.full((camera.height, camera.width, 3), 0.5), masks.get(name))
        )
        for name, camera in cameras.items()
    )
