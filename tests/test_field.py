"""Feature fields: depth, frames, identity."""

from dataclasses import replace

import pytest
import torch
from laws import as_seen, random_camera, random_scene, random_similarity, seeded

from featurefields.camera import Camera
from featurefields.field import About, FeatureField, render
from featurefields.heads.direct import DirectHead
from featurefields.maths.rotations import quat_from_matrix, quat_multiply
from featurefields.splats import Splats

SIZE = (40, 30)


def wall(camera: Camera, normal: torch.Tensor, distance: float) -> Splats:
    """Opaque discs that tile the plane <x, normal> = distance in the camera's frame, seen by every pixel."""
    grid = camera.resized((160, 120)).pixel_centres().reshape(-1, 2) * 0.25 * 1.5 - torch.tensor(SIZE) * 0.25
    rays = torch.cat([(grid - camera.centre_px) / camera.focal_px, torch.ones(len(grid), 1).double()], dim=-1)
    local = rays * (distance / (rays @ normal))[:, None]
    other = torch.linalg.cross(normal, torch.tensor([1.0, 0, 0]).double())
    other = other / other.norm()
    axes = torch.stack([other, torch.linalg.cross(normal, other), normal], dim=1)
    turn = quat_multiply(quat_from_matrix(camera.world_from_camera[:3, :3]), quat_from_matrix(axes))
    splats = Splats(
        as_seen(local, camera),
        turn.expand(len(local), 4),
        torch.tensor([-3.5, -3.5, -9.0]).double().expand(len(local), 3),
        torch.full((len(local),), 6.0).double(),
        {"f": torch.ones(len(local), 1).double()},
    )
    return splats.to(torch.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slant", [0.0, 0.4])
def test_the_depth_of_an_opaque_plane(backend, seed, slant):
    """Along the optical axis, not along the ray: the same at every pixel of a plane that faces the camera."""
    camera = random_camera(SIZE, seeded(seed))
    normal = torch.tensor([slant, -0.5 * slant, 1.0]).double()
    normal, distance = normal / normal.norm(), 2.0
    field = FeatureField(wall(camera, normal, distance), {"f": DirectHead("f")})
    rendering = render(field, camera.to(torch.float32), rasterizer=backend)
    assert float(rendering.alpha.min()) > 0.98
    xy = (camera.pixel_centres() - camera.centre_px) / camera.focal_px
    rays = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)
    wanted = (distance / (rays @ normal)).float()
    tolerance = 1e-4 if slant == 0 else 0.06  # of a slope the near sides of the discs come first
    torch.testing.assert_close(rendering.depth, wanted, atol=tolerance, rtol=0)
    assert float((wanted * rays.norm(dim=-1) - wanted).max()) > 0.1  # along the ray it would be noticed


def field_of_points(seed: int = 1) -> tuple[FeatureField, Camera]:
    splats, channels, camera = random_scene("plain", 40, SIZE, seed)
    splats = splats.with_columns(f=channels).to(torch.float32)
    about = About(scene="room", cameras={"a": camera, "b": random_camera(SIZE, seeded(7))}, extractor="x")
    return FeatureField(splats, {"f": DirectHead("f")}, about), camera.to(torch.float32)


def test_depth_is_0_where_nothing_is():
    field, camera = field_of_points()
    rendering = render(field, camera)
    assert (rendering.alpha == 0).any()
    assert not rendering.depth[rendering.alpha == 0].any()
    assert float(rendering.depth[rendering.alpha > 0.5].min()) > 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_moved_field_takes_its_cameras_and_its_frame_along(seed):
    field, _ = field_of_points()
    move = random_similarity(seeded(seed))
    there = field.moved(move)
    assert len(there) == len(field)
    torch.testing.assert_close(there.splats.means, move.points(field.splats.means))
    for name, camera in field.about.cameras.items():
        pixels, depths = camera.project(field.splats.means.double())
        seen, deep = there.about.cameras[name].project(move.points(field.splats.means.double()))
        torch.testing.assert_close(seen, pixels)
        torch.testing.assert_close(deep, move.scale * depths)
        usual = render(field, camera.to(torch.float32))
        moved = render(there, there.about.cameras[name].to(torch.float32))
        torch.testing.assert_close(moved["f"]["total"], usual["f"]["total"], atol=2e-3, rtol=0)
    capture = torch.randn(5, 3, generator=seeded(1))
    torch.testing.assert_close(
        there.about.world_from_capture.points(capture),
        move.points(field.about.world_from_capture.points(capture)),
    )
    back = there.moved(move.inverse)
    torch.testing.assert_close(back.splats.means, field.splats.means, atol=1e-5, rtol=1e-5)
    assert (there.about.scene, there.about.extractor) == ("room", "x")


def test_moving_changes_nothing_in_the_original():
    field, _ = field_of_points()
    before = {name: tensor.clone() for name, tensor in field.splats.tensors().items()}
    field.moved(random_similarity(seeded(1)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in field.splats.tensors().items())


def test_the_fingerprint_knows_number_order_and_places_and_nothing_else():
    field, _ = field_of_points()
    splats = field.splats
    own = field.fingerprint()
    assert field.with_splats(splats.with_columns(extra=torch.ones(40))).fingerprint() == own
    assert field.with_splats(replace(splats, opacity_logits=splats.opacity_logits + 1)).fingerprint() == own
    assert field.with_splats(splats.each(lambda column: column.clone())).fingerprint() == own
    strided = replace(splats, means=splats.means.T.contiguous().T)
    assert field.with_splats(strided).fingerprint() == own
    others = [
        splats.select(torch.arange(39)),
        splats.select(torch.arange(39, -1, -1)),
        replace(splats, means=splats.means + 1e-4),
    ]
    assert len({own, *(field.with_splats(other).fingerprint() for other in others)}) == 4


def test_only_the_heads_asked_for_are_drawn():
    field, camera = field_of_points()
    field = replace(field, heads={"f": DirectHead("f"), "broken": DirectHead("missing")})
    assert list(render(field, camera, heads={"f"}).layers) == ["f"]
    none = render(field, camera, heads=())
    assert not none.layers
    torch.testing.assert_close(none.depth, render(field, camera, heads=["f"]).depth)
    with pytest.raises(KeyError, match="missing"):
        render(field, camera)


def test_a_turned_camera_sees_other_pixels():
    """Rendering follows the pose: a roll by 90 degrees turns the picture."""
    field, camera = field_of_points()
    square = Camera(camera.world_from_camera, torch.tensor([30.0, 30]), torch.tensor([16.0, 16]), (32, 32))
    roll = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    rolled = replace(square, world_from_camera=camera.world_from_camera @ roll)
    usual, turned = render(field, square), render(field, rolled)
    torch.testing.assert_close(turned.alpha, usual.alpha.rot90(1), atol=1e-4, rtol=0)
    assert float((turned.alpha - usual.alpha.rot90(-1)).abs().max()) > 0.1
