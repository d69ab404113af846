"""Light transport: a stage, and what a camera on it photographs and measures.

Letters: h w pixels · c channels.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .mitsuba_setup import dr, mi
from .ply import write_ply
from .shapes import Array
from .table import Thing


@dataclass(frozen=True)
class Stage:
    """The scene three times (each surface whole, its diffuse part, its specular part) and the film."""

    things: list[Thing]
    whole: mi.Scene
    parts: dict[str, mi.Scene]
    size: int
    focal_px: float
    path: mi.Integrator = field(default_factory=lambda: mi.load_dict({"type": "path", "max_depth": 6}))

    def rays(self, pose: Array, samples: int, jitter: mi.Point2f) -> mi.Ray3f:
        """`samples` rays a pixel, row by row; pose is OpenGL camera-to-world (4 4)."""
        index = dr.arange(mi.UInt32, self.size**2 * samples) // samples
        x = (mi.Float(index % self.size) + jitter.x - self.size / 2) / self.focal_px
        y = (mi.Float(index // self.size) + jitter.y - self.size / 2) / self.focal_px
        axes = [[dr.opaque(mi.Float, float(value)) for value in row] for row in pose[:3]]
        towards = mi.Vector3f([row[0] * x - row[1] * y - row[2] for row in axes])
        return mi.Ray3f(
            mi.Point3f([row[3] + dr.zeros(mi.Float, len(index)) for row in axes]), dr.normalize(towards)
        )

    def image(self, values, channels: int, samples: int = 1) -> Array:
        """Drjit values, one a ray, averaged to (h w c)."""
        return np.array(values).reshape(channels, self.size, self.size, samples).mean(-1).transpose(1, 2, 0)


def set_stage(furniture: list[Thing], light: Array, size: int, field_of_view_deg: float) -> Stage:
    scenes = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in ("all", "diffuse", "specular"):
            turn = mi.ScalarTransform4f().rotate([1, 0, 0], 90)
            scene: dict = {
                "type": "scene",
                "sky": {"type": "envmap", "bitmap": mi.Bitmap(light), "to_world": turn},
            }
            for number, thing in enumerate(furniture):
                mesh, file = thing.mesh, Path(folder) / f"{number}.ply"
                columns = np.concatenate([mesh.vertices, mesh.normals(), mesh.uv], 1).T
                names = ("x", "y", "z", "nx", "ny", "nz", "u", "v")
                write_ply(file, dict(zip(names, columns, strict=True)), mesh.faces)
                move = mi.ScalarTransform4f().translate([*thing.place, 0]).rotate([0, 0, 1], thing.turn_deg)
                skin = {"type": "twosided", "bsdf": thing.surface.lobe(part)}
                scene[f"thing{number}"] = {
                    "type": "ply",
                    "filename": str(file),
                    "to_world": move,
                    "bsdf": skin,
                }
            scenes[part] = mi.load_dict(scene, optimize=False)
    focal_px = 0.5 * size / np.tan(np.radians(field_of_view_deg) / 2)
    return Stage(furniture, scenes.pop("all"), scenes, size, float(focal_px))


def reflected(stage: Stage, part: str, ray: mi.Ray3f, sampler: mi.Sampler, bound: float = 6.0) -> mi.Color3f:
    """Light that `part` of the first surface sends back along the ray, all later surfaces being whole.

    One light sample and one lobe sample, weighted by the power heuristic (Veach 1997); what the lobe sample
    meets is left to a path tracer. Single contributions are bounded to keep lone bright pixels out.
    """

    def weight(mine, other):
        return dr.select(mine > 0, mine * mine / (mine * mine + other * other), 0)

    here = stage.parts[part].ray_intersect(ray)
    seen, context, skin = here.is_valid(), mi.BSDFContext(), here.bsdf()
    light, radiance = stage.whole.sample_emitter_direction(here, sampler.next_2d(seen), True, seen)
    value, density = skin.eval_pdf(context, here, here.to_local(light.d), seen)
    direct = dr.select(seen, value * radiance * weight(light.pdf, density), 0)
    sample, value = skin.sample(context, here, sampler.next_1d(seen), sampler.next_2d(seen), seen)
    onward = here.spawn_ray(here.to_world(sample.wo))
    there = stage.whole.ray_intersect(onward, seen)
    met = there.is_valid()
    way = mi.DirectionSample3f(stage.whole, there, here)
    density = stage.whole.pdf_emitter_direction(here, way, seen & ~met)
    open_sky = stage.whole.environment().eval(there, seen & ~met) * weight(sample.pdf, density)
    arriving = dr.select(met, stage.path.sample(stage.whole, sampler, onward, None, seen & met)[0], open_sky)
    return dr.minimum(direct, bound) + dr.select(seen, dr.minimum(value * arriving, bound), 0)


def photograph(stage: Stage, pose: Array, samples: int, seed: int) -> tuple[Array, Array]:
    """The photo and its diffuse part, linear light (h w 3); the sky belongs to both."""
    sampler = mi.load_dict({"type": "multijitter", "sample_count": samples})
    samples = sampler.sample_count()  # rounded up to a full grid
    sampler.set_samples_per_wavefront(samples)
    sampler.seed(dr.opaque(mi.UInt32, seed), stage.size**2 * samples)
    ray = stage.rays(pose, samples, sampler.next_2d())
    first = stage.whole.ray_intersect(ray)
    background = dr.select(first.is_valid(), 0, stage.whole.environment().eval(first))
    light = [background, *(reflected(stage, part, ray, sampler) for part in ("diffuse", "specular"))]
    dr.eval(light)
    behind, diffuse, specular = (stage.image(part, 3, samples) for part in light)
    return behind + diffuse + specular, behind + diffuse


def measure(stage: Stage, pose: Array) -> tuple[Array, Array, NDArray[np.uint8]]:
    """Depth (h w), world normals (h w 3) and instance ids (h w) at the pixel centres; 0 where the sky is."""
    ray = stage.rays(pose, 1, mi.Point2f(0.5))
    first = stage.whole.ray_intersect(ray)
    normals, towards = stage.image(first.sh_frame.n, 3), stage.image(ray.d, 3)
    normals *= -np.sign(np.sum(normals * towards, -1, keepdims=True))
    ids = np.zeros((stage.size, stage.size), np.uint8)
    shapes = {shape.id(): shape for shape in stage.whole.shapes()}
    for number in range(len(stage.things)):
        there = first.is_valid() & (first.shape == mi.ShapePtr(shapes[f"thing{number}"]))
        ids[np.array(there).reshape(ids.shape)] = number + 1
    depth = np.where(ids > 0, np.array(first.t).reshape(ids.shape), 0) * (towards @ -pose[:3, 2])
    return depth, np.where(ids[..., None] > 0, normals, 0), ids
