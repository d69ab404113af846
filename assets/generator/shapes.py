"""Triangle meshes of parametric surfaces.

Letters: n vertices · f triangles.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Mesh:
    """Vertices (n 3), triangles (f 3) and texture coordinates (n 2)."""

    vertices: Array
    faces: NDArray[np.int32]
    uv: Array

    def outwards(self) -> "Mesh":
        """The closed mesh with its triangles turned so that the enclosed volume is positive."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        return self if np.sum(a * np.cross(b, c)) > 0 else Mesh(self.vertices, self.faces[:, ::-1], self.uv)

    def normals(self) -> Array:
        """Area-weighted vertex normals; vertices at one place (texture seams, poles) share theirs."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        place = np.unique(np.round(self.vertices, 6), axis=0, return_inverse=True)[1].reshape(-1)
        total = np.zeros((place.max() + 1, 3))
        for k in range(3):
            np.add.at(total, place[self.faces[:, k]], np.cross(b - a, c - a))
        return total[place] / np.maximum(np.linalg.norm(total[place], axis=1, keepdims=True), 1e-12)


def patch(point: Callable[[Array, Array], tuple[Array, ...]], across: int, along: int) -> Mesh:
    """The surface point(u, v) -> (x, y, z) over the unit square on a grid of across x along vertices."""
    u, v = np.meshgrid(np.linspace(0, 1, across), np.linspace(0, 1, along))
    index = np.arange(across * along, dtype=np.int32).reshape(along, across)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    vertices = np.stack(np.broadcast_arrays(*point(u, v)), -1).reshape(-1, 3)
    return Mesh(vertices, faces, np.stack([u, v], -1).reshape(-1, 2))


def turned(outline: list[tuple[float, float]], along: int = 97) -> Mesh:
    """A vessel: the outline of (radius, height) pairs, smoothed, turned about the z axis."""
    corners = np.array(outline)
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))]
    profile = PchipInterpolator(length / length[-1], corners)(np.linspace(0, 1, along))

    def point(u, v):
        radius, height = profile[np.rint(v * (along - 1)).astype(int)].transpose(2, 0, 1)
        return radius * np.cos(2 * np.pi * u), radius * np.sin(2 * np.pi * u), height

    return patch(point, 129, along).outwards()


def ball(radius: float) -> Mesh:
    angles = np.linspace(-np.pi / 2, np.pi / 2, 65)
    return turned([(max(radius * np.cos(a), 1e-5), radius * (1 + np.sin(a))) for a in angles])


def ring(radius: float, tube: float) -> Mesh:
    def point(u, v):
        a, b = 2 * np.pi * u, 2 * np.pi * v
        reach = radius + tube * np.cos(b)
        return reach * np.cos(a), reach * np.sin(a), tube * (1 + np.sin(b))

    return patch(point, 129, 49).outwards()


def box(half: tuple[float, float, float], edge: float) -> Mesh:
    """A box with rounded edges standing on z = 0; each face has its own cell of a 3 x 2 texture atlas."""
    sides, extent = [], np.array(half)
    for face in range(6):
        axis, sign = face % 3, 1 if face < 3 else -1

        def point(u, v, axis=axis, sign=sign):
            flat = (
                np.roll(np.stack([np.full_like(u, sign), 2 * u - 1, 2 * v - 1], -1), axis, axis=-1) * extent
            )
            core = np.clip(flat, edge - extent, extent - edge)
            away = flat - core
            rounded = core + edge * away / np.linalg.norm(away, axis=-1, keepdims=True)
            return rounded[..., 0], rounded[..., 1], rounded[..., 2] + half[2]

        side = patch(point, 33, 33)
        faces = side.faces if sign > 0 else side.faces[:, ::-1]
        sides.append(Mesh(side.vertices, faces, (side.uv + [face % 3, face // 3]) / [3, 2]))
    starts = np.cumsum([0] + [len(side.vertices) for side in sides[:-1]])
    return Mesh(
        np.concatenate([side.vertices for side in sides]),
        np.concatenate([side.faces + start for side, start in zip(sides, starts, strict=True)]).astype(
            np.int32
        ),
        np.concatenate([side.uv for side in sides]),
    )
