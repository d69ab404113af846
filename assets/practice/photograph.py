"""Light and film: what a camera in a world photographs, by ray casting with one mirrored bounce and shadows.

Letters: r rays · h w pixels. Not light transport: lamps cast hard shadows, the surroundings light by the normal
alone. What matters for depth is here: texture, shading, highlights that move with the camera, occlusion.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..generator.shapes import Array
from ..generator.textures import linear_from_srgb, srgb_from_linear
from .worlds import World

EPS = 2e-4


@dataclass(frozen=True)
class Hits:
    """Where rays (r) meet surfaces; `thing` is -1 where they meet none."""

    thing: Array
    distance: Array
    point: Array
    normal: Array
    colour: Array


class Set:
    """A world ready to be photographed."""

    def __init__(self, world: World) -> None:
        import open3d as o3d

        self.world, self._o3d = world, o3d
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        meshes = [thing.mesh for thing in world.things]
        for mesh in meshes:
            self._scene.add_triangles(
                np.ascontiguousarray(mesh.vertices, np.float32), np.ascontiguousarray(mesh.faces, np.uint32)
            )
        vertices = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
        self._first = np.cumsum([0] + [len(mesh.faces) for mesh in meshes[:-1]])
        self._faces = np.concatenate([mesh.faces + at for mesh, at in zip(meshes, vertices, strict=True)])
        self._normals = np.concatenate([mesh.normals() for mesh in meshes])
        self._uv = np.concatenate([mesh.uv for mesh in meshes])
        self._textures = linear_from_srgb(np.stack([thing.texture for thing in world.things])).astype(
            np.float32
        )
        self._mirror = np.array([thing.mirror for thing in world.things])
        self._blur = np.array([thing.blur for thing in world.things])
        self._metal = np.array([thing.metal for thing in world.things])
        sigmas = [0, 1.5, 4, 9]
        sky = world.sky
        self._skies = np.stack(
            [ndimage.gaussian_filter(sky, (s, s, 0), mode=("nearest", "wrap", "wrap")) for s in sigmas]
        )
        wide = ndimage.gaussian_filter(
            sky, (sky.shape[0] / 5, sky.shape[0] / 4, 0), mode=("nearest", "wrap", "wrap")
        )
        self._ambient = wide

    def _cast(self, origins: Array, directions: Array) -> Hits:
        rays = np.concatenate([origins, directions], 1).astype(np.float32)
        found = self._scene.cast_rays(self._o3d.core.Tensor(rays), nthreads=1)
        distance = found["t_hit"].numpy().astype(float)
        hit = np.isfinite(distance)
        thing = np.where(hit, found["geometry_ids"].numpy().astype(np.int64), -1)
        safe = np.maximum(thing, 0)
        face = self._faces[
            np.where(hit, self._first[safe] + found["primitive_ids"].numpy().astype(np.int64) * hit, 0)
        ]
        b = found["primitive_uvs"].numpy()[:, :, None].astype(float)

        def mix(v: Array) -> Array:
            first = v[face[:, 0]] * (1 - b[:, 0] - b[:, 1])
            return first + v[face[:, 1]] * b[:, 0] + v[face[:, 2]] * b[:, 1]

        normal = mix(self._normals)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        normal = np.where((normal * directions).sum(1, keepdims=True) > 0, -normal, normal)
        point = origins + np.where(hit, distance, 0)[:, None] * directions
        return Hits(thing, distance, point, normal, self._texel(safe, mix(self._uv)))

    def _texel(self, thing: Array, uv: Array) -> Array:
        """Bilinear look-up in the things' textures, which repeat."""
        size = self._textures.shape[1]
        x, y = (uv % 1.0).T * size
        x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
        fx, fy = (x - x0)[:, None], (y - y0)[:, None]
        x0, y0, x1, y1 = x0 % size, y0 % size, (x0 + 1) % size, (y0 + 1) % size
        t = self._textures
        top = t[thing, y0, x0] * (1 - fx) + t[thing, y0, x1] * fx
        return top * (1 - fy) + (t[thing, y1, x0] * (1 - fx) + t[thing, y1, x1] * fx) * fy

    def _sky(self, table: Array, directions: Array) -> Array:
        height, width = table.shape[:2]
        row = np.clip((0.5 - np.arcsin(np.clip(directions[:, 2], -1, 1)) / np.pi) * height, 0, height - 1)
        column = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) % 1.0) * width
        return np.stack([
            ndimage.map_coordinates(table[..., k], [row, column], order=1, mode="grid-wrap") for k in range(3)
        ], -1)  # fmt: skip

    def _lit(self, hits: Hits) -> Array:
        """Light that arrives diffusely at the hits, with shadows of the lamps."""
        light = self._sky(self._ambient, hits.normal) * 0.75
        for place, strength, near in self.world.lamps:
            towards = place - hits.point if near else np.broadcast_to(place, hits.point.shape)
            distance = np.linalg.norm(towards, axis=1, keepdims=True)
            unit = towards / np.maximum(distance, 1e-9)
            cosine = (hits.normal * unit).sum(1, keepdims=True)
            rays = np.concatenate([hits.point + 1e-3 * hits.normal, unit], 1).astype(np.float32)
            reach = float(distance.max()) if near else np.inf
            dark = self._scene.test_occlusions(
                self._o3d.core.Tensor(rays), tnear=0.0, tfar=reach, nthreads=1
            ).numpy()
            fall = 1 / np.maximum(distance, 0.3) ** 2 if near else 1.0
            light += strength * np.clip(cosine, 0, 1) * ~dark[:, None] * fall
        return light

    def radiance(self, origins: Array, directions: Array) -> Array:
        """Linear light (r 3) that comes along the rays."""
        hits = self._cast(origins, directions)
        light = self._sky(self._skies[0], directions)
        on = hits.thing >= 0
        if not on.any():
            return light
        hits = Hits(*(getattr(hits, name)[on] for name in ("thing", "distance", "point", "normal", "colour")))
        metal = self._metal[hits.thing][:, None]
        shown = np.where(metal, 0.0, hits.colour) * self._lit(hits)
        shiny = self._mirror[hits.thing] > 0
        if shiny.any():
            shown[shiny] += self._mirrored(hits, directions[on], shiny)
        light[on] = shown
        return light

    def _mirrored(self, hits: Hits, directions: Array, shiny: Array) -> Array:
        d, n, thing = directions[shiny], hits.normal[shiny], hits.thing[shiny]
        cosine = np.clip(-(d * n).sum(1, keepdims=True), 0, 1)
        out = d + 2 * cosine * n
        base = self._mirror[thing][:, None] * np.where(self._metal[thing][:, None], hits.colour[shiny], 1.0)
        fresnel = base + (1 - base) * (1 - cosine) ** 5 * (1 - self._blur[thing][:, None])
        again = self._cast(hits.point[shiny] + 2e-3 * n, out)
        level = self._blur[thing] / 0.5 * (len(self._skies) - 1)
        low = np.clip(np.floor(level).astype(int), 0, len(self._skies) - 2)
        seen = np.stack([self._sky(sky, out) for sky in self._skies])
        every = np.arange(len(out))
        share = np.clip(level - low, 0, 1)[:, None]
        light = seen[low, every] * (1 - share) + seen[low + 1, every] * share
        met = again.thing >= 0
        light[met] = (again.colour * (self._sky(self._ambient, again.normal) * 0.75 + 0.25))[met]
        return fresnel * light


def photograph(
    stage: Set, pose: Array, size: tuple[int, int], focal: float, samples: int = 2, exposure: float = 1.0
):
    """sRGB picture (h w 3) in 0..1, averaged over samples x samples rays a pixel, and depth (h w), 0 where there is
    sky."""
    w, h = size

    def rays(x: Array, y: Array) -> tuple[Array, Array, Array]:
        local = np.stack([(x - w / 2) / focal, (y - h / 2) / focal, np.ones_like(x)], -1).reshape(-1, 3)
        length = np.linalg.norm(local, axis=1, keepdims=True)
        direction = local / length @ pose[:3, :3].T
        return np.broadcast_to(pose[:3, 3], direction.shape), direction, length[:, 0]

    x, y = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    origin, direction, length = rays(x, y)
    hits = stage._cast(origin, direction)
    depth = np.where(hits.thing >= 0, hits.distance, 0.0) / length
    fx, fy = np.meshgrid((np.arange(w * samples) + 0.5) / samples, (np.arange(h * samples) + 0.5) / samples)
    origin, direction, _ = rays(fx, fy)
    light = stage.radiance(origin, direction).reshape(h, samples, w, samples, 3)
    light = np.minimum(light * exposure, 1.0).mean((1, 3))
    return srgb_from_linear(light), np.where(depth > 0, depth, 0.0).reshape(h, w)
