"""A triangle mesh from the depth that many cameras see: fusion into a truncated signed distance field.

Letters: h w pixels · n vertices · m triangles.

The field is kept by open3d in blocks of voxels near surfaces only (Curless and Levoy 1996 for the averages; Dong et al.
2021 for the blocks), its zero level becomes triangles by marching cubes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import PromptError, UnavailableError
from featurefields.field import FeatureField, render
from featurefields.files.mesh import Mesh
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.maths.colour import linear_from_srgb, srgb_from_linear
from featurefields.raster import Rasterizer
from featurefields.surface_depth import DepthKind, SurfaceDepth, surface_depth
from featurefields.surfaces.clusters import without_small_clusters

ColourLayer = Literal["total", "matter"]
SURVEYED = 8
"""Views that decide the size of the voxels."""
FINEST = 640
"""Voxels across the scene at most, unless a size is given."""
BLOCK = 8
"""Voxels along a side of a block."""
START_BLOCKS = 4096


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How depth becomes a mesh."""

    depth: DepthKind = "median"
    """Which depth of a pixel counts: the median of what it shows, or the mean."""
    colour: ColourLayer = "total"
    """total: as seen, reflections included, averaged over the views; matter: without reflections."""
    voxel: float | None = None
    """Side of a voxel in scene units (None: what a pixel covers)."""
    truncation: float = 4.0
    """Distances are kept up to so many voxels from the surface."""
    coverage: float = 0.7
    """Pixels that the Gaussians cover less than this do not count."""
    far: float | None = None
    """Depth beyond which nothing counts, in scene units (None: twice that of the middle of what is seen)."""
    seen: float = 2.0
    """Voxels that fewer views agree on are left out."""
    smallest: float = 0.01
    """Pieces with less than this share of the largest piece's area are left out."""


@dataclass(frozen=True)
class MeshReport:
    """What was found on the way: in scene units; `views` used, `pieces` that were too small."""

    voxel: float
    truncation: float
    far: float
    views: int
    pieces_left_out: int


@torch.no_grad()
def fuse_mesh(
    field: FeatureField,
    cameras: Sequence[Camera],
    rasterizer: Rasterizer,
    config: MeshConfig = MeshConfig(),
    *,
    on_view: Callable[[], object] = lambda: None,
) -> tuple[Mesh, MeshReport]:
    """The surface of the field's Gaussians as `cameras` see it, in the field's world.

    `on_view` is called after each camera. Surroundings (sky) are no surface.

    Raises:
        UnavailableError: open3d is not installed or cannot be loaded.
        PromptError: there are no colours, no cameras, or nothing that covers enough pixels.
    """
    field = _bare(field)
    if not cameras:
        raise PromptError("a mesh needs cameras that look at the Gaussians, but there are none; pass some")
    far, voxel = _scale(field, cameras, rasterizer, config)
    grid = _Grid(voxel, config.truncation, far)
    used = 0
    for camera in cameras:
        seen = surface_depth(field.splats, camera, rasterizer, kind=config.depth)
        valid = _valid(seen, config, far, voxel)
        if valid.any():
            depth = torch.where(valid, seen.depth, 0.0)
            grid.add(camera, depth, _colours(field, camera, rasterizer, config.colour))
            used += 1
        on_view()
    whole = grid.mesh(min(config.seen, max(used, 1)))
    if len(whole.triangles) == 0:
        raise PromptError(
            "no surface was found: what the views see does not agree, or covers too little; choose a larger voxel, a "
            "smaller coverage, or fewer views that have to agree"
        )
    mesh, left_out = without_small_clusters(whole, config.smallest)
    return mesh, MeshReport(voxel, config.truncation * voxel, far, used, left_out)


def _bare(field: FeatureField) -> FeatureField:
    """Only colours, and nothing that no Gaussian shows."""
    if "rgb" not in field.heads:
        raise PromptError(f"the field has no colours: its heads are {', '.join(field.heads) or 'none'}")
    return FeatureField(field.splats, {"rgb": field.heads["rgb"].without_surroundings()}, field.about)


def _scale(
    field: FeatureField, cameras: Sequence[Camera], rasterizer: Rasterizer, config: MeshConfig
) -> tuple[float, float]:
    """How far to look, and the side of a voxel."""
    depths, footprints, places = [], [], []
    for camera in cameras[:: max(1, -(-len(cameras) // SURVEYED))]:
        seen = surface_depth(field.splats, camera, rasterizer, kind=config.depth)
        valid = (seen.alpha >= config.coverage) & (seen.depth > 0)
        depths.append(seen.depth[valid].cpu())
        footprints.append(seen.depth[valid].cpu() / camera.focal_px.mean().cpu())
        places.append(camera.unproject(seen.depth)[valid].cpu())
    found = torch.cat(depths)
    if len(found) == 0:
        raise PromptError(
            f"no pixel of the views is covered by {config.coverage:.0%}: there is no surface to mesh; look from other "
            "places, or ask for less coverage"
        )
    far = 2.0 * float(found.median()) if config.far is None else config.far
    near = found <= far
    if not near.any():
        raise PromptError(f"nothing is nearer than {far:.3g}; choose a larger distance to look at")
    if config.voxel is not None:
        return far, config.voxel
    inside = torch.cat(places)[near]
    ordered = inside.sort(dim=0).values
    last = len(ordered) - 1
    extent = float((ordered[round(0.99 * last)] - ordered[round(0.01 * last)]).amax())
    return far, max(float(torch.cat(footprints)[near].median()), extent / FINEST)


def _valid(seen: SurfaceDepth, config: MeshConfig, far: float, voxel: float) -> Bool[Tensor, "h w"]:
    """Pixels that show one surface well."""
    near = (seen.depth > 0) & (seen.depth <= far)
    return near & (seen.alpha >= config.coverage) & (seen.spread <= 2 * config.truncation * voxel)


def _colours(
    field: FeatureField, camera: Camera, rasterizer: Rasterizer, layer: ColourLayer
) -> Float[Tensor, "h w 3"]:
    """Display colours of what is there, not darkened where it covers a pixel only in part."""
    drawn = render(field, camera, rasterizer=rasterizer, heads=("rgb",))
    layers = drawn["rgb"]
    picture = layers["indep"] if layer == "matter" and "indep" in layers else layers["total"]
    alpha = drawn.alpha.clamp(min=0.05)[..., None]
    if isinstance(field.heads["rgb"], HarmonicsHead):
        return (picture / alpha).clamp(0, 1)
    return srgb_from_linear((linear_from_srgb(picture.clamp(0, 1)) / alpha).clamp(0, 1))


class _Grid:
    """open3d's voxels."""

    def __init__(self, voxel: float, truncation: float, far: float) -> None:
        self._o3d = _open3d()
        core = self._o3d.core
        self._truncation, self._far = float(truncation), float(far)
        self._blocks = self._o3d.t.geometry.VoxelBlockGrid(
            attr_names=("tsdf", "weight", "color"),
            attr_dtypes=(core.float32, core.float32, core.float32),
            attr_channels=(1, 1, 3),
            voxel_size=voxel,
            block_resolution=BLOCK,
            block_count=START_BLOCKS,
        )

    def add(self, camera: Camera, depth: Float[Tensor, "h w"], colours: Float[Tensor, "h w 3"]) -> None:
        """Average one view in; depth 0 says nothing."""
        image, tensor = self._o3d.t.geometry.Image, self._o3d.core.Tensor
        intrinsics = camera.intrinsics.double().cpu().numpy().copy()
        intrinsics[:2, 2] -= 0.5  # open3d's pixel centres are whole numbers
        pose = tensor(camera.camera_from_world.double().cpu().numpy())
        lens = tensor(intrinsics)
        distances, shades = image(_array(depth)), image(_array(colours))
        reach = (1.0, self._far, self._truncation)
        touched = self._blocks.compute_unique_block_coordinates(distances, lens, pose, *reach)
        self._blocks.integrate(touched, distances, shades, lens, pose, *reach)

    def mesh(self, seen: float) -> Mesh:
        """The zero level where at least `seen` views were averaged."""
        found = self._blocks.extract_triangle_mesh(weight_threshold=float(seen))
        if "indices" not in found.triangle or len(found.triangle.indices) == 0:
            none = torch.zeros(0, 3)
            return Mesh(none, none.long(), none, none)
        places, shades = (found.vertex[name].numpy() for name in ("positions", "colors"))
        order, triangles = _ordered(places, found.triangle.indices.numpy().astype(np.int64))
        vertices = torch.from_numpy(places[order].astype(np.float32))
        colours = torch.from_numpy(shades[order].astype(np.float32)).clamp(0, 1)
        return Mesh(vertices, triangles, vertex_normals(vertices, triangles), colours)


def _ordered(places: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, Int[Tensor, "m 3"]]:
    """An order of the vertices and triangles that does not depend on which thread came first."""
    order = np.lexsort(places.T)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    turned = number[corners]
    first = turned.argmin(1)[:, None]
    turned = np.take_along_axis(turned, (first + np.arange(3)) % 3, axis=1)
    return order, torch.from_numpy(turned[np.lexsort(turned.T[::-1])])


def vertex_normals(vertices: Float[Tensor, "n 3"], triangles: Int[Tensor, "m 3"]) -> Float[Tensor, "n 3"]:
    """Unit normals of vertices: the mean of the triangles around them, weighted by area."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    across = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(0, triangles[:, corner], across)
    return torch.nn.functional.normalize(normals, dim=-1)


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().to("cpu", torch.float32).numpy())


def _open3d() -> Any:
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise UnavailableError(
            f"a mesh needs open3d, which cannot be loaded ({' '.join(str(error).split())}); install it with: "
            "pip install 'featurefields[mesh]'"
        ) from error
    return open3d


def check_available() -> None:
    """Raise `UnavailableError`, with the reason, when meshes cannot be made here."""
    _open3d()
