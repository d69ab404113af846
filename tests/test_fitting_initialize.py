"""What a fit starts from: on the points, facing the cameras, never more than asked for."""

from dataclasses import replace

import pytest
import torch
from tiny_fields import photograph, two_balls, views_of

from featurefields.errors import FittingError
from featurefields.fitting.initialize import FLATNESS, facing_normals, frame_of, initial_splats
from featurefields.maths.rotations import matrix_from_quat
from featurefields.readers import read_scene
from featurefields.scene import Scene


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return read_scene(photograph(tmp_path_factory.mktemp("balls")))


def test_every_point_is_taken_where_the_budget_allows(scene: Scene):
    assert scene.points is not None
    splats, colours, normals = initial_splats(scene, count=5000, generator=seeded())
    assert torch.equal(splats.means, scene.points.positions) and torch.equal(colours, scene.points.colours)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(normals)), atol=1e-5)


def test_never_more_than_asked_for_and_each_point_once(scene: Scene):
    assert scene.points is not None
    splats, colours, _ = initial_splats(scene, count=100, generator=seeded())
    assert len(splats) == len(colours) == 100
    gaps = torch.cdist(splats.means.double(), scene.points.positions.double())
    assert (gaps.min(1).values == 0).all() and len(gaps.argmin(1).unique()) == 100


def test_the_sample_follows_the_seed(scene: Scene):
    first, again, other = (initial_splats(scene, count=100, generator=seeded(n))[0].means for n in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_gaussians_are_flat_along_their_normals(scene: Scene):
    splats, _, normals = initial_splats(scene, count=5000, generator=seeded())
    along = matrix_from_quat(splats.quats)[..., 2]
    assert torch.allclose((along * normals).sum(-1), torch.ones(len(splats)), atol=1e-5)
    assert torch.allclose(splats.scales[:, 2] / splats.scales[:, 0], torch.tensor(FLATNESS), rtol=1e-5)


def test_normals_face_the_nearest_camera_that_sees_the_point():
    field = two_balls()
    means, truth = field.splats.means, field.splats.columns["normals"]
    signs = torch.where(torch.arange(len(truth)) % 2 == 0, 1.0, -1.0)[:, None]
    views = views_of(field.about.cameras)
    turned = facing_normals(means, truth * signs, views)
    assert torch.equal(turned, facing_normals(means, -truth * signs, views)), "the sign given does not matter"
    checked = 0
    for row, (point, normal) in enumerate(zip(means, turned, strict=True)):
        seeing = []
        for camera in field.about.cameras.values():
            (pixel,), (depth,) = camera.project(point[None])
            if depth > 0 and (pixel >= 0).all() and (pixel < 40).all():
                seeing.append((float(depth), camera))
        if seeing:
            _, nearest = min(seeing, key=lambda entry: entry[0])
            assert float(normal @ (nearest.position - point)) >= 0, row
            checked += 1
    assert checked > 200


def test_normals_of_points_nobody_sees_stay():
    camera = next(iter(two_balls().about.cameras.values()))
    behind = (camera.position - 2 * camera.forward)[None]
    for normal in (torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.0, 0.0, -1.0]])):
        assert torch.equal(facing_normals(behind, normal, views_of({"a": camera})), normal)


def test_without_points_they_are_scattered_before_the_cameras(scene: Scene):
    bare = replace(scene, points=None)
    splats, colours, _ = initial_splats(bare, count=333, generator=seeded())
    assert len(splats) == len(colours) == 333
    seen = torch.zeros(333, dtype=torch.bool)
    for view in bare.split("train"):
        pixels, depths = view.camera.project(splats.means)
        seen |= (depths > 0) & (pixels >= 0).all(-1) & (pixels < 40).all(-1)
    assert seen.all()
    assert colours.std(0).min() > 0.02, "they have the colours of the photos"


def test_too_few_points_are_no_point_cloud(scene: Scene):
    assert scene.points is not None
    few = replace(scene, points=replace(scene.points, positions=torch.rand(15, 3), colours=torch.rand(15, 3)))
    assert len(initial_splats(few, count=200, generator=seeded())[0]) == 200


def test_coinciding_points_get_a_finite_size(scene: Scene):
    assert scene.points is not None
    doubled = replace(
        scene,
        points=replace(
            scene.points,
            positions=scene.points.positions.repeat(2, 1),
            colours=scene.points.colours.repeat(2, 1),
        ),
    )
    splats, _, _ = initial_splats(doubled, count=5000, generator=seeded())
    assert all(torch.isfinite(tensor).all() for tensor in splats.tensors().values())


def test_a_scene_that_is_all_held_out_is_refused_in_one_line(scene: Scene):
    held = replace(scene, views=scene.split("test"))
    with pytest.raises(FittingError, match="has no view to fit: all 2 are held out") as caught:
        initial_splats(held, count=10, generator=seeded())
    assert "\n" not in str(caught.value)


def test_frames_are_rotations_whose_third_axis_is_the_normal():
    normals = torch.nn.functional.normalize(torch.randn(50, 3, generator=seeded()), dim=-1)
    normals = torch.cat([normals, torch.eye(3), -torch.eye(3)])
    frames = frame_of(normals)
    assert torch.allclose(frames @ frames.mT, torch.eye(3).expand(len(normals), 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(frames), torch.ones(len(normals)), atol=1e-5)
    assert torch.equal(frames[..., 2], normals)
