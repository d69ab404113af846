"""From depth to Gaussians: normals, consistency, merging, surroundings, and what the result shows from elsewhere."""

from dataclasses import replace

import pytest
import torch
from tiny_surfaces import SKY, cameras, depth_and_colour, pictures, true_geometry

from featurefields.errors import FittingError
from featurefields.evaluation.metrics import psnr
from featurefields.field import FeatureField, render
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.lifting.consistency import fused, looked_through
from featurefields.lifting.cube import cell_direction, cell_of, cell_width
from featurefields.lifting.feedforward import FeedForwardConfig, Lifted, lift_pictures
from featurefields.lifting.geometry import ViewGeometry
from featurefields.lifting.merge import kept_pixels
from featurefields.lifting.pixel_gaussians import pixel_gaussians
from featurefields.lifting.shell import Shell
from featurefields.lifting.surfaces_seen import Landing, SeenSurface, depth_normals
from featurefields.raster import choose_rasterizer

CPU = choose_rasterizer("cpu")
DEFAULT = FeedForwardConfig()


def seen(count: int = 3, size: int = 64) -> list[SeenSurface]:
    return [SeenSurface.of(view, true_geometry(view)) for view in pictures(count, size)]


def lifted(changes: dict[int, float] | None = None, config: FeedForwardConfig = DEFAULT) -> Lifted:
    """Four views with their true depth, some scaled by a factor."""
    views = pictures(4)
    geometry = [true_geometry(view) for view in views]
    for index, factor in (changes or {}).items():
        geometry[index] = replace(geometry[index], depth=factor * geometry[index].depth)
    return lift_pictures(views, geometry, CPU, config)


def quality(result: Lifted) -> float:
    """PSNR of a view between those that were lifted."""
    camera = cameras(5)[2]
    field = FeatureField(result.splats, {"rgb": HarmonicsHead(0)})
    drawn = render(field, camera, rasterizer=CPU)["rgb"]["total"]
    return psnr(drawn, depth_and_colour(camera)[1])


def test_normals_of_the_floor_point_up():
    camera = cameras(1)[0]
    depth, _ = depth_and_colour(camera)
    normals = depth_normals(depth, camera)
    floor = (depth > 0) & (camera.unproject(depth)[..., 2].abs() < 1e-3)
    inner = floor & floor.roll(1, 0) & floor.roll(-1, 0) & floor.roll(1, 1) & floor.roll(-1, 1)
    assert int(inner.sum()) > 300 and float(normals[inner][:, 2].min()) > 0.99


def test_true_depths_confirm_each_other_and_stay():
    views = seen()
    result = fused(views[0], views[1:])
    known = views[0].depth > 0
    assert float(result.valid[known].float().mean()) > 0.99 and not bool(result.valid[~known].any())
    error = ((result.seen.depth - views[0].depth).abs() / views[0].depth.clamp(min=1e-6))[known]
    assert float(error.median()) < 1e-3 and float(error.quantile(0.95)) < 0.01


def test_noise_averages_out(generator: torch.Generator):
    views = seen(4)
    noisy = [
        replace(view, depth=view.depth * (1 + 0.003 * torch.randn(view.depth.shape, generator=generator)))
        for view in views
    ]
    result = fused(noisy[1], [noisy[0], *noisy[2:]])
    known = views[1].depth > 0

    def error(depth: torch.Tensor) -> float:
        return float(
            ((depth - views[1].depth) / views[1].depth.clamp(min=1e-6))[known].square().mean().sqrt()
        )

    assert error(result.seen.depth) < 0.85 * error(noisy[1].depth)


def test_what_other_views_look_through_goes():
    views = seen(4)
    depth = views[0].depth.clone()
    depth[40:46, 20:26] *= 0.7  # a floater in front of the floor
    floating = replace(views[0], depth=depth)
    valid = fused(floating, views[1:]).valid
    assert not bool(valid[41:45, 21:25].any())
    assert float(valid[50:60].float().mean()) > 0.95
    # one view alone, of less confidence, contradicts nothing
    doubtful = replace(views[1], confidence=0.2 * views[1].confidence)
    assert bool(fused(floating, [doubtful]).valid[41:45, 21:25].all())


def test_no_surface_stays_that_any_view_looks_through():
    """Also views that nothing is matched with."""
    alone = FeedForwardConfig(others=0)
    kept, ghost = (len(lifted(change, alone).splats) for change in ({}, {1: 0.75}))
    assert ghost < 0.85 * kept, "of four views' surfaces one is in the air"
    views = seen()
    points = views[0].camera.unproject(views[0].depth)[views[0].depth > 0]
    towards = views[0].camera.position - points
    floating = looked_through(points + 0.4 * towards, views)
    assert float(floating.float().mean()) > 0.8 and float(looked_through(points, views).float().mean()) < 0.02


def test_a_view_twice_is_kept_once():
    view = seen(1)[0]
    twins = [fused(view, [view]), fused(view, [view])]
    first, second = kept_pixels(0, twins, (1,)), kept_pixels(1, twins, (0,))
    assert torch.equal(first, twins[0].valid) and not bool(second.any())


def test_what_gives_way_is_shown_by_what_stays():
    views = seen(4)
    others = [tuple(j for j in range(4) if j != i) for i in range(4)]
    all_fused = [fused(view, [views[j] for j in others[i]]) for i, view in enumerate(views)]
    kept = [kept_pixels(i, all_fused, others[i]) for i in range(4)]
    total, valid = sum(int(one.sum()) for one in kept), sum(int(one.valid.sum()) for one in all_fused)
    assert 0.25 * valid < total < 0.6 * valid
    stays = torch.cat(
        [one.seen.camera.unproject(one.seen.depth)[keep] for one, keep in zip(all_fused, kept, strict=True)]
    )
    gone = all_fused[3].valid & ~kept[3]
    points = all_fused[3].seen.camera.unproject(all_fused[3].seen.depth)[gone]
    nearest = torch.cdist(points, stays).amin(-1) / all_fused[3].seen.footprint[gone]
    assert float(nearest.quantile(0.99)) < 4.0  # pixels of this view


def test_gaussians_lie_on_their_rays_flat_on_the_surface():
    view = seen(1)[0]
    kept = view.depth > 0
    splats = pixel_gaussians(view, kept)
    pixels, depth = view.camera.project(splats.means)
    assert torch.allclose(pixels, view.camera.pixel_centres()[kept], atol=1e-3)
    assert torch.allclose(depth, view.depth[kept], rtol=1e-4)
    alignment = (splats.shortest_axes * view.normals[kept]).sum(-1).abs()
    assert float(alignment.min()) > 0.999
    land = Landing.of(splats.means, view.camera)
    assert bool(land.inside.all()) and torch.allclose(land.pick(view.depth), depth, rtol=1e-4)


def test_cells_hold_their_own_directions():
    cells = torch.arange(6 * 9**2)
    directions = cell_direction(cells, 9)
    assert torch.equal(cell_of(directions, 9), cells)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(len(cells)), atol=1e-6)
    apart = torch.acos((directions[0] @ directions[1]).clamp(-1, 1))
    assert float(cell_width(directions[:1], 9)) == pytest.approx(float(apart), rel=0.5)


def test_a_constant_sky_is_that_sky_everywhere():
    camera = cameras(1)[0]
    sky = torch.tensor(SKY).expand(64, 64, 3)
    shell = Shell([camera], 2.0)
    shell.add(camera, sky, torch.ones(64, 64, dtype=torch.bool))
    field = FeatureField(shell.splats(), {"rgb": HarmonicsHead(0)})
    turned = cameras(3, apart=1.5)[0]
    for where in (camera, turned):
        drawn = render(field, where, rasterizer=CPU)
        assert float(drawn.alpha.min()) > 0.98
        assert torch.allclose(drawn["rgb"]["total"], sky, atol=0.02)


def test_pixels_that_do_not_count_colour_nothing():
    camera = cameras(1)[0]
    picture, counts = torch.tensor(SKY).repeat(64, 64, 1), torch.ones(64, 64, dtype=torch.bool)
    picture[20:40], counts[20:40] = 0.0, False
    shell = Shell([camera], 2.0)
    shell.add(camera, picture, torch.ones(64, 64, dtype=torch.bool), counts)
    field = FeatureField(shell.splats(), {"rgb": HarmonicsHead(0)})
    assert float(field.heads["rgb"].matter(field.splats).amin()) > 0.5


def test_true_depth_shows_views_in_between_better_than_wrong_depth():
    right, wrong = lifted(), lifted({0: 1.15, 1: 0.9, 2: 1.15, 3: 0.9})
    assert quality(right) > 24
    assert quality(right) > quality(wrong) + 2
    assert right.known > 4 * right.shell > 0 and right.contradicted < 0.01 * right.known
    assert right.repeated > 0.4 * right.known


def test_one_bad_view_is_outvoted():
    spoilt = lifted({1: 0.75})
    assert spoilt.contradicted > 0.1 * spoilt.known
    assert quality(spoilt) > quality(lifted({1: 0.75}, FeedForwardConfig(others=0))) + 1


def test_the_same_pictures_give_the_same_bytes():
    one, other = lifted().splats.tensors(), lifted().splats.tensors()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_masked_out_pixels_are_not_lifted():
    views = pictures(3)
    mask = torch.ones(64, 64, dtype=torch.bool)
    mask[:, :32] = False
    masked = [replace(view, mask=mask) for view in views]
    result = lift_pictures(masked, [true_geometry(view) for view in views], CPU)
    assert result.known == sum(int((true_geometry(view).depth[:, 32:] > 0).sum()) for view in views)


def test_nothing_known_is_refused():
    nothing = ViewGeometry(torch.zeros(64, 64), torch.zeros(64, 64))
    with pytest.raises(FittingError, match="not one depth"):
        lift_pictures(pictures(2), [nothing, nothing], CPU)
