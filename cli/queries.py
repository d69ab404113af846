"""Features of a field to compare: its view-independent ones, all of them, one plain field; and the extractor's own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Picture, Scene, View
    from featurefields.vision.interface import Extractor

PLAIN = "DFF"
"""One plain feature field, the baseline."""
STORED = "stored"
"""The features that the field came with."""


def featured_fields(
    field: "FeatureField",
    scene: "Scene",
    extractor: "Extractor | None",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    solvers: tuple[str, ...],
    cache: Path | None,
) -> "tuple[dict[str, FeatureField], list[str]]":
    """Fields to compare, by name, and what is to be told about them.

    With solvers (which need an extractor) the plain baseline and what each of them lifts; without, the field with the
    features it came with, beside the plain baseline when they are the extractor's.
    """
    lifted = {}
    if extractor is not None:
        for solver in solvers:
            lifted[solver] = _lifted(solver, field, scene, extractor, rasterizer, console, cache)
    if not lifted:
        if "feature" not in field.heads:
            return {}, ["the field has no features: none are clicked in or compared"]
        lifted = {STORED: field}
        if extractor is not None and extractor.fingerprint != field.about.extractor:
            return lifted, [
                f"the field's features are of {field.about.extractor or 'an unknown extractor'}, not of "
                f"{extractor.fingerprint}: they are not compared (--solvers lifts the extractor's anew)"
            ]
    if extractor is None:
        return lifted, []
    first = next(iter(lifted.values()))
    return {PLAIN: single_field(first, scene, extractor, rasterizer, console, cache=cache), **lifted}, []


def clicked_in(fields: "Mapping[str, FeatureField]") -> "dict[str, tuple[FeatureField, str]]":
    """The features that are clicked in: name → a field and the layer of its head "feature"."""
    queries = {}
    for name, field in fields.items():
        if name == PLAIN:
            queries[PLAIN] = (field, "indep")
            continue
        for layer in ("indep", "total"):
            queries[layer if name == STORED else f"{name} {layer}"] = (field, layer)
    return queries


def _lifted(
    solver: str,
    field: "FeatureField",
    scene: "Scene",
    extractor: "Extractor",
    rasterizer: "Rasterizer",
    console: Console,
    cache: Path | None,
) -> "FeatureField":
    """The extractor's features lifted by a solver, in as many dimensions as the field has."""
    from .features import FeatureOptions, lift_features

    basis = field.about.feature_basis
    dim = FeatureOptions().feature_dim if basis is None else len(basis)
    options = FeatureOptions(solver=solver, feature_dim=dim, cache=cache)  # type: ignore[arg-type]
    return lift_features(field, scene, extractor, rasterizer, console, options)


def with_features(field: "FeatureField", features: "Tensor") -> "FeatureField":
    """The field with other features (n d), none of them view-dependent."""
    from featurefields.heads.direct import DirectHead

    splats = field.splats.with_columns(feature=features)
    return replace(field, splats=splats, heads={**field.heads, "feature": DirectHead("feature")})


def seen_features(field: "FeatureField", camera: "Camera", layer: str) -> "Tensor":
    """Every Gaussian's own features (n d) in a layer of the head "feature" ("indep", "total") at one camera."""
    import torch

    with torch.no_grad():
        return field.heads["feature"].at_gaussians(field.splats, camera)[layer]


def single_field(
    field: "FeatureField",
    scene: "Scene",
    extractor: "Extractor",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    cache: Path | None,
) -> "FeatureField":
    """The baseline "DFF": features lifted as one weighted mean, compressed with the field's own basis."""
    from featurefields.lifting.pictures import feature_pictures
    from featurefields.lifting.uplift import uplift_mean
    from featurefields.vision.cache import extract_features
    from featurefields.vision.compress import FeatureBasis

    mean, basis = field.about.feature_mean, field.about.feature_basis
    encoder = None if mean is None or basis is None else FeatureBasis(mean, basis)
    views = scene.split("train")
    maps = feature_pictures(views, extract_features(views, extractor, cache_dir=cache), encoder)
    with console.progress("lifting one plain field", len(views)) as advance:
        features, _ = uplift_mean(field, views, maps, rasterizer=rasterizer, on_view=lambda: advance(1))
    return with_features(field, features)


def _colours(picture: "Picture", name: str) -> "Tensor":
    """A view's other picture, in three channels."""
    layer = picture.layer(name)
    assert layer is not None, "only views that have this picture are given it"
    return layer[..., :3].expand(*layer.shape[:2], 3)


def extracted_from(
    scene: "Scene", extractor: "Extractor", layer: str | None, *, cache: Path | None
) -> "Callable[[View], Tensor | None]":
    """Features of the held-out views' photos, or of their picture `layer`, at every pixel; None where there is none."""
    from functools import partial

    from featurefields.lifting.matter import InsteadOf
    from featurefields.vision.cache import extract_features
    from featurefields.vision.grids import upsample

    views = list(scene.split("test"))
    if layer is not None:
        views = [
            replace(view, picture=InsteadOf(view.picture, partial(_colours, view.picture, layer)))
            for view in views
            if view.picture.layer(layer) is not None
        ]
    maps = extract_features(views, extractor, cache_dir=cache)

    def features(view: "View") -> "Tensor | None":
        if view.name not in maps:
            return None
        return upsample(maps[view.name].features.float(), view.camera.size)

    return features
