"""The Gaussians a fit starts from.

Letters: n Gaussians · m points · v views.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.errors import FittingError
from featurefields.maths.neighbours import nearest, surface_normals
from featurefields.maths.rotations import quat_from_matrix
from featurefields.scene import PointCloud, Scene, View
from featurefields.splats import Splats

OPACITY = 0.3
FLATNESS = 0.35  # thickness of a starting Gaussian along its normal, relative to its width


def facing_normals(
    points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], views: tuple[View, ...]
) -> Float[Tensor, "n 3"]:
    """Normals turned towards the nearest camera that sees the point inside its picture."""
    best = torch.full((len(points),), torch.inf)
    towards = torch.zeros_like(points)
    for view in views:
        pixels, depths = view.camera.project(points)
        size = torch.tensor(view.camera.size)
        seen = (depths > 0) & (pixels >= 0).all(-1) & (pixels < size).all(-1) & (depths < best)
        best = torch.where(seen, depths, best)
        towards = torch.where(seen[:, None], view.camera.position - points, towards)
    flip = (normals * towards).sum(-1, keepdim=True) < 0
    return torch.where(flip, -normals, normals)


def scattered_points(scene: Scene, count: int, generator: torch.Generator) -> PointCloud:
    """Random points along random pixels' rays, for scenes without a point cloud: depths from 0.3 to 3 times the
    distance to where the cameras look, uniform in inverse depth, with the pixel's colour."""
    views = scene.split("train")
    share = -(-count // len(views))
    positions, colours = [], []
    for view in views:
        camera = view.camera
        x = torch.randint(0, camera.width, (share,), generator=generator)
        y = torch.randint(0, camera.height, (share,), generator=generator)
        distance = camera.position.norm().clamp(min=0.1)
        inverse = torch.rand(share, generator=generator) * (1 / 0.3 - 1 / 3.0) + 1 / 3.0
        positions.append(camera.position + camera.directions()[y, x] * (distance / inverse)[:, None])
        colours.append(view.picture.image()[y, x])
    return PointCloud(torch.cat(positions)[:count], torch.cat(colours)[:count])


def initial_splats(
    scene: Scene, *, count: int, generator: torch.Generator
) -> tuple[Splats, Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Flat Gaussians on at most `count` of the scene's points (or scattered ones), their sRGB colours and normals.

    Raises:
        FittingError: the scene has no view to fit.
    """
    views = scene.split("train")
    if not views:
        raise FittingError(
            f"scene '{scene.name}' has no view to fit: all {len(scene.views)} are held out; leave some photos in the "
            "training split"
        )
    cloud = scene.points
    if cloud is None or len(cloud.positions) < 16:
        cloud = scattered_points(scene, count, generator)
    if len(cloud.positions) > count:
        rows = torch.randperm(len(cloud.positions), generator=generator)[:count].sort().values
        cloud = PointCloud(cloud.positions[rows], cloud.colours[rows])
    points = cloud.positions
    normals = facing_normals(points, surface_normals(points), views)
    distance, _ = nearest(points, 4)
    spacing = distance.square().mean(-1).sqrt()
    spacing = spacing.clamp(min=max(float(spacing.median()) * 0.05, 1e-6), max=float(spacing.quantile(0.99)))
    log_scales = torch.log(spacing)[:, None].repeat(1, 3) + torch.log(
        torch.tensor([0.8, 0.8, 0.8 * FLATNESS])
    )
    splats = Splats(
        means=points.clone(),
        quats=quat_from_matrix(frame_of(normals)),
        log_scales=log_scales,
        opacity_logits=torch.full((len(points),), float(torch.logit(torch.tensor(OPACITY)))),
    )
    return splats, cloud.colours, normals


def frame_of(normals: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices whose third column is the given unit normal."""
    across = torch.where(normals[:, :1].abs() < 0.8, torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]]))
    first = torch.nn.functional.normalize(
        torch.linalg.cross(across.to(normals).expand_as(normals), normals), dim=-1
    )
    return torch.stack([first, torch.linalg.cross(normals, first), normals], dim=-1)
