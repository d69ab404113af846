"""From context views to Gaussians that carry what the views show: the interface, and two ways.

Letters: n Gaussians · h w pixels · d feature dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.distillation.seen import Seen
from featurefields.distillation.surfels import SHARP, pixel_surfels
from featurefields.errors import FittingError
from featurefields.raster import RasterConfig, Rasterizer
from featurefields.splats import Splats, concatenate

Pictures = Sequence[Float[Tensor, "h w d"]]
DepthSource = Callable[[Sequence[Seen]], Sequence[Float[Tensor, "h w"]]]
"""Depth maps (0 where unknown) of views looked at together, at the size of their cameras."""


@dataclass(frozen=True)
class Reconstruction:
    """What context views show, in space.

    Attributes:
        splats: the geometry.
        lift: from one picture a context to values (n d) and weights (n), 0..1, of the Gaussians; 0 for what no
            context shows. Linear in the pictures.
        raster: how the splats are to be drawn.
    """

    splats: Splats
    lift: Callable[[Pictures], tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]]
    raster: RasterConfig = RasterConfig()


@runtime_checkable
class Reconstructor(Protocol):
    """A way to find the geometry behind context views. The same views give the same geometry, bit for bit."""

    def __call__(self, contexts: Sequence[Seen]) -> Reconstruction:
        """Raises `FittingError` when these views give no geometry."""
        ...


def data_depth(contexts: Sequence[Seen]) -> list[Float[Tensor, "h w"]]:
    """The depth maps that came with the views. Raises `FittingError` when there are none."""
    if any(seen.depth is None for seen in contexts):
        raise FittingError(
            "depth was to come with the photos, but a photo has no depth map; use --geometry lifter, or a fitted field"
        )
    return [seen.depth for seen in contexts if seen.depth is not None]


class DepthReconstructor:
    """Every pixel of known depth becomes a flat Gaussian that carries the pixel's features."""

    def __init__(self, depths: DepthSource = data_depth) -> None:
        self._depths = depths

    @torch.no_grad()
    def __call__(self, contexts: Sequence[Seen]) -> Reconstruction:
        found = [
            pixel_surfels(seen.camera, depth, seen.counted)
            for seen, depth in zip(contexts, self._depths(contexts), strict=True)
        ]
        splats = concatenate([one for one, _ in found])
        if not len(splats):
            raise FittingError("the depth maps of the context views know no depth; leave these views out")

        def lift(pictures: Pictures) -> tuple[Tensor, Tensor]:
            values = torch.cat([picture[known] for picture, (_, known) in zip(pictures, found, strict=True)])
            return values, values.new_ones(len(values))

        return Reconstruction(splats, lift, SHARP)


class SplatReconstructor:
    """Gaussians that are there already, or that a network makes of the contexts; features are lifted anew each time.

    Every Gaussian gets the mean of what the contexts show at its place, weighted as it is drawn.
    """

    def __init__(
        self,
        splats: Callable[[Sequence[Seen]], Splats],
        rasterizer: Rasterizer,
        *,
        config: RasterConfig = RasterConfig(),
        least: float = 0.05,
    ) -> None:
        """`splats`: the Gaussians for some contexts; those drawn with less than `least` pixels in all carry nothing."""
        self._splats, self._rasterizer, self._config, self._least = splats, rasterizer, config, least

    @torch.no_grad()
    def __call__(self, contexts: Sequence[Seen]) -> Reconstruction:
        splats = self._splats(contexts)

        def lift(pictures: Pictures) -> tuple[Tensor, Tensor]:
            total = None
            for seen, picture in zip(contexts, pictures, strict=True):
                counted = seen.counted.to(picture)[..., None]
                maps = torch.cat([picture * counted, counted], dim=-1)
                gathered = self._rasterizer.gather(splats, maps, seen.camera, self._config)
                total = gathered if total is None else total + gathered
            assert total is not None
            weight = total[:, -1]
            shown = weight > self._least
            values = torch.where(shown[:, None], total[:, :-1] / weight.clamp(min=self._least)[:, None], 0.0)
            return values, shown.to(values)

        return Reconstruction(splats, lift, self._config)
