"""What the student should say: the teacher's features of other views, seen from the student's place.

Letters: h w pixels of the splatted picture · hp wp patches · d feature dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.distillation.reconstruct import Reconstruction
from featurefields.distillation.seen import Seen
from featurefields.raster import Rasterizer
from featurefields.raster.averages import draw_averages
from featurefields.vision.blending import blend
from featurefields.vision.grids import pool, upsample


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """How teacher features become targets."""

    blend: float = 0.5
    """Share of a pixel's own features; the rest is the mean of its segment. 1: no blending."""
    upsampling: Literal["mask-aware", "bilinear"] = "mask-aware"
    """From tokens to pixels of the contexts: within segments, or across them."""
    covered: float = 0.5
    """A pixel counts when more than this share of it shows Gaussians that a context saw."""
    tolerance: float = 0.05
    """And when their depth differs by at most this share from the target's own, where that is known."""
    patch_share: float = 0.5
    """A patch counts when at least this share of its pixels does."""


@dataclass(frozen=True)
class Target:
    """Features for every patch of a target view, and which patches count."""

    features: Float[Tensor, "d hp wp"]
    valid: Bool[Tensor, "hp wp"]


@torch.no_grad()
def splatted_target(
    tokens: Sequence[Float[Tensor, "d hp wp"]],
    contexts: Sequence[Seen],
    target: Seen,
    reconstruction: Reconstruction,
    rasterizer: Rasterizer,
    *,
    grid: tuple[int, int],
    config: TargetConfig = TargetConfig(),
) -> Target:
    """Upsample the contexts' tokens, put them on the Gaussians, draw these from the target, blend and pool.

    `grid` = (columns, rows) of the student's patches. What is drawn is divided by the coverage; a patch is the mean,
    by area, of its pixels that count.
    """
    aware = config.upsampling == "mask-aware"
    pictures = [
        upsample(found, seen.camera.size, masks=seen.masks if aware else None)
        for found, seen in zip(tokens, contexts, strict=True)
    ]
    values, weights = reconstruction.lift(pictures)
    drawn = draw_averages(
        rasterizer,
        reconstruction.splats,
        values,
        target.camera,
        weights=weights,
        config=reconstruction.raster,
    )
    valid = target.counted & drawn.visible(target.depth, share=config.covered, tolerance=config.tolerance)
    picture = drawn.image
    if target.masks is not None:
        picture = blend(picture, target.masks, config.blend, valid=valid)
    counts = valid.to(picture)
    share = pool(counts[..., None], grid)[0]
    enough = (share >= config.patch_share - 1e-6) & (share > 0)
    return Target(pool(picture, grid, weights=counts), enough)
