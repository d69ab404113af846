"""Lights: the map against brute force, both never negative, rough surfaces see all directions alike."""

import pytest
import torch
from laws import seeded, unit_vectors
from torch import Tensor

from featurefields.heads.lights import LightMap, LightNetwork
from featurefields.maths.reflections import lobe_width


def light_map(seed: int = 0) -> LightMap:
    light = LightMap()
    with torch.no_grad():
        light.log_light.normal_(generator=seeded(seed))
    return light.requires_grad_(False)


def texels(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Directions of all texels, row after row from the top (z = 1), and solid angles."""
    directions, areas = [], []
    for row in range(rows):
        polar = torch.tensor((row + 0.5) / rows * torch.pi)
        for column in range(columns):
            around = torch.tensor(((column + 0.5) / columns - 0.5) * 2 * torch.pi)
            across = polar.sin()
            directions.append(torch.stack([across * around.cos(), across * around.sin(), polar.cos()]))
            areas.append(polar.sin())
    return torch.stack(directions), torch.stack(areas)


def test_a_mirror_sees_the_texels_themselves():
    light = light_map()
    directions, _ = texels(light.ROWS, light.COLUMNS)
    seen = light(directions, torch.zeros(len(directions), 1))
    torch.testing.assert_close(seen.T.reshape(3, 32, 64), torch.exp(light.log_light), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("roughness", [0.6, 0.8, 1.0])
def test_rough_surfaces_see_the_mean_over_their_lobe(roughness: float):
    light = light_map()
    texel, area = texels(light.ROWS, light.COLUMNS)
    leaving = unit_vectors(300, seeded(1)).float()
    weight = torch.exp((leaving @ texel.T - 1) / lobe_width(torch.tensor([roughness]))) * area
    wanted = (weight / weight.sum(-1, keepdim=True)) @ torch.exp(light.log_light).flatten(1).T
    seen = light(leaving, torch.full((300, 1), roughness))
    # coarser the blurrier: what is left is interpolation
    assert float((seen - wanted).abs().mean()) < 0.25 * float(wanted.std())
    assert float((seen - wanted.mean(0)).abs().mean()) > 2 * float((seen - wanted).abs().mean())


def test_the_map_has_no_seam():
    light = light_map()
    for side in (-1e-5, 1e-5):
        angle = torch.full((9,), torch.pi + side)
        height = torch.linspace(-0.9, 0.9, 9)
        across = (1 - height**2).sqrt()
        leaving = torch.stack([across * angle.cos(), across * angle.sin(), height], -1)
        for roughness in (0.0, 0.3, 0.7):
            here, there = (
                light(leaving * torch.tensor([1.0, sign, 1.0]), torch.full((9, 1), roughness))
                for sign in (1.0, -1.0)
            )
            torch.testing.assert_close(here, there, atol=2e-3, rtol=2e-3)


def test_constant_light_is_seen_as_that_constant():
    light = LightMap(level=0.7)
    seen = light(unit_vectors(100, seeded(2)).float(), torch.rand(100, 1, generator=seeded(3)))
    torch.testing.assert_close(seen, torch.full((100, 3), 0.7), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [LightMap, LightNetwork])
def test_light_is_never_negative_and_rough_surfaces_see_all_directions_alike(kind: type):
    torch.manual_seed(1)
    light = light_map() if kind is LightMap else LightNetwork()
    leaving = unit_vectors(400, seeded(4)).float()
    spread = []
    for roughness in (0.0, 0.5, 1.0):
        seen = light(leaving, torch.full((400, 1), roughness)).detach()
        assert bool((seen > 0).all())
        spread.append(float(seen.std(0).mean()))
    assert spread[0] > spread[1] > spread[2]


@pytest.mark.parametrize("kind", [LightMap, LightNetwork])
def test_gradients_reach_the_light_the_direction_and_the_roughness(kind: type):
    torch.manual_seed(1)
    light = LightMap() if kind is LightMap else LightNetwork()
    with torch.no_grad():
        for parameter in light.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=seeded(6)))
    leaving = unit_vectors(50, seeded(5)).float().requires_grad_()
    roughness = torch.linspace(0.05, 0.95, 50)[:, None].requires_grad_()
    light(leaving, roughness).square().sum().backward()
    for tensor in (leaving, roughness, *light.parameters()):
        assert tensor.grad is not None and bool(tensor.grad.isfinite().all()) and bool(tensor.grad.any())
