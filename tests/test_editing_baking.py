"""Baking to ordinary spherical harmonics: exact for matter, close for smooth reflections."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import DC, picture, two_balls
from torch import Tensor

from featurefields.editing.baking import bake_harmonics
from featurefields.errors import PromptError
from featurefields.evaluation.metrics import psnr
from featurefields.field import About, FeatureField
from featurefields.files.ply import read_ply, write_ply
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.heads.lights import LightMap
from featurefields.heads.reflected import ReflectedHead, diffuse_from_logit
from featurefields.maths.colour import srgb_from_linear
from featurefields.splats import Splats


def colours(field: FeatureField) -> Tensor:
    return srgb_from_linear(diffuse_from_logit(field.splats.columns["diffuse"]))


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


@pytest.mark.parametrize("cameras", [True, False], ids=["from its cameras", "from all around"])
@pytest.mark.parametrize("degree", [0, 1, 3])
def test_matter_becomes_the_constant_band_and_nothing_else(degree: int, cameras: bool):
    field = two_balls()
    field = field if cameras else replace(field, about=About())
    bands = bake_harmonics(field, degree=degree).columns["harmonics"]
    assert bands.shape == (len(field), (degree + 1) ** 2, 3)
    assert torch.allclose(0.5 + DC * bands[:, 0], colours(field), atol=2e-3)
    assert float(bands[:, 1:].abs().sum()) == 0 if degree == 0 else float(bands[:, 1:].abs().max()) < 5e-3


def test_geometry_and_normals_pass_and_nothing_else_does():
    field = two_balls()
    baked = bake_harmonics(field)
    for name in ("means", "quats", "log_scales", "opacity_logits"):
        assert torch.equal(getattr(baked, name), getattr(field.splats, name))
    assert sorted(baked.columns) == ["harmonics", "normals"]
    assert torch.equal(baked.columns["normals"], field.splats.columns["normals"])


def test_the_ply_looks_like_the_field_from_its_cameras(tmp_path: Path):
    """A field with smooth reflections, through the file; without the higher bands it would not."""
    field = smooth(-1.0)
    back = read_ply(write_ply(bake_harmonics(field), tmp_path / "baked.ply"))
    constant = as_field(bake_harmonics(field, degree=0), field, degree=0)
    values, without = [], []
    for camera in field.about.cameras.values():
        wanted = picture(field, camera).clamp(0, 1)
        values.append(psnr(picture(back, camera), wanted))
        without.append(psnr(picture(constant, camera), wanted))
    assert min(values) > 26.5 and min(values) > min(without) + 2.0, (values, without)


def test_harmonics_pass_through(tmp_path: Path):
    field = two_balls("harmonics")
    baked = bake_harmonics(field)
    assert torch.equal(baked.columns["harmonics"], field.splats.columns["harmonics"])
    for camera in list(field.about.cameras.values())[:2]:
        assert torch.equal(picture(as_field(baked, field), camera), picture(field, camera))
    assert torch.equal(
        bake_harmonics(field, degree=1).columns["harmonics"], field.splats.columns["harmonics"][:, :4]
    )


def test_bands_that_no_camera_saw_stay_small():
    """One camera says nothing about other directions: the colour may not explode there."""
    field = smooth(-1.0)
    camera = next(iter(field.about.cameras.values()))
    lone = replace(field, about=About(cameras={"only": camera}))
    baked = bake_harmonics(lone)
    assert float(baked.columns["harmonics"][:, 1:].abs().max()) < 3.0
    assert psnr(picture(as_field(baked, field), camera), picture(field, camera)) > 27.0


def test_a_field_without_colours_is_one_clear_line():
    field = two_balls()
    with pytest.raises(PromptError, match=r"has no colours to export: its heads are feature$") as caught:
        bake_harmonics(replace(field, heads={"feature": field.heads["feature"]}))
    assert "\n" not in str(caught.value)


def test_the_input_is_not_changed_and_no_gradients_are_kept():
    field = two_balls()
    before = field.splats.each(torch.clone).tensors()
    baked = bake_harmonics(field)
    assert all(torch.equal(before[name], tensor) for name, tensor in field.splats.tensors().items())
    assert not baked.columns["harmonics"].requires_grad
