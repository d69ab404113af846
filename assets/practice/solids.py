"""Random things: triangle meshes with texture coordinates, standing on z = 0 or centred, of about unit size."""

from collections.abc import Callable

import numpy as np

from ..generator.shapes import Array, Mesh, ball, box, patch, ring, turned


def joined(parts: list[Mesh]) -> Mesh:
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]).astype(
            np.int32
        ),
        np.concatenate([part.uv for part in parts]),
    )


def moved(mesh: Mesh, shift=(0.0, 0.0, 0.0), *, scale=1.0, turn: Array | None = None) -> Mesh:
    vertices = mesh.vertices * np.asarray(scale)
    return Mesh((vertices if turn is None else vertices @ turn.T) + np.asarray(shift), mesh.faces, mesh.uv)


def rotation(rng: np.random.Generator, *, upright: bool = False) -> Array:
    """A random turn; about z only when `upright`."""
    if upright:
        c, s = np.cos(a := rng.uniform(0, 2 * np.pi)), np.sin(a)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def quad(half_x: float, half_y: float, repeat: float = 1.0) -> Mesh:
    """A rectangle in the plane z = 0."""
    vertices = np.array(
        [[-half_x, -half_y, 0], [half_x, -half_y, 0], [half_x, half_y, 0], [-half_x, half_y, 0]]
    )
    uv = np.array([[0, 0], [1, 0], [1, half_y / half_x], [0, half_y / half_x]]) * repeat
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), uv)


def vessel(rng: np.random.Generator) -> Mesh:
    """A random outline turned about the vertical, open or closed at the top."""
    count = int(rng.integers(4, 8))
    heights = np.linspace(0, rng.uniform(0.5, 2.0), count)
    radii = np.clip(rng.uniform(0.15, 0.7) + np.cumsum(rng.normal(size=count)) * 0.18, 0.08, 0.9)
    outline = [(1e-4, 0.0), *zip(radii, heights, strict=True)]
    if rng.random() < 0.5:
        inner = [(max(r - 0.05, 1e-3), h) for r, h in zip(radii[::-1], heights[::-1] + 0.01, strict=True)][
            :-1
        ]
        outline += [*inner, (1e-4, heights[1] + 0.02)]
    else:
        outline += [(1e-4, heights[-1] + 1e-3)]
    return turned([(float(r), float(h)) for r, h in outline], 49)


def blob(rng: np.random.Generator) -> Mesh:
    """A ball with bumps."""
    waves, phase, strength = (
        rng.normal(size=(8, 3)) * rng.uniform(1, 3),
        rng.uniform(0, 6.3, 8),
        rng.random(8),
    )

    def point(u, v):
        polar, around = np.pi * (1 - v), 2 * np.pi * u
        d = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
        r = 0.6 * (1 + 0.45 * (strength * np.sin(d @ waves.T + phase)).sum(-1) / strength.sum())
        return r * d[..., 0], r * d[..., 1], r * d[..., 2]

    return patch(point, 97, 65).outwards()


def knot(rng: np.random.Generator) -> Mesh:
    """A tube along a closed curve."""
    p, q, lift, tube = (
        int(rng.integers(1, 3)),
        int(rng.integers(1, 4)),
        rng.uniform(0.1, 0.5),
        rng.uniform(0.08, 0.2),
    )

    def curve(t: Array) -> Array:
        reach = 0.6 + 0.25 * np.cos(q * t)
        return np.stack([reach * np.cos(p * t), reach * np.sin(p * t), lift * np.sin(q * t)], -1)

    def point(u, v):
        t = 2 * np.pi * v
        along = curve(t + 1e-3) - curve(t - 1e-3)
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        side = np.cross(along, [0.1, 0.2, 1.0])
        side /= np.linalg.norm(side, axis=-1, keepdims=True)
        other, a = np.cross(along, side), 2 * np.pi * u[..., None]
        s = curve(t) + tube * (np.cos(a) * side + np.sin(a) * other)
        return s[..., 0], s[..., 1], s[..., 2]

    return patch(point, 25, 193).outwards()


def cuboid(rng: np.random.Generator) -> Mesh:
    half = rng.uniform(0.12, 0.7, 3)
    return box(tuple(half), float(rng.uniform(0.02, 0.25) * half.min()))


def leaf(rng: np.random.Generator) -> Mesh:
    """A thin bent strip, seen from both sides."""
    bend, width = rng.uniform(-0.8, 0.8), rng.uniform(0.08, 0.4)

    def point(u, v):
        wide = width * np.sin(np.pi * np.clip(v, 0.04, 0.96)) ** 0.7
        return (u - 0.5) * 2 * wide, 2 * v - 1, bend * (v - 0.5) ** 2 + 0.2 * wide * (u - 0.5) ** 2

    return patch(point, 7, 25)


def furniture(rng: np.random.Generator) -> Mesh:
    """Boards and legs: a table, a shelf, a chair, a sofa."""
    wide, deep, high, thick = *rng.uniform(0.3, 0.9, 3), rng.uniform(0.02, 0.12)
    slab = lambda x, y, z, at: moved(box((x, y, z), 0.2 * min(x, y, z)), at)  # noqa: E731 (stands on its z)
    boards = [
        slab(wide, deep, thick, (0, 0, height)) for height in np.linspace(0.3, high, int(rng.integers(1, 4)))
    ]
    posts = [
        slab(thick, thick, high / 2, (x * (wide - thick), y * (deep - thick), 0))
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    back = [slab(wide, thick, high, (0, deep, 0))] if rng.random() < 0.5 else []
    return joined([*boards, *posts, *back])


def rounded(rng: np.random.Generator) -> Mesh:
    return moved(ball(0.5), scale=rng.uniform(0.4, 1.3, 3) if rng.random() < 0.4 else 1.0)


def hoop(rng: np.random.Generator) -> Mesh:
    return ring(0.5, float(rng.uniform(0.08, 0.25)))


def pole(rng: np.random.Generator) -> Mesh:
    radius, height = float(rng.uniform(0.02, 0.12)), float(rng.uniform(0.6, 2.0))
    return turned([(1e-4, 0.0), (radius, 0.001), (radius, height), (1e-4, height + 0.001)], 13)


SOLIDS: tuple[Callable[[np.random.Generator], Mesh], ...] = (
    rounded, vessel, cuboid, blob, knot, hoop, vessel, cuboid, furniture, pole,
)  # fmt: skip


def solid(rng: np.random.Generator) -> Mesh:
    """Any of them, within the unit ball's size."""
    mesh = SOLIDS[rng.integers(len(SOLIDS))](rng)
    reach = np.abs(mesh.vertices - mesh.vertices.mean(0)).max()
    return moved(mesh, scale=1.0 / reach)


def standing(mesh: Mesh) -> Mesh:
    """The mesh with its middle on the z axis and its lowest point at z = 0."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    return moved(mesh, (-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))
