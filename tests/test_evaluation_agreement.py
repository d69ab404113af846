"""Drawn features against extracted ones, on features whose cosines are known."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_fields import part
from tiny_truth import truth_field, truth_scene
from torch import Tensor

from featurefields.errors import FittingError, UnknownNameError
from featurefields.evaluation.agreement import cosine_map, feature_agreement
from featurefields.evaluation.regions import instance_ids, scene_objects
from featurefields.field import About, FeatureField, render
from featurefields.heads.directional import DirectionalHead
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.scene import Scene, View

CPU = choose_rasterizer("cpu")


@pytest.fixture(scope="module")
def field() -> FeatureField:
    """Features of which the red ball's have a view-dependent part, stored in 4 of 6 dimensions."""
    base = truth_field()
    generator = torch.Generator().manual_seed(4)
    slopes = torch.zeros(len(base), 3, 4)
    slopes[part("red")] = 3 * torch.randn(3, 4, generator=generator)
    splats = base.splats.with_columns(feature_dep=slopes, feature_centre=torch.zeros(len(base), 3))
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q[:4]
    about = replace(base.about, feature_mean=torch.randn(6, generator=generator), feature_basis=basis)
    return FeatureField(splats, {**base.heads, "feature": DirectionalHead()}, about)


@pytest.fixture(scope="module")
def scene(field: FeatureField, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = truth_scene(tmp_path_factory.mktemp("data") / "truth", field)
    return read_scene(folder, normalise=False)


@torch.no_grad()
def decoded(field: FeatureField, view: View, layer: str) -> Tensor:
    drawn = render(field, view.camera, rasterizer=CPU, heads=("feature",))["feature"][layer]
    assert field.about.feature_mean is not None and field.about.feature_basis is not None
    return field.about.feature_mean + drawn @ field.about.feature_basis


def test_each_layer_is_compared_with_its_own_picture(field: FeatureField, scene: Scene):
    told: list[int] = []
    rows = feature_agreement(
        field, scene, scene_objects(scene), rasterizer=CPU, on_view=lambda: told.append(1),
        diffuse=lambda view: decoded(field, view, "indep"), photo=lambda view: decoded(field, view, "total"),
    )  # fmt: skip
    assert len(told) == 2 and [row.name for row in rows.objects] == ["red", "blue", "floor"]
    for row in (*rows.regions, *rows.objects, *rows.materials):
        assert row.indep == pytest.approx(1.0, abs=1e-5) and row.total == pytest.approx(1.0, abs=1e-5)
    swapped = feature_agreement(
        field, scene, scene_objects(scene), rasterizer=CPU,
        diffuse=lambda view: decoded(field, view, "total"), photo=lambda view: decoded(field, view, "indep"),
    )  # fmt: skip
    red, blue, _ = swapped.objects
    assert red.indep < 0.9 and red.total < 0.9 and blue.indep > red.indep + 0.05


def test_opposite_features_are_minus_one_and_their_size_does_not_matter(field: FeatureField, scene: Scene):
    rows = feature_agreement(
        field, scene, (), rasterizer=CPU,
        diffuse=lambda view: -3 * decoded(field, view, "indep"), photo=lambda view: 0.1 * decoded(field, view, "total"),
    )  # fmt: skip
    (everything,) = rows.regions
    assert everything.indep == pytest.approx(-1.0, abs=1e-5)
    assert everything.total == pytest.approx(1.0, abs=1e-5)


def test_an_object_is_the_mean_over_views_of_the_mean_over_its_pixels(field: FeatureField, scene: Scene):
    def target(view: View) -> Tensor:
        return torch.randn(40, 40, 6, generator=torch.Generator().manual_seed(len(view.name)))

    rows = feature_agreement(
        field, scene, scene_objects(scene), rasterizer=CPU, diffuse=target, photo=lambda view: None
    )
    expected = []
    for view in scene.split("test"):
        cosine = torch.nn.functional.cosine_similarity(decoded(field, view, "indep"), target(view), dim=-1)
        expected.append(float(cosine[instance_ids(view) == 2].mean()))
    assert rows.objects[1].indep == pytest.approx(sum(expected) / 2, abs=1e-5)
    assert all(math.isnan(row.total) for row in (*rows.regions, *rows.objects))


def test_features_may_be_stored_whole(generator: torch.Generator):
    a = torch.randn(5, 4, 3, generator=generator)
    assert torch.allclose(cosine_map(a, 2 * a, About()), torch.ones(5, 4))


def test_many_rows_are_decoded_in_parts(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator):
    about = About(
        feature_mean=torch.randn(6, generator=generator), feature_basis=torch.randn(2, 6, generator=generator)
    )
    a, b = torch.randn(7, 5, 2, generator=generator), torch.randn(7, 5, 6, generator=generator)
    whole = cosine_map(a, b, about)
    monkeypatch.setattr("featurefields.evaluation.agreement.CHUNK", 20)
    assert torch.allclose(cosine_map(a, b, about), whole, atol=1e-6)


def test_what_cannot_be_compared_is_told(field: FeatureField, scene: Scene, tmp_path: Path):
    with pytest.raises(FittingError, match="6 extracted dimensions, these have 5"):
        cosine_map(torch.zeros(2, 2, 4), torch.zeros(2, 2, 5), field.about)
    bare = replace(field, heads={"rgb": field.heads["rgb"]})
    with pytest.raises(UnknownNameError, match="no head 'feature'"):
        feature_agreement(bare, scene, (), rasterizer=CPU, diffuse=lambda view: None, photo=lambda view: None)
