"""Colours of feature maps: their three strongest directions as red, green and blue.

Letters: d feature dimension · m samples · h w pixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SAMPLES = 20_000
"""At most this many samples decide a palette."""
TRIMMED = 0.01
"""This fraction of the samples may fall outside the range of each colour, at each end."""


@dataclass(frozen=True)
class FeaturePalette:
    """An affine map from features to display colours, the same for every picture it paints.

    Attributes:
        mean: feature that all colours are relative to.
        axes: orthonormal rows, strongest direction first (all zero where the data has fewer directions).
        low, high: range along each axis that fills 0..1.
    """

    mean: Float[Tensor, "d"]
    axes: Float[Tensor, "3 d"]
    low: Float[Tensor, "3"]
    high: Float[Tensor, "3"]

    @staticmethod
    def fit(samples: Float[Tensor, "m d"]) -> "FeaturePalette":
        """The palette of some features; the same samples give the same colours on every machine.

        Samples that are not finite do not count. The sign of an axis is chosen so that its longer tail is
        bright; with fewer than three directions in the data the other colours stay at mid grey.
        """
        samples = samples.detach().to("cpu", torch.float64)
        samples = samples[samples.isfinite().all(-1)]
        dim = samples.shape[-1]
        if len(samples) == 0:
            return FeaturePalette(torch.zeros(dim), torch.zeros(3, dim), -torch.ones(3), torch.ones(3))
        samples = samples[:: -(-len(samples) // SAMPLES)]
        mean = samples.mean(0)
        values, vectors = torch.linalg.eigh((samples - mean).T @ (samples - mean) / len(samples))
        axes = torch.zeros(3, dim, dtype=torch.float64)
        strong = values.flip(0)[:3] > 1e-10 * values[-1].clamp(min=1e-30)
        axes[: len(strong)] = vectors.T.flip(0)[:3] * strong[:, None]
        along = (samples - mean) @ axes.T
        skew = (along**3).sum(0)
        even = skew.abs() <= 1e-9 * (along.abs() ** 3).sum(0)
        largest = axes.gather(1, axes.abs().argmax(1, keepdim=True)).squeeze(1)
        sign = torch.where(torch.where(even, largest, skew) < 0, -1.0, 1.0).to(axes)
        ordered = (along * sign).sort(dim=0).values
        last = len(ordered) - 1
        low, high = ordered[round(TRIMMED * last)], ordered[round((1 - TRIMMED) * last)]
        flat = high - low < 1e-12
        low, high = torch.where(flat, -1.0, low), torch.where(flat, 1.0, high)
        return FeaturePalette(mean.float(), (axes * sign[:, None]).float(), low.float(), high.float())

    def paint(
        self,
        features: Float[Tensor, "h w d"],
        alpha: Float[Tensor, "h w"] | None = None,
        *,
        residual: bool = False,
    ) -> Float[Tensor, "h w 3"]:
        """Display colours in 0..1; `alpha` fades to black where little covers the pixel.

        With `residual` the features are a difference (a view-dependent part): no difference is mid grey, and
        a step has the same strength of colour as in the whole.
        """
        axes, low, high = (tensor.to(features) for tensor in (self.axes, self.low, self.high))
        if residual:
            colours = 0.5 + features @ axes.T / (high - low)
        else:
            colours = ((features - self.mean.to(features)) @ axes.T - low) / (high - low)
        colours = colours.nan_to_num().clamp(0.0, 1.0)
        return colours if alpha is None else colours * alpha.clamp(0.0, 1.0)[..., None]


def palette_of(
    maps: Iterable[Float[Tensor, "h w d"]], alphas: Iterable[Float[Tensor, "h w"]]
) -> FeaturePalette:
    """The joint palette of several maps, from the pixels that something covers (alpha >= 0.5)."""
    kept = [features.detach()[alpha >= 0.5].cpu() for features, alpha in zip(maps, alphas, strict=True)]
    return FeaturePalette.fit(torch.cat(kept))


def feature_colours(
    *maps: Float[Tensor, "h w d"], alpha: Float[Tensor, "h w"] | None = None
) -> tuple[Float[Tensor, "h w 3"], ...]:
    """One picture a map, in colours that mean the same in all of them.

    `alpha` (the same for all maps) leaves out what nothing covers and fades it to black.
    """
    covered = [alpha if alpha is not None else torch.ones_like(features[..., 0]) for features in maps]
    palette = palette_of(maps, covered)
    return tuple(palette.paint(features, alpha) for features in maps)
