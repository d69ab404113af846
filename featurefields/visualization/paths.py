"""Camera paths: orbits and smooth flights through given cameras.

Letters: v given cameras · m points · n frames of a path.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.rotations import matrix_from_quat, quat_from_matrix

FULL_CIRCLE_GAP = math.radians(150.0)
"""Cameras that leave a wider gap than this around the scene are not circled but swung along."""
SMALLEST_SWING = math.radians(10.0)
"""A swing goes at least this far to both sides, also for a single camera."""


def orbit(cameras: Sequence[Camera], up: Float[Tensor, "3"] | None, n: int) -> list[Camera]:
    """A closed path of `n` frames around what `cameras` look at, at their typical distance and height.

    A full circle where they surround the scene; where they leave a gap of more than 150 degrees, a swing
    back and forth over the arc they cover, so that nothing unseen is shown. Picture size and focal lengths
    are the first camera's. `up` defaults to the cameras' mean up.

    Raises:
        ValueError: no cameras.
    """
    if not cameras:
        raise ValueError("orbit needs at least one camera to fit to; there is none")
    like = cameras[0]
    positions = torch.stack([camera.position.double().cpu() for camera in cameras])
    up = mean_up(cameras) if up is None else up
    up = torch.nn.functional.normalize(up.double().cpu(), dim=0)
    centre = looked_at(cameras)
    arms = positions - centre
    heights = arms @ up
    flat = arms - heights[:, None] * up
    radius, height = flat.norm(dim=-1).median(), heights.median()
    if radius < 1e-3 * arms.norm(dim=-1).median():
        first = _any_across(up)
    else:
        first = torch.nn.functional.normalize(flat[flat.norm(dim=-1).argmax()], dim=0)
        first = torch.nn.functional.normalize(first - (first @ up) * up, dim=0)
    second = torch.linalg.cross(up, first)
    radius = radius.clamp(min=1e-3 * arms.norm(dim=-1).median())
    angles = _angles(torch.atan2(flat @ second, flat @ first), n)
    return [
        looking(
            centre + radius * (angle.cos() * first + angle.sin() * second) + height * up, centre, up, like
        )
        for angle in angles
    ]


def encircle(
    points: Float[Tensor, "m 3"],
    up: Float[Tensor, "3"],
    n: int,
    *,
    size: tuple[int, int] = (640, 480),
    view_angle_deg: float = 50.0,
    elevation_deg: float = 20.0,
) -> list[Camera]:
    """A closed circle of `n` frames around points that came without cameras, near enough to fill the picture.

    Centre and extent are medians, so that far outliers (a sky) do not count. `view_angle_deg` spans the
    shorter side of the picture.

    Raises:
        ValueError: no points.
    """
    if len(points) == 0:
        raise ValueError("encircle needs at least one point; there is none")
    points = points.detach().double().cpu()
    up = torch.nn.functional.normalize(up.double().cpu(), dim=0)
    centre = points.median(dim=0).values
    extent = 2.0 * (points - centre).norm(dim=-1).median().clamp(min=1e-6)
    distance = extent / math.sin(math.radians(view_angle_deg) / 2)
    first = _any_across(up)
    second = torch.linalg.cross(up, first)
    focal = 0.5 * min(size) / math.tan(math.radians(view_angle_deg) / 2)
    like = Camera(torch.eye(4), torch.full((2,), focal), torch.tensor([size[0] / 2, size[1] / 2]), size)
    lift = math.radians(elevation_deg)
    path = []
    for angle in torch.arange(n, dtype=torch.float64) * (2 * math.pi / max(n, 1)):
        arm = math.cos(lift) * (angle.cos() * first + angle.sin() * second) + math.sin(lift) * up
        path.append(looking(centre + distance * arm, centre, up, like))
    return path


def interpolate(cameras: Sequence[Camera], n: int) -> list[Camera]:
    """`n` frames flying from the first to the last camera through all between, evenly in their number.

    See `interpolate_at`. Raises `ValueError` without cameras.
    """
    return interpolate_at(
        cameras, torch.linspace(0, max(len(cameras) - 1, 0), n, dtype=torch.float64).tolist()
    )


def interpolate_at(
    cameras: Sequence[Camera], places: Sequence[float], *, closed: bool = False
) -> list[Camera]:
    """Cameras at `places` of a flight through the given ones: at 2.0 the third of them, at 2.5 half way to the next.

    Positions follow a Catmull-Rom spline, turns the shortest arcs, lenses go linearly; the picture size is
    the first camera's. With `closed` the flight goes on from the last camera to the first, which is at v again.

    Raises:
        ValueError: no cameras.
    """
    if not cameras:
        raise ValueError("interpolate needs at least one camera; there is none")
    size, count = cameras[0].size, len(cameras)
    same = [camera.to("cpu").resized(size) for camera in cameras]
    poses = torch.stack([camera.world_from_camera for camera in same])
    quats, positions = quat_from_matrix(poses[:, :3, :3]), poses[:, :3, 3]
    last = count if closed else count - 1
    path = []
    for place in places:
        place = min(max(place, 0.0), float(last))
        index = min(int(place), max(last - 1, 0))
        before, after = (_numbered(i, count, closed) for i in (index, index + 1))
        t = place - index
        around = torch.stack([positions[_numbered(index + step, count, closed)] for step in (-1, 0, 1, 2)])
        pose = torch.eye(4).to(poses)
        pose[:3, :3] = matrix_from_quat(_slerp(quats[before], quats[after], t))
        pose[:3, 3] = _catmull_rom(around, t)
        focal = torch.lerp(same[before].focal_px, same[after].focal_px, t)
        centre = torch.lerp(same[before].centre_px, same[after].centre_px, t)
        path.append(Camera(pose, focal, centre, size))
    return path


def looked_at(cameras: Sequence[Camera]) -> Float[Tensor, "3"]:
    """The point nearest to all optical axes (float64, CPU); for parallel axes it is kept near the cameras.

    Least squares with a weak pull towards a point in front of the cameras' mean.
    """
    positions = torch.stack([camera.position.double().cpu() for camera in cameras])
    forwards = torch.stack([camera.forward.double().cpu() for camera in cameras])
    middle = positions.mean(0)
    spread = (positions - middle).norm(dim=-1).median()
    before = middle + forwards.mean(0) * torch.where(spread > 1e-9, 2.0 * spread, 1.0)
    across = torch.eye(3, dtype=torch.float64) - forwards[:, :, None] * forwards[:, None, :]
    pull = 1e-3 * len(cameras)
    left = across.sum(0) + pull * torch.eye(3, dtype=torch.float64)
    right = (across @ positions[:, :, None]).sum(0).squeeze(-1) + pull * before
    return torch.linalg.solve(left, right)


def mean_up(cameras: Sequence[Camera]) -> Float[Tensor, "3"]:
    """Mean of the cameras' up vectors (their -y axes), unit length."""
    ups = torch.stack([-camera.world_from_camera[:3, 1].double().cpu() for camera in cameras])
    return torch.nn.functional.normalize(ups.mean(0), dim=0)


def _angles(seen: Float[Tensor, "v"], n: int) -> Float[Tensor, "n"]:
    """Angles of the path about the up axis, given the angles at which the cameras stand."""
    turns = torch.arange(n, dtype=torch.float64) * (2 * math.pi / max(n, 1))
    ordered = seen.sort().values
    gaps = torch.cat([ordered[1:], ordered[:1] + 2 * math.pi]) - ordered
    widest = int(gaps.argmax())
    if gaps[widest] <= FULL_CIRCLE_GAP:
        return turns
    start = ordered[(widest + 1) % len(ordered)]
    half = (2 * math.pi - gaps[widest]) / 2
    return start + half + half.clamp(min=SMALLEST_SWING) * turns.sin()


def looking(
    position: Float[Tensor, "3"], target: Float[Tensor, "3"], up: Float[Tensor, "3"], like: Camera
) -> Camera:
    """A camera at `position` looking at `target` upright, with the lens of `like` (centred)."""
    forward = torch.nn.functional.normalize(target - position, dim=0)
    right = torch.linalg.cross(forward, up)
    right = right if right.norm() > 1e-6 else _any_across(forward)
    right = torch.nn.functional.normalize(right, dim=0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-1)
    pose[:3, 3] = position
    centre = torch.tensor([like.width / 2, like.height / 2]).to(like.focal_px)
    return Camera(pose.to(like.world_from_camera), like.focal_px, centre, like.size)


def _any_across(axis: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """Some unit vector across `axis`, always the same for the same axis."""
    other = torch.zeros(3).to(axis)
    other[axis.abs().argmin()] = 1.0
    return torch.nn.functional.normalize(torch.linalg.cross(axis, other), dim=0)


def _slerp(a: Float[Tensor, "4"], b: Float[Tensor, "4"], t: float) -> Float[Tensor, "4"]:
    """The rotation at fraction `t` of the shortest arc from `a` to `b` (unit quaternions)."""
    cosine = (a @ b).item()
    if cosine < 0:
        b, cosine = -b, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-4:
        return torch.lerp(a, b, t)
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


def _numbered(index: int, count: int, closed: bool) -> int:
    """`index` brought into 0..count-1: round and round, or held at the ends."""
    return index % count if closed else min(max(index, 0), count - 1)


def _catmull_rom(points: Float[Tensor, "4 3"], t: float) -> Float[Tensor, "3"]:
    """The uniform Catmull-Rom spline at fraction `t` between the second and the third of four points."""
    p0, p1, p2, p3 = points
    return 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
