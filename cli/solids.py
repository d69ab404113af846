"""Points and meshes for `ff export`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .console import Console
from .options import ComputeOptions, Decimal, Number, OptionalPath
from .viewpoints import in_scene, sized

if TYPE_CHECKING:
    from featurefields.camera import Camera
    from featurefields.field import FeatureField

VIEWS = 120
"""At most so many views are looked from, unless told otherwise."""
OBJECT_PX = 384
"""A selected object is looked at in pictures of this size."""
ALONE_PX = 512
"""Size of the pictures of what came without cameras."""
LONGEST_PX = 960
"""No picture is larger: a mesh has not as many voxels as large photos have pixels."""
UP = (0.0, -1.0, 0.0)
"""Up, where no cameras tell."""


@dataclass(frozen=True, kw_only=True)
class SolidOptions:
    """How points and meshes are made (--as points, --as mesh)."""

    color: Literal["total", "matter"] = "total"
    """total: colours as seen, mean over the views; matter: without reflections."""
    scene: OptionalPath = None
    """Look from the views of this folder of posed photos, for a .ply that was made from them."""
    views: Number = None
    """Look from at most this many views (default: 120)."""
    min_opacity: Annotated[float, tyro.conf.arg(metavar="0..1")] = 0.5
    """Gaussians that are less opaque are no points."""
    depth: Literal["median", "mean"] = "median"
    """Which depth of a pixel makes the mesh."""
    voxel: Decimal = None
    """Side of the mesh's voxels, in the units of --frame (default: what a pixel covers)."""
    truncation: float = 4.0
    """Distances to the surface are averaged up to so many voxels from it."""
    coverage: Annotated[float, tyro.conf.arg(metavar="0..1")] = 0.7
    """Pixels that are covered less make no surface."""
    far: Decimal = None
    """What is deeper makes no surface, in the units of --frame (default: twice the median depth)."""
    smallest: Annotated[float, tyro.conf.arg(metavar="0..1")] = 0.01
    """Pieces of the mesh with a smaller share of the largest one's area are left out."""

    def check(self, kind: str) -> None:
        """Raise `PromptError` when a number makes no sense, or belongs to something else than `kind`."""
        for name, value in (("--min-opacity", self.min_opacity), ("--coverage", self.coverage)):
            if not 0 <= value <= 1:
                raise PromptError(f"{name} is a fraction from 0 to 1, got {value:g}")
        for name, value in (("--voxel", self.voxel), ("--far", self.far), ("--truncation", self.truncation)):
            if value is not None and not 0 < value < float("inf"):
                raise PromptError(f"{name} is a length above 0, got {value:g}")
        if not 0 <= self.smallest <= 1:
            raise PromptError(f"--smallest is a fraction from 0 to 1, got {self.smallest:g}")
        if self.views is not None and self.views < 1:
            raise PromptError(f"--views asked for {self.views} views; ask for at least 1")
        if kind == "splats" and self != SolidOptions():
            raise PromptError(
                "options of points and meshes were given, but splats are written; pass --as points or --as mesh"
            )


def export_points(
    field: "FeatureField",
    output: Path,
    options: SolidOptions,
    compute: ComputeOptions,
    console: Console,
    *,
    in_world: bool,
    alone: bool,
    overwrite: bool,
) -> dict[str, object]:
    """Write the seen Gaussians as points; rows for the summary."""
    from featurefields.files.points import write_points
    from featurefields.surfaces.samples import seen_points

    compute = _where(compute)
    field, cameras = _looked_at(field, options, compute, alone=alone)
    with console.progress("looking at every splat", len(cameras)) as advance:
        points = seen_points(
            field,
            cameras,
            compute.rasterizer(),
            least_opacity=options.min_opacity,
            colour=options.color,
            on_view=advance,
        )
    back = field.about.world_from_capture.inverse
    positions, normals = points.positions, points.normals
    if not in_world:
        positions, normals = back.points(positions), normals @ back.rotation.to(normals).T
    write_points(positions, normals, points.colours, output, overwrite=overwrite)
    return {"points": len(positions), "views": len(cameras), "colour": options.color}


def export_mesh(
    field: "FeatureField",
    output: Path,
    options: SolidOptions,
    compute: ComputeOptions,
    console: Console,
    *,
    in_world: bool,
    alone: bool,
    overwrite: bool,
) -> dict[str, object]:
    """Fuse and write a mesh; rows for the summary."""
    from featurefields.files.mesh import write_mesh
    from featurefields.surfaces.fusion import MeshConfig, fuse_mesh

    compute = _where(compute)
    field, cameras = _looked_at(field, options, compute, alone=alone)
    unit = 1.0 if in_world else field.about.world_from_capture.scale
    config = MeshConfig(
        depth=options.depth,
        colour=options.color,
        voxel=None if options.voxel is None else options.voxel * unit,
        truncation=options.truncation,
        coverage=options.coverage,
        far=None if options.far is None else options.far * unit,
        smallest=options.smallest,
    )
    with console.progress("fusing depth", len(cameras)) as advance:
        mesh, report = fuse_mesh(field, cameras, compute.rasterizer(), config, on_view=advance)
    back = field.about.world_from_capture.inverse
    if not in_world:
        turned = mesh.normals @ back.rotation.to(mesh.normals).T
        mesh = replace(mesh, vertices=back.points(mesh.vertices), normals=turned)
    write_mesh(mesh, output, overwrite=overwrite)
    return {
        "vertices": len(mesh.vertices),
        "triangles": len(mesh.triangles),
        "voxel": report.voxel / unit,
        "truncation": report.truncation / unit,
        "far": report.far / unit,
        "views": report.views,
        "pieces left out": report.pieces_left_out,
        "colour": options.color,
    }


def _where(compute: ComputeOptions) -> ComputeOptions:
    """The CPU, unless told otherwise: who is seen at a pixel, and how well, is a product there with what it keeps."""
    return (
        replace(compute, device="cpu") if (compute.device, compute.backend) == ("auto", "auto") else compute
    )


def _looked_at(
    field: "FeatureField", options: SolidOptions, compute: ComputeOptions, *, alone: bool
) -> "tuple[FeatureField, list[Camera]]":
    """The field on its device, and cameras: the scene's, framed on the splats when they are a part of it."""
    import torch

    from featurefields.surfaces.viewing import all_around, evenly, framed

    device, count = compute.torch_device(), options.views or VIEWS
    cameras = list(field.about.cameras.values())
    if options.scene is not None:
        field, found, _, _ = in_scene(field, options.scene)
        cameras = list(found.values())
    means = field.splats.means
    if not cameras:
        cameras = all_around(means, torch.tensor(UP), longest=ALONE_PX, count=count)
    elif alone:
        close = (framed(camera, means, longest=OBJECT_PX) for camera in cameras)
        cameras = [camera for camera in close if camera is not None] or cameras
    cameras = [sized(each, min(LONGEST_PX, max(each.size))).to(device) for each in evenly(cameras, count)]
    return field.to(device), cameras
