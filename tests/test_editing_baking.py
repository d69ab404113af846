"""Baking to ordinary spherical harmonics: the splats together look like the field, its sky included when asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import DC, coverage, picture, ring, two_balls
from torch import Tensor

from featurefields.camera import Camera
from featurefields.editing.baking import QUICK, BakeConfig, bake_harmonics, passes
from featurefields.editing.bands import BandViews, how_seen, solve
from featurefields.editing.dome import even_directions, sky_splats
from featurefields.editing.viewpoints import ViewpointsConfig, baking_cameras
from featurefields.errors import PromptError
from featurefields.evaluation.metrics import psnr
from featurefields.field import About, FeatureField
from featurefields.files.ply import read_ply, write_ply
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.lights import LightMap
from featurefields.heads.reflected import ReflectedHead
from featurefields.maths.harmonic_rows import harmonic_rows, spread, summed, towards_rows
from featurefields.maths.harmonics import harmonics
from featurefields.raster import FrozenViews, choose_rasterizer
from featurefields.splats import Splats


def smooth(gloss: float) -> FeatureField:
    """Rough, so that reflections change slowly with the direction, but much over all directions."""
    field = two_balls(gloss=gloss)
    head = field.heads["rgb"]
    assert isinstance(head, ReflectedHead) and isinstance(head.light, LightMap)
    polar = torch.linspace(0, torch.pi, head.light.ROWS)[:, None]
    around = torch.linspace(-torch.pi, torch.pi, head.light.COLUMNS)
    head.light.log_light.copy_(
        torch.stack([0.3 + 1.2 * polar.sin() * (around + turn).sin() for turn in (0.0, 1.0, 2.0)])
    )
    columns = field.splats.columns
    changed = {
        "roughness": torch.full_like(columns["roughness"], 0.8),
        "tint": torch.ones_like(columns["tint"]),
    }
    return field.with_splats(field.splats.with_columns(**changed))


def as_field(splats: Splats, field: FeatureField, degree: int = 3) -> FeatureField:
    return FeatureField(splats, {"rgb": HarmonicsHead(degree)}, field.about)


def lowest_psnr(baked: Splats, field: FeatureField, cameras: list[Camera], degree: int = 3) -> float:
    shown = as_field(baked, field, degree)
    return min(psnr(picture(shown, camera), picture(field, camera)) for camera in cameras)


def between() -> list[Camera]:
    """Cameras that `two_balls` does not know."""
    return ring(7, height=1.4)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics_as_rows_are_those_of_the_definition(degree: int):
    directions = torch.nn.functional.normalize(even_directions(64).double(), dim=-1)
    wanted = harmonics(directions, tuple(range(degree + 1)))
    assert torch.allclose(harmonic_rows(directions.T, degree).T, wanted, atol=1e-12)


def test_spreading_is_the_transpose_of_summing(generator: torch.Generator):
    means = torch.randn(20, 3, generator=generator).double()
    basis = harmonic_rows(towards_rows(means, torch.tensor([5.0, 1.0, 2.0]).double()), 3)
    x = torch.randn(16, 3, 20, generator=generator).double()
    y = torch.randn(20, 3, generator=generator).double()
    back = torch.zeros_like(x)
    spread(basis, y, back)
    assert torch.allclose((summed(basis, x) * y).sum(), (x * back).sum())
    assert torch.allclose(summed(basis, x), torch.einsum("kn,kcn->nc", basis, x))


def test_bands_are_the_least_squares_solution(generator: torch.Generator):
    """Against a dense solution of the same normal equations, for three Gaussians in four views."""
    field = two_balls("harmonics")
    splats = field.splats.select(torch.tensor([2, 70, 200]))
    splats = replace(splats, log_scales=splats.log_scales + 1.0)
    cameras = list(field.about.cameras.values())[:4]
    views = BandViews(splats.means, 1, FrozenViews(choose_rasterizer("cpu"), splats, cameras), cameras)
    pictures = [0.4 + 0.2 * torch.rand(40, 40, 3, generator=generator) for _ in cameras]
    seen = how_seen(views, pictures, 1.0)
    prior = torch.zeros(4, 3, 3)
    found = solve(views, pictures, seen, prior, ridge=1.0, rounds=2, steps=12)
    units = torch.eye(12).reshape(12, 4, 1, 3).expand(-1, -1, 3, -1)
    matrix = torch.stack([views.product(unit.contiguous())[:, 0].reshape(-1) for unit in units])
    right = views.misfit(torch.zeros(4, 3, 3), pictures).permute(0, 2, 1).reshape(12, 3)
    wanted = torch.linalg.solve(matrix + torch.eye(12), right).reshape(4, 3, 3).permute(0, 2, 1)
    assert torch.allclose(found, wanted, atol=2e-3), (found - wanted).abs().max()
    assert not torch.allclose(seen.start, wanted, atol=2e-2)  # the start alone would not do


@pytest.mark.parametrize("cameras", [True, False], ids=["from its cameras", "from all around"])
def test_matter_looks_alike_from_everywhere(cameras: bool):
    field = two_balls()
    baked = bake_harmonics(field if cameras else replace(field, about=About()), config=QUICK)
    assert lowest_psnr(baked, field, between()) > 32
    bands = baked.columns["harmonics"]
    assert float(bands[:, 1:].abs().median()) < 0.1 * float(bands[:, 0].abs().median())


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_every_degree_has_its_bands(degree: int):
    field = two_balls()
    baked = bake_harmonics(field, degree, config=QUICK)
    assert baked.columns["harmonics"].shape == (len(field), (degree + 1) ** 2, 3)
    assert lowest_psnr(baked, field, between(), degree) > 30


def test_geometry_and_normals_pass_and_nothing_else_does():
    field = two_balls()
    baked = bake_harmonics(field, config=QUICK)
    for name in ("means", "quats", "log_scales", "opacity_logits"):
        assert torch.equal(getattr(baked, name), getattr(field.splats, name))
    assert sorted(baked.columns) == ["harmonics", "normals"]
    assert torch.allclose(baked.columns["normals"], field.splats.columns["normals"], atol=1e-6)


def test_the_ply_looks_like_the_field_also_between_its_cameras(tmp_path: Path):
    """A field with smooth reflections, through the file; without the higher bands it would not."""
    field = smooth(-1.0)
    config = BakeConfig(viewpoints=ViewpointsConfig(between=2, least=0), steps=6)
    back = read_ply(write_ply(bake_harmonics(field, config=config), tmp_path / "baked.ply"))
    constant = bake_harmonics(field, degree=0, config=QUICK)
    found = lowest_psnr(back.splats, field, between())
    assert found > 30 and found > lowest_psnr(constant, field, between(), 0) + 5


def test_places_between_the_cameras_make_it_hold_there():
    field = smooth(0.0)
    found, alone = (
        bake_harmonics(field, config=BakeConfig(viewpoints=ViewpointsConfig(between=count)))
        for count in (3, 0)
    )
    assert lowest_psnr(found, field, between()) > 1 + lowest_psnr(alone, field, between())


def test_harmonics_pass_through():
    field = two_balls("harmonics")
    baked = bake_harmonics(field, sky=True)
    assert torch.equal(baked.columns["harmonics"], field.splats.columns["harmonics"])
    assert torch.equal(
        bake_harmonics(field, degree=1).columns["harmonics"], field.splats.columns["harmonics"][:, :4]
    )


def test_what_no_camera_saw_stays_sane():
    """One camera says nothing about other directions, nor about what is behind the balls."""
    field = smooth(-1.0)
    camera = next(iter(field.about.cameras.values()))
    lone = replace(field, about=About(cameras={"only": camera}))
    config = BakeConfig(viewpoints=ViewpointsConfig(between=0))
    baked = bake_harmonics(lone, config=config)
    assert float(baked.columns["harmonics"][:, 1:].abs().max()) < 3.0
    assert psnr(picture(as_field(baked, field), camera), picture(field, camera)) > 30.0
    other = list(field.about.cameras.values())[4]
    assert psnr(picture(as_field(baked, field), other), picture(field, other)) > 14.0


def bright_sky(field: FeatureField) -> FeatureField:
    head = field.heads["rgb"]
    assert isinstance(head, ReflectedHead)
    head.background[0] = torch.tensor([3.0, 4.0, 5.0])
    head.background[2] = 2.0
    return field


def test_a_sky_is_left_out_or_follows_as_splats():
    field = bright_sky(two_balls())
    everything = torch.ones(len(field))
    without = bake_harmonics(field, config=QUICK)
    beyond = bake_harmonics(field, sky=True, config=QUICK)
    assert len(without) == len(field) < len(beyond)
    assert torch.equal(beyond.means[: len(field)], field.splats.means)
    for camera in between()[:3]:
        open_sky = coverage(field, camera, everything) < 0.01
        assert bool(open_sky.any())
        black = picture(as_field(without, field), camera)
        assert float(black[open_sky].max()) < 0.02
        assert float((picture(field, camera)[open_sky]).mean()) > 0.3
    assert lowest_psnr(beyond, field, between()) > 33
    covered = coverage(as_field(beyond, field), between()[0], torch.ones(len(beyond)))
    assert float(covered.min()) > 0.97


def test_a_field_without_sky_has_no_dome():
    field = two_balls()
    assert sky_splats(field) is not None
    alone = replace(field, heads={"rgb": field.heads["rgb"].without_surroundings()})
    assert sky_splats(alone) is None and sky_splats(two_balls("harmonics")) is None
    assert len(bake_harmonics(alone, sky=True, config=QUICK)) == len(field)


def test_viewpoints_are_the_cameras_then_strays_and_reduced():
    field = two_balls()
    own = list(field.about.cameras.values())
    config = ViewpointsConfig(between=2, least=0, pixels=400)
    cameras = baking_cameras(field, config)
    assert len(cameras) == 27 and all(camera.size == (20, 20) for camera in cameras)
    for made, camera in zip(cameras, own, strict=False):
        assert torch.equal(made.world_from_camera, camera.world_from_camera)
    strays = torch.stack([camera.position for camera in cameras[9:]])
    assert float(torch.cdist(strays, torch.stack([camera.position for camera in own])).amin(-1).min()) > 0.05
    again = baking_cameras(field, config)
    assert all(torch.equal(a.position, b.position) for a, b in zip(cameras, again, strict=True))
    assert len(baking_cameras(field, ViewpointsConfig(views=4, between=5))) == 4
    assert len(baking_cameras(field, ViewpointsConfig(between=1, least=30))) == 30
    assert len(baking_cameras(field, ViewpointsConfig(between=0, least=30))) == 9
    assert len(baking_cameras(field, ViewpointsConfig(between=9, least=20, work=264 * 25))) == 25


def test_it_is_told_of_every_pass():
    field, called = two_balls(), []
    bake_harmonics(field, config=QUICK, on_view=lambda: called.append(1))
    assert len(called) == passes(field, QUICK) > 0
    assert passes(two_balls("harmonics")) == 0


def test_the_same_field_bakes_the_same():
    field = smooth(-1.0)
    first, second = (bake_harmonics(field, config=QUICK).columns["harmonics"] for _ in range(2))
    assert torch.equal(first, second)


def test_a_field_without_colours_is_one_clear_line():
    field = two_balls()
    with pytest.raises(PromptError, match=r"has no colours to export: its heads are feature$") as caught:
        bake_harmonics(replace(field, heads={"feature": field.heads["feature"]}))
    assert "\n" not in str(caught.value)


def test_the_input_is_not_changed_and_no_gradients_are_kept():
    field = two_balls()
    before: dict[str, Tensor] = field.splats.each(torch.clone).tensors()
    baked = bake_harmonics(field, config=QUICK)
    assert all(torch.equal(before[name], tensor) for name, tensor in field.splats.tensors().items())
    assert not baked.columns["harmonics"].requires_grad
    assert float((0.5 + DC * baked.columns["harmonics"][:, 0]).min()) > -0.5


def test_the_command_exports_the_sky_when_asked(tmp_path: Path):
    from featurefields.files.archive import write_archive
    from featurefields_cli.main import main

    field = bright_sky(two_balls())
    archive = str(write_archive(field, tmp_path / "field.safetensors"))
    assert main(["export", archive, "--quick", "-o", str(tmp_path / "bare.ply")]) == 0
    assert main(["export", archive, "--quick", "--sky", "-o", str(tmp_path / "sky.ply")]) == 0
    bare, sky = (read_ply(tmp_path / f"{name}.ply").splats for name in ("bare", "sky"))
    assert len(bare) == len(field) and len(sky) > len(field)
    camera = between()[0]
    assert lowest_psnr(sky, field, [camera]) > 10 + lowest_psnr(bare, field, [camera])
