"""Where depth comes from: ranges, neighbours, plane sweep, depth maps, splats, the registry."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import looking, two_balls
from tiny_surfaces import cameras, depth_and_colour, moved_camera, pictures, posed

from featurefields.errors import FittingError, UnknownNameError
from featurefields.field import render
from featurefields.files.archive import write_archive
from featurefields.lifting.context import spread_views, views_around
from featurefields.lifting.depth_maps import DepthMaps
from featurefields.lifting.depth_range import depth_range
from featurefields.lifting.geometry import Given, PosedPicture, choose_provider
from featurefields.lifting.overlap import matching_views
from featurefields.lifting.sweep import PlaneSweep, best_hypothesis
from featurefields.lifting.sweep_cost import agreement, warp
from featurefields.maths.rotations import matrix_from_quat
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene

CPU = choose_rasterizer("cpu")


def median_error(depth: torch.Tensor, true: torch.Tensor) -> float:
    both = (depth > 0) & (true > 0)
    return float(((depth - true).abs() / true)[both].median())


def test_range_holds_the_points_and_not_the_sky():
    camera = cameras(1)[0]
    depth, _ = depth_and_colour(camera)
    points = camera.unproject(depth)[depth > 0]
    sky = camera.position + 60 * camera.directions().reshape(-1, 3)[::7]
    bounds = depth_range(camera, torch.cat([points, sky]), [camera])
    seen = depth[depth > 0]
    assert bounds.near < float(seen.min()) and float(seen.quantile(0.98)) < bounds.far < 10
    behind = depth_range(camera, camera.position - points + camera.position, cameras(3))
    assert 0 < behind.near < 2.3 < behind.far  # points behind tell nothing: the cameras do


def test_range_without_points_is_about_where_cameras_look():
    bounds = depth_range(cameras(4)[0], None, cameras(4))
    distance = float((cameras(4)[0].position - torch.tensor([0.0, 0.0, 0.3])).norm())
    assert bounds.near < distance < bounds.far


def test_neighbours_see_the_same_things_from_angles_that_can_be_matched():
    ring = [*cameras(5, apart=0.14), looking((-2.4, 0.0, 1.1)), looking((2.4, 0.0, 1.1), (9.0, 0.0, 1.1))]
    chosen = matching_views(2, ring, (2.0, 2.6), 4)
    assert set(chosen[:2]) == {1, 3}
    assert 6 not in matching_views(2, ring, (2.0, 2.6), 6)  # looks the other way
    motion = torch.eye(4)
    motion[:3, :3] = matrix_from_quat(
        torch.nn.functional.normalize(torch.tensor([1.0, 0.4, -0.2, 0.7]), dim=0)
    )
    motion[:3, 3] = torch.tensor([3.0, -1.0, 2.0])
    assert matching_views(2, [moved_camera(camera, motion) for camera in ring], (2.0, 2.6), 4) == chosen


def test_views_are_spread_or_near(demo_scene: Path):
    views = read_scene(demo_scene).split("train")
    few, more = spread_views(views, 4), spread_views(views, 9)
    assert len({view.name for view in few}) == 4 and {view.name for view in few} < {
        view.name for view in more
    }
    assert [view.name for view in views if view in more] == [view.name for view in more]

    def closest(chosen: tuple) -> float:
        places = torch.stack([view.camera.position for view in chosen])
        return float((torch.cdist(places, places) + 9 * torch.eye(len(places))).min())

    assert closest(few) > closest(views_around(views, few[0], 4))
    assert few[0].name not in [view.name for view in views_around(views, few[0], 6)]
    with pytest.raises(FittingError, match="at least two"):
        spread_views(views, 1)


def test_warping_with_the_true_depth_gives_the_own_picture():
    reference, source = pictures(2)
    depth, colours = depth_and_colour(reference.camera)
    row, column = 44, 30  # floor
    warped, seen = warp(source, reference.camera, 1 / depth[row, column][None])
    assert bool(seen[0, row, column])
    assert torch.allclose(warped[0, :, row, column], colours[row, column], atol=0.05)
    wrong, _ = warp(source, reference.camera, 1 / (1.3 * depth[row, column][None]))
    assert not torch.allclose(wrong[0, :, row, column], colours[row, column], atol=0.05)


def test_agreement_is_one_with_itself_and_cut_off_at_the_border():
    picture = pictures(1)[0]
    twin = replace(picture, name="twin")
    volume = agreement(picture, [twin], torch.tensor([0.2, 0.4]), window=5, aggregate=3)
    textured = picture.picture.std(0) > -1
    assert volume.shape == (2, 64, 64) and float(volume[:, textured].max()) <= 1 + 1e-4
    assert float(volume[:, 40:60, 10:50].min()) > 0.9  # any depth: the cameras coincide
    brighter = replace(twin, picture=0.5 * twin.picture + 0.2)
    assert float(agreement(picture, [brighter], torch.tensor([0.3]))[0, 44:60, 10:50].min()) > 0.9


def test_best_of_a_parabola_is_its_top():
    places = torch.linspace(0, 1, 11)
    top = torch.tensor([[0.23, 0.512, 0.7]])
    score, found = best_hypothesis(-((places[:, None, None] - top) ** 2), places)
    assert torch.allclose(found, top, atol=1e-5) and score.shape == found.shape


def test_sweep_finds_depth_and_leaves_the_sky_unknown():
    views = pictures(4, 96)
    found = PlaneSweep()(views)
    errors = [
        median_error(one.depth, depth_and_colour(view.camera)[0])
        for view, one in zip(views, found, strict=True)
    ]
    assert max(errors) < 0.015
    for view, one in zip(views, found, strict=True):
        true = depth_and_colour(view.camera)[0]
        assert float(((one.depth > 0) & (true > 0)).sum()) > 0.6 * float((true > 0).sum())
        assert float((one.depth[:8] > 0).float().mean()) < 0.1  # sky
        assert bool((one.confidence[one.depth == 0] == 0).all())
    again = PlaneSweep()(views)
    assert all(torch.equal(one.depth, other.depth) for one, other in zip(found, again, strict=True))


def test_sweep_moves_with_the_world_and_scales_with_it():
    views = pictures(3)
    motion = torch.eye(4)
    motion[:3, :3] = matrix_from_quat(
        torch.nn.functional.normalize(torch.tensor([0.8, -0.3, 0.5, 0.1]), dim=0)
    )
    motion[:3, 3] = torch.tensor([1.0, 2.0, -0.5])
    moved = [replace(view, camera=moved_camera(view.camera, motion)) for view in views]
    for one, other in zip(PlaneSweep()(views), PlaneSweep()(moved), strict=True):
        both = (one.depth > 0) & (other.depth > 0)
        assert float((one.depth - other.depth).abs()[both].quantile(0.95)) < 1e-2
        assert float(((one.depth > 0) ^ (other.depth > 0)).float().mean()) < 0.02
    doubled = [replace(view, camera=_scaled(view), near=2 * view.near, far=2 * view.far) for view in views]
    for one, other in zip(PlaneSweep()(views), PlaneSweep()(doubled), strict=True):
        both = (one.depth > 0) & (other.depth > 0)
        assert torch.allclose(2 * one.depth[both], other.depth[both], rtol=1e-2)


def _scaled(view: PosedPicture):
    pose = view.camera.world_from_camera.clone()
    pose[:3, 3] *= 2
    return replace(view.camera, world_from_camera=pose)


def test_sweep_refuses_views_that_share_nothing():
    alone = [posed(looking((2.4, 0.0, 1.1))), posed(looking((2.4, 0.0, 1.1), (9.0, 0.0, 1.1)))]
    with pytest.raises(FittingError, match="overlap"):
        PlaneSweep()(alone)


def test_depth_maps_are_taken_as_they_are():
    views = pictures(2)
    found = DepthMaps()(views)
    assert torch.equal(found[0].depth, depth_and_colour(views[0].camera)[0])
    assert bool(((found[0].confidence == 1) == (found[0].depth > 0)).all())
    with pytest.raises(FittingError, match="no depth map"):
        DepthMaps()([replace(views[0], measured=lambda: None)])


def test_splats_lend_their_depth(tmp_path: Path):
    field = two_balls("harmonics")
    path = write_archive(field, tmp_path / "field.safetensors")
    camera = next(iter(field.about.cameras.values()))
    drawn = render(field, camera, rasterizer=CPU)
    picture = PosedPicture("a", camera, drawn["rgb"]["total"].permute(2, 0, 1).clamp(0, 1), 0.5, 8.0)
    provider = choose_provider(f"splat:{path}", Given(rasterizer=CPU))
    found = provider([picture])[0]
    solid = (drawn.alpha > 0.95) & (found.depth > 0)
    assert int(solid.sum()) > 100
    assert float((found.depth - drawn.depth).abs()[solid].median()) < 0.1
    assert bool((found.depth[drawn.alpha < 0.3] == 0).all())


def test_providers_are_chosen_by_name():
    given = Given(rasterizer=CPU)
    assert choose_provider("sweep", given).name == "sweep"
    for name, says in (
        ("sweeep", "did you mean 'sweep'"),
        ("splat", "needs to know which"),
        ("data:x", "takes nothing after the colon"),
    ):
        with pytest.raises(UnknownNameError, match=says):
            choose_provider(name, given)
