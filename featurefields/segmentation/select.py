"""Clicks to a selection.

Letters: n Gaussians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from featurefields.errors import PromptError
from featurefields.field import FeatureField
from featurefields.maths.cosine import CosineSpace
from featurefields.raster import FrozenView, RasterConfig, Rasterizer
from featurefields.segmentation.grouping import path_scores, stable_threshold
from featurefields.segmentation.prompts import RADIUS_PX, Click, Hit, hit
from featurefields.segmentation.scores import similarity, stored_features
from featurefields.selection import Selection


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """From clicks to Gaussians."""

    threshold: float | None = None
    """Least cosine with what was clicked; found from the growth of the selection when not given."""
    connected: bool = True
    """Keep only what is connected to a click."""
    centred: bool = True
    """Compare features after their mean over the scene is taken away, which tells objects apart better."""
    radius_px: float = RADIUS_PX
    """A click means the pixels within this distance."""


def select(
    field: FeatureField,
    clicks: Sequence[Click],
    *,
    rasterizer: Rasterizer,
    config: SelectConfig = SelectConfig(),
) -> Selection:
    """The Gaussians that look, in the view-independent feature, like what was clicked and are connected to it.

    Raises:
        PromptError: no positive click, a click outside the picture or on nothing, or a field without features.
    """
    if not any(click.positive for click in clicks):
        raise PromptError(
            f"{len(clicks)} clicks were given and none says what to select; add a positive click"
        )
    features = stored_features(field)
    dim = features.shape[1]
    space = CosineSpace.plain(dim) if config.centred else field.about.cosine_space(dim)
    hits = _hits(field, clicks, rasterizer, config.radius_px)
    prototypes = torch.stack([h.share @ features for h in hits])
    positive = torch.tensor([click.positive for click in clicks], device=features.device)
    score = similarity(features, prototypes[positive], prototypes[~positive], space)
    seeds = torch.zeros(len(field), dtype=torch.bool, device=features.device)
    for h, click in zip(hits, clicks, strict=True):
        if click.positive:
            seeds |= h.share >= 0.1 * h.share.max()
    reach = path_scores(field.splats, score, seeds) if config.connected else score
    threshold = config.threshold
    if threshold is None:
        threshold = stable_threshold(
            reach, field.splats.footprints, low=0.35 if config.centred else 0.6, high=0.9
        )
    mask = reach >= threshold
    if not bool(mask.any()):
        mask = seeds
    how = {
        "clicks": [
            {"x": c.x, "y": c.y, "positive": c.positive, "coverage": round(h.coverage, 4)}
            for c, h in zip(clicks, hits, strict=True)
        ],
        "threshold": threshold,
        "automatic": config.threshold is None,
        "connected": config.connected,
        "centred": config.centred,
    }
    return Selection(mask, score, field.fingerprint(), how)


def _hits(
    field: FeatureField, clicks: Sequence[Click], rasterizer: Rasterizer, radius_px: float
) -> list[Hit]:
    """What every click shows; clicks with the same camera share its frozen view."""
    views: dict[int, FrozenView] = {}
    hits = []
    for click in clicks:
        click.check()
        if id(click.camera) not in views:
            camera = click.camera.to(field.splats.means)
            views[id(click.camera)] = rasterizer.freeze(field.splats, camera, RasterConfig())
        hits.append(hit(views[id(click.camera)], click, radius_px=radius_px))
    return hits
