"""Lifting apart: matter's features come from pictures of matter alone, reflections from what photos show beyond."""

import pytest
import torch
from tiny_fields import ring, two_balls, views_of
from torch import Tensor

from featurefields.camera import Camera
from featurefields.field import FeatureField, render
from featurefields.heads.direct import DirectHead
from featurefields.heads.directional import DirectionalHead
from featurefields.lifting.apart import lift_apart
from featurefields.lifting.least_squares import LeastSquaresConfig, solve
from featurefields.lifting.maps import Maps
from featurefields.lifting.solution import Solution
from featurefields.maths.compositing import over_alpha
from featurefields.raster import RasterConfig, choose_rasterizer

CPU = choose_rasterizer("cpu")


@pytest.fixture
def field() -> FeatureField:
    field = two_balls()
    splats = field.splats.without_columns("feature")
    return FeatureField(splats, {"rgb": field.heads["rgb"]}, field.about)


def cameras() -> dict[str, Camera]:
    return {f"v{number}": camera for number, camera in enumerate(ring(8))}


def pictures(field: FeatureField, column: Tensor, *, gain: float = 0.0) -> Maps:
    """What the column looks like, with `gain` times it more the more a reflection points up."""

    def draw(camera: Camera) -> Tensor:
        up = DirectionalHead().basis(field.splats, camera)[:, 1:2]
        drawn = CPU.draw(field.splats, column * (1 + gain * (1 + up)), camera, RasterConfig())
        return over_alpha(drawn.image, drawn.alpha)

    return {name: lambda c=camera: draw(c) for name, camera in cameras().items()}


def apart(field: FeatureField, photos: Maps, matter: Maps, degree: int = 1) -> Solution:
    views = views_of(cameras())

    def lift(given: FeatureField, maps: Maps, of_degree: int) -> Solution:
        config = LeastSquaresConfig(degree=of_degree, ridge=1e-3, directional_ridge=1e-3, iterations=60)
        return solve(given, views, maps, rasterizer=CPU, config=config)

    return lift_apart(field, views, photos, matter, lift, rasterizer=CPU, degree=degree)


def test_matter_is_what_pictures_of_matter_show_whatever_photos_add(field: FeatureField):
    column = torch.rand(len(field), 4, generator=torch.Generator().manual_seed(1))
    matter = pictures(field, column)
    plain, shiny = (apart(field, pictures(field, column, gain=g), matter) for g in (0.0, 0.5))
    one, other = (solution.field.splats.columns["feature"] for solution in (plain, shiny))
    assert torch.equal(one, other)


def test_both_layers_look_like_what_was_given(field: FeatureField):
    column = torch.rand(len(field), 4, generator=torch.Generator().manual_seed(1))
    matter, photos = pictures(field, column), pictures(field, column, gain=0.5)
    found = apart(field, photos, matter)
    for name, camera in cameras().items():
        layers = render(found.field, camera, rasterizer=CPU, heads=["feature"])["feature"]
        covered = render(found.field, camera, rasterizer=CPU, heads=["feature"]).alpha > 0.9
        error = {
            layer: float((layers[layer] - maps[name]())[covered].abs().mean())
            for layer, maps in (("indep", matter), ("total", photos))
        }
        added = float((photos[name]() - matter[name]())[covered].abs().mean())
        assert added > 0.1 and max(error.values()) < 0.15 * added, (error, added)


def test_what_reflections_add_on_average_is_theirs(field: FeatureField):
    """A constant share on top is no matter: a single field could only have mixed the two."""
    column = torch.rand(len(field), 4, generator=torch.Generator().manual_seed(1)) + 0.5
    photos = {name: lambda p=p: 1.5 * p() for name, p in pictures(field, column).items()}
    found = apart(field, photos, pictures(field, column))
    layers = render(found.field, cameras()["v0"], rasterizer=CPU, heads=["feature"])
    covered = layers.alpha > 0.9
    ratio = layers["feature"]["dep"][covered] / layers["feature"]["indep"][covered]
    assert float((ratio - 0.5).abs().median()) < 0.03


def test_without_directional_functions_there_is_matter_only(field: FeatureField):
    column = torch.rand(len(field), 4, generator=torch.Generator().manual_seed(1))
    found = apart(field, pictures(field, column, gain=0.5), pictures(field, column), degree=0)
    assert isinstance(found.field.heads["feature"], DirectHead)
    assert set(found.field.splats.columns) - set(field.splats.columns) == {"feature"}


def test_the_given_field_is_left_alone(field: FeatureField):
    column = torch.rand(len(field), 4, generator=torch.Generator().manual_seed(1))
    before = set(field.splats.columns)
    apart(field, pictures(field, column), pictures(field, column))
    assert set(field.splats.columns) == before and set(field.heads) == {"rgb"}
