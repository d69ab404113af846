"""Random worlds: things with looks, the light, and where the cameras stand. Metres, z up."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..generator.shapes import Array, Mesh
from .patterns import pattern, surroundings
from .solids import leaf, moved, quad, rotation, solid, standing

TEXELS = 256


@dataclass(frozen=True)
class Thing:
    """A mesh and its look.

    Attributes:
        texture: sRGB (n n 3).
        mirror: share of mirrored light at normal incidence (0.04 for a coat, more for metals), 0 for matte.
        blur: roughness of the mirror, 0..1.
        metal: True when the texture colours the mirrored light and nothing is diffuse.
    """

    mesh: Mesh
    texture: Array
    mirror: float = 0.0
    blur: float = 0.0
    metal: bool = False


@dataclass(frozen=True)
class World:
    """Things, surroundings (linear light, lat-long), lamps (place or direction, light, near or not), poses (OpenCV)."""

    kind: str
    things: list[Thing]
    sky: Array
    lamps: list[tuple[Array, Array, bool]]
    poses: list[Array]
    field_of_view_deg: float


def look(rng: np.random.Generator, mesh: Mesh, *, plainness: float = 0.25, shine: float = 0.45) -> Thing:
    """The mesh with a random texture; shiny or metallic with probability `shine`."""
    texture = pattern(rng, TEXELS, plainness=plainness)
    stretched = Mesh(mesh.vertices, mesh.faces, mesh.uv * rng.choice([1.0, 1.0, 2.0, 3.0]))
    if rng.random() > shine:
        return Thing(stretched, texture)
    if rng.random() < 0.25:
        tint = np.broadcast_to(rng.uniform(0.6, 0.97, 3), texture.shape)
        return Thing(stretched, tint, float(rng.uniform(0.6, 0.95)), float(rng.uniform(0, 0.5)), True)
    return Thing(stretched, texture, float(rng.uniform(0.03, 0.09)), float(rng.uniform(0, 0.4)))


def aimed(eye: Array, target: Array) -> Array:
    """Camera-to-world pose (OpenCV axes) at `eye` looking at `target`, upright."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([x, np.cross(z, x), z, eye], 1)
    return pose


def _around(
    rng: np.random.Generator, middle: Array, views: int, reach: tuple[float, float], low: tuple[float, float]
):
    """Poses on an arc of any width around `middle`."""
    spread, start = np.exp(rng.uniform(np.log(0.25), np.log(3.0))), rng.uniform(0, 2 * np.pi)
    lowest, distance = np.radians(rng.uniform(*low)), rng.uniform(*reach)
    poses = []
    for _ in range(views):
        azimuth, up = start + spread * rng.uniform(-0.5, 0.5), lowest + 0.4 * spread * rng.uniform(-0.5, 0.5)
        up = np.clip(up, np.radians(low[0]), np.radians(low[1]))
        away = np.array([np.cos(up) * np.cos(azimuth), np.cos(up) * np.sin(azimuth), np.sin(up)])
        eye = middle + distance * rng.uniform(0.9, 1.12) * away
        poses.append(aimed(eye, middle + rng.normal(size=3) * 0.04 * distance))
    return poses


def _sun(rng: np.random.Generator) -> list[tuple[Array, Array, bool]]:
    towards = rng.normal(size=3) * [1, 1, 0.3] + [0, 0, 1.0]
    return [
        (towards / np.linalg.norm(towards), rng.uniform(0.3, 2.0) * rng.uniform(0.8, 1.0, 3), False)
    ] * int(rng.random() < 0.8)


def _spread(
    rng: np.random.Generator, count: int, size: tuple[float, float], reach: float
) -> list[tuple[Array, float]]:
    """Places on a disc, by rejection, and sizes."""
    found: list[tuple[Array, float]] = []
    for _ in range(40 * count):
        radius, angle, own = reach * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi), rng.uniform(*size)
        place = radius * np.array([np.cos(angle), np.sin(angle)])
        if all(np.linalg.norm(place - other) > own + theirs for other, theirs in found):
            found.append((place, own))
        if len(found) == count:
            break
    return found


def _stood(rng: np.random.Generator, place: Array, size: float, height: float = 0.0) -> Thing:
    mesh = standing(moved(solid(rng), scale=size, turn=rotation(rng, upright=rng.random() < 0.8)))
    return look(rng, moved(mesh, (*place, height)))


def tabletop(rng: np.random.Generator, views: int) -> World:
    """Things on a table or on the ground under a sky, seen from all around or from one side."""
    half = rng.uniform(1.0, 1.6) if rng.random() < 0.7 else 8.0
    table = look(rng, quad(half, half, 1.0 if half < 2 else 6.0), plainness=0.12, shine=0.6)
    things = [
        table,
        *(_stood(rng, *spot) for spot in _spread(rng, int(rng.integers(5, 15)), (0.1, 0.27), 0.95)),
    ]
    poses = _around(rng, np.array([0, 0, 0.12]), views, (1.7, 3.2), (10, 65))
    return World("tabletop", things, surroundings(rng), _sun(rng), poses, rng.uniform(34, 62))


def room(rng: np.random.Generator, views: int) -> World:
    """Inside a furnished room, walls often bare, cameras a step apart."""
    x, y, high = *rng.uniform(1.8, 3.2, 2), rng.uniform(2.3, 3.2)
    up = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
    quarter = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]])
    sides = [
        moved(quad(x, y, 2), (0, 0, 0)), moved(quad(x, y), (0, 0, high)),
        *(moved(quad(x, high / 2), (0, s * y, high / 2), turn=up) for s in (-1, 1)),
        *(moved(quad(y, high / 2), (s * x, 0, high / 2), turn=quarter) for s in (-1, 1)),
    ]  # fmt: skip
    things = [look(rng, side, plainness=0.55, shine=0.15) for side in sides]
    for place, size in _spread(rng, int(rng.integers(5, 13)), (0.2, 0.65), 0.9 * min(x, y)):
        things.append(_stood(rng, place, size))
        if rng.random() < 0.3:
            things.append(_stood(rng, place, 0.4 * size, 2 * size))
    for _ in range(int(rng.integers(0, 7))):
        wall, along, s = rng.random() < 0.5, rng.uniform(-0.8, 0.8), rng.choice([-1, 1])
        frame = quad(*rng.uniform(0.15, 0.6, 2))
        at = (along * x, s * (y - 0.02), rng.uniform(0.4, 0.8) * high)
        at = at if wall else (s * (x - 0.02), along * y, at[2])
        things.append(look(rng, moved(frame, at, turn=up if wall else quarter), plainness=0.1))
    lamp = np.array([*rng.uniform(-0.5, 0.5, 2) * [x, y], high - 0.1])
    eye = np.array([*rng.uniform(-0.85, 0.85, 2) * [x, y], rng.uniform(0.7, 1.8)])
    target = np.array([*-eye[:2] * rng.uniform(0.2, 1.0), rng.uniform(0.2, 1.4)]) + rng.normal(size=3) * 0.2
    step = np.exp(rng.uniform(np.log(0.06), np.log(0.5)))
    inside = np.array([x, y, high]) - 0.12
    eyes = [
        np.clip(eye + step * rng.normal(size=3) * [1, 1, 0.5], [-1, -1, 0.1] * inside, inside)
        for _ in range(views)
    ]
    poses = [
        aimed(at, target + (at - eye) * rng.uniform(0, 1) + rng.normal(size=3) * step * 0.3) for at in eyes
    ]
    return World(
        "room",
        things,
        surroundings(rng),
        [(lamp, rng.uniform(1.5, 5) * np.ones(3), True)],
        poses,
        rng.uniform(45, 75),
    )


def thicket(rng: np.random.Generator, views: int) -> World:
    """Leaves, poles and things at all depths before a wall or the sky; cameras side by side, looking one way."""
    depth = rng.uniform(3.0, 8.0)
    things = [look(rng, quad(12, 12, 8.0), plainness=0.2)] if rng.random() < 0.7 else []
    if rng.random() < 0.7:
        wall = moved(quad(12, 8, 6.0), (0, depth, 2), turn=np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]]))
        things.append(look(rng, wall, plainness=0.2))
    for _ in range(int(rng.integers(8, 40))):
        away = rng.uniform(0.5, depth)
        at = np.array([rng.uniform(-0.7, 0.7) * (away + 1), away, rng.uniform(0, 2.2)])
        mesh = leaf(rng) if rng.random() < 0.6 else solid(rng)
        things.append(
            look(rng, moved(mesh, at, scale=rng.uniform(0.08, 0.45), turn=rotation(rng)), plainness=0.4)
        )
    shift = np.exp(rng.uniform(np.log(0.08), np.log(0.5)))
    eye, focus = (
        np.array([0, rng.uniform(-1.5, -0.6), rng.uniform(0.8, 1.5)]),
        np.array([0, depth * rng.uniform(0.4, 2), 1]),
    )
    eyes = [eye + shift * rng.normal(size=3) * [1, 0.2, 0.6] for _ in range(views)]
    poses = [aimed(at, focus + (at - eye) * rng.uniform(0, 1) + rng.normal(size=3) * 0.05) for at in eyes]
    return World("thicket", things, surroundings(rng), _sun(rng), poses, rng.uniform(45, 68))


def swarm(rng: np.random.Generator, views: int) -> World:
    """Things hovering anywhere, before the sky or inside a large box."""
    things = [look(rng, moved(solid(rng), rng.normal(size=3) * 0.55, scale=rng.uniform(0.08, 0.45), turn=rotation(rng)))
              for _ in range(int(rng.integers(8, 26)))]  # fmt: skip
    if rng.random() < 0.6:
        backdrop = moved(quad(9, 9, 6.0), rng.normal(size=3) * 0.3 - [0, 0, 1.4], turn=np.eye(3))
        things.append(look(rng, backdrop, plainness=0.1))
    poses = _around(rng, np.zeros(3), views, (2.2, 3.6), (-5, 60))
    return World("swarm", things, surroundings(rng), _sun(rng), poses, rng.uniform(30, 58))


WORLDS: dict[str, Callable[[np.random.Generator, int], World]] = {
    "tabletop": tabletop, "room": room, "thicket": thicket, "swarm": swarm,
}  # fmt: skip
SHARES = {"tabletop": 0.4, "room": 0.3, "thicket": 0.18, "swarm": 0.12}


def world(seed: int, number: int, views: int) -> World:
    """World `number` of the endless row that `seed` begins."""
    rng = np.random.default_rng([seed, number])
    kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    return WORLDS[kind](rng, views)
