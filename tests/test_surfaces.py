"""Depth of surfaces, fused meshes and coloured points, on scenes whose surface is known."""

import sys
from dataclasses import replace

import pytest
import torch
from tiny_fields import (
    BALLS,
    ball,
    looking,
    part,
    reflected_columns,
    reflected_head,
    ring,
    splats_at,
    two_balls,
)

from featurefields.camera import Camera
from featurefields.errors import PromptError, UnavailableError
from featurefields.field import About, FeatureField
from featurefields.files.mesh import Mesh
from featurefields.heads.direct import DirectHead
from featurefields.maths.rotations import matrix_from_quat
from featurefields.raster import RasterConfig, choose_rasterizer
from featurefields.splats import Splats, concatenate
from featurefields.surface_depth import _peaks, _quadrics, _rays, surface_depth
from featurefields.surfaces.clusters import clusters, without_small_clusters
from featurefields.surfaces.fusion import MeshConfig, fuse_mesh
from featurefields.surfaces.samples import seen_points
from featurefields.surfaces.viewing import all_around, framed

CPU = choose_rasterizer("cpu")


def plane(count: int = 2500) -> Splats:
    """Overlapping flat Gaussians in the plane z = 0."""
    generator = torch.Generator().manual_seed(1)
    means = torch.cat([4 * torch.rand(count, 2, generator=generator) - 2, torch.zeros(count, 1)], -1)
    splats = splats_at(means, scale=0.12, opacity=0.9, normals=torch.tensor([[0.0, 0, 1]]).repeat(count, 1))
    log_scales = splats.log_scales.clone()
    log_scales[:, 2] = -7.0
    return replace(splats, log_scales=log_scales)


def true_depth(camera: Camera) -> torch.Tensor:
    """Depth of the plane z = 0."""
    rays = _rays(camera)
    return -camera.position[2] / rays[..., 2]


class TestDepth:
    camera = looking((2.0, 0.5, 1.2), size=(48, 40), focal=60.0)

    @pytest.mark.parametrize("kind", ["median", "mean"])
    def test_a_slanted_plane_is_found_where_it_is(self, kind, backend):
        found = surface_depth(plane(800), self.camera, backend, kind=kind)
        sure = found.alpha > 0.9
        assert sure.float().mean() > 0.4
        assert (found.depth - true_depth(self.camera))[sure].abs().max() < 0.015
        assert found.spread[sure].max() < 0.025

    def test_depths_of_the_means_are_worse(self):
        splats = plane(800)
        middle = ((splats.means - self.camera.position) @ self.camera.forward)[:, None]
        drawn = CPU.draw(splats, middle, self.camera, RasterConfig())
        sure = drawn.alpha > 0.9
        mean = (drawn.image[..., 0] / drawn.alpha)[sure]
        assert (mean - true_depth(self.camera)[sure]).abs().max() > 0.06

    def test_the_peak_is_where_the_density_is_largest(self):
        generator = torch.Generator().manual_seed(3)
        splats = splats_at(torch.randn(6, 3, generator=generator) * 0.2)
        splats = replace(
            splats,
            quats=torch.randn(6, 4, generator=generator),
            log_scales=torch.randn(6, 3, generator=generator) - 1,
        )
        ray = _rays(self.camera)[11, 17]
        found = _peaks(_quadrics(splats, self.camera)[None], ray[None])[0]
        depth = torch.linspace(0.0, 6.0, 60001)
        axes = matrix_from_quat(splats.quats)
        for index in range(6):
            points = self.camera.position + depth[:, None] * ray - splats.means[index]
            density = -((points @ axes[index]) / splats.scales[index]).square().sum(-1)
            assert found[index].item() == pytest.approx(depth[density.argmax()].item(), abs=3e-4)

    def test_the_median_keeps_to_one_surface_and_the_mean_falls_between(self):
        near, far = (
            splats_at(
                torch.tensor([[0.0, 0.0, z]]), scale=3.0, opacity=o, normals=torch.tensor([[0.0, 0, 1]])
            )
            for z, o in ((1.0, 0.7), (-1.0, 0.99))
        )
        splats = concatenate([near, far])
        flat = splats.log_scales.clone()
        flat[:, 2] = -7.0
        splats, camera = replace(splats, log_scales=flat), looking((0.01, 0.0, 4.0), size=(8, 8))
        median, mean = (surface_depth(splats, camera, CPU, kind=kind) for kind in ("median", "mean"))
        assert median.depth[4, 4].item() == pytest.approx(3.0, abs=0.02)
        assert 3.3 < mean.depth[4, 4].item() < 3.8
        assert median.spread[4, 4].item() > 0.4

    def test_nothing_has_no_depth(self):
        camera = looking((0.0, -9.0, 0.0), (0.0, -20.0, 0.0))
        found = surface_depth(plane(50), camera, CPU)
        assert (found.depth == 0).all() and (found.alpha == 0).all() and (found.spread == 0).all()


def shell(kind: str = "reflected") -> FeatureField:
    """A closed ball of 900 small flat Gaussians, orange in matter, before a sky."""
    means, normals = ball((0.1, -0.2, 0.3), 900, 0.6)
    splats = splats_at(means, scale=0.05, opacity=0.97, normals=normals)
    columns = reflected_columns(torch.tensor([0.8, 0.4, 0.1]).repeat(900, 1), normals)
    cameras = [*ring(8, 3.0, 1.6), *ring(8, 3.0, -1.0)]
    about = About(
        cameras={f"{number}.png": camera.resized((96, 96)) for number, camera in enumerate(cameras)}
    )
    return FeatureField(splats.with_columns(**columns), {"rgb": reflected_head()}, about)


@pytest.fixture(scope="module")
def fused():
    """The ball of `shell` as a mesh."""
    pytest.importorskip("open3d", reason="open3d is not installed")
    field = shell()
    return fuse_mesh(field, list(field.about.cameras.values()), CPU, MeshConfig(colour="matter"))


class TestFusion:
    def test_vertices_lie_on_the_surface(self, fused):
        mesh, report = fused
        radius = (mesh.vertices - torch.tensor([0.1, -0.2, 0.3])).norm(dim=-1)
        assert report.views == 16 and 0.02 < report.voxel < 0.05
        assert (radius - 0.6).abs().mean() < 0.7 * report.voxel
        assert mesh.areas.sum().item() == pytest.approx(4 * torch.pi * 0.36, rel=0.12)

    def test_triangles_and_normals_look_outwards(self, fused):
        mesh, _ = fused
        out = torch.nn.functional.normalize(mesh.vertices - torch.tensor([0.1, -0.2, 0.3]), dim=-1)
        assert (mesh.normals * out).sum(-1).mean() > 0.95
        a, b, c = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
        assert (
            (torch.linalg.cross(b - a, c - a) * out[mesh.triangles[:, 0]]).sum(-1) > 0
        ).float().mean() > 0.97

    def test_matter_has_its_colour_and_no_sky(self, fused):
        mesh, _ = fused
        assert (mesh.colours.median(0).values - torch.tensor([0.8, 0.4, 0.1])).abs().max() < 0.02

    def test_it_is_the_same_every_time(self, fused):
        field = shell()
        again, _ = fuse_mesh(field, list(field.about.cameras.values()), CPU, MeshConfig(colour="matter"))
        for name in ("vertices", "triangles", "normals", "colours"):
            assert torch.equal(getattr(again, name), getattr(fused[0], name)), name

    def test_the_coverage_and_the_distance_are_kept(self):
        pytest.importorskip("open3d", reason="open3d is not installed")
        field = shell()
        cameras = list(field.about.cameras.values())
        with pytest.raises(PromptError, match=r"nothing is nearer than 0\.5"):
            fuse_mesh(field, cameras, CPU, MeshConfig(far=0.5))
        faint = replace(field.splats, opacity_logits=torch.full((900,), -3.0))
        with pytest.raises(PromptError, match="covered by 70%"):
            fuse_mesh(field.with_splats(faint), cameras, CPU)

    def test_pieces_that_are_small_go(self):
        pytest.importorskip("open3d", reason="open3d is not installed")
        field = two_balls("harmonics")
        field = field.with_splats(field.splats.select(~part("floor")))
        cameras = [camera.resized((80, 80)) for camera in field.about.cameras.values()]
        both, _ = fuse_mesh(field, cameras, CPU, MeshConfig(smallest=0.3))
        for centre in BALLS.values():
            assert ((both.vertices - torch.tensor(centre)).norm(dim=-1) < 0.45).float().mean() > 0.3

    def test_without_open3d_the_message_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "open3d", None)
        field = shell()
        with pytest.raises(UnavailableError, match=r"featurefields\[mesh\]"):
            fuse_mesh(field, list(field.about.cameras.values())[:1], CPU)

    def test_what_has_no_colours_or_cameras_is_told(self):
        field = shell()
        with pytest.raises(PromptError, match="no colours"):
            fuse_mesh(FeatureField(field.splats, {"feature": DirectHead("tint")}), ring(2), CPU)
        with pytest.raises(PromptError, match="cameras"):
            fuse_mesh(field, [], CPU)


def triangle_strip(start: int, count: int, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` triangles in a row that share vertices, numbered from `start`."""
    index = torch.arange(count + 2)
    vertices = torch.stack(
        [size * (index // 2).float(), size * (index % 2).float(), torch.full_like(index, start).float()], -1
    )
    triangles = torch.stack([index[:-2], index[1:-1], index[2:]], -1) + start
    return vertices, triangles


class TestClusters:
    @pytest.fixture
    def mesh(self) -> Mesh:
        strips = [triangle_strip(0, 10, 1.0), triangle_strip(12, 30, 0.1), triangle_strip(44, 2, 1.0)]
        vertices = torch.cat([each[0] for each in strips])
        triangles = torch.cat([each[1] for each in strips])
        return Mesh(vertices, triangles, torch.zeros_like(vertices), torch.rand(len(vertices), 3))

    def test_triangles_that_share_vertices_are_one_piece(self, mesh: Mesh):
        found = clusters(mesh)
        assert [len(found[a:b].unique()) for a, b in ((0, 10), (10, 40), (40, 42))] == [1, 1, 1]
        assert len(found.unique()) == 3

    def test_area_decides_not_the_number_of_triangles(self, mesh: Mesh):
        kept, left_out = without_small_clusters(mesh, 0.1)
        assert left_out == 1 and len(kept.triangles) == 12 and len(kept.vertices) == 16
        assert torch.equal(kept.vertices[kept.triangles[:10]], mesh.vertices[mesh.triangles[:10]])
        assert torch.equal(kept.colours[kept.triangles[10:]], mesh.colours[mesh.triangles[40:]])
        everything, none = without_small_clusters(mesh, 0.0)
        assert none == 0 and len(everything.triangles) == 42

    def test_unused_vertices_are_no_piece(self, mesh: Mesh):
        stray = replace(
            mesh,
            vertices=torch.cat([torch.full((1, 3), 9.0), mesh.vertices]),
            triangles=mesh.triangles + 1,
            normals=torch.zeros(len(mesh.vertices) + 1, 3),
            colours=torch.zeros(len(mesh.vertices) + 1, 3),
        )
        kept, left_out = without_small_clusters(stray, 0.9)
        assert left_out == 2 and len(kept.vertices) == 12


class TestViewing:
    camera = looking((3.0, 0.0, 1.0), size=(100, 80), focal=90.0)
    points = 0.15 * torch.randn(300, 3, generator=torch.Generator().manual_seed(1)) + torch.tensor(
        [0.0, 0.4, 0.2]
    )

    def test_a_framed_camera_shows_the_same_only_larger(self):
        close = framed(self.camera, self.points, longest=60)
        assert close is not None and max(close.size) <= 61
        before, depth = self.camera.project(self.points)
        after, same = close.project(self.points)
        assert torch.allclose(depth, same)
        factor = close.focal_px[0] / self.camera.focal_px[0]
        assert torch.allclose(after - after[:1], factor * (before - before[:1]), atol=1e-3)
        inside = (after > 0).all(-1) & (after < torch.tensor(close.size)).all(-1)
        assert inside.float().mean() > 0.95
        assert (after.amax(0) - after.amin(0)).max() > 0.6 * max(close.size)

    def test_it_is_not_enlarged_without_limit(self):
        close = framed(self.camera, 0.01 * self.points, longest=5000, zoom=1.5)
        assert close is not None and torch.allclose(close.focal_px, 1.5 * self.camera.focal_px)

    def test_what_the_photo_does_not_show_is_left_alone(self):
        assert framed(self.camera, self.points + torch.tensor([0.0, 9.0, 0.0]), longest=60) is None
        assert framed(self.camera, self.points + torch.tensor([9.0, 0.0, 0.0]), longest=60) is None

    def test_all_around_looks_from_above_and_below(self):
        cameras = all_around(self.points, torch.tensor([0.0, 0.0, 1.0]), longest=64, count=24)
        assert len(cameras) == 24
        heights = torch.stack([camera.position[2] for camera in cameras]) - 0.2
        assert heights.min() < 0 < heights.max()


class TestPoints:
    def test_seen_and_opaque_gaussians_become_points(self):
        field = shell()
        splats = field.splats
        hidden = splats_at(torch.tensor([[0.1, -0.2, 0.3]]), scale=0.02, opacity=0.99)
        faint = splats_at(torch.tensor([[0.1, -0.2, 1.5]]), scale=0.05, opacity=0.3)
        extra = [
            Splats(*(getattr(each, name) for name in ("means", "quats", "log_scales", "opacity_logits")),
                   {name: column[:1] for name, column in splats.columns.items()})
            for each in (hidden, faint)
        ]  # fmt: skip
        whole = field.with_splats(concatenate([splats, *extra]))
        points = seen_points(whole, list(field.about.cameras.values()), CPU, colour="matter")
        assert len(points.positions) > 800 and points.rows.max() < 900
        assert torch.equal(points.positions, splats.means[points.rows])
        assert (points.colours - torch.tensor([0.8, 0.4, 0.1])).abs().max() < 0.02
        loose = seen_points(whole, list(field.about.cameras.values()), CPU, least_opacity=0.1)
        assert 901 in loose.rows and 900 not in loose.rows

    def test_normals_look_at_the_cameras(self):
        field = shell()
        flipped = field.splats.with_columns(normals=-field.splats.columns["normals"])
        for splats in (field.splats, flipped):
            points = seen_points(field.with_splats(splats), list(field.about.cameras.values()), CPU)
            out = torch.nn.functional.normalize(points.positions - torch.tensor([0.1, -0.2, 0.3]), dim=-1)
            assert ((points.normals * out).sum(-1) > 0.9).float().mean() > 0.95

    def test_colours_are_the_mean_of_what_the_views_see(self):
        """Harmonics that are bright from one side and dark from the other: the mean goes with the cameras."""
        field = two_balls("harmonics")
        bands = torch.zeros(264, 16, 3)
        bands[:, 3] = 1.0  # along x
        field = field.with_splats(field.splats.with_columns(harmonics=bands))
        left, right = looking((-3.0, 0.0, 1.0)), looking((3.0, 0.0, 1.0))
        one, two = (seen_points(field, [camera], CPU).colours.mean() for camera in (left, right))
        both = seen_points(field, [left, right], CPU).colours.mean()
        assert (one - two).abs() > 0.4 and abs(both - 0.5) < 0.1

    def test_nothing_to_see_is_told(self):
        with pytest.raises(PromptError, match="none of the 900 splats"):
            seen_points(shell(), [looking((0.0, -9.0, 0.0), (0.0, -20.0, 0.0))], CPU)
