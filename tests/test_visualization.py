"""Pictures of tensors: colours, palettes, sheets and camera paths."""

import itertools
import math

import pytest
import torch

from featurefields.camera import Camera
from featurefields.visualization import (
    FeaturePalette,
    depth_colours,
    encircle,
    feature_colours,
    interpolate,
    normal_colours,
    orbit,
    overlay,
    scalar_colours,
    strip,
)
from featurefields.visualization.layers import LayerPainter, named_layers
from featurefields.visualization.paths import looked_at

LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])


def looking(position: list[float], target: list[float], up: list[float], size=(40, 30)) -> Camera:
    place, aim, above = (torch.tensor(x, dtype=torch.float64) for x in (position, target, up))
    forward = torch.nn.functional.normalize(aim - place, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, above), dim=0)
    pose = torch.eye(4)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], -1).float()
    pose[:3, 3] = place.float()
    return Camera(pose, torch.tensor([30.0, 30.0]), torch.tensor([size[0] / 2, size[1] / 2]), size)


def ring(angles_deg, centre=(1.0, 2.0, 3.0), radius=4.0, height=1.5) -> list[Camera]:
    cx, cy, cz = centre
    return [
        looking(
            [cx + radius * math.cos(math.radians(a)), cy + radius * math.sin(math.radians(a)), cz + height],
            [cx, cy, cz],
            [0.0, 0.0, 1.0],
        )
        for a in angles_deg
    ]


class TestScalars:
    def test_lightness_rises_all_along_the_ramp(self):
        colours = scalar_colours(torch.linspace(0, 1, 300))
        assert (colours > 0).all() and (colours < 1).all()  # inside the gamut, so nothing was clipped
        linear = torch.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
        assert ((linear @ LUMINANCE).diff() > 0).all()
        assert ((linear @ LUMINANCE)[-1] > 0.7) and ((linear @ LUMINANCE)[0] < 0.05)

    def test_neighbouring_values_are_told_apart_evenly(self):
        steps = scalar_colours(torch.linspace(0, 1, 64)).diff(dim=0).norm(dim=-1)
        assert steps.min() > 0.2 * steps.mean()
        assert steps.max() < 3.0 * steps.mean()

    def test_limits_clamp_and_what_is_not_finite_is_black(self):
        colours = scalar_colours(torch.tensor([-9.0, 2.0, 4.0, 9.0, math.nan, math.inf]), (2.0, 4.0))
        assert torch.equal(colours[0], colours[1]) and torch.equal(colours[2], colours[3])
        assert not torch.equal(colours[0], colours[2])
        assert torch.equal(colours[4:], torch.zeros(2, 3))

    def test_equal_limits_are_no_division_by_zero(self):
        assert scalar_colours(torch.tensor([3.0, 4.0]), (3.0, 3.0)).isfinite().all()


class TestDepth:
    def test_near_is_brighter_than_far_and_nothing_is_black(self):
        depth = torch.linspace(1.0, 10.0, 100).reshape(10, 10)
        depth[0, 0] = 0.0
        colours = depth_colours(depth)
        brightness = (colours @ LUMINANCE).flatten()
        assert brightness[0] == 0.0
        inner = brightness[5:95]
        assert (inner.diff() <= 1e-6).all() and inner[0] > inner[-1] + 0.3

    def test_shared_limits_give_the_same_colour_to_the_same_depth(self):
        a, b = torch.full((2, 2), 3.0), torch.tensor([[3.0, 9.0], [1.0, 2.0]])
        assert torch.equal(
            depth_colours(a, limits=(1.0, 10.0))[0, 0], depth_colours(b, limits=(1.0, 10.0))[0, 0]
        )
        assert not torch.equal(depth_colours(a)[0, 0], depth_colours(b)[0, 0])

    def test_an_empty_picture_is_black(self):
        assert torch.equal(depth_colours(torch.zeros(3, 3)), torch.zeros(3, 3, 3))

    def test_one_stray_depth_does_not_spoil_the_range(self):
        depth = torch.linspace(1.0, 2.0, 400).reshape(20, 20)
        stray = depth.clone()
        stray[10, 10] = 1e6
        assert (depth_colours(depth) - depth_colours(stray)).abs().median() < 0.02


def test_normals_are_signed_axes():
    normals = torch.tensor([[[1.0, 0, 0], [-2.0, 0, 0], [0, 0, 0.5], [0, 0, 0]]])
    expected = torch.tensor([[[1, 0.5, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 1], [0, 0, 0]]])
    assert torch.allclose(normal_colours(normals), expected, atol=1e-6)
    assert torch.allclose(
        normal_colours(normals, torch.tensor([[1.0, 0.5, 0.0, 1.0]]))[0, 1, 1], torch.tensor(0.25)
    )


class TestFeatures:
    def features(self, seed=0, dim=12) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        strengths = torch.tensor([3.0, 2.0, 1.0] + [0.05] * (dim - 3))
        return torch.randn(24, 32, dim, generator=generator) * strengths + 5.0

    def test_colours_fill_the_range_and_follow_the_strongest_directions(self):
        features = self.features()
        (picture,) = feature_colours(features)
        assert picture.shape == (24, 32, 3)
        assert picture.min() == 0.0 and picture.max() == 1.0
        for channel in range(3):
            pair = torch.stack([picture[..., channel].flatten(), features[..., channel].flatten()])
            assert torch.corrcoef(pair)[0, 1].abs() > 0.95

    def test_one_feature_has_one_colour_in_all_maps(self):
        a, b = self.features(1), self.features(2)
        b[3, 4] = a[7, 8]
        first, second = feature_colours(a, b)
        assert torch.allclose(first[7, 8], second[3, 4], atol=1e-6)
        alone = feature_colours(b)[0]
        assert not torch.allclose(alone, second, atol=1e-3)

    def test_colours_do_not_depend_on_a_sign_or_rotation_of_the_features(self):
        features = self.features()
        skewed = features.clone()
        skewed[..., :3] = skewed[..., :3].abs() ** 1.5
        turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(3))).Q
        one, two = feature_colours(skewed)[0], feature_colours(skewed @ turn.T)[0]
        assert torch.allclose(one, two, atol=1e-3)

    @pytest.mark.parametrize("dim", [1, 2, 3])
    def test_fewer_directions_than_colours(self, dim):
        features = torch.randn(8, 9, dim, generator=torch.Generator().manual_seed(4))
        (picture,) = feature_colours(features)
        assert picture.isfinite().all()
        assert (picture[..., dim:] == 0.5).all()
        assert picture[..., 0].std() > 0.1

    def test_what_nothing_covers_neither_counts_nor_shows(self):
        features = self.features()
        alpha = torch.ones(24, 32)
        alpha[:12] = 0.0
        broken = features.clone()
        broken[:12] = 1e6
        one, two = feature_colours(features, alpha=alpha)[0], feature_colours(broken, alpha=alpha)[0]
        assert torch.equal(one, two) and (one[:12] == 0).all()

    def test_constant_and_empty_and_broken_features_are_no_accident(self):
        assert feature_colours(torch.full((4, 4, 6), 2.0))[0].isfinite().all()
        assert feature_colours(torch.ones(4, 4, 6), alpha=torch.zeros(4, 4))[0].eq(0).all()
        broken = self.features()
        broken[0, 0] = math.nan
        assert feature_colours(broken)[0].isfinite().all()

    def test_no_difference_is_grey(self):
        palette = FeaturePalette.fit(self.features().reshape(-1, 12))
        zero = palette.paint(torch.zeros(2, 2, 12), residual=True)
        assert (zero == 0.5).all()
        step = torch.zeros(2, 2, 12)
        step[..., 0] = 1.0
        whole = palette.paint(palette.mean + step) - palette.paint(palette.mean.expand(2, 2, 12))
        assert torch.allclose(palette.paint(step, residual=True) - zero, whole, atol=1e-6)


class TestSheets:
    def test_overlay_tints_inside_and_outlines_outside(self):
        image = torch.full((30, 30, 3), 0.2)
        mask = torch.zeros(30, 30, dtype=torch.bool)
        mask[10:20, 10:20] = True
        colour = (1.0, 0.0, 0.0)
        picture = overlay(image, mask, colour)
        assert torch.allclose(picture[15, 15], torch.tensor([0.2 + 0.45 * 0.8, 0.11, 0.11]))
        assert torch.equal(picture[9, 15], torch.tensor(colour))
        assert torch.equal(picture[0, 0], image[0, 0])
        assert torch.equal(overlay(image, mask, colour, outline=False)[9, 15], image[9, 15])
        assert torch.equal(overlay(image, torch.zeros(30, 30)), image)

    def test_strip_places_every_image_whole(self):
        images = [torch.full((20, 30, 3), value) for value in (0.0, 0.2, 0.4, 0.6, 0.8)]
        sheet = strip(images, columns=2)
        assert sheet.shape == (3 * 24 + 4, 2 * 34 + 4, 3)
        for value in (0.0, 0.2, 0.4, 0.6, 0.8):
            assert ((sheet - value).abs().amax(-1) < 0.003).sum() == 600
        assert (sheet == 1).all(-1).sum() == sheet.shape[0] * sheet.shape[1] - 5 * 600

    def test_labels_leave_ink_and_take_room(self):
        images = [torch.ones(20, 60, 3), torch.ones(10, 40, 3)]
        plain, labelled = strip(images), strip(images, ["before", "a label far too long for its image"])
        assert plain.min() == 1.0
        assert labelled.shape[0] > plain.shape[0] and labelled.shape[1] == plain.shape[1]
        assert labelled.min() < 0.5
        assert labelled[:, :4].min() == 1.0 and labelled[:, -4:].min() == 1.0

    def test_wrong_calls_are_told(self):
        with pytest.raises(ValueError, match="no images"):
            strip([])
        with pytest.raises(ValueError, match="2 images and 1 labels"):
            strip([torch.ones(2, 2, 3)] * 2, ["one"])


class TestOrbit:
    up = torch.tensor([0.0, 0.0, 1.0])

    def check_all_look_at(self, path: list[Camera], centre: torch.Tensor):
        for camera in path:
            pixel, depth = camera.project(centre.float()[None])
            assert torch.allclose(pixel[0], torch.tensor([camera.width / 2, camera.height / 2]), atol=0.05)
            assert depth > 0
            rotation = camera.world_from_camera[:3, :3]
            assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)
            assert torch.det(rotation) > 0.999
            assert -rotation[:, 1] @ self.up > 0

    def test_it_goes_round_what_the_cameras_surround(self):
        path = orbit(ring(range(0, 360, 30)), self.up, 16)
        centre = torch.tensor([1.0, 2.0, 3.0])
        self.check_all_look_at(path, centre)
        arms = torch.stack([camera.position for camera in path]) - centre
        assert torch.allclose(arms[:, 2], torch.tensor(1.5), atol=1e-2)
        assert torch.allclose(arms[:, :2].norm(dim=-1), torch.tensor(4.0), atol=1e-2)
        angles = torch.atan2(arms[:, 1], arms[:, 0]).sort().values
        assert torch.allclose(angles.diff(), torch.tensor(2 * math.pi / 16), atol=1e-3)

    def test_it_stays_on_the_side_that_was_seen(self):
        path = orbit(ring(range(-40, 41, 10)), self.up, 24)
        arms = torch.stack([camera.position for camera in path]) - torch.tensor([1.0, 2.0, 3.0])
        angles = torch.rad2deg(torch.atan2(arms[:, 1], arms[:, 0]))
        assert angles.abs().max() < 42 and angles.max() > 35 and angles.min() < -35

    def test_parallel_cameras_keep_a_finite_centre_in_front(self):
        cameras = [looking([x, 0.0, 0.0], [x, 10.0, 0.0], [0.0, 0.0, 1.0]) for x in (-1.0, 0.0, 1.0)]
        centre = looked_at(cameras)
        assert 0.5 < centre[1] < 20 and centre[[0, 2]].abs().max() < 1e-6
        path = orbit(cameras, self.up, 8)
        self.check_all_look_at(path, centre)
        assert all(camera.position[1] < 1.0 for camera in path)

    def test_one_camera_swings_a_little_and_up_may_be_left_out(self):
        path = orbit(ring([10.0]), None, 8)
        places = torch.stack([camera.position for camera in path])
        assert 0 < (places - places.mean(0)).norm(dim=-1).max() < 2.0

    def test_cameras_straight_above_do_not_break_it(self):
        above = looking([0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
        for camera in orbit([above, above], self.up, 4):
            assert camera.world_from_camera.isfinite().all()

    def test_moving_the_world_moves_the_orbit(self):
        cameras = ring(range(0, 360, 40))
        angle = 0.7
        turn = torch.tensor(
            [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
        )
        motion = torch.eye(4)
        motion[:3, :3], motion[:3, 3] = turn, torch.tensor([3.0, -1.0, 2.0])
        moved = [Camera(motion @ c.world_from_camera, c.focal_px, c.centre_px, c.size) for c in cameras]
        for one, two in zip(orbit(cameras, self.up, 6), orbit(moved, turn @ self.up, 6), strict=True):
            assert torch.allclose(motion @ one.world_from_camera, two.world_from_camera, atol=1e-3)

    def test_no_cameras_is_told(self):
        with pytest.raises(ValueError, match="at least one camera"):
            orbit([], self.up, 3)


def test_encircle_sees_the_middle_of_the_points_and_ignores_a_sky():
    generator = torch.Generator().manual_seed(5)
    points = torch.randn(500, 3, generator=generator) * 0.2 + torch.tensor([5.0, 0.0, -2.0])
    sky = torch.nn.functional.normalize(torch.randn(60, 3, generator=generator), dim=-1) * 1e4
    for camera in encircle(torch.cat([points, sky]), torch.tensor([0.0, 1.0, 0.0]), 5):
        pixel, depth = camera.project(points)
        inside = (
            (pixel > 0).all(-1) & (pixel[:, 0] < camera.width) & (pixel[:, 1] < camera.height) & (depth > 0)
        )
        assert inside.float().mean() > 0.9
        assert (pixel[inside].amax(0) - pixel[inside].amin(0)).min() > 0.4 * camera.height
        assert camera.position[1] > 0 > camera.forward[1]


class TestInterpolate:
    def test_it_passes_through_every_camera(self):
        cameras = ring([0, 35, 80, 140])
        path = interpolate(cameras, 3 * 8 + 1)
        for index, camera in enumerate(cameras):
            assert torch.allclose(path[8 * index].world_from_camera, camera.world_from_camera, atol=1e-5)

    def test_it_is_smooth_and_rigid(self):
        path = interpolate(ring([0, 35, 80, 140]), 61)
        places = torch.stack([camera.position for camera in path])
        steps = places.diff(dim=0).norm(dim=-1)
        assert steps.max() < 3 * steps.median()
        for one, two in itertools.pairwise(path):
            rotation = two.world_from_camera[:3, :3]
            assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)
            assert one.forward @ two.forward > 0.99

    def test_lenses_change_evenly_and_sizes_are_the_first_ones(self):
        wide = looking([0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], size=(80, 60))
        narrow = Camera(wide.world_from_camera, wide.focal_px * 2, wide.centre_px, wide.size)
        path = interpolate([wide, narrow.resized((40, 30))], 3)
        assert [camera.focal_px[0].item() for camera in path] == pytest.approx([30.0, 45.0, 60.0])
        assert {camera.size for camera in path} == {(80, 60)}

    def test_one_camera_stands_still(self):
        (camera,) = ring([20])
        assert all(torch.equal(c.position, camera.position) for c in interpolate([camera], 4))


class TestLayers:
    def view(self) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(6)
        heads = {
            "feature": {"total": torch.randn(6, 8, 5, generator=generator), "dep": torch.zeros(6, 8, 5)},
            "rgb": {
                "total": torch.rand(6, 8, 3, generator=generator),
                "normal": torch.randn(6, 8, 3, generator=generator),
                "roughness": torch.rand(6, 8, 1, generator=generator),
            },
        }
        return named_layers(heads, torch.ones(6, 8), torch.rand(6, 8, generator=generator) + 1)

    def test_names(self):
        assert list(self.view()) == ["rgb", "normal", "roughness", "feature", "feature_dep", "depth", "alpha"]

    def test_every_layer_is_a_picture(self):
        view = self.view()
        painter = LayerPainter.fit([view])
        for name in view:
            picture = painter.paint(name, view)
            assert picture.shape == (6, 8, 3), name
            assert picture.min() >= 0 and picture.max() <= 1, name
        assert torch.equal(painter.paint("rgb", view), view["rgb"])
        assert (painter.paint("feature_dep", view) == 0.5).all()
        assert painter.paint("feature", view).std() > 0.1

    def test_a_part_without_its_whole_has_a_palette_too(self):
        part = {name: layer for name, layer in self.view().items() if name != "feature"}
        painter = LayerPainter.fit([part])
        assert list(painter.palettes) == ["feature"]
        assert painter.paint("feature_dep", part).isfinite().all()
