"""A fit that starts from Gaussians that are there already."""

from dataclasses import replace

import pytest
import torch
from tiny_fields import photograph, two_balls

from featurefields.errors import FittingError
from featurefields.fitting.appearance import AppearanceConfig, AppearanceFit
from featurefields.fitting.loop import finished_field
from featurefields.fitting.start import Start
from featurefields.maths.similarity import Similarity
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene

CPU = choose_rasterizer("cpu")
FEW = AppearanceConfig(steps=3, half_until=0.0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return read_scene(photograph(tmp_path_factory.mktemp("data") / "balls"))


def test_a_fit_of_the_same_make_goes_on_with_everything(scene: Scene):
    first = AppearanceFit(scene, FEW, rasterizer=CPU)
    for _ in range(3):
        first.run_step()
    field = finished_field(first, scene, {})
    second = AppearanceFit(scene, FEW, rasterizer=CPU, start=Start.of(field, scene))
    for name, value in field.splats.tensors().items():
        assert torch.allclose(second.splats.tensors()[name], value, atol=1e-5), name
    for name, value in field.heads["rgb"].state_dict().items():
        assert torch.allclose(second.head.state_dict()[name], value, atol=1e-5), name
    assert second.run_step()["error"] < 1


@pytest.mark.parametrize("colour", ["reflected", "harmonics"])
def test_other_colours_are_taken_over_as_matter(scene: Scene, colour: str):
    field = two_balls("harmonics")
    rgb = field.heads["rgb"]
    start = Start.of(field, scene)
    fit = AppearanceFit(scene, replace(FEW, colour=colour), rasterizer=CPU, start=start)  # type: ignore[arg-type]
    assert len(fit.splats) == len(field)
    there = fit.head.matter(fit.splats.detach())
    assert there is not None
    assert float((there - rgb.matter(field.splats).clamp(0.02, 0.98)).abs().mean()) < 0.03  # type: ignore[union-attr]
    assert fit.run_step()["error"] < 1


def test_the_start_is_brought_into_the_frame_of_the_photos(scene: Scene):
    field = two_balls("harmonics")
    away = Similarity(2.0, torch.eye(3), torch.tensor([3.0, 0.0, -1.0]))
    one, other = Start.of(field, scene), Start.of(field.moved(away), scene)
    assert torch.allclose(one.splats.means, other.splats.means, atol=1e-4)
    assert torch.allclose(one.splats.log_scales, other.splats.log_scales, atol=1e-4)


def test_without_colours_there_is_nothing_to_start_from(scene: Scene):
    field = two_balls("harmonics")
    with pytest.raises(FittingError, match="Gaussians with colours"):
        Start.of(replace(field, heads={}), scene)
