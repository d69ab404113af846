"""Pinhole cameras: projection, its inverse, pixel centres."""

import pytest
import torch
from laws import as_seen, random_camera, random_similarity, seeded, uniform

from featurefields.camera import Camera

SIZES = [(1, 1), (7, 5), (40, 30)]
SEEDS = range(4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
def test_unprojected_depths_project_to_the_pixel_centres(size, seed):
    generator = seeded(seed)
    camera = random_camera(size, generator)
    depth = uniform(0.5, 9.0, size[1], size[0], generator=generator)
    points = camera.unproject(depth)
    assert points.shape == (size[1], size[0], 3)
    pixels, depths = camera.project(points.reshape(-1, 3))
    torch.testing.assert_close(pixels, camera.pixel_centres().reshape(-1, 2))
    torch.testing.assert_close(depths, depth.reshape(-1))


def test_pixel_centres_are_at_a_half():
    camera = random_camera((3, 2), seeded(1))
    wanted = [[[0.5, 0.5], [1.5, 0.5], [2.5, 0.5]], [[0.5, 1.5], [1.5, 1.5], [2.5, 1.5]]]
    assert camera.pixel_centres().tolist() == wanted


def test_projection_written_out():
    """Camera at (1, 2, 3) that looks along world x, with world z up: right is -y, down is -z."""
    pose = torch.tensor([[0.0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1]], dtype=torch.float64)
    focal, centre = torch.tensor([100.0, 80.0]).double(), torch.tensor([32.0, 20.0]).double()
    camera = Camera(pose, focal, centre, (64, 40))
    pixels, depth = camera.project(torch.tensor([[5.0, 1.0, 3.5], [-1.0, 2.0, 3.0]]).double())
    assert depth.tolist() == [4.0, -2.0]
    assert pixels[0].tolist() == [32.0 + 100 / 4, 20.0 - 80 * 0.5 / 4]
    assert camera.forward.tolist() == [1, 0, 0]
    assert camera.position.tolist() == [1, 2, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_matrices_say_the_same_as_project(seed):
    generator = seeded(seed)
    camera = random_camera((40, 30), generator)
    torch.testing.assert_close(camera.camera_from_world @ camera.world_from_camera, torch.eye(4).double())
    points = as_seen(uniform(0.5, 3, 20, 3, generator=generator), camera)
    local = points @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    homogeneous = local @ camera.intrinsics.T
    pixels, depth = camera.project(points)
    torch.testing.assert_close(homogeneous[:, 2], depth)
    torch.testing.assert_close(homogeneous[:, :2] / homogeneous[:, 2:], pixels)


@pytest.mark.parametrize("size", SIZES)
def test_directions_point_at_what_the_pixels_see(size):
    camera = random_camera(size, seeded(2))
    directions = camera.directions()
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(size[1], size[0]).double())
    seen = camera.unproject(torch.full((size[1], size[0]), 2.5).double()) - camera.position
    torch.testing.assert_close(directions, torch.nn.functional.normalize(seen, dim=-1))
    assert ((directions @ camera.forward) > 0).all()


@pytest.mark.parametrize("size", [(80, 60), (20, 15), (13, 47)])
def test_another_size_shows_the_same_view(size):
    camera = random_camera((40, 30), seeded(3))
    resized = camera.resized(size)
    assert resized.size == size and (resized.width, resized.height) == size
    points = as_seen(uniform(0.5, 3, 20, 3, generator=seeded(4)), camera)
    relative = camera.project(points)[0] / torch.tensor(camera.size)
    torch.testing.assert_close(resized.project(points)[0] / torch.tensor(size), relative)
    corner = resized.resized((40, 30))
    torch.testing.assert_close(corner.focal_px, camera.focal_px)
    torch.testing.assert_close(corner.centre_px, camera.centre_px)


@pytest.mark.parametrize("seed", SEEDS)
def test_moved_cameras_see_moved_points_where_they_were(seed):
    generator = seeded(seed)
    camera, move = random_camera((40, 30), generator), random_similarity(generator)
    points = as_seen(uniform(0.5, 3, 20, 3, generator=generator), camera)
    there = Camera(move.pose(camera.world_from_camera), camera.focal_px, camera.centre_px, camera.size)
    pixels, depth = there.project(move.points(points))
    torch.testing.assert_close(pixels, camera.project(points)[0])
    torch.testing.assert_close(depth, move.scale * camera.project(points)[1])


def test_to_changes_every_tensor():
    camera = random_camera((4, 3), seeded(1)).to(torch.float32)
    tensors = (
        camera.world_from_camera,
        camera.focal_px,
        camera.centre_px,
        camera.directions(),
        camera.intrinsics,
    )
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
